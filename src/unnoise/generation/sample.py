"""What is made: a picture, a film or a sound, with its x0 and the recipe that makes it again."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from unnoise.generation.metadata import Metadata
from unnoise.generation.resolve import Plan
from unnoise.sampling.state import State

Callback = Callable[[float, Tensor], None]  # (share of the work done in 0 ... 1, the current guess of x0)


@dataclass(frozen=True, slots=True, eq=False)
class Video:
    """Pictures of one size, `fps` a second."""

    frames: Sequence[Image.Image]
    fps: float


@dataclass(frozen=True, slots=True, eq=False)
class Audio:
    """Waves (channels, n) in [-1, 1], `rate` a second."""

    waves: Tensor
    rate: int


Made = Image.Image | Video | Audio


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """What was made, its x0 (*d) in coordinates of the model's space, and the recipe that makes it again."""

    made: Made
    x0: Tensor
    recipe: Metadata

    @property
    def image(self) -> Image.Image:
        """Give the picture. Raises AttributeError where the sample is none."""
        if not isinstance(self.made, Image.Image):
            raise AttributeError(f"image: this sample is a {type(self.made).__name__.lower()}")
        return self.made

    @property
    def video(self) -> Video:
        """Give the film. Raises AttributeError where the sample is none."""
        if not isinstance(self.made, Video):
            raise AttributeError("video: this sample is no film")
        return self.made

    @property
    def audio(self) -> Audio:
        """Give the sound. Raises AttributeError where the sample is none."""
        if not isinstance(self.made, Audio):
            raise AttributeError("audio: this sample is no sound")
        return self.made


def made_of(data: Tensor, plan: Plan, fps: float, rate: int) -> Sequence[Made]:
    """Make what people look at or listen to of data in [-1, 1]: (B, C, H, W), (B, C, T, H, W), (B, C, n)."""
    if plan.seconds is not None:
        return [Audio(row[:, : round(plan.seconds * rate)].float().cpu(), rate) for row in data]
    if plan.frames is not None:
        return [Video(pictures(row.transpose(0, 1)), fps) for row in data]
    return pictures(data)


def pictures(data: Tensor) -> list[Image.Image]:
    """Turn data (B, 1 or 3, H, W) in [-1, 1] into pictures of 8 bits."""
    whole = ((data.float() + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
    return [Image.fromarray(np.ascontiguousarray(one.squeeze(2) if one.shape[2] == 1 else one)) for one in whole]


def share(
    watch: Callback | None, done: float, part: float, plan: Plan
) -> Callable[[State[Tensor], Tensor], None] | None:
    """Tell a watcher the share of the whole work that is done, where `part` of it is this batch."""
    if watch is None:
        return None

    def looked(state: State[Tensor], x0: Tensor) -> None:
        within = (state.i + (state.stage + 1) / plan.sampler.queries) / (len(plan.grid) - 1)
        watch(done + part * within, x0)

    return looked
