"""Models with one Gaussian for each label, all of one deviation: their guided denoisers are known exactly."""

import torch
from diffusion.mixture import Mixture, MixtureNet
from torch import Tensor

from unnoise.diffusion.conditioning import Conditioning
from unnoise.diffusion.denoiser import Denoiser
from unnoise.diffusion.process import Flow, Process

DATA, NULL, NEGATIVE = 0, 1, 2
STD = 0.6
SHAPE = (3, 4)


def gaussian(mean: Tensor, std: float = STD) -> Mixture:
    return Mixture(mean[None], torch.tensor([std], dtype=mean.dtype), torch.ones(1, dtype=mean.dtype))


def means(shape: tuple[int, ...] = SHAPE) -> tuple[Tensor, Tensor, Tensor]:
    """Return one mean for each label."""
    made = torch.Generator().manual_seed(5)
    return tuple(torch.randn(shape, generator=made, dtype=torch.float64) for _ in range(3))  # type: ignore[return-value]


def model(process: Process = Flow(), at: tuple[Tensor, ...] = means()) -> Denoiser:  # noqa: B008
    """Return a denoiser that predicts exactly; at: the mean of each label."""
    return Denoiser(MixtureNet(tuple(gaussian(mean) for mean in at), process, "v"), process, "v")


def labels(*rows: int) -> Conditioning:
    return Conditioning(label=torch.tensor(rows))


def inputs(rows: int = 4, shape: tuple[int, ...] = SHAPE) -> tuple[Tensor, Tensor]:
    """Return x and levels that differ from row to row."""
    made = torch.Generator().manual_seed(6)
    x = torch.randn(rows, *shape, generator=made, dtype=torch.float64)
    return x, torch.tensor([0.05, 0.7, 2.0, 40.0], dtype=torch.float64)[:rows]
