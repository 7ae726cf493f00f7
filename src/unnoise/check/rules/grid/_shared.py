"""Helpers of the rules of the grid."""

from unnoise.check.tables import task


def is_own(class_: str) -> bool:
    """Return whether a pipeline is one of diffusers' own, which uses the scheduler that its model ships with."""
    return bool(task(class_)) or class_ == "DiffusionPipeline"
