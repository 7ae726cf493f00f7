"""The sizes and the score that are inputs of Stable Diffusion XL, against diffusers' own pipelines."""

from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler

import unnoise
from integrations import peers, test_foreign_sd, test_foreign_sdxl
from unnoise.errors import InputError
from unnoise.generation.engine import Engine
from unnoise.generation.request import request_of
from unnoise.generation.resolve import resolve

SIZE, STEPS = 64, 3
HOW = {"prompt": peers.PROMPT, "negative_prompt": peers.NEGATIVE, "guidance_scale": 7.5, "num_inference_steps": STEPS}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Any:
    @cache
    def made(refiner: bool) -> tuple[Any, Any]:
        folder: Path = tmp_path_factory.mktemp("xl")
        peer = test_foreign_sdxl.pipe(folder, refiner=refiner)
        ours = unnoise.load(peers.saved(peer, folder / "model"))
        peer.scheduler = DDIMScheduler.from_config(peer.scheduler.config, clip_sample=False, set_alpha_to_one=False)
        return ours, peer

    return made


def drawn(pipeline: Any, peer: Any, **options: Any) -> Any:
    return pipeline.generate(
        peers.PROMPT, negative_prompt=peers.NEGATIVE, guidance_scale=7.5, sampler="ddim", size=SIZE,
        schedule=test_foreign_sd.levels(peer), noise=test_foreign_sdxl.start(), **options,
    )[0]  # fmt: skip


CROPPED = (
    {"crop_top_left": (16, 8), "target_size": 1024},
    {"crops_coords_top_left": (16, 8), "target_size": (1024, 1024)},
)
BOTH = (
    {"original_size": 99, "crop_top_left": (1, 2), "negative_original_size": (90, 80), "negative_target_size": 70},
    {
        "original_size": (99, 99),
        "crops_coords_top_left": (1, 2),
        "negative_original_size": (80, 90),
        "negative_target_size": (70, 70),
    },
)
NEGATIVE = (
    {"negative_original_size": 30, "negative_crop_top_left": (3, 4), "negative_target_size": 20},
    {
        "negative_original_size": (30, 30),
        "negative_crops_coords_top_left": (3, 4),
        "negative_target_size": (20, 20),
    },
)
ORIGINAL = {"original_size": (512, 256)}, {"original_size": (256, 512)}


@pytest.mark.parametrize(
    ("options", "theirs"),
    [({}, {}), ORIGINAL, CROPPED, BOTH, NEGATIVE],
    ids=["default", "original", "crop", "both", "negative"],
)
def test_sizes_equal_diffusers(models: Any, options: dict[str, Any], theirs: dict[str, Any]) -> None:
    ours, peer = models(False)
    how = {
        **HOW,
        **theirs,
        "height": SIZE,
        "width": SIZE,
        "latents": test_foreign_sdxl.start(),
        "output_type": "latent",
    }
    latents = peer(**how).images
    found = drawn(ours, peer, **options)
    peers.assert_close(found.x0[None], latents)
    if options:
        assert (found.x0 - drawn(ours, peer).x0).abs().max() > 1e-3, "the option must act"


@pytest.mark.parametrize(
    ("options", "theirs"),
    [
        ({}, {}),
        ({"aesthetic_score": 9.0, "original_size": 32}, {"aesthetic_score": 9.0, "original_size": (32, 32)}),
        (
            {"negative_aesthetic_score": 0.5, "negative_original_size": 48, "crop_top_left": (4, 8)},
            {"negative_aesthetic_score": 0.5, "negative_original_size": (48, 48), "crops_coords_top_left": (4, 8)},
        ),
    ],
    ids=["default", "score", "negative"],
)
def test_scores_of_the_refiner_equal_diffusers(models: Any, options: dict[str, Any], theirs: dict[str, Any]) -> None:
    ours, peer = models(True)
    how = {**HOW, **theirs, "latents": test_foreign_sdxl.start(), "strength": 1.0, "output_type": "latent"}
    latents = peer(**how, image=torch.zeros(1, 3, SIZE, SIZE)).images
    found = drawn(ours, peer, **options)
    peers.assert_close(found.x0[None], latents)
    if options:
        assert (found.x0 - drawn(ours, peer).x0).abs().max() > 1e-3, "the option must act"


def test_sizes_are_recorded_and_replayed(models: Any) -> None:
    ours, _ = models(False)
    how = {"size": SIZE, "steps": 2, "seed": 1, "guidance_scale": 3.0}
    sample = ours.generate("a cat", original_size=(256, 128), crop_top_left=(8, 4), **how)[0]
    stated = sample.metadata
    assert (stated.original_size, stated.crop_top_left, stated.target_size) == ((256, 128), (8, 4), (64, 64))
    assert (stated.negative_original_size, stated.negative_crop_top_left) == ((256, 128), (8, 4))
    assert stated.aesthetic_score is stated.negative_aesthetic_score is None
    assert torch.equal(ours.replay(stated).x0, sample.x0)


def test_samples_of_one_batch_may_differ_in_their_sizes(models: Any) -> None:
    ours, _ = models(False)
    how = {"size": SIZE, "steps": 2, "guidance_scale": 3.0, "n": 1}
    requests = [request_of("a cat", seed=k, original_size=size, **how) for k, size in enumerate((64, 512, 2048))]
    engine = Engine(ours)
    tickets = [engine.admit(resolve(request, ours))[0] for request in requests]
    finished: dict[Any, Any] = {}
    calls = 0
    while not engine.idle:
        finished |= engine.step().finished
        calls += 1
    assert calls == 2
    for k, (ticket, size) in enumerate(zip(tickets, (64, 512, 2048), strict=True)):
        alone = ours.generate("a cat", seed=k, original_size=size, **how)[0]
        torch.testing.assert_close(finished[ticket].x0, alone.x0, atol=1e-4, rtol=0)


def test_sizes_that_do_not_act_are_refused(models: Any, tmp_path: Path) -> None:
    base, _ = models(False)
    refiner, _ = models(True)
    with pytest.raises(InputError, match=r"aesthetic_score: 'model' has no such input; its inputs are original_size, "):
        base.generate("a cat", aesthetic_score=7.0)
    with pytest.raises(InputError, match=r"negative_target_size: 'model' has no such input"):
        refiner.generate("a cat", negative_target_size=64)
    with pytest.raises(InputError, match=r"negative_crop_top_left: acts through guidance, and guidance_scale is 1"):
        base.generate("a cat", negative_crop_top_left=(0, 1), guidance_scale=1.0)
    plain = unnoise.load(peers.saved(test_foreign_sd.pipe(tmp_path), tmp_path / "model"))
    with pytest.raises(InputError, match=r"original_size: 'model' has no such input; it has no inputs of this kind"):
        plain.generate("a cat", original_size=64)
    for options, message in (
        ({"crop_top_left": (1,)}, "two whole numbers, pixels from the top and from the left"),
        ({"crop_top_left": (-1, 0)}, "crop_top_left top -1: a whole number from 0 to 16384"),
        ({"original_size": (0, 5)}, "original_size width 0: a whole number from 1 to 16384"),
        ({"target_size": "x"}, "target_size 'x': a width and a height"),
    ):
        with pytest.raises(InputError, match=message):
            base.generate("a cat", **options)
