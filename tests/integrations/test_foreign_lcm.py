"""Latent consistency models against diffusers' own pipeline and sampler, on the same noise."""

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import LatentConsistencyModelPipeline, LCMScheduler
from diffusers.schedulers import scheduling_lcm
from torch import Tensor

import unnoise
from integrations import peers
from integrations.test_foreign_sd import SIZE, pipe
from unnoise.diffusion.conditioning import Conditioning
from unnoise.diffusion.noise import START, draw
from unnoise.diffusion.process import VP
from unnoise.errors import InputError
from unnoise.integrations.diffusers.lcm import Consistent
from unnoise.pipeline import Pipeline

SEED = 7
Pair = tuple[LatentConsistencyModelPipeline, Pipeline]


def lcm(folder: Path, **more: Any) -> LatentConsistencyModelPipeline:
    parts = pipe(folder, time_cond_proj_dim=32, **more).components
    parts["scheduler"] = LCMScheduler.from_config(parts["scheduler"].config)
    peer = LatentConsistencyModelPipeline(**parts, requires_safety_checker=False)
    peer.set_progress_bar_config(disable=True)
    return peer


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    folder = tmp_path_factory.mktemp("lcm")
    peer = lcm(folder)
    return peer, unnoise.load(peers.saved(peer, folder / "model"))


def same_noise(monkeypatch: pytest.MonkeyPatch) -> Tensor:
    """Let the peer renew noise with what we draw for SEED, and give the start."""
    shape = (1, 4, SIZE // 8, SIZE // 8)
    steps = iter(range(1000))
    monkeypatch.setattr(
        scheduling_lcm, "randn_tensor", lambda shape, **_: draw([SEED], next(steps), torch.empty(*shape))
    )
    return draw([SEED], START, torch.empty(*shape))


@pytest.mark.parametrize("steps", [1, 4, 7])
def test_multistep_equals_diffusers(pair: Pair, steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    peer, ours = pair
    how: dict[str, Any] = {
        "prompt": peers.PROMPT, "guidance_scale": 4.0, "num_inference_steps": steps, "height": SIZE, "width": SIZE,
    }  # fmt: skip
    latents = peer(**how, latents=same_noise(monkeypatch), output_type="latent").images
    pictures = peer(**how, latents=same_noise(monkeypatch)).images
    found = ours.generate(
        peers.PROMPT, distilled_guidance=4.0, steps=steps, seed=SEED, size=SIZE
    )  # all else as advised
    peers.assert_close(found[0].x0[None], latents)
    peers.assert_same_images([found[0].image], pictures)


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "sample"])
@pytest.mark.parametrize("time", [0, 1, 259, 999])
def test_the_boundary_is_the_peers(kind: str, time: int) -> None:
    peer = LCMScheduler(prediction_type=kind)
    peer.set_timesteps(timesteps=[time], original_inference_steps=1000)
    torch.manual_seed(0)
    x, out = torch.randn(2, 1, 4, 3, 3)

    class Net(torch.nn.Module):
        def forward(self, x: Tensor, time: Tensor, cond: Conditioning) -> Tensor:
            return out

    ours = Consistent(Net(), VP("scaled-linear"), {"epsilon": "eps", "v_prediction": "v", "sample": "x0"}[kind])
    wanted = peer.step(out, torch.tensor(time), x).denoised
    torch.testing.assert_close(ours(x, torch.tensor([float(time)]), Conditioning()), wanted, rtol=1e-5, atol=1e-5)
    if time == 0:
        assert torch.equal(ours(x, torch.zeros(1), Conditioning()), x)


def test_advice_is_four_steps_of_its_own(pair: Pair) -> None:
    metadata = pair[1].generate("a", seed=1)[0].metadata
    assert (metadata.sampler.class_, len(metadata.grid), metadata.guidance_scale, metadata.distilled_guidance) == (
        "Consistency",
        5,
        1.0,
        8.0,
    )


def test_distilled_guidance_has_an_effect(pair: Pair) -> None:
    one, other = (pair[1].generate("a", seed=1, distilled_guidance=weight)[0] for weight in (1.0, 8.0))
    assert (one.x0 - other.x0).abs().max() > 1e-2
    assert torch.equal(pair[1].replay(other.metadata).x0, other.x0)
    for fault, how in (
        ("use distilled_guidance 3", {"guidance_scale": 3.0}),
        ("act through guidance", {"negative_prompt": "a dog"}),
    ):
        with pytest.raises(InputError, match=fault):
            pair[1].generate("a", **how)


def test_a_network_without_the_input_has_no_distilled_guidance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = pipe(tmp_path)
    made.scheduler = LCMScheduler.from_config(made.scheduler.config)
    ours = unnoise.load(peers.saved(made, tmp_path / "model"))
    latents = made(
        peers.PROMPT, guidance_scale=1.0, num_inference_steps=4, height=SIZE, width=SIZE, output_type="latent",
        latents=same_noise(monkeypatch),
    ).images  # fmt: skip
    found = ours.generate(peers.PROMPT, seed=SEED, size=SIZE)[0]
    peers.assert_close(found.x0[None], latents)
    assert found.metadata.distilled_guidance is None
    with pytest.raises(InputError, match="distilled_guidance 8: 'model' has no such input; use guidance_scale"):
        ours.generate("a", distilled_guidance=8.0)


def test_half_precision_runs(tmp_path: Path) -> None:
    ours = unnoise.load(peers.saved(lcm(tmp_path), tmp_path / "model"), dtype="bfloat16")
    assert ours.generate("a", seed=1)[0].x0.dtype == torch.float32


def test_a_guidance_input_on_another_process_is_refused(tmp_path: Path) -> None:
    folder = peers.saved(lcm(tmp_path), tmp_path / "model")
    for name in ("model_index.json", "scheduler/scheduler_config.json"):
        (folder / name).write_text((folder / name).read_text().replace("LCMScheduler", "EDMEulerScheduler"))
    with pytest.raises(InputError, match="a consistency model of process EDM: not supported"):
        unnoise.load(folder)
