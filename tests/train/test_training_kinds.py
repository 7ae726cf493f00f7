"""Every process with every kind of prediction trains and samples: the exact oracle is a data set of two points.

For x0 = -1 or 1 with equal probability, the expected x0 at a level is tanh(signal*x / spread^2).
"""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import unnoise
from unnoise.diffusion.conditioning import Conditioning
from unnoise.diffusion.process import Process
from unnoise.sampling.kinds import Kind
from unnoise.train.fit_net import known_process

POINTS = torch.tensor([[-1.0], [1.0]]).repeat(64, 1)
LEVELS = (0.3, 0.6, 1.0, 3.0)
BOUND = 0.25  # of the root mean square error; a constant of 0 has 0.95 at the lowest level, 0.31 at the highest
PAIRS = [  # each process with two kinds, each kind with two processes
    ("flow", "flow"), ("flow", "x0"), ("vp", "eps"), ("vp", "v"),
    ("ve", "eps"), ("ve", "x0"), ("edm", "v"), ("edm", "flow"),
]  # fmt: skip


class Curve(nn.Module):
    """A function of x in the unit frame and of ln sigma, so that a few steps are enough for every process."""

    def __init__(self, process: Process) -> None:
        super().__init__()
        self.process = process
        self.layers = nn.Sequential(nn.Linear(3, 48), nn.SiLU(), nn.Linear(48, 48), nn.SiLU(), nn.Linear(48, 1))

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        sigma = self.process.sigma(time)
        a, b = self.process.scales(time)
        unit = x / torch.hypot(a, b).to(x)[:, None]
        level = torch.log(sigma.clamp(1e-3, 1e3)).to(x)[:, None]
        return self.layers(torch.cat([unit, level / 3, unit / torch.exp(level).clamp(0.1)], dim=1))


@pytest.mark.parametrize(("process", "kind"), PAIRS)
def test_a_pair_trains_and_samples(process: str, kind: Kind) -> None:
    torch.manual_seed(0)
    options: dict[str, Any] = {"levels": (-0.3, 1.3), "steps": 250, "batch": 64, "learning_rate": 2e-2}
    made = known_process(process)
    model = unnoise.train.fit(Curve(made), POINTS, made, kind=kind, weighting="v", **options)
    noise = torch.randn(256, 1)
    for level in LEVELS:
        sigma = torch.full((len(noise),), level)
        signal, spread = (1 + level**2) ** -0.5, level * (1 + level**2) ** -0.5
        x = signal * POINTS.repeat(2, 1) + spread * noise
        with torch.no_grad():
            found = model.denoiser.bind(Conditioning())(x, sigma)
        error = (found - torch.tanh(signal * x / spread**2)).square().mean().sqrt()
        assert error < BOUND, (level, float(error))
    drawn = unnoise.sample(model, 200, steps=20)
    assert (drawn.abs() - 1).abs().median() < 0.2  # 0.46 of noise
    assert abs(float((drawn > 0).float().mean()) - 0.5) < 0.15
