"""Training: one loop (`loop`) runs the tasks of a recipe (`recipe`): `autoencoder`, then `denoiser`, or `adapter`.

In Python, `fit` trains one's own network, `train` one's own `Task`; `open_source` and `dataset_of` open images. Names
are imported when they are first used.
"""

from typing import Any

__all__ = [
    "CheckpointOptions", "FitOptions", "Progress", "Task", "TrainedNet", "dataset_of", "fit", "load_net", "open_source",
    "train",
]  # fmt: skip
_HOME = {
    "CheckpointOptions": "unnoise.train.checkpoint_options",
    "FitOptions": "unnoise.train.fit_options",
    "Progress": "unnoise.train.task",
    "Task": "unnoise.train.task",
    "TrainedNet": "unnoise.generation.trained_net",
    "dataset_of": "unnoise.data.iterable",
    "fit": "unnoise.train.fit_net",
    "load_net": "unnoise.generation.trained_net",
    "open_source": "unnoise.data.open",
    "train": "unnoise.train.loop",
}


def __getattr__(name: str) -> Any:
    """Import a public name at its first use."""
    from importlib import import_module

    if name not in _HOME:
        raise AttributeError(f"module 'unnoise.train' has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
