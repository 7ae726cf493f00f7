"""Inpainting: networks of 9 channels against diffusers' own pipeline, and plain ones with what is known kept."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionInpaintPipeline
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from PIL import Image, ImageDraw
from torch import Tensor

import unnoise
from integrations import peers
from integrations.test_foreign_sd import HOW, PEERS, SIZE, STEPS, pipe, same_steps
from unnoise.errors import InputError, InputWarning
from unnoise.generation.decode import to_images
from unnoise.generation.images import image_tensor
from unnoise.pipeline import Pipeline

NOISE = torch.randn(1, 4, SIZE // 8, SIZE // 8, generator=torch.Generator().manual_seed(3))


def photo() -> Image.Image:
    values = np.random.default_rng(5).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return Image.fromarray(values).resize((SIZE, SIZE), Image.Resampling.BICUBIC)


def painted(*boxes: tuple[int, int, int, int]) -> Image.Image:
    """Black is kept, the boxes are painted."""
    made = Image.new("L", (SIZE, SIZE), 0)
    for box in boxes:
        ImageDraw.Draw(made).rectangle(box, fill=255)
    return made


BOX = (16, 8, 47, 39)  # on whole cells, where nearest neighbour and the largest value agree


@pytest.fixture(scope="module")
def inpaint(tmp_path_factory: pytest.TempPathFactory) -> tuple[StableDiffusionInpaintPipeline, Pipeline]:
    folder = tmp_path_factory.mktemp("inpaint")
    peer = StableDiffusionInpaintPipeline(**pipe(folder, in_channels=9).components, requires_safety_checker=False)
    peer.set_progress_bar_config(disable=True)
    return peer, unnoise.load(peers.saved(peer, folder / "model"))


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    folder = tmp_path_factory.mktemp("plain")
    return unnoise.load(peers.saved(pipe(folder), folder / "model"))


def edit(model: Pipeline, mask: Any, **how: Any) -> unnoise.Sample:
    return model.generate(peers.PROMPT, **{"image": photo(), "mask": mask, "seed": 1, "steps": 3} | how)[0]


def outside(one: Image.Image, other: Image.Image, keeps: np.ndarray) -> np.ndarray:
    return np.asarray(one)[keeps] == np.asarray(other)[keeps]


@pytest.mark.parametrize("sampler", PEERS)
def test_nine_channels_equal_diffusers(
    inpaint: tuple[StableDiffusionInpaintPipeline, Pipeline], sampler: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    peer, ours = inpaint
    grid, start = same_steps(peer, sampler, NOISE)
    # the peer adds noise to the latents of the picture, which are shown to the network without any here
    monkeypatch.setattr(DiagonalGaussianDistribution, "sample", lambda self, generator=None: self.mode())
    asked = {**HOW, "image": photo(), "mask_image": painted(BOX), "strength": 1.0, "num_inference_steps": STEPS}
    latents = peer(**asked, latents=NOISE, output_type="latent").images
    images = peer(**asked, latents=NOISE).images
    found = ours.generate(
        peers.PROMPT, negative_prompt=peers.NEGATIVE, guidance_scale=7.5, sampler=sampler,
        schedule=grid, noise=start, image=photo(),
        mask=painted(BOX), feather=0,
    )[0]  # fmt: skip
    peers.assert_close(found.x0[None], latents)
    inside = np.asarray(painted(BOX)) == 255
    gap = np.asarray(found.image, dtype=int)[inside] - np.asarray(images[0], dtype=int)[inside]
    assert np.abs(gap).max() <= 1
    assert outside(found.image, photo(), ~inside).all()
    assert not outside(images[0], photo(), ~inside).all()


@pytest.mark.parametrize("kind", ["inpaint", "plain"])
@pytest.mark.parametrize("sampler", ["ddim", "dpmpp-2m", "euler-a"])
def test_kept_pixels_come_back_bit_for_bit(request: pytest.FixtureRequest, kind: str, sampler: str) -> None:
    fixture = request.getfixturevalue(kind)
    model = fixture[1] if kind == "inpaint" else fixture
    mask = painted((3, 5, 30, 30), (40, 0, 40, 63))
    found = edit(model, mask, sampler=sampler)
    keeps = np.asarray(mask) == 0
    assert outside(found.image, photo(), keeps).all()
    assert outside(found.image, photo(), ~keeps).mean() < 0.2
    line = np.zeros_like(keeps)
    line[:, 40] = True
    assert outside(found.image, photo(), line).mean() < 0.2, "a line of one pixel is painted"


def test_the_network_gets_hard_masks_only(inpaint: tuple[StableDiffusionInpaintPipeline, Pipeline]) -> None:
    inputs: list[Tensor] = []
    hook = inpaint[1].denoiser.net.unet.register_forward_pre_hook(lambda _, given: inputs.append(given[0]))  # type: ignore[union-attr, operator]
    try:
        soft = torch.zeros(SIZE, SIZE)
        soft[20, :] = 0.1
        edit(inpaint[1], soft, guidance_scale=1)
    finally:
        hook.remove()
    assert inputs[0].shape[1] == 9
    cells = inputs[0][:, 4]
    assert torch.equal(cells[0, 2], torch.ones(8))
    assert cells.sum() == 8


def test_soft_masks_blend_the_pixels_of_an_inpainting_network(
    inpaint: tuple[StableDiffusionInpaintPipeline, Pipeline],
) -> None:
    made = np.asarray(edit(inpaint[1], torch.ones(SIZE, SIZE)).image, dtype=float)
    half = np.asarray(edit(inpaint[1], torch.full((SIZE, SIZE), 0.5)).image)
    assert np.abs(half - (np.asarray(photo(), dtype=float) + made) / 2).max() <= 1


def test_soft_masks_hold_the_latents_of_a_plain_network(plain: Pipeline) -> None:
    with torch.no_grad():
        known = plain.space.encode(image_tensor(photo()))[0]
    free = edit(plain, None, strength=1.0, steps=1, sampler="ddim")
    half, least = (edit(plain, torch.full((SIZE, SIZE), share), steps=1, sampler="ddim") for share in (0.5, 0.1))
    peers.assert_close(half.x0, (free.x0 + known) / 2)
    peers.assert_close(least.x0, 0.1 * free.x0 + 0.9 * known)
    with torch.no_grad():
        decoded = to_images(plain.space.decode(least.x0[None]))
    peers.assert_same_images([least.image], decoded)  # not blended a second time


def test_masks_of_all_sorts_mean_the_same(plain: Pipeline) -> None:
    picture = painted(BOX)
    tensor = torch.from_numpy(np.array(picture)) / 255
    first = edit(plain, picture)
    for mask in (picture.convert("RGB"), picture.convert("1"), tensor, tensor[None, None], tensor == 1):
        assert torch.equal(edit(plain, mask).x0, first.x0)


def test_strength_is_one_with_a_mask_and_may_be_less(plain: Pipeline) -> None:
    full, part = (edit(plain, painted(BOX), feather=0, strength=strength) for strength in (None, 0.3))
    assert (full.metadata.strength, part.metadata.strength) == (1.0, 0.3)
    assert part.metadata.grid[0] < full.metadata.grid[0]
    before = np.asarray(photo(), dtype=float)
    moved = [np.abs(np.asarray(each.image) - before).mean() for each in (part, full)]
    assert moved[0] < moved[1]


def test_a_sample_is_made_alone_as_in_its_batch(inpaint: tuple[StableDiffusionInpaintPipeline, Pipeline]) -> None:
    how = {"image": photo(), "mask": painted(BOX), "steps": 3, "seed": 1}
    both = inpaint[1].generate(peers.PROMPT, n=3, batch=2, **how)
    for k, sample in enumerate(both):
        alone = inpaint[1].generate(peers.PROMPT, **{**how, "seed": 1 + k})[0]
        peers.assert_close(sample.x0, alone.x0)


def test_the_metadata_names_image_and_mask(plain: Pipeline) -> None:
    one, other = edit(plain, painted(BOX)), edit(plain, painted((0, 0, 7, 7)))
    assert one.metadata.image == other.metadata.image
    assert len(one.metadata.mask or "") == 64
    assert one.metadata.mask != other.metadata.mask
    with pytest.raises(InputError, match="acts on an image, and none is given"):
        plain.replay(one.metadata)


def test_the_noise_of_each_row_is_in_the_metadata(plain: Pipeline) -> None:
    noise = torch.randn(3, *NOISE.shape[1:], generator=torch.Generator().manual_seed(3))
    found = plain.generate("a", noise=noise, n=3, batch=2, steps=1, sampler="ddim")
    assert len({sample.metadata.noise for sample in found}) == 3


@pytest.mark.parametrize(
    ("how", "fault"),
    [
        ({"image": None}, "image: 'model' edits images, and none is given"),
        ({"mask": None}, "mask: 'model' is an inpainting model and needs one"),
        ({"mask": torch.zeros(3, SIZE, SIZE)}, r"mask \[3, 64, 64\]: .*height 64 and width 64"),
        ({"mask": torch.full((SIZE, SIZE), 2.0)}, "mask: numbers from 0 to 1"),
        ({"mask": torch.full((SIZE, SIZE), torch.nan)}, "mask: numbers from 0 to 1"),
        ({"mask": torch.zeros(SIZE, SIZE)}, "mask: paints nothing"),
        (
            {"mask": Image.new("I", (SIZE, SIZE), 70_000)},
            "mask: whole numbers from 70000 to 70000; those from 0 to 255",
        ),
    ],
)
def test_refuses(inpaint: tuple[StableDiffusionInpaintPipeline, Pipeline], how: dict[str, Any], fault: str) -> None:
    asked = {"image": photo(), "mask": painted(BOX)} | how
    with pytest.raises(InputError, match=fault):
        inpaint[1].generate("a", steps=1, **asked)


def test_an_image_and_a_mask_of_another_size_are_resized(
    inpaint: tuple[StableDiffusionInpaintPipeline, Pipeline],
) -> None:
    small = photo().resize((32, 32))
    with pytest.warns(InputWarning) as told:
        found = edit(inpaint[1], painted(BOX), image=small, size=SIZE)
    assert [str(one.message) for one in told] == ["image of 32x32: resized to 64x64"]
    assert found.image.size == (SIZE, SIZE)
    with pytest.warns(InputWarning, match="^mask of 64x32: resized to the image's 64x64$"):
        found = edit(inpaint[1], painted(BOX).resize((SIZE, 32)))
    assert outside(found.image, photo(), np.asarray(painted(BOX)) == 0).mean() > 0.9


def test_a_mask_alone_is_refused(plain: Pipeline) -> None:
    with pytest.raises(InputError, match="mask: acts on an image, and none is given"):
        plain.generate("a", mask=painted(BOX), steps=1, size=SIZE)


def test_half_precision_runs(tmp_path: Path) -> None:
    made = pipe(tmp_path, in_channels=9)
    ours = unnoise.load(peers.saved(made, tmp_path / "model"), dtype="bfloat16")
    found = edit(ours, painted(BOX))
    assert found.x0.dtype == torch.float32
    assert outside(found.image, photo(), np.asarray(painted(BOX)) == 0).all()
