"""What rules of the grid ask of pipelines."""

from unnoise.check.tables import task


def is_own(class_: str) -> bool:
    """Say whether a pipeline is one of diffusers' own, which runs a model with the scheduler it is published with."""
    return bool(task(class_)) or class_ == "DiffusionPipeline"
