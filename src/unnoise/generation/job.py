"""What the engine draws: settings, samples and inputs, as one value."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from unnoise.generation.images import RawImages
from unnoise.generation.loras import Loras
from unnoise.generation.metadata import CallShape, Settings
from unnoise.sampling.state import Sampler

AnySampler = Sampler[Any, Any]


@dataclass(frozen=True, slots=True)
class Draw:
    """One sample of a job: its prompt, the seed of its noise, the seed of the noise that a variation goes towards."""

    prompt: str
    seed: int
    variation_seed: int | None = None


@dataclass(frozen=True, slots=True)
class Replay:
    """What former metadata demands of a job that draws one sample again.

    Args:
        calls: the shapes of the network calls; empty to compute freely, as for a sample that was stored half-way.
        decoded: samples that were decoded together, and the place of this one.
        hashes: sha256 of each input.
    """

    calls: tuple[CallShape, ...]
    decoded: tuple[int, int]
    hashes: Mapping[str, str | None]


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """What the engine draws.

    Args:
        settings: every choice that the samples share.
        sampler: the object that `settings.sampler` names.
        draws: the samples.
        batch: samples in one network call, at most.
        images: the opened image inputs.
        noise: starting noise (draws, *x0) or (*x0), as the caller gave it.
        adapters: LoRA adapters with their weights.
        replay: of a job that draws a former sample again.
    """

    settings: Settings
    sampler: AnySampler
    draws: tuple[Draw, ...]
    batch: int
    images: RawImages
    noise: Tensor | None = None
    adapters: Loras = ()
    replay: Replay | None = None

    @property
    def repeats(self) -> tuple[CallShape, ...]:
        """The shapes of network calls that are repeated, none for a job that is computed freely."""
        return () if self.replay is None else self.replay.calls
