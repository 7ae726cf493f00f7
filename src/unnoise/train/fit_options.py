"""How a network is fitted: steps, batch, optimizer, learning rate, and the arithmetic of a step."""

import shutil
from dataclasses import dataclass
from typing import Literal

from unnoise.errors import InputError, check_number, check_whole
from unnoise.formats.strict_json import Strict

COMPILERS = ("g++", "clang++", "cl")  # one of them is needed by torch.compile on a CPU


@dataclass(frozen=True, slots=True)
class FitOptions(Strict):
    """The optimizer of one network. The learning rate rises, is constant, and falls linearly to zero.

    Args:
        steps: updates of the weights, at least 1.
        batch: images a step, at least 1.
        learning_rate: the highest of the run, above 0.
        warmup: steps over which the learning rate rises, at least 0.
        decay: the last share of the steps, over which the learning rate falls, 0 to 1.
        optimizer: "adamw", or "muon" for hidden weights and AdamW for the rest, at one learning rate.
        clip: largest norm of the gradient, above 0; a larger one is scaled down.
        weight_decay: of AdamW, at least 0.
        betas: of AdamW: decays of the running means of the gradient and of its square, two numbers from 0, below 1.
        precision: of the arithmetic; the weights are float32. "auto" measures which is faster, see `machine`.
        compile: use torch.compile; needs a C++ compiler on a CPU. "auto" measures whether it saves time.
        channels_last: memory layout of convolutions. "auto" measures which is faster.
        micro_batch: images of one forward and backward pass, whose gradients are summed, at least 0, at most `batch`; 0
            computes the part of a process in one pass.
        shard: split the networks among processes (FSDP2), for more than about a billion parameters.
        exact: give the same bits for any number of processes that divides exact_shards.
        exact_shards: parts of a batch with a pass each, a power of two that divides the batch.
        exact_threads: CPU threads of a process of an exact training, 1 to 1024.
    """

    steps: int
    batch: int = 32
    learning_rate: float = 1e-3
    warmup: int = 200
    decay: float = 0.5
    optimizer: Literal["adamw", "muon"] = "adamw"
    clip: float = 1.0
    weight_decay: float = 0.0
    betas: tuple[float, float] = (0.9, 0.99)
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    compile: Literal["auto"] | bool = "auto"
    channels_last: Literal["auto"] | bool = "auto"
    micro_batch: int = 0
    shard: bool = False
    exact: bool = False
    exact_shards: int = 4
    exact_threads: int = 1

    def __post_init__(self) -> None:
        for name in ("steps", "batch"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} {getattr(self, name)}: at least 1")
        for name in ("learning_rate", "clip"):
            if getattr(self, name) <= 0:
                raise InputError(f"{name} {getattr(self, name):g}: above 0")
        if not all(0 <= beta < 1 for beta in self.betas):
            raise InputError(f"betas {list(self.betas)}: two numbers from 0, below 1")
        if not 0 <= self.decay <= 1:
            raise InputError(f"decay {self.decay}: a share of the steps, 0 to 1")
        check_whole("warmup", self.warmup, 0, 10**9)
        check_number("weight_decay", self.weight_decay, 0, 1e6)
        check_whole("micro_batch", self.micro_batch, 0, self.batch)
        self._check_exact()
        self._check_shard()

    def _check_shard(self) -> None:
        others = ("exact", "compile", "channels_last") if self.shard else ()
        for name in others:
            if getattr(self, name) is True:
                raise InputError(f"shard true: does not go together with {name} = true; set one of them to false")

    def _check_exact(self) -> None:
        check_whole("exact_shards", self.exact_shards, 1, 1 << 20)
        check_whole("exact_threads", self.exact_threads, 1, 1024)
        if self.exact_shards & (self.exact_shards - 1):
            raise InputError(f"exact_shards {self.exact_shards}: a power of two")
        if self.exact and self.batch % self.exact_shards:
            raise InputError(f"exact_shards {self.exact_shards}: must divide batch {self.batch}")
        if self.exact and 0 < self.micro_batch < self.batch // self.exact_shards:
            raise InputError(
                f"micro_batch {self.micro_batch}: an exact pass has batch / exact_shards rows, "
                f"{self.batch // self.exact_shards}; leave micro_batch out, or raise exact_shards"
            )

    def learning_rate_at(self, step: int) -> float:
        """Return the learning rate of a step, 0-based."""
        rise = min(1.0, (step + 1) / max(self.warmup, 1))
        fall = min(1.0, (self.steps - step) / max(self.decay * self.steps, 1))
        return self.learning_rate * rise * fall


def check_compiler(fit: FitOptions) -> None:
    """Raise InputError where the recipe sets `compile`, and no C++ compiler is installed."""
    if fit.compile is True and not has_compiler():
        raise InputError(f"compile true: needs one of {', '.join(COMPILERS)}; install one, or set compile = false")


def has_compiler() -> bool:
    """Return whether a C++ compiler is installed."""
    return any(shutil.which(name) for name in COMPILERS)
