"""A diffusion toolkit: train, sample and check diffusion models, in one frame for all of them.

    import unnoise
    unnoise.load("emoji").generate("a red heart", seed=7)[0].save("heart.png")

Names are imported when they are first used: `import unnoise` alone loads no torch.
"""

import os
from typing import TYPE_CHECKING

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch; idle threads that spin made it 30 times slower

if TYPE_CHECKING:
    from unnoise import adapters, sampling, train
    from unnoise.check.engine import check
    from unnoise.diffusion import guidance
    from unnoise.errors import InputError, InputWarning, NonFiniteError
    from unnoise.generation.metadata import Metadata
    from unnoise.generation.sample import Sample
    from unnoise.generation.sample_net import sample
    from unnoise.integrations.diffusers.scheduler import diffusers_scheduler
    from unnoise.loading import load
    from unnoise.pipeline import Pipeline

__version__ = "0.4.0"
__all__ = ["InputError", "InputWarning", "Metadata", "NonFiniteError", "Pipeline", "Sample", "__version__"]
__all__ += ["adapters", "check", "diffusers_scheduler", "guidance", "load", "sample", "sampling", "train"]

_HOME = {
    "InputError": "unnoise.errors",
    "InputWarning": "unnoise.errors",
    "Metadata": "unnoise.generation.metadata",
    "NonFiniteError": "unnoise.errors",
    "Pipeline": "unnoise.pipeline",
    "Sample": "unnoise.generation.sample",
    "diffusers_scheduler": "unnoise.integrations.diffusers.scheduler",
    "load": "unnoise.loading",
    "sample": "unnoise.generation.sample_net",
}
_MODULES = {  # `check` is also a call, docs/decisions/0007-check-is-a-call.md
    "adapters": "unnoise.adapters",
    "check": "unnoise.check",
    "guidance": "unnoise.diffusion.guidance",
    "sampling": "unnoise.sampling",
    "train": "unnoise.train",
}


def __getattr__(name: str) -> object:
    """Import a public name at its first use."""
    from importlib import import_module

    if name in _MODULES:
        return import_module(_MODULES[name])
    if name not in _HOME:
        raise AttributeError(f"module 'unnoise' has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
