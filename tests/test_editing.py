"""A picture is changed: what is kept comes back bit for bit, and every way is drawn again from its recipe."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from PIL import Image

from unnoise.errors import Refusal
from unnoise.files.card import Advice
from unnoise.files.picture import fitted, inverted
from unnoise.files.recipe import from_json, to_json
from unnoise.given import Handed, picture_data
from unnoise.pipeline import Pipeline
from unnoise.sample import Sample
from unnoise.sampling.names import SAMPLERS

SIDE = 32


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    return tiny.saved(tmp_path_factory.mktemp("edit") / "tiny.safetensors")


def photo(width: int = SIDE, height: int = SIDE) -> Image.Image:
    made = np.random.default_rng(1)
    return Image.fromarray(made.integers(0, 256, (height, width, 3), dtype=np.uint8))


def mask(width: int = SIDE, height: int = SIDE) -> Image.Image:
    """Paint the right half, but for its last two columns."""
    found = Image.new("L", (width, height), 255)
    found.paste(0, (width // 2 - 3, 0, width - 2, height))
    return found


def edited(pipeline: Pipeline, **how: Any) -> Sample:
    return pipeline.generate("a cat", seed=3, **{"image": photo(), "steps": 4, **how})[0]


def pixels(image: Image.Image) -> np.ndarray[Any, Any]:
    return np.asarray(image, dtype=int)


@pytest.mark.parametrize("name", SAMPLERS)
def test_kept_pixels_are_the_pictures_own_whatever_the_sampler(pipeline: Pipeline, name: str) -> None:
    sample = edited(pipeline, mask=mask(), sampler=name, grid=(80.0, 5.0, 0.5, 0.0), steps=None)
    kept = pixels(mask()) == 255
    assert (pixels(sample.image)[kept] == pixels(photo())[kept]).all()
    assert (pixels(sample.image)[~kept] != pixels(photo())[~kept]).mean() > 0.5


@pytest.mark.parametrize(
    "how",
    [
        {"mask": mask()},
        {"mask": mask(), "feather": 3},
        {"mask": mask(), "feather": 0, "repaint": 2},
        {"mask": Image.linear_gradient("L").resize((SIDE, SIDE)), "soft": "levels"},
        {"strength": 0.3},
        {"expand": (0, 8, 4, 4)},
        {"expand": (3, 0, 0, 0), "mask": mask()},
        {"origin": "a dog"},
        {"origin": "a dog", "mask": mask(), "strength": 0.8},
        {"image": photo(35, 29), "mask": mask(35, 29)},
        {"image": photo(35, 29)},
        {"toward": "a dog", "toward_share": 0.3},
        {"variation": 0.4, "variation_seed": 9},
        {"tile": 16, "image": photo(40, 24)},
    ],
    ids=lambda how: ",".join(sorted(how)),
)
def test_every_way_is_drawn_again_from_its_recipe(pipeline: Pipeline, how: dict[str, Any]) -> None:
    sample = edited(pipeline, **how)
    recipe = from_json(to_json(sample.recipe), "recipe")
    assert recipe == sample.recipe
    again = pipeline.replay(recipe, Handed(image=how.get("image", photo()), mask=how.get("mask")))
    assert (pixels(again.image) == pixels(sample.image)).all()
    assert torch.equal(again.x0, sample.x0)
    expected = how.get("image", photo()).size
    left, above, right, below = how.get("expand", (0, 0, 0, 0))
    assert sample.image.size == (expected[0] + left + right, expected[1] + above + below)


def test_a_picture_of_any_size_keeps_its_pixels(pipeline: Pipeline) -> None:
    """What is no multiple of the model's cells is drawn on more, and cut again."""
    sample = edited(pipeline, image=photo(35, 29), mask=mask(35, 29))
    kept = pixels(mask(35, 29)) == 255
    assert (pipeline.factor, sample.recipe.size) == (8, (40, 32))
    assert (pixels(sample.image)[kept] == pixels(photo(35, 29))[kept]).all()


def test_a_picture_is_expanded_around_itself(pipeline: Pipeline) -> None:
    sample = edited(pipeline, expand=(8, 4, 0, 12))
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
    shares = 0.8  # of the picture in the first column of the seam
    wanted = shares * pixels(photo())[:, edge] + (1 - shares) * pixels(hard.image)[:, edge]
    assert np.abs(pixels(soft.image)[:, edge] - wanted).max() <= 1


def test_a_grey_is_the_strength_of_its_place(pipeline: Pipeline) -> None:
    ramp = Image.fromarray(np.tile(np.linspace(0, 255, SIDE).astype(np.uint8), (SIDE, 1)))
    sample = edited(pipeline, mask=ramp, soft="levels", steps=20)
    known = pipeline.space.encode(picture_data(photo()))[0]
    gaps = (sample.x0 - known).abs().mean((0, 1))
    assert gaps[0] > 5 * gaps[-1]
    blended = edited(pipeline, mask=ramp, steps=20)
    assert not torch.equal(blended.x0, sample.x0)


def test_strength_is_a_level_for_every_sampler_and_number_of_steps(pipeline: Pipeline) -> None:
    """Fewer steps never mean no change: all of them lie below the level that is asked for."""
    for steps in (1, 2, 7):
        for name in ("ddim", "heun", "ancestral"):
            sample = edited(pipeline, strength=0.1, steps=steps, sampler=name)
            assert len(sample.recipe.grid) == steps + 1
            assert sample.recipe.grid[0] == pytest.approx(0.1 / 0.9, rel=1e-4)
            known = pipeline.space.encode(picture_data(photo()))[0]
            assert not torch.allclose(sample.x0, known, atol=1e-3)


def test_inversion_finds_the_noise_of_a_picture(tmp_path: Path) -> None:
    """With the same words and a fine grid, what is drawn again is the picture; with others, it is not."""
    advice = Advice(steps=3, guidance=1.0, sizes=((16, 16),))
    pipeline = tiny.saved(tmp_path / "smooth.safetensors", advice=advice)
    drawn = pipeline.generate("a cat", seed=1, size=32, steps=20)[0]
    same = pipeline.generate("a cat", image=drawn.image, origin="a cat", sampler="ddim", steps=200, strength=0.5)[0]
    other = pipeline.generate("a cat", image=drawn.image, seed=5, sampler="ddim", steps=200, strength=0.5)[0]
    known = pipeline.space.encode(picture_data(drawn.image))[0]
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
    assert [sample.recipe.change.variation_seed for sample in several] == [9, 10, 11]
    assert torch.allclose(several[2].x0, alone.x0, atol=1e-4)
    assert {sample.recipe.seed for sample in several} == {3}


def test_prompts_are_joined_by_their_features(pipeline: Pipeline) -> None:
    ends = [pipeline.generate(prompt, seed=3, size=16)[0].x0 for prompt in ("a cat", "a dog")]
    ways = [
        pipeline.generate("a cat", seed=3, size=16, toward="a dog", toward_share=share)[0].x0
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
    with pytest.raises(Refusal, match="keeps every pixel"):
        edited(pipeline, mask=Image.new("L", (SIDE, SIDE), 255))
    with pytest.raises(Refusal, match="paints every pixel"):
        edited(pipeline, mask=Image.new("L", (SIDE, SIDE), 0))


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ({"mask": mask(16, 16)}, r"mask \[16, 16\]: height 32 and width 32, as the image has"),
        ({"strength": 0.0}, "strength 0.0: a number from 0.001 to 1"),
        ({"strength": 1.5}, "strength 1.5"),
        ({"strength": float("nan")}, "strength nan"),
        ({"size": 16}, r"size \(16, 16\): the image is 32x32"),
        ({"feather": 2}, "feather: acts along a mask, and none is given"),
        ({"repaint": 2}, "repaint: acts along a mask"),
        ({"repaint": 0, "mask": mask()}, "repaint 0"),
        ({"repaint": 2, "mask": mask(), "sampler": "heun"}, "sampler 'heun': repaint has one of its own"),
        ({"soft": "levels"}, "soft: acts along a mask"),
        ({"soft": "hard", "mask": mask()}, "soft 'hard': one of blend, levels"),
        ({"expand": (0, 0, 0, 0)}, "expand 0,0,0,0: adds nothing"),
        ({"expand": (0, 0, -1, 0)}, "expand right -1"),
        ({"origin": "a dog", "sampler": "ancestral"}, "the noise of a picture is found for a deterministic sampler"),
        ({"origin": "a dog", "variation": 0.2, "variation_seed": 1}, "variation: decides the noise, and origin does"),
        ({"variation": 0.2}, "variation and variation_seed: act together"),
        ({"toward": "a dog"}, "toward_share and toward: act together"),
        ({"tile": 10}, "tile 10: a multiple of"),
        ({"hint": photo()}, "hint: 'tiny' reads none; load it with a control"),
        ({"look": photo()}, "look: 'tiny' reads none; load it with a look"),
    ],
    ids=str,
)
def test_what_cannot_be_is_refused(pipeline: Pipeline, how: dict[str, Any], says: str) -> None:
    with pytest.raises(Refusal, match=says):
        edited(pipeline, **how)


@pytest.mark.parametrize("what", ["strength", "expand", "origin"])
def test_what_acts_on_an_image_needs_one(pipeline: Pipeline, what: str) -> None:
    value = {"strength": 0.5, "expand": (8, 0, 0, 0), "origin": "a dog"}[what]
    with pytest.raises(Refusal, match=f"{what} .*acts on an image, and none is given"):
        pipeline.generate("a cat", size=SIDE, **{what: value})  # type: ignore[arg-type]


def test_other_pictures_than_the_recipes_are_refused(pipeline: Pipeline) -> None:
    sample = edited(pipeline, mask=mask())
    for what, handed in (
        ("image", Handed(mask=mask(), image=photo().transpose(Image.Transpose.FLIP_LEFT_RIGHT))),
        ("mask", Handed(image=photo(), mask=mask().transpose(Image.Transpose.FLIP_TOP_BOTTOM).rotate(90))),
    ):
        with pytest.raises(Refusal, match=f"{what}: the picture began with one of sha256 .*, and another is given"):
            pipeline.replay(sample.recipe, handed)
    with pytest.raises(Refusal):
        pipeline.replay(sample.recipe)


def test_pictures_are_fitted_and_masks_turned() -> None:
    assert fitted(photo(), (16, 8)).size == (16, 8)
    assert fitted(photo(), (SIDE, SIDE)) is not None
    assert (pixels(inverted(mask())) == 255 - pixels(mask())).all()
    with pytest.raises(Refusal, match="without transparency"):
        inverted(Image.new("RGBA", (4, 4)))


