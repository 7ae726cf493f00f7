"""Our samplers in diffusers' own pipelines: the same images as with its schedulers if the method is the same."""

from math import inf
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EDMEulerScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionInpaintPipeline,
    schedulers,
)
from PIL import Image

from integrations import (
    peers,
    test_foreign_flux,
    test_foreign_sd,
    test_foreign_sd3,
    test_foreign_sdxl,
    test_foreign_wan,
)
from unnoise.errors import InputError
from unnoise.integrations.diffusers.scheduler import calls, diffusers_scheduler
from unnoise.sampling.registry import SAMPLERS, sampler

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
STEPS, SIZE = 5, 64
HOW: dict[str, Any] = {"prompt": "a cat", "negative_prompt": "a dog", "guidance_scale": 5.0}
HOW["num_inference_steps"] = STEPS


def drawn(pipe: Any, **more: Any) -> torch.Tensor:
    return pipe(**{**HOW, "output_type": "latent", **more}).images


def noise(channels: int = 4, side: int = SIZE // 8) -> torch.Tensor:
    return torch.randn(1, channels, side, side, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
@pytest.mark.parametrize(("peer_class", "name"), [(DDIMScheduler, "ddim"), (DPMSolverMultistepScheduler, "dpmpp-2m")])
def test_text_to_image_equals_diffusers(tmp_path: Path, peer_class: Any, name: str, prediction: str) -> None:
    pipe = test_foreign_sd.pipe(tmp_path, prediction)
    more = {"clip_sample": False, "set_alpha_to_one": False} if peer_class is DDIMScheduler else {}
    pipe.scheduler = peer_class.from_config(pipe.scheduler.config, **more)
    start = noise()
    theirs = drawn(pipe, height=SIZE, width=SIZE, latents=start)
    own = peer_class is DDIMScheduler
    grid = test_foreign_sd.levels(pipe) if own else [float(sigma) for sigma in pipe.scheduler.sigmas]
    pipe.scheduler = diffusers_scheduler(name, grid, like=pipe.scheduler)
    peers.assert_close(drawn(pipe, height=SIZE, width=SIZE, latents=start), theirs)


def test_sdxl_equals_diffusers(tmp_path: Path) -> None:
    pipe = test_foreign_sdxl.pipe(tmp_path)
    own = pipe.scheduler
    pipe.scheduler = DPMSolverMultistepScheduler.from_config(own.config)
    theirs = drawn(pipe, height=SIZE, width=SIZE, latents=noise())
    grid = [float(sigma) for sigma in pipe.scheduler.sigmas]
    pipe.scheduler = diffusers_scheduler("dpmpp-2m", grid, like=own)
    peers.assert_close(drawn(pipe, height=SIZE, width=SIZE, latents=noise()), theirs)


@pytest.mark.parametrize("family", ["sd3", "flux", "wan"])
def test_flow_equals_diffusers(tmp_path: Path, family: str) -> None:
    side, more = 32, {}
    start = noise(16, 4)
    if family == "sd3":
        pipe = test_foreign_sd3.pipe(tmp_path)
    elif family == "flux":
        pipe = test_foreign_flux.pipe(tmp_path)
        start, more = test_foreign_flux.packed(start), {"true_cfg_scale": 3.0}
    else:
        pipe = test_foreign_wan.pipe()
        start, more = torch.randn(1, 16, 2, 4, 4, generator=torch.Generator().manual_seed(3)), {"num_frames": 5}
    how = {**HOW, "height": side, "width": side, "latents": start, "output_type": "latent", **more}
    theirs = pipe(**how)[0]
    pipe.scheduler = diffusers_scheduler("euler", peers.flow_levels(pipe), like=pipe.scheduler)
    peers.assert_close(pipe(**how)[0], theirs)


def test_flux_passes_its_own_levels(tmp_path: Path) -> None:
    pipe = test_foreign_flux.pipe(tmp_path)
    how = {**HOW, "height": 32, "width": 32, "latents": test_foreign_flux.packed(noise(16, 4)), "output_type": "latent"}
    theirs = pipe(**how)[0]
    pipe.scheduler = diffusers_scheduler("euler", like=pipe.scheduler)
    peers.assert_close(pipe(**how)[0], theirs)


@pytest.mark.parametrize("name", SAMPLERS)
def test_every_sampler_runs(tmp_path: Path, name: str) -> None:
    pipe = test_foreign_sd.pipe(tmp_path)
    grid = [14.6 * 0.6**k for k in range(10)] + [0.0]
    more = {"height": 32, "width": 32, "latents": noise(side=4), "num_inference_steps": 10}
    pipe.scheduler = diffusers_scheduler(name, grid, like=pipe.scheduler)
    first, second = (drawn(pipe, generator=torch.Generator().manual_seed(7), **more) for _ in range(2))
    assert first.isfinite().all()
    assert torch.equal(first, second)
    assert len(pipe.scheduler.timesteps) == len(calls(sampler(name), tuple(grid)))


def test_better_than_its_own_for_few_steps(tmp_path: Path) -> None:
    pipe = test_foreign_sd.pipe(tmp_path)
    own = pipe.scheduler
    how = {"height": SIZE, "width": SIZE, "latents": noise()}
    pipe.scheduler = diffusers_scheduler("dpmpp-2m", "uniform", like=own)
    exact = drawn(pipe, num_inference_steps=400, **how)
    pipe.scheduler = diffusers_scheduler(like=own)
    ours = drawn(pipe, num_inference_steps=10, **how)
    pipe.scheduler = own
    theirs = drawn(pipe, num_inference_steps=10, **how)
    assert (ours - exact).abs().mean() < 0.5 * (theirs - exact).abs().mean()


@pytest.mark.parametrize("name", ["ddim", "dpmpp-2m", "heun", "ancestral"])
def test_image_to_image_and_inpainting(tmp_path: Path, name: str) -> None:
    parts = test_foreign_sd.pipe(tmp_path).components
    image = Image.effect_noise((SIZE, SIZE), 90).convert("RGB")
    how = {**HOW, "image": image, "num_inference_steps": 10}
    for made, more in (
        (StableDiffusionImg2ImgPipeline, {}),
        (StableDiffusionInpaintPipeline, {"mask_image": Image.new("L", (SIZE, SIZE), 255)}),
    ):
        pipe = made(**parts, requires_safety_checker=False)
        pipe.set_progress_bar_config(disable=True)
        pipe.scheduler = diffusers_scheduler(name, "uniform", like=pipe.scheduler)
        near, far = (
            pipe(**how, **more, strength=s, generator=torch.Generator().manual_seed(1), output_type="np").images[0]
            for s in (0.2, 0.9)
        )
        assert near.shape == far.shape == (SIZE, SIZE, 3)
        assert abs(near - far).max() > 0.01


def test_image_to_image_equals_diffusers(tmp_path: Path) -> None:
    parts = test_foreign_sd.pipe(tmp_path).components
    pipe = StableDiffusionImg2ImgPipeline(**parts, requires_safety_checker=False)
    pipe.set_progress_bar_config(disable=True)
    image = Image.effect_noise((SIZE, SIZE), 90).convert("RGB")
    how = {**HOW, "image": image, "num_inference_steps": 10, "strength": 0.5}
    theirs = pipe(**how, generator=torch.Generator().manual_seed(1), output_type="latent").images
    pipe.scheduler = diffusers_scheduler("ddim", test_foreign_sd.levels(pipe), like=pipe.scheduler)
    ours = pipe(**how, generator=torch.Generator().manual_seed(1), output_type="latent").images
    peers.assert_close(ours, theirs)


def test_an_unknown_process_is_refused() -> None:
    with pytest.raises(
        InputError, match="like EDMEulerScheduler: neither a flow scheduler nor one with alphas_cumprod"
    ):
        diffusers_scheduler("ddim", like=EDMEulerScheduler())
    with pytest.raises(InputError, match="sampler 'ddmi' is unknown: did you mean"):
        diffusers_scheduler("ddmi", like=DDIMScheduler())
    with pytest.raises(InputError, match="schedule 'karas' is unknown"):
        diffusers_scheduler("ddim", "karas", like=DDIMScheduler())
    made = diffusers_scheduler("ddim", (10.0, 1.0, 0.0), like=EulerDiscreteScheduler())
    with pytest.raises(InputError, match="num_inference_steps 5: the schedule has 2 steps"):
        made.set_timesteps(5)
    with pytest.raises(InputError, match=r"eta 1\.0: noise is part of a sampler here"):
        made.step(torch.zeros(1), 0, torch.zeros(1), eta=1.0)


def test_a_flow_schedule_has_the_shift_of_the_pipeline() -> None:
    like = FlowMatchEulerDiscreteScheduler(shift=3.0)
    made = diffusers_scheduler("euler", like=like)
    made.set_timesteps(4)
    assert made.levels[0] == inf
    assert made.levels[1:] == pytest.approx([9.0, 3.0, 1.0, 0.0])
    assert made.timesteps.tolist() == pytest.approx([1000, 900, 750, 500])


OWN_PROCESS = [
    "BlockRefinement",
    "CMStochasticIterative",
    "ConsistencyDecoder",
    "CosineDPMSolverMultistep",
    "DDPMWuerstchen",
    "DiscreteDDIM",
    "EDMDPMSolverMultistep",
    "EDMEuler",
    "EntropyBound",
    "FlowMapEulerDiscrete",
    "IPNDM",
    "KarrasVe",
    "MiniMaxH3",
    "Piflow",
    "SCM",
    "ScoreSdeVe",
    "ScoreSdeVp",
]
NEEDS_ARGUMENTS = {"AmusedScheduler", "RFD4ProteinaScheduler", "VQDiffusionScheduler"}  # tokens, proteins


@pytest.mark.filterwarnings("ignore")
def test_every_scheduler_of_diffusers_is_like_a_process_or_refused_by_name() -> None:
    names = {n for n in dir(schedulers) if n.endswith("Scheduler") and isinstance(getattr(schedulers, n), type)}
    refused = set()
    for name in names - NEEDS_ARGUMENTS:
        like = getattr(schedulers, name)()
        if name.removesuffix("Scheduler") in OWN_PROCESS:
            with pytest.raises(InputError, match=f"^like {name}: "):
                diffusers_scheduler("ddim", like=like)
            refused.add(name.removesuffix("Scheduler"))
            continue
        made = diffusers_scheduler("ddim", like=like)
        made.set_timesteps(4)
        assert len(made.timesteps) == 4
    assert refused == set(OWN_PROCESS)


@pytest.mark.parametrize("family", [test_foreign_sd, test_foreign_sdxl, test_foreign_sd3, test_foreign_flux])
def test_samplers_are_exchanged_in_a_loop(tmp_path: Path, family: Any) -> None:
    """Each of our samplers draws after another one as it draws at first."""
    pipe = family.pipe(tmp_path)
    own, levels = pipe.scheduler, (12.0, 5.0, 1.0, 0.0)
    for name in SAMPLERS:
        first = diffusers_scheduler(name, levels, like=own)
        pipe.scheduler = diffusers_scheduler(name, levels, like=pipe.scheduler)
        assert (pipe.scheduler.process, pipe.scheduler.kind) == (first.process, first.kind)
        for made in (first, pipe.scheduler):
            made.set_timesteps(3)
        assert pipe.scheduler.levels == first.levels
        assert torch.equal(pipe.scheduler.timesteps, first.timesteps)
    flow = family in (test_foreign_sd3, test_foreign_flux)
    more = {"guidance_scale": 1.0} if flow else {}
    how = {"height": SIZE, "width": SIZE, "num_inference_steps": 2, "prompt": "a cat", "output_type": "latent", **more}
    images = []
    for like in (pipe.scheduler, own):
        pipe.scheduler = diffusers_scheduler("abm", like=like)
        images.append(pipe(**how, generator=torch.Generator().manual_seed(1)).images)
    assert torch.equal(*images)
