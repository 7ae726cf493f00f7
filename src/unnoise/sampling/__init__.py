"""Reverse noise: levels, grids, states and samplers, in plain floats; it runs on floats, numpy and torch alike.

Names are imported at their first use, so that a program that reads only the names of samplers stays fast.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from unnoise.sampling.public import *  # noqa: F403


def __getattr__(name: str) -> object:
    """Import a public name at its first use."""
    import unnoise.sampling.public as public

    if not hasattr(public, name):
        raise AttributeError(f"module 'unnoise.sampling' has no attribute {name!r}")
    return getattr(public, name)


def __dir__() -> list[str]:
    import unnoise.sampling.public as public

    return sorted(public.__all__)
