"""The task of training one's own network on one's own data: its draws, its loss and its sheet."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor, nn

from unnoise.data.shuffle import NOISE
from unnoise.diffusion.conditioning import Conditioning
from unnoise.diffusion.denoiser import Denoiser
from unnoise.diffusion.loss import loss, sigma_lognormal, sigma_uniform
from unnoise.diffusion.noise import numbers
from unnoise.errors import InputError
from unnoise.generation.decode import to_images
from unnoise.generation.media.contact_sheet import contact_sheet
from unnoise.generation.own_net import NetInputs
from unnoise.generation.sample_net import check_classes, null_inputs, sample
from unnoise.generation.trained_net import TrainedNet
from unnoise.train.own_data import OwnData

OwnLoss = Callable[[Denoiser, Tensor, Tensor, Tensor, NetInputs | Conditioning], Tensor]
Levels = tuple[float, float] | Callable[[Tensor], Tensor] | None
OwnOptimizer = Callable[[list[nn.Parameter]], torch.optim.Optimizer]
IMAGES, POINTS, SIDE = 16, 2000, 512  # of a sheet, and its side in pixels where it shows points
INK, PAPER = (20, 60, 160), (255, 255, 255)


@dataclass(frozen=True, slots=True)
class Objective:
    """What is learnt of the data.

    Args:
        seed: of order and noise.
        batch: samples a step.
        levels: mean and deviation of ln sigma, a function from uniform numbers to sigma, or None: uniform in time.
        weighting: of the errors at different levels.
        cond_dropout: share of the samples whose conditioning is left out.
        loss: one's own, (denoiser, x0, noise, sigma, cond) -> (B,), instead of the weighted squared error.
    """

    seed: int
    batch: int
    levels: Levels
    weighting: str
    cond_dropout: float
    loss: OwnLoss | None


class NetTask:
    """Train one's own network."""

    name = "net"

    def __init__(
        self,
        model: TrainedNet,
        data: OwnData,
        objective: Objective,
        optimizer: OwnOptimizer | None = None,
        shown: NetInputs | None = None,
    ) -> None:
        """Args: shown: conditioning of the sheets."""
        self.model, self.data, self.objective, self.own_optimizer = model, data, objective, optimizer
        self.shown = shown
        self.networks = nn.ModuleDict({"net": model.net})
        self.learning_rate_multiples: dict[str, float] = {}
        self.device = next(model.net.parameters()).device
        self._drawn: tuple[int, Tensor, Tensor, Tensor] | None = None

    def loss(self, step: int, rows: range) -> Tensor:
        """Return the loss of some rows of a batch, see `Task`."""
        x, cond = self.data.rows(step, rows, self.objective.batch)
        if x.shape[1:] != self.model.facts.shape:
            raise InputError(f"data: {tuple(x.shape[1:])} at step {step + 1}; the first had {self.model.facts.shape}")
        x0 = self.model.facts.affine.to_x0(x)
        part = slice(rows.start, rows.stop)
        u, dropped, noise = (values[part] for values in self._draws(step))
        if cond is not None:
            check_classes(cond, self.model.facts.classes)
            cond = self._with_dropout(cond, dropped)
        sigma = self._sigma(u)
        x0, noise, sigma = (values.to(self.device) for values in (x0, noise, sigma))
        inputs = Conditioning() if cond is None else cond.to(self.device)
        if self.objective.loss is None:
            return loss(self.model.denoiser, x0, noise, sigma, inputs, self.objective.weighting)
        found = self.objective.loss(self.model.denoiser, x0, noise, sigma, inputs)
        if not isinstance(found, Tensor) or found.shape != (len(rows),):
            shown = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
            raise InputError(f"loss: returned {shown}; one number for each sample, ({len(rows)},)")
        return found

    def _draws(self, step: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return uniform numbers (B,), which conditioning is left out (B,), and noise (B, *d), of a whole batch."""
        if self._drawn is None or self._drawn[0] != step:
            count, stream = self.objective.batch, numbers(self.objective.seed, NOISE, step)
            u = torch.from_numpy(stream.random(count, dtype=np.float32))
            dropped = torch.from_numpy(stream.random(count) < self.objective.cond_dropout)
            shape = (count, *self.model.facts.shape)
            noise = torch.from_numpy(stream.standard_normal(shape, dtype=np.float32))
            self._drawn = step, u, dropped, noise
        return self._drawn[1:]

    def _sigma(self, u: Tensor) -> Tensor:
        levels, process = self.objective.levels, self.model.denoiser.process
        if callable(levels):
            sigma = levels(u)
            if not isinstance(sigma, Tensor) or sigma.shape != u.shape or not bool((sigma >= 0).all()):
                raise InputError("levels: the function must return sigma, 0 or more, in the shape of u")
            return sigma
        if levels is None:
            edge = torch.finfo(u.dtype).eps / 2
            return sigma_uniform(u.double().clamp(edge, 1 - edge), process).float()
        return sigma_lognormal(u, *levels)

    def _with_dropout(self, cond: NetInputs, dropped: Tensor) -> NetInputs:
        null = null_inputs(cond, self.model.facts.classes) if self.objective.cond_dropout else cond
        return NetInputs(
            {
                name: torch.where(dropped.reshape(-1, *(1,) * (value.ndim - 1)), null.tensors[name], value)
                for name, value in cond.tensors.items()
            }
        )

    def sheet(self, step: int) -> Image.Image | None:
        """Draw samples: images of one or three channels, or points in the plane; nothing for other data."""
        shape = self.model.facts.shape
        images = len(shape) == 3 and shape[0] in (1, 3)
        if not images and shape != (2,):
            return None
        count = min(IMAGES if images else POINTS, POINTS if self.shown is None else len(self.shown))
        cond = None if self.shown is None else self.shown.rows(slice(count)).value
        drawn = sample(self.model, count, cond=cond)
        if not images:
            return points_sheet(drawn)
        low, high = drawn.quantile(0.002), drawn.quantile(0.998)
        shown = to_images(((drawn - low) / (high - low).clamp(min=1e-6) * 2 - 1).clamp(-1, 1))
        return contact_sheet(shown, [""] * count, f"net after {step} steps")


def points_sheet(points: Tensor) -> Image.Image:
    """Draw points (N, 2), the second axis upwards, at one scale for both axes."""
    page = Image.new("RGB", (SIDE, SIDE), PAPER)
    pen = ImageDraw.Draw(page)
    middle = points.median(0).values
    reach = (points - middle).abs().quantile(0.995).clamp(min=1e-6)
    places = ((points - middle) / reach * torch.tensor([1.0, -1.0]) * 0.46 + 0.5) * SIDE
    for x, y in places.tolist():
        pen.ellipse((x - 1, y - 1, x + 1, y + 1), fill=INK)
    return page
