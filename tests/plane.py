"""An exact teacher of points in the plane, a small network for its student, and the exact ends of its paths."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import tiny
import torch
import torch.nn.functional as F
from diffusion.mixture import Mixture, MixtureNet
from torch import Tensor, nn

from unnoise.data.shuffle import Members
from unnoise.diffusion.conditioning import Conditioning
from unnoise.diffusion.denoiser import Denoiser
from unnoise.diffusion.process import Flow
from unnoise.distill.recipe import DistillRecipe
from unnoise.distill.rows import Pool, RowSource
from unnoise.distill.task import DistillTask
from unnoise.distill.teacher import Teacher
from unnoise.nets.blocks import guidance_clock, unit_features, zeroed
from unnoise.pipeline import Pipeline
from unnoise.sampling import registry
from unnoise.sampling.samplers.heun import Heun
from unnoise.sampling.state import run, start
from unnoise.text.labels import LabelEncoder
from unnoise.train.loop import train

LABELS = ("left", "right")
MIXTURE = Mixture(
    torch.tensor([[-1.1, -0.6], [-1.1, 0.8], [1.0, 0.9], [1.2, -0.9]]),
    torch.tensor([0.15, 0.25, 0.2, 0.1]),
    torch.tensor([0.2, 0.3, 0.3, 0.2]),
)


def parts() -> tuple[Mixture, ...]:
    """The mixtures of the two labels, and that of both."""
    left = Mixture(MIXTURE.means[:2], MIXTURE.stds[:2], torch.tensor([0.4, 0.6]))
    right = Mixture(MIXTURE.means[2:], MIXTURE.stds[2:], torch.tensor([0.6, 0.4]))
    return left, right, MIXTURE


class ExactNet(MixtureNet):
    """The exact teacher, with a parameter that has no effect, whose device is that of the network."""

    def __init__(self) -> None:
        super().__init__(parts(), Flow(), "v")
        self.place = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor, time: Tensor, cond: Conditioning) -> Tensor:
        if cond.label is None:
            cond = replace(cond, label=torch.full((len(x),), 2))
        return super().forward(x, time.clamp(min=1e-4), cond)  # v is not determined by x0 at level 0


class PlaneNet(nn.Module):
    """The exact net and a correction that starts at zero, as a student begins with its teacher's weights.

    The correction is a small network of the point, its level, its label and the guidance scale.
    """

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.exact = ExactNet().requires_grad_(False)
        sizes = [2 + 24 + 3 + 8, width, width, width]
        layers = [layer for pair in pairwise(sizes) for layer in (nn.Linear(*pair), nn.SiLU())]
        self.correction = nn.Sequential(*layers, zeroed(nn.Linear(width, 2)))

    def forward(self, x: Tensor, time: Tensor, cond: Conditioning) -> Tensor:
        label = torch.full((len(x),), 2) if cond.label is None else cond.label
        scale = torch.ones(len(x)) if cond.distilled_guidance is None else cond.distilled_guidance
        known = [unit_features(time, 24), F.one_hot(label, 3), unit_features(guidance_clock(scale), 8)]
        return self.exact(x, time, cond) + self.correction(torch.cat([x, *known], 1))


def plane_teacher(guided: bool) -> Teacher:
    card = replace(tiny.CARD, name="plane", kind="v", text=None, tokenizer=None, labels=())
    net = ExactNet()
    encoder = LabelEncoder(LABELS, net) if guided else None
    pipeline = Pipeline(card, Denoiser(net, Flow(), "v"), tiny.pipeline().space, encoder)
    return Teacher(pipeline, guided)


def plane_student(teacher: Teacher) -> Pipeline:
    """Make a student whose predictions are those of its teacher."""
    torch.manual_seed(0)
    return Pipeline(
        teacher.pipeline.card,
        Denoiser(PlaneNet(), Flow(), "v"),
        teacher.pipeline.space,
        teacher.pipeline.text_encoder,
    )


def plane_rows(recipe: DistillRecipe, teacher: Teacher) -> RowSource:
    """Rows of 4,096 points of the mixture, with the label of their component."""
    made = torch.Generator().manual_seed(5)
    points = {name: part.sample(2048, made) for name, part in zip(LABELS, parts(), strict=False)}
    x0 = torch.cat(list(points.values()))[:, None]
    prompts = [name for name in LABELS for _ in range(2048)] if teacher.guided else [""] * 4096
    return RowSource(recipe, teacher, [Pool((2,), prompts, Members(np.arange(4096), np.arange(4097)), x0=x0)])


def fit_task(task: DistillTask) -> Denoiser:
    """Train a task, and return its averaged denoiser."""
    averaged = train(task, task.recipe.fit, task.recipe.checkpoints, None, lambda _: None)
    task.networks.load_state_dict(averaged)
    return task.denoiser


def exact_ends(x: Tensor, level: float, label: Tensor | None = None, scale: float = 1.0) -> Tensor:
    """Return the ends of the teacher's paths from x at a level, by 80 calls of Heun's method."""
    teacher = plane_teacher(label is not None)
    cond = Conditioning() if label is None else Conditioning(label=label)

    def ask(x: Tensor, level: float) -> Tensor:
        guidance = torch.full((len(x),), scale)
        return teacher.x0(x, torch.full((len(x),), level), cond, guidance)

    return run(Heun(), ask, start(x, (level, *(one for one in registry.grid("default", 40) if one < level))))
