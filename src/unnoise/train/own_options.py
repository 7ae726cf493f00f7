"""The options of `unnoise.train.fit`."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, TypedDict

import torch

from unnoise.diffusion.prediction import known_kind
from unnoise.errors import InputError, check_number, check_whole, nearest, quoted
from unnoise.sampling.kinds import Kind
from unnoise.train.fit_options import FitOptions
from unnoise.train.net_task import Levels, OwnLoss, OwnOptimizer
from unnoise.train.task import TrainCallback

STEPS, WARMUP = 1000, 200
SMALL = 200_000  # parameters; docs/gallery.md has what was measured on a smaller net
SMALL_NET = {"batch": 512, "learning_rate": 1e-2}
OTHER_NET = {"batch": 128, "learning_rate": 1e-3}
# Fields of `FitOptions` that differ here: the same call gives the same bits, so nothing is measured unless asked for.
PLAIN: dict[str, Any] = {"precision": "float32", "compile": False, "channels_last": False}
CHOICES: dict[str, tuple[Any, ...]] = {
    "precision": ("auto", "float32", "bfloat16"),
    "compile": ("auto", True, False),
    "channels_last": ("auto", True, False),
}
# Names that other programs use, and ours.
OTHER_NAMES = {
    "lr": "learning_rate", "batch_size": "batch", "epochs": "steps", "iterations": "steps", "num_steps": "steps",
    "max_steps": "steps", "callbacks": "callback", "prediction_type": "kind", "parameterization": "kind",
    "loss_fn": "loss", "label_dropout": "cond_dropout", "caption_dropout": "cond_dropout", "folder": "out",
    "num_classes": "classes", "scheduler": "process",
}  # fmt: skip


class FitKeywords(TypedDict, total=False):
    """The options of `fit`; `docs/training.md` describes them."""

    steps: int
    batch: int
    learning_rate: float
    warmup: int
    decay: float
    optimizer: Literal["adamw", "muon"] | OwnOptimizer
    clip: float
    weight_decay: float
    betas: tuple[float, float]
    precision: Literal["auto", "float32", "bfloat16"]
    compile: Literal["auto"] | bool
    channels_last: Literal["auto"] | bool
    micro_batch: int
    kind: Kind | None
    weighting: str | None
    levels: Levels
    loss: OwnLoss | None
    cond_dropout: float
    classes: int | None
    seed: int
    ema_length: float
    device: str | torch.device | None
    callback: TrainCallback | Sequence[TrainCallback]
    out: str | os.PathLike[str] | None


@dataclass(frozen=True, slots=True)
class OwnOptions:
    """The options of `fit` that are not of the optimizer.

    Args:
        kind: of the prediction; None is "flow" for the process flow and "v" for the others.
        weighting: of the errors at different levels; None is the kind.
        levels: (mean, deviation) of ln sigma, a function from uniform numbers to sigma, or None: uniform in time.
        loss: (denoiser, x0, noise, sigma, cond) -> (B,), instead of the weighted squared error.
        cond_dropout: share of samples whose conditioning is left out; guidance needs it.
        classes: the number of classes of integer conditioning; None counts them where all data is in memory.
        seed: of order and noise; the same seeds give the same bits.
        ema_length: of the averaged weights, as a share of the run; 0 takes the last weights.
        device: "auto", or a device; None is that of the net.
        callback: one or several functions that get a `Progress` after each step.
        out: the folder of the run, from which it resumes when it is called again.
    """

    kind: Kind | None = None
    weighting: str | None = None
    levels: Levels = None
    loss: OwnLoss | None = None
    cond_dropout: float = 0.0
    classes: int | None = None
    seed: int = 0
    ema_length: float = 0.05
    device: str | torch.device | None = None
    callback: TrainCallback | Sequence[TrainCallback] = ()
    out: str | os.PathLike[str] | None = None

    def __post_init__(self) -> None:
        check_number("cond_dropout", self.cond_dropout, 0, 1)
        check_number("ema_length", self.ema_length, 0, 0.25)
        check_whole("seed", self.seed, 0, 2**63)
        if self.kind is not None:
            known_kind(self.kind)
        if self.classes is not None:
            check_whole("classes", self.classes, 1, 2**31)
        if self.loss is not None and (not callable(self.loss) or self.weighting is not None):
            raise InputError("loss: a function (denoiser, x0, noise, sigma, cond) -> (B,), and no weighting beside it")
        levels = () if self.levels is None or callable(self.levels) else self.levels
        if levels and not (len(levels) == 2 and all(isinstance(one, int | float) for one in levels)):
            raise InputError(f"levels {quoted(self.levels)}: (mean, deviation) of ln sigma, a function of u, or None")
        for hook in self.callbacks:
            if not callable(hook):
                raise InputError(f"callback {quoted(hook)}: a function of a Progress, or a list of functions")

    @property
    def callbacks(self) -> tuple[TrainCallback, ...]:
        """Every callback."""
        given: Any = self.callback
        return tuple(given) if isinstance(given, list | tuple) else (given,)


def split_options(options: Mapping[str, Any], parameters: int) -> tuple[OwnOptions, FitOptions, OwnOptimizer | None]:
    """Return the options of `fit` by what they are of. parameters: the size of the net.

    Raises InputError for an unknown name or a wrong value.
    """
    own, common = ({one.name for one in fields(kind)} for kind in (OwnOptions, FitOptions))
    for name in options:
        if name not in own | common:
            instead = f"{OTHER_NAMES[name]!r} here" if name in OTHER_NAMES else nearest(name, own | common)
            raise InputError(f"{name}: unknown; {instead}")
    steps = options.get("steps", STEPS)
    check_whole("steps", steps, 1, 10**9)
    given = {"steps": steps, "warmup": min(WARMUP, steps // 10), **PLAIN}
    given |= SMALL_NET if parameters < SMALL else OTHER_NET
    given |= {name: value for name, value in options.items() if name in common}
    check_whole("batch", given["batch"], 1, 10**9)
    optimizer = given.get("optimizer", "adamw")
    if callable(optimizer):
        given["optimizer"] = "adamw"
    elif optimizer not in ("adamw", "muon"):
        raise InputError(f"optimizer {quoted(optimizer)}: 'adamw', 'muon', or a function of parameters")
    for name, allowed in CHOICES.items():
        if given[name] not in allowed:
            raise InputError(f"{name} {quoted(given[name])}: {' or '.join(map(repr, allowed))}")
    if given.get("shard"):
        raise InputError("shard True: the net would stay split among the processes; leave it out")
    made = OwnOptions(**{name: value for name, value in options.items() if name in own})
    return made, FitOptions(**given), optimizer if callable(optimizer) else None
