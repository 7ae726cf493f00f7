"""Distillation in the plane: a teacher that predicts exactly, of one mixture for each of its prompts."""

from dataclasses import dataclass
from itertools import pairwise
from math import pi
from types import SimpleNamespace
from typing import Any, cast

import tiny
import torch
from diffusion.mixture import Mixture, MixtureNet
from torch import Tensor, nn

from unnoise.diffusion.conditioning import Conditioning
from unnoise.diffusion.denoiser import Denoiser
from unnoise.diffusion.process import Flow, Process
from unnoise.distill.recipe import DistillRecipe
from unnoise.distill.rows import RowSource, prompt_pool
from unnoise.distill.teacher import Teacher
from unnoise.nets.blocks import unit_features, zeroed
from unnoise.pipeline import Pipeline
from unnoise.sampling.level import move, place

FEATURES = 16


class PlaneTeacher(Teacher):
    """Its prompts are the numbers of the mixtures; the last one is that of no prompt."""

    def __init__(self, mixtures: tuple[Mixture, ...], guided: bool = False, process: Process = Flow()) -> None:  # noqa: B008
        self.pipeline = cast(Pipeline, SimpleNamespace(card=tiny.CARD))
        self.denoiser = Denoiser(MixtureNet(mixtures, process, "v"), process, "v")
        self.device, self.guided, self.interval = torch.device("cpu"), guided, (0.0, torch.inf)
        self.count = len(mixtures)
        self.null = self.encode([""])

    def encode(self, prompts: list[str]) -> Conditioning:
        return Conditioning(label=torch.tensor([int(prompt or self.count - 1) for prompt in prompts]))

    @torch.no_grad()
    def drawn(self, noise: Tensor, prompt: str, guidance: float, steps: int = 60, to: float = 0.0) -> Tensor:
        """Return what many steps make of noise, down to a level."""
        levels = [torch.inf, *(t / (1 - t) for t in torch.linspace(0.98, place(to), steps).tolist())]
        cond, scale, x = self.encode([prompt] * len(noise)), torch.full((len(noise),), guidance), noise
        for here, there in pairwise(levels):
            x = self.step(x, torch.full_like(scale, here), torch.full_like(scale, there), cond, scale)
        return x


class Corrected(nn.Module):
    """The exact network plus a small one that starts at zero, so that it begins as the teacher."""

    takes_end = True

    def __init__(self, exact: nn.Module, labels: int, width: int = 64) -> None:
        super().__init__()
        self.exact = exact
        self.label = nn.Embedding(labels, FEATURES)
        last = zeroed(nn.Linear(width, 2))
        self.body = nn.Sequential(
            nn.Linear(2 + 4 * FEATURES, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(), last
        )

    def forward(self, x: Tensor, time: Tensor, cond: Conditioning) -> Tensor:
        more = [torch.zeros_like(time) if one is None else one for one in (cond.end, cond.distilled_guidance)]
        clocks = [unit_features(one, FEATURES) for one in (time, more[0], more[1] / 10)]
        with torch.no_grad():
            exact = self.exact(x, time, cond)
        return cast(Tensor, exact + self.body(torch.cat([x, *clocks, self.label(cond.label)], 1)))


@dataclass(frozen=True)
class Plane:
    """A teacher, a student and the rows of a recipe."""

    recipe: DistillRecipe
    teacher: PlaneTeacher
    student: Pipeline
    rows: RowSource

    def made(self) -> tuple[Any, ...]:
        """Return the arguments of a task."""
        return self.recipe, self.teacher, self.student, self.rows, [""]

    def net(self) -> Denoiser:
        """Return a network of a student."""
        own = self.teacher.denoiser
        return Denoiser(Corrected(own.net, self.teacher.count), own.process, "v")


def plane(recipe: DistillRecipe, teacher: PlaneTeacher) -> Plane:
    torch.manual_seed(0)
    rows = RowSource(recipe, teacher, [prompt_pool([str(k) for k in range(teacher.count - 1)], (2,))])
    made = Plane(recipe, teacher, cast(Pipeline, SimpleNamespace(card=tiny.CARD)), rows)
    made.student.denoiser = made.net()  # type: ignore[misc]
    return made


@torch.no_grad()
def few_calls(denoiser: Denoiser, noise: Tensor, cond: Conditioning, grid: tuple[float, ...]) -> Tensor:
    """Return what a student makes of noise by steps of DDIM."""
    x = noise
    for here, there in pairwise(grid):
        end = torch.full((len(x),), place(there))
        told = Conditioning(**{**cond.given(), "end": end})
        x = move(x, denoiser(x, torch.full((len(x),), here), told), here, there)
    return x


def ring(count: int, radius: float, std: float, start: float = 0.0, dtype: torch.dtype = torch.float32) -> Mixture:
    """Return modes on a circle."""
    angles = torch.arange(count, dtype=dtype) * (2 * pi / count) + start
    means = radius * torch.stack([angles.cos(), angles.sin()], 1)
    return Mixture(means, torch.full((count,), std, dtype=dtype), torch.full((count,), 1 / count, dtype=dtype))


def spread_of(points: Tensor) -> float:
    """Return the mean distance between two points."""
    return float(torch.cdist(points, points).sum() / (len(points) * (len(points) - 1)))


def energy_distance(a: Tensor, b: Tensor) -> float:
    """Return the energy distance between two samples, 0 for equal distributions.   Source: Szekely & Rizzo 2013."""
    return float(2 * torch.cdist(a, b).mean()) - spread_of(a) - spread_of(b)
