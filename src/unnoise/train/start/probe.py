"""What a step of a recipe costs on this machine: a few steps of its networks on random numbers."""

import resource
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import pairwise
from statistics import median

import torch
from PIL import Image
from torch import Tensor, nn

from unnoise.diffusion.conditioning import Conditioning
from unnoise.diffusion.denoiser import Denoiser
from unnoise.diffusion.loss import loss
from unnoise.train.checkpoint_options import CheckpointOptions
from unnoise.train.fit_options import FitOptions
from unnoise.train.loop import train
from unnoise.train.recipe import DenoiserOptions, TrainingRecipe
from unnoise.train.reference import part_classes
from unnoise.train.task import Progress

STEPS = 5  # the first allocates, and does not count


@dataclass(frozen=True, slots=True)
class StepCost:
    """Seconds of a step of the autoencoder, 0 where there is none, and of the denoiser; memory: bytes at most."""

    autoencoder: float
    denoiser: float
    memory: int


@dataclass
class ProbeTask:
    """A task on random numbers. rows: computes the loss of so many rows."""

    networks: nn.ModuleDict
    rows: Callable[[int], Tensor]
    name: str = "probe"
    learning_rate_multiples: dict[str, float] = field(default_factory=dict)

    def loss(self, step: int, rows: range) -> Tensor:
        """Return the loss of some rows, see `Task`."""
        return self.rows(len(rows))

    def sheet(self, step: int) -> Image.Image:
        """Return an empty sheet."""
        return Image.new("RGB", (1, 1))


def cost(recipe: TrainingRecipe, device: torch.device) -> StepCost:
    """Take a few steps of each network of a recipe."""
    options, size = recipe.autoencoder, recipe.data.size
    first, shape = 0.0, (int(recipe.data.channels), size, size)
    if options is not None and options.fit is not None:
        trial, shape = _autoencoder(options.args, shape, device)
        first = _seconds(trial, options.fit)
    return StepCost(first, _seconds(_denoiser(recipe.denoiser, shape, device), recipe.denoiser.fit), _peak(device))


def _seconds(task: ProbeTask, fit: FitOptions) -> float:
    """Measure a step: the median of a few."""
    ends: list[float] = []

    def note(progress: Progress) -> None:
        ends.append(progress.seconds)

    train(task, replace(fit, steps=STEPS), CheckpointOptions(ema_every=1), None, note)
    return median(after - before for before, after in pairwise(ends))


def _autoencoder(
    args: dict[str, object], shape: tuple[int, int, int], device: torch.device
) -> tuple[ProbeTask, tuple[int, int, int]]:
    """Return the task of an autoencoder, and the shape of its latents."""
    net: nn.Module = part_classes("autoencoder")["Autoencoder"](**args).to(device)
    side = shape[1] // net.factor  # type: ignore[operator]
    latent: tuple[int, int, int] = (net.latents, side, side)  # type: ignore[assignment]

    def rows(count: int) -> Tensor:
        data, noise = (torch.randn(count, *one, device=device) for one in (shape, latent))
        decoded, mean, logvar = net(data, noise)
        error = (decoded.float() - data).abs().flatten(1).mean(1)
        return error + (mean.float().square() + logvar.float().exp()).flatten(1).mean(1)

    return ProbeTask(nn.ModuleDict({"autoencoder": net}), rows), latent


def _denoiser(options: DenoiserOptions, shape: tuple[int, int, int], device: torch.device) -> ProbeTask:
    process = part_classes("process")[options.process.class_](**options.process.args)
    net = part_classes("net")[options.net.class_](**options.net.args).to(device)
    denoiser, networks = Denoiser(net, process, options.kind), nn.ModuleDict({"net": net})
    text = options.text
    if text is not None:
        args = {name: getattr(text, name) for name in ("vocab", "width", "depth", "heads", "length")}
        networks["text"] = part_classes("text")["TextEncoder"](**args).to(device)

    def rows(count: int) -> Tensor:
        x0, noise = (torch.randn(count, *shape, device=device) for _ in range(2))
        return loss(denoiser, x0, noise, torch.ones(count, device=device), conditioning(count), options.weighting)

    def conditioning(count: int) -> Conditioning:
        if text is not None:
            ids = torch.zeros(count, text.length, dtype=torch.int64, device=device)
            encoded: Conditioning = networks["text"](ids, torch.ones_like(ids, dtype=torch.bool))
            return encoded
        labels = options.net.args.get("labels")
        return Conditioning(label=torch.zeros(count, dtype=torch.int64, device=device) if labels else None)

    return ProbeTask(networks, rows)


def _peak(device: torch.device) -> int:
    """Return the most memory that was in use so far: of the device, or of the process on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
