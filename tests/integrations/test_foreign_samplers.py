"""Every sampler by every name, on a model of betas and on one of flow: it ends near the picture of many small steps."""

from dataclasses import dataclass
from typing import Any

import pytest
import torch

import unnoise
from integrations import peers, test_foreign_sd, test_foreign_wan
from unnoise.pipeline import Pipeline
from unnoise.sampling.registry import SAMPLERS

HOW = {"prompt": "a cat", "guidance_scale": 3.0, "negative_prompt": peers.NEGATIVE, "seed": 4, "size": 32}


@dataclass(frozen=True)
class Case:
    """A model, what else it is asked, its highest level, and the x0 of many small steps."""

    model: Pipeline
    how: dict[str, Any]
    top: float
    exact: torch.Tensor


@pytest.fixture(scope="module", params=["sd1", "wan"])
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    folder = tmp_path_factory.mktemp(request.param)
    pipe = test_foreign_sd.pipe(folder) if request.param == "sd1" else test_foreign_wan.pipe()
    model = unnoise.load(peers.saved(pipe, folder / "model"))
    how = HOW | ({"frames": 1} if model.card.modality == "video" else {})
    top = min(model.denoiser.process.sigma_max, 80.0)
    fine = [top * 0.6 ** (k / 8) for k in range(96)] + [0.0]
    return Case(model, how, top, model.generate(sampler="dpmpp-2m", schedule=fine, **how)[0].x0)


@pytest.mark.parametrize("name", SAMPLERS)
def test_every_sampler_draws(case: Case, name: str) -> None:
    grid = [case.top * 0.6**k for k in range(12)] + [0.0]
    found = case.model.generate(sampler=name, schedule=grid, **case.how)[0]
    assert found.x0.isfinite().all()
    assert found.metadata.grid[-1] == 0
    if not SAMPLERS[name].make().stochastic:
        assert torch.corrcoef(torch.stack([found.x0.flatten(), case.exact.flatten()]))[0, 1] > 0.9
