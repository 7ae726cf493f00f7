"""What row r of step s of a distillation is: x0, prompt, noise, uniform numbers and a guidance scale.

Each is a function of the seed, s and r alone, so that a batch can be split and a run can resume, see `noise.numbers`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from unnoise.data.buckets import nth_batch
from unnoise.data.shuffle import SAMPLE, Members, nth_image
from unnoise.diffusion.conditioning import Conditioning
from unnoise.diffusion.noise import numbers
from unnoise.distill.recipe import DistillRecipe
from unnoise.distill.teacher import Teacher
from unnoise.train.encoded import EncodedViews

AGAIN = 32  # the first coordinate of the streams of further noise
UNIFORMS = 4  # of a row


@dataclass(frozen=True, slots=True, eq=False)
class Pool:
    """What rows are drawn from, of images of one size.

    Args:
        shape: of an x0.
        prompts: V captions or names of classes of each of N images, or of each concept; ("",) without prompts.
        members: the images of each concept; an image that could not be decoded is in none.
        views: V.
        x0: V views of N images, (N, V, *d); None for prompts alone.
    """

    shape: tuple[int, ...]
    prompts: Sequence[str]
    members: Members
    views: int = 1
    x0: EncodedViews | Tensor | None = None


@dataclass(frozen=True, slots=True, eq=False)
class DrawnRows:
    """Some rows of a batch, on the device of the teacher.

    Args:
        x0: (B, *d) of data; None where only prompts are drawn.
        noise: (B, *d), N(0, 1).
        u: (B, UNIFORMS), uniform in [0, 1).
        guidance: (B,), guidance scales of the teacher, even in their logarithm within the range of the recipe.
        cond: the prompts, as the teacher takes them.
        takes_guidance: whether the student takes the guidance scale as an input.
        again: k -> (B, *d), further noise, as often as a method needs some.
    """

    x0: Tensor | None
    noise: Tensor
    u: Tensor
    guidance: Tensor
    cond: Conditioning
    takes_guidance: bool
    again: Callable[[int], Tensor]

    def student(self, end: Tensor | None = None) -> Conditioning:
        """Return the conditioning of the student. end: (B,), the unit clock at the end of a jump, where it takes it."""
        return replace(self.cond, distilled_guidance=self.guidance if self.takes_guidance else None, end=end)


@dataclass(frozen=True, eq=False)
class RowSource:
    """Draws the rows of a recipe.

    Args:
        recipe: of the run.
        teacher: encodes the prompts.
        pools: one for each size of images.
    """

    recipe: DistillRecipe
    teacher: Teacher
    pools: Sequence[Pool]
    counts: tuple[int, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "counts", tuple(len(pool.members) for pool in self.pools))

    def __call__(self, step: int, rows: range) -> DrawnRows:
        """Draw some rows of the batch of a step."""
        recipe, device = self.recipe, self.teacher.device
        seed, batch = recipe.seed, recipe.fit.batch
        k, number = nth_batch(self.counts, seed, step)
        pool = self.pools[k]
        images = [nth_image(pool, seed, number * batch + row) for row in rows]
        streams = [numbers(seed, SAMPLE, step * batch + row) for row in rows]
        views = [int(stream.integers(pool.views)) for stream in streams]
        dropped = [stream.random() < recipe.caption_dropout for stream in streams]
        u = torch.tensor([[stream.random() for _ in range(UNIFORMS)] for stream in streams], dtype=torch.float32)
        low, high = recipe.guidance
        guidance = torch.tensor([low * (high / low) ** stream.random() for stream in streams], dtype=torch.float32)
        prompts = [
            "" if drop else pool.prompts[image * pool.views + view]
            for image, view, drop in zip(images, views, dropped, strict=True)
        ]

        def again(k: int) -> Tensor:
            return _normal([numbers(seed, AGAIN, step * batch + row, k) for row in rows], pool.shape).to(device)

        return DrawnRows(
            x0=None if pool.x0 is None else pool.x0[images, views].float().to(device),
            noise=_normal(streams, pool.shape).to(device),
            u=u.to(device),
            guidance=guidance.to(device),
            cond=self.teacher.encode(prompts),
            takes_guidance=recipe.guidance_input,
            again=again,
        )


def _normal(streams: Sequence[np.random.Generator], shape: tuple[int, ...]) -> Tensor:
    noise = np.empty((len(streams), *shape), np.float32)
    for stream, part in zip(streams, noise, strict=True):
        stream.standard_normal(dtype=np.float32, out=part)
    return torch.from_numpy(noise)


def prompt_pool(prompts: Sequence[str], shape: tuple[int, ...]) -> Pool:
    """Make a pool of prompts alone, each drawn once an epoch."""
    count = len(prompts)
    return Pool(shape, prompts, Members(np.arange(count), np.arange(count + 1)))
