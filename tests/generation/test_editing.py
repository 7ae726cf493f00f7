"""An image is edited: kept pixels come back bit for bit, and every edit is drawn again from its metadata."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from PIL import Image

from unnoise.card import Advice
from unnoise.errors import InputError, InputWarning
from unnoise.generation.batch import OVERLAP
from unnoise.generation.images import image_tensor
from unnoise.generation.limits import STRENGTH
from unnoise.generation.metadata import from_json, to_json
from unnoise.generation.prepare import first_state, prepare
from unnoise.generation.request import request_of
from unnoise.generation.resolve import resolve
from unnoise.generation.sample import Sample
from unnoise.pipeline import Pipeline
from unnoise.sampling.registry import SAMPLERS
from unnoise.sampling.samplers.restart import repaints

SIDE = 32


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    return tiny.saved(tmp_path_factory.mktemp("edit") / "tiny.safetensors")


def photo(width: int = SIDE, height: int = SIDE) -> Image.Image:
    made = np.random.default_rng(1)
    return Image.fromarray(made.integers(0, 256, (height, width, 3), dtype=np.uint8))


def mask(width: int = SIDE, height: int = SIDE) -> Image.Image:
    """Paint the right half, but for its last two columns."""
    found = Image.new("L", (width, height), 0)
    found.paste(255, (width // 2 - 3, 0, width - 2, height))
    return found


def edited(pipeline: Pipeline, **how: Any) -> Sample:
    return pipeline.generate("a cat", seed=3, **{"image": photo(), "steps": 4, **how})[0]


def pixels(image: Image.Image) -> np.ndarray[Any, Any]:
    return np.asarray(image, dtype=int)


@pytest.mark.parametrize("name", SAMPLERS)
def test_kept_pixels_are_the_pictures_own_whatever_the_sampler(pipeline: Pipeline, name: str) -> None:
    sample = edited(pipeline, mask=mask(), sampler=name, schedule=(80.0, 5.0, 0.5, 0.0), steps=None)
    kept = pixels(mask()) == 0
    assert (pixels(sample.image)[kept] == pixels(photo())[kept]).all()
    assert (pixels(sample.image)[~kept] != pixels(photo())[~kept]).mean() > 0.5


@pytest.mark.parametrize(
    "how",
    [
        {"mask": mask()},
        {"mask": mask(), "feather": 3},
        {"mask": mask(), "feather": 0, "resample": 2},
        {"mask": Image.linear_gradient("L").resize((SIDE, SIDE)), "mask_mode": "differential"},
        {"strength": 0.3},
        {"outpaint": (0, 8, 4, 4)},
        {"outpaint": (3, 0, 0, 0), "mask": mask()},
        {"source_prompt": "a dog"},
        {"source_prompt": "a dog", "mask": mask(), "strength": 0.8},
        {"image": photo(35, 29), "mask": mask(35, 29)},
        {"image": photo(35, 29)},
        {"blend_prompt": "a dog", "blend_share": 0.3},
        {"variation": 0.4, "variation_seed": 9},
        {"tile": 16, "image": photo(40, 24)},
    ],
    ids=lambda how: ",".join(sorted(how)),
)
def test_every_edit_is_drawn_again_from_its_metadata(pipeline: Pipeline, how: dict[str, Any]) -> None:
    sample = edited(pipeline, **how)
    metadata = from_json(to_json(sample.metadata), "metadata")
    assert metadata == sample.metadata
    again = pipeline.replay(metadata, image=how.get("image", photo()), mask=how.get("mask"))
    assert (pixels(again.image) == pixels(sample.image)).all()
    assert torch.equal(again.x0, sample.x0)
    expected = how.get("image", photo()).size
    left, above, right, below = how.get("outpaint", (0, 0, 0, 0))
    assert sample.image.size == (expected[0] + left + right, expected[1] + above + below)


def test_a_picture_of_any_size_keeps_its_pixels(pipeline: Pipeline) -> None:
    """What is no multiple of the model's cells is drawn on more, and cut again."""
    sample = edited(pipeline, image=photo(35, 29), mask=mask(35, 29))
    kept = pixels(mask(35, 29)) == 0
    assert sample.metadata.size == (36, 32) if pipeline.factor == 4 else sample.metadata.size[0] % pipeline.factor == 0
    assert (pixels(sample.image)[kept] == pixels(photo(35, 29))[kept]).all()


def test_an_image_is_outpainted_around_itself(pipeline: Pipeline) -> None:
    sample = edited(pipeline, outpaint=(8, 4, 0, 12))
    assert sample.image.size == (40, 48)
    assert (pixels(sample.image)[4:36, 8:] == pixels(photo())).all()
    added = pixels(sample.image)[:4]
    assert added.std() > 1, "what is added is painted"


def test_a_seam_is_between_both_and_only_in_what_is_painted(pipeline: Pipeline) -> None:
    hard, soft = (edited(pipeline, mask=mask(), feather=feather) for feather in (0, 4))
    columns = np.abs(pixels(soft.image) - pixels(hard.image)).mean((0, 2))
    edge = SIDE // 2 - 3
    assert (columns[:edge] == 0).all()
    assert columns[edge] > columns[edge + 3] > 0
    assert (columns[edge + 4 : SIDE - 6] == 0).all()
    shares = 0.8  # of the image in the first column of the seam
    wanted = shares * pixels(photo())[:, edge] + (1 - shares) * pixels(hard.image)[:, edge]
    assert np.abs(pixels(soft.image)[:, edge] - wanted).max() <= 1


def test_a_grey_is_the_strength_of_its_place(pipeline: Pipeline) -> None:
    ramp = Image.fromarray(np.tile(np.linspace(255, 0, SIDE).astype(np.uint8), (SIDE, 1)))
    sample = edited(pipeline, mask=ramp, mask_mode="differential", steps=20)
    known = pipeline.space.encode(image_tensor(photo()))[0]
    gaps = (sample.x0 - known).abs().mean((0, 1))
    assert gaps[0] > 5 * gaps[-1]
    blended = edited(pipeline, mask=ramp, steps=20)
    assert not torch.equal(blended.x0, sample.x0)


def test_strength_is_a_level_for_every_sampler_and_number_of_steps(pipeline: Pipeline) -> None:
    """Fewer steps never mean no change: all of them lie below the level that is asked for."""
    for steps in (1, 2, 7):
        for name in ("ddim", "heun", "ancestral"):
            sample = edited(pipeline, strength=0.1, steps=steps, sampler=name)
            assert len(sample.metadata.grid) == steps + 1
            assert sample.metadata.grid[0] == pytest.approx(0.1 / 0.9, rel=1e-4)
            known = pipeline.space.encode(image_tensor(photo()))[0]
            assert not torch.allclose(sample.x0, known, atol=1e-3)


def test_inversion_finds_the_noise_of_a_picture(tmp_path: Path) -> None:
    """With the same words and a fine grid, what is drawn again is the picture; with others, it is not."""
    advice = Advice(steps=3, guidance_scale=1.0, sizes=((16, 16),))
    pipeline = tiny.saved(tmp_path / "smooth.safetensors", advice=advice)
    drawn = pipeline.generate("a cat", seed=1, size=32, steps=20)[0]
    same = pipeline.generate(
        "a cat", image=drawn.image, source_prompt="a cat", sampler="ddim", steps=200, strength=0.5
    )[0]
    other = pipeline.generate("a cat", image=drawn.image, seed=5, sampler="ddim", steps=200, strength=0.5)[0]
    known = pipeline.space.encode(image_tensor(drawn.image))[0]
    assert (same.x0 - known).abs().mean() < 0.2 * (other.x0 - known).abs().mean()


def test_variations_go_from_one_noise_to_the_other(pipeline: Pipeline) -> None:
    first = pipeline.generate("a cat", seed=3, size=16)[0]
    second = pipeline.generate("a cat", seed=9, size=16)[0]
    near, far = (
        pipeline.generate("a cat", seed=3, size=16, variation=share, variation_seed=9)[0] for share in (0.0, 1.0)
    )
    assert torch.equal(near.x0, first.x0)
    assert torch.equal(far.x0, second.x0)
    several = pipeline.generate("a cat", seed=3, size=16, n=3, variation=0.2, variation_seed=9)
    alone = pipeline.generate("a cat", seed=3, size=16, variation=0.2, variation_seed=11)[0]
    assert [sample.metadata.variation_seed for sample in several] == [9, 10, 11]
    assert torch.allclose(several[2].x0, alone.x0, atol=1e-4)
    assert {sample.metadata.seed for sample in several} == {3}


def test_prompts_are_joined_by_their_features(pipeline: Pipeline) -> None:
    ends = [pipeline.generate(prompt, seed=3, size=16)[0].x0 for prompt in ("a cat", "a dog")]
    ways = [
        pipeline.generate("a cat", seed=3, size=16, blend_prompt="a dog", blend_share=share)[0].x0
        for share in (0.0, 0.5, 1.0)
    ]
    assert torch.allclose(ways[0], ends[0], atol=1e-4)
    assert torch.allclose(ways[2], ends[1], atol=1e-4)
    assert (ways[1] - ends[0]).norm() < (ends[1] - ends[0]).norm()


def test_tiles_draw_what_is_larger(pipeline: Pipeline) -> None:
    whole = pipeline.generate("a cat", seed=3, size=(64, 32), steps=2)[0]
    tiled = pipeline.generate("a cat", seed=3, size=(64, 32), steps=2, tile=32)[0]
    assert tiled.image.size == (64, 32)
    assert not torch.allclose(tiled.x0, whole.x0)
    one = pipeline.generate("a cat", seed=3, size=(64, 32), steps=2, tile=64)[0]
    assert torch.equal(one.x0, whole.x0)


def test_a_mask_of_a_whole_and_of_nothing_are_refused(pipeline: Pipeline) -> None:
    with pytest.raises(InputError, match=r"mask: paints nothing; white \(1\) or transparent pixels are painted, black"):
        edited(pipeline, mask=Image.new("L", (SIDE, SIDE), 0))
    with pytest.raises(InputError, match=r"mask: paints every pixel \(white\), so nothing of the image is kept; leave"):
        edited(pipeline, mask=Image.new("L", (SIDE, SIDE), 255))


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ({"strength": 0.0}, "strength 0.0: a number from 0.001 to 1"),
        ({"strength": 1.5}, "strength 1.5"),
        ({"strength": float("nan")}, "strength nan"),
        ({"feather": 2}, "feather: acts along a mask, and none is given"),
        ({"resample": 2}, "resample: acts along a mask"),
        ({"resample": 0, "mask": mask()}, "resample 0: a whole number from 1 to 100"),
        (
            {"resample": 2, "mask": mask(), "sampler": "heun"},
            "sampler 'heun': resample has its own sampler",
        ),
        ({"mask_mode": "differential"}, "mask_mode: acts along a mask"),
        ({"mask_mode": "hard", "mask": mask()}, "mask_mode 'hard': known: blend, differential"),
        ({"outpaint": (0, 0, 0, 0)}, "outpaint 0,0,0,0: adds no pixels"),
        ({"outpaint": (0, 0, -1, 0)}, "outpaint right -1"),
        (
            {"source_prompt": "a dog", "sampler": "ancestral"},
            "source_prompt: inversion needs a deterministic sampler",
        ),
        (
            {"source_prompt": "a dog", "variation": 0.2, "variation_seed": 1},
            "variation: determines the noise, and so does source_prompt",
        ),
        ({"variation": 0.2}, "variation 0.2: needs variation_seed"),
        ({"variation_seed": 2}, "variation_seed 2: needs variation"),
        ({"blend_share": 0.5}, "blend_share 0.5: needs blend_prompt"),
        ({"tile": 10}, "tile 10: a multiple of"),
        ({"control_image": photo()}, "control_image: 'tiny' was loaded without control"),
        ({"control_scale": 0.5}, "control_scale 0.5: acts on control_image, which is not given"),
        ({"ip_adapter_image": photo()}, "ip_adapter_image: 'tiny' was loaded without ip_adapter"),
        ({"ip_adapter_scale": 0.5}, "ip_adapter_scale 0.5: acts on ip_adapter_image, which is not given"),
        ({"invert_mask": True}, "invert_mask: acts on a mask, and none is given"),
    ],
    ids=str,
)
def test_what_cannot_be_is_refused(pipeline: Pipeline, how: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        edited(pipeline, **how)


@pytest.mark.parametrize("what", ["strength", "outpaint", "source_prompt"])
def test_what_acts_on_an_image_needs_one(pipeline: Pipeline, what: str) -> None:
    value = {"strength": 0.5, "outpaint": (8, 0, 0, 0), "source_prompt": "a dog"}[what]
    with pytest.raises(InputError, match=f"{what} .*acts on an image, and none is given"):
        pipeline.generate("a cat", size=SIDE, **{what: value})  # type: ignore[arg-type]


def test_other_images_than_those_of_the_metadata_are_refused(pipeline: Pipeline) -> None:
    sample = edited(pipeline, mask=mask())
    for what, images in (
        ("image", {"mask": mask(), "image": photo().transpose(Image.Transpose.FLIP_LEFT_RIGHT)}),
        ("mask", {"image": photo(), "mask": mask().transpose(Image.Transpose.FLIP_TOP_BOTTOM).rotate(90)}),
    ):
        with pytest.raises(InputError, match=f"{what}: the metadata names one of sha256 .*, and another is given"):
            pipeline.replay(sample.metadata, **images)
    with pytest.raises(InputError):
        pipeline.replay(sample.metadata)


def test_masks_of_all_sorts_mean_the_same(pipeline: Pipeline) -> None:
    """White, 1 and transparent are painted; black and 0 are kept, also where the mask is inverted."""
    plain = mask()
    tensor = torch.from_numpy(np.array(plain)) / 255
    hole = photo().convert("RGBA")
    hole.putalpha(Image.eval(plain, lambda value: 255 - value))
    both = Image.merge("LA", (plain, Image.new("L", plain.size, 255)))
    first = edited(pipeline, mask=plain)
    for same in (plain.convert("1"), plain.convert("RGB"), both, tensor, tensor[None], tensor[None, None], tensor == 1):
        assert torch.equal(edited(pipeline, mask=same).x0, first.x0)
    for turned in (Image.eval(plain, lambda value: 255 - value), 1 - tensor):
        assert torch.equal(edited(pipeline, mask=turned, invert_mask=True).x0, first.x0)
    with pytest.warns(InputWarning, match="^mask: coloured, so only its transparent pixels are painted$"):
        assert torch.equal(edited(pipeline, mask=hole).x0, first.x0)
    black = Image.new("RGBA", plain.size, (0, 0, 0, 255))
    black.putalpha(hole.getchannel("A"))
    assert torch.equal(edited(pipeline, mask=black).x0, first.x0)


def test_a_mask_and_an_image_of_another_size_are_resized_with_a_warning(pipeline: Pipeline) -> None:
    with pytest.warns(InputWarning) as caught:
        small = edited(pipeline, mask=mask().resize((16, 16)))
    assert [str(one.message) for one in caught] == ["mask of 16x16: resized to the image's 32x32"]
    assert small.image.size == (SIDE, SIDE)
    kept = pixels(mask())[:, : SIDE // 2 - 5] == 0
    assert (pixels(small.image)[:, : SIDE // 2 - 5] == pixels(photo())[:, : SIDE // 2 - 5])[kept].all()
    with pytest.warns(InputWarning) as caught:
        large = edited(pipeline, image=photo(50, 40), size=(24, 16), mask=mask(24, 16))
    assert [str(one.message) for one in caught] == ["image of 50x40: resized to 24x16"]
    fitting = photo(50, 40).resize((24, 16), Image.Resampling.LANCZOS, reducing_gap=3.0)
    assert torch.equal(large.x0, edited(pipeline, image=fitting, mask=mask(24, 16)).x0)
    assert (pixels(large.image) == pixels(fitting))[pixels(mask(24, 16)) == 0].all()
    with pytest.raises(InputError, match="size 8x8: smaller than the 16x0 pixels of outpaint"):
        edited(pipeline, size=8, outpaint=(8, 0, 8, 0))


@pytest.mark.parametrize(
    "how",
    [
        {"image": photo(50, 40), "size": (24, 16)},
        {"image": photo(50, 40), "size": (30, 20)},
        {"image": photo(50, 40), "size": (40, 32), "outpaint": (8, 0, 0, 0)},
        {"mask": mask(20, 20)},
        {"mask": mask(), "invert_mask": True},
    ],
    ids=lambda how: ",".join(f"{name}" for name in how),
)
@pytest.mark.filterwarnings("ignore:.*resized to:unnoise.errors.InputWarning")
def test_what_was_resized_is_drawn_again_from_the_same_files(pipeline: Pipeline, how: dict[str, Any]) -> None:
    sample = edited(pipeline, **how)
    images = {"image": photo(), **{name: how[name] for name in ("image", "mask", "invert_mask") if name in how}}
    again = pipeline.replay(sample, **images)
    assert torch.equal(again.x0, sample.x0)
    assert again.image.tobytes() == sample.image.tobytes()
    assert again.metadata == sample.metadata


def test_the_default_strength_and_seam(pipeline: Pipeline) -> None:
    """0.6 of the way without a mask, all of it with one; the seam is half a latent cell wide."""
    plain = edited(pipeline)
    assert plain.metadata.strength == STRENGTH == 0.6
    assert torch.equal(plain.x0, edited(pipeline, strength=0.6).x0)
    for how in ({"mask": mask()}, {"outpaint": (8, 0, 0, 0)}, {"source_prompt": "a dog"}):
        assert edited(pipeline, **how).metadata.strength == 1.0
    seam = edited(pipeline, mask=mask())
    assert pipeline.space.factor == 4
    assert seam.metadata.feather is None
    for feather in (0, 1, 2, 3, 4):
        same = edited(pipeline, mask=mask(), feather=feather).image.tobytes() == seam.image.tobytes()
        assert same is (feather == 2)


def test_resampling_divides_the_steps_into_ten(pipeline: Pipeline) -> None:
    """RePaint: 20 steps are ten stretches of two, and each of the stretches is taken as often as it is told."""
    for steps, stretch in ((20, 2), (10, 1), (31, 3), (4, 1)):
        made = resolve(request_of("a", image=photo(), mask=mask(), resample=3, steps=steps, seed=1), pipeline)
        state = first_state(pipeline, prepare(pipeline, made), 0)
        assert state.grid == repaints(made.settings.grid, stretch, 3), steps


def test_tiles_overlap_by_a_quarter(pipeline: Pipeline) -> None:
    """Windows of 4 cells overlap by 1, so a row of 16 cells takes 5 of them."""
    rows: list[int] = []
    hook = pipeline.denoiser.net.register_forward_pre_hook(lambda _, args: rows.append(len(args[0])))
    try:
        pipeline.generate("a", seed=1, size=(64, 16), tile=16, steps=1, guidance_scale=1)
    finally:
        hook.remove()
    assert sum(rows) == 5
    assert OVERLAP == 4
