"""Instruct-pix2pix against diffusers' own pipeline: a picture that the network sees, and two guidances."""

from typing import Any

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionInstructPix2PixPipeline

import unnoise
from integrations import peers
from integrations.test_foreign_inpaint import BOX, NOISE, painted, photo
from integrations.test_foreign_sd import PEERS, SIZE, STEPS, pipe, same_steps
from unnoise.errors import InputError
from unnoise.pipeline import Pipeline

Pair = tuple[StableDiffusionInstructPix2PixPipeline, Pipeline]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    folder = tmp_path_factory.mktemp("pix2pix")
    peer = StableDiffusionInstructPix2PixPipeline(
        **pipe(folder, in_channels=8).components, requires_safety_checker=False
    )
    peer.set_progress_bar_config(disable=True)
    return peer, unnoise.load(peers.saved(peer, folder / "model"))


def edit(model: Pipeline, **how: Any) -> unnoise.Sample:
    return model.generate(peers.PROMPT, **{"image": photo(), "seed": 1, "steps": 3} | how)[0]


@pytest.mark.parametrize("sampler", PEERS)
@pytest.mark.parametrize(("weight", "image_guidance"), [(7.5, 1.5), (3.0, 1.0)])
def test_both_guidances_equal_diffusers(pair: Pair, sampler: str, weight: float, image_guidance: float) -> None:
    peer, ours = pair
    grid, start = same_steps(peer, sampler, NOISE)
    asked: dict[str, Any] = {
        "prompt": peers.PROMPT, "negative_prompt": peers.NEGATIVE, "guidance_scale": weight, "image": photo(),
        "image_guidance_scale": image_guidance, "num_inference_steps": STEPS, "latents": NOISE,
    }  # fmt: skip
    latents = peer(**asked, output_type="latent").images
    pictures = peer(**asked).images
    found = ours.generate(
        peers.PROMPT, negative_prompt=peers.NEGATIVE, guidance_scale=weight,
        image_guidance=image_guidance, sampler=sampler,
        schedule=grid, noise=start, image=photo(),
    )  # fmt: skip
    peers.assert_close(found[0].x0[None], latents)
    peers.assert_same_images([found[0].image], pictures)


def test_no_guidance_equals_diffusers(pair: Pair) -> None:
    peer, ours = pair
    grid, start = same_steps(peer, "ddim", NOISE)
    latents = peer(
        peers.PROMPT, image=photo(), guidance_scale=1.0, num_inference_steps=STEPS, latents=NOISE, output_type="latent"
    ).images
    found = ours.generate(
        peers.PROMPT, guidance_scale=1, image_guidance=1, sampler="ddim", schedule=grid, noise=start, image=photo()
    )
    peers.assert_close(found[0].x0[None], latents)


def test_both_guidances_act_and_are_in_the_metadata(pair: Pair) -> None:
    first = edit(pair[1])
    assert (first.metadata.guidance_scale, first.metadata.image_guidance) == (7.5, 1.5)
    for how in (
        {"image_guidance": 2.0},
        {"guidance_scale": 5.0},
        {"guidance_scale": 1.0},
        {"image": photo().rotate(90)},
    ):
        assert (edit(pair[1], **how).x0 - first.x0).abs().max() > 1e-3, how
    towards = edit(pair[1], guidance_scale=1, negative_prompt="blue")
    assert (towards.x0 - edit(pair[1], guidance_scale=1).x0).abs().max() > 1e-3, (
        "the picture is guided from the negative"
    )


def test_strength_begins_from_the_picture(pair: Pair) -> None:
    whole = edit(pair[1])
    assert torch.equal(edit(pair[1], strength=1.0).x0, whole.x0)
    part = edit(pair[1], strength=0.3)
    assert part.metadata.grid[0] < whole.metadata.grid[0]


def test_a_mask_keeps_pixels(pair: Pair) -> None:
    found = edit(pair[1], mask=painted(BOX))
    keeps = np.asarray(painted(BOX)) == 0
    same = np.asarray(found.image) == np.asarray(photo())
    assert same[keeps].all()
    assert same[~keeps].mean() < 0.2


def test_a_sample_is_made_alone_as_in_its_batch(pair: Pair) -> None:
    both = pair[1].generate(peers.PROMPT, image=photo(), seed=1, steps=3, n=2)
    for k, sample in enumerate(both):
        peers.assert_close(sample.x0, edit(pair[1], seed=1 + k).x0)


@pytest.mark.parametrize(
    ("how", "fault"),
    [
        ({"image": None, "size": SIZE}, "image: 'model' edits images, and none is given"),
        ({"image_guidance": -1.0}, "image_guidance -1.0: a number from 0 to 100"),
        ({"image_guidance": 1.0, "guidance_scale": 1.0, "negative_prompt": "blue"}, "act through guidance"),
    ],
)
def test_refuses(pair: Pair, how: dict[str, Any], fault: str) -> None:
    with pytest.raises(InputError, match=fault):
        edit(pair[1], **how)
