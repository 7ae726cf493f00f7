"""Every choice that a request leaves open, at the ends of its range: strength, seam, batch, areas, advice."""

from dataclasses import replace
from math import inf, nextafter
from typing import Any

import pytest
import tiny
from PIL import Image
from tiny import CARD

from unnoise.card import Card, Part, Setting
from unnoise.errors import InputError
from unnoise.generation.choose_sampler import own_options
from unnoise.generation.metadata import Settings
from unnoise.generation.request import request_of
from unnoise.generation.resolve import default_batch, resolve, settle
from unnoise.sampling.samplers.fitted import Fitted

PIPELINE = tiny.pipeline()
PHOTO, MASK = Image.new("RGB", (16, 16), "red"), Image.linear_gradient("L").resize((16, 16))


def card(**advice: Any) -> Card:
    return replace(CARD, advice=replace(CARD.advice, **advice))


def choose(of: Card = CARD, prompts: Any = "a", has_image: bool = False, **options: Any) -> Settings:
    request = request_of(prompts, **options)
    return settle(request, replace(PIPELINE, card=of), request.sampling.size, has_image)[1]


@pytest.mark.parametrize(
    ("side", "samples"), [(0, 8), (8, 8), (256, 8), (362, 8), (512, 4), (724, 2), (725, 1), (1024, 1), (4096, 1)]
)
def test_a_call_holds_eight_samples_or_a_megapixel(side: int, samples: int) -> None:
    assert default_batch((side, side)) == samples


def test_the_samples_of_a_call_are_those_that_were_asked_for() -> None:
    assert resolve(request_of("a", size=16), PIPELINE).batch == 8
    assert resolve(request_of("a", size=16, batch=3), PIPELINE).batch == 3


def test_areas() -> None:
    """At most 2**22 pixels in one network call, 2**28 in one request."""
    assert choose(size=2048).size == choose(size=2048, batch=1).size == (2048, 2048)
    assert choose(size=1024, batch=4).size == (1024, 1024)
    with pytest.raises(InputError, match="batch 2 of 2048x2048: at most 4194304 pixels"):
        choose(size=2048, batch=2)
    with pytest.raises(InputError, match="batch 1 of 2056x2048"):
        choose(size=(2056, 2048))
    assert choose(size=2048, n=64).size == choose(prompts=("a",) * 8, size=2048, n=8).size
    with pytest.raises(InputError, match="65 samples of 2048x2048: at most 64"):
        choose(size=2048, n=65)
    with pytest.raises(InputError, match="width 0"):
        choose(card(sizes=((0, 16),)))


@pytest.mark.parametrize(
    ("options", "strength"),
    [
        ({}, 0.6),
        ({"strength": 0.3}, 0.3),
        ({"mask": MASK}, 1.0),
        ({"mask": MASK, "strength": 0.3}, 0.3),
        ({"outpaint": (0, 0, 8, 0)}, 1.0),
        ({"source_prompt": "a dog"}, 1.0),
        ({"schedule": (3.0, 1.0, 0.0)}, None),
    ],
)
def test_strength_unless_given(options: dict[str, Any], strength: float | None) -> None:
    assert choose(has_image=True, image=PHOTO, **options).strength == strength
    assert choose().strength is None


def test_the_share_of_a_second_prompt_unless_given() -> None:
    assert choose().blend_share is None
    assert choose(blend_prompt="b").blend_share == 0.5
    assert choose(blend_prompt="b", blend_share=0.0).blend_share == 0.0


@pytest.mark.parametrize(
    ("field", "low", "high"),
    [("steps", 1, 1000), ("guidance_scale", 0.0, 100.0), ("guidance_rescale", 0.0, 1.0)],
)
def test_advice_holds_the_ends_of_its_range(field: str, low: float, high: float) -> None:
    whole = isinstance(low, int)
    for value in (low, high):
        choose(card(**{field: value}))
    for value in (low - 1, high + 1) if whole else (nextafter(low, -inf), nextafter(high, inf)):
        with pytest.raises(InputError, match=f"the card's advice: {field} .*from"):
            choose(card(**{field: value}))


def test_guidance_that_is_off_has_no_interval_and_no_rescale() -> None:
    advised = card(guidance_interval=(0.5, 3.0), guidance_rescale=0.7)
    on, off = choose(advised), choose(advised, guidance_scale=1)
    assert (on.interval, on.guidance_rescale, on.guided) == ((0.5, 3.0), 0.7, True)
    assert (off.interval, off.guidance_rescale, off.guided) == ((0.0, inf), 0.0, False)
    assert choose(advised, guidance_rescale=0.0).guidance_rescale == 0.0
    towards_image = choose(card(guidance_scale=1.0, image_guidance=1.5), guidance_interval=(0.5, 3.0))
    assert (towards_image.guided, towards_image.interval) == (True, (0.5, 3.0))
    for scale in (1.0, None):
        assert choose(card(guidance_scale=1.0, image_guidance=scale)).guided is False


@pytest.mark.parametrize("tile", [8, 16, 24])
def test_tiles_are_whole_cells(tile: int) -> None:
    assert choose(tile=tile).tile == tile
    for other in (tile - 1, tile + 1):
        with pytest.raises(InputError, match=f"tile {other}: a multiple of 8"):
            choose(tile=other)
    with pytest.raises(InputError, match="for a model of images"):
        choose(replace(card(seconds=1.0), modality="audio"), tile=tile)


def test_fitted_levels_are_for_one_number_of_steps_and_nothing_else_chosen() -> None:
    rows = [[1.0], [1.0, 0.0], [1.0, 0.0]]
    advised = card(
        steps=3,
        fitted=tuple(
            Setting(Part("Fitted", {"weights": rows[: len(levels)]}), levels, 2.0, (1.0, 0.5))
            for levels in ((1.0, 0.0), (1.0, 0.25, 0.0))
        ),
    )
    assert choose(advised).grid == choose(advised, steps=3).grid == (inf, 1.0, 0.25, 0.0)
    assert choose(advised).sampler.class_ == Fitted.__name__
    assert choose(advised, steps=2).grid == (inf, 1.0, 0.0)
    for options in ({"steps": 4}, {"sampler": "euler"}, {"schedule": "flow"}, {"resample": 2, "mask": MASK}):
        assert choose(advised, **options).sampler.class_ != Fitted.__name__
    assert choose(advised, has_image=True, image=PHOTO).sampler.class_ != Fitted.__name__


def test_the_shift_of_flux_follows_the_size() -> None:
    flux = replace(CARD, family="flux1")
    assert own_options(flux, (1024, 512)) == {"tokens": 1024 * 512 // 16**2}
    assert own_options(flux, None) == own_options(flux, (8, 8)) == {"tokens": 1}
    assert own_options(CARD, (1024, 512)) == {}
    assert own_options(card(shift=3.0), None) == {"shift": 3.0}


def test_frames_are_one_more_than_a_multiple_of_the_stride() -> None:
    film = card(frames=9, stride=4)
    for frames in (1, 5, 9, 13):
        assert choose(film, frames=frames).frames == frames
    for frames, near in ((2, 1), (8, 5), (10, 9)):
        with pytest.raises(InputError, match=rf"frames {frames}: .* 4\*k \+ 1 frames, such as {near} or {near + 4}"):
            choose(film, frames=frames)


def test_a_random_seed_has_32_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("secrets.randbits", lambda bits: 2**bits - 1)
    draws = resolve(request_of(("a", "b"), size=16, n=2), PIPELINE).draws
    assert [(one.prompt, one.seed) for one in draws] == [(prompt, 2**32 - 1 + k) for prompt in "ab" for k in (0, 1)]
    varied = resolve(request_of("a", size=16, n=2, seed=5, variation=0.5, variation_seed=8), PIPELINE).draws
    assert [(one.seed, one.variation_seed) for one in varied] == [(5, 8), (5, 9)]


def test_classifier_free_guidance_of_a_distilled_network_is_off_or_has_a_negative_prompt() -> None:
    distilled = card(distilled_guidance=3.5, guidance_scale=1.0)
    assert choose(distilled, guidance_scale=1).distilled_guidance == 3.5
    assert choose(distilled, guidance_scale=2, negative_prompt="b").guided
    with pytest.raises(InputError, match="guidance_scale 2: 'tiny' takes its guidance as an input"):
        choose(distilled, guidance_scale=2)
