"""The emoji data set and its views."""

import re
import tomllib
from collections import Counter
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch

from unnoise.data import grammar, scenes
from unnoise.data.augment import BACKGROUNDS, Augment
from unnoise.data.noto import open_noto
from unnoise.data.open import open_source
from unnoise.data.recolour import COLOURS, dominant_hue, recoloured
from unnoise.data.shuffle import nth_image
from unnoise.data.view import HUES, PLAIN, PlacedImage, View, held_out, other_caption, random_view, render_views
from unnoise.diffusion.noise import numbers
from unnoise.errors import InputError

SOURCE = open_source("emoji", 64)
NAMES = [names[0] for names in SOURCE.captions]
STYLES = {"noto", "blob", "twemoji", "emojione", "flat", "3d"}
WILD = Augment(background=1.0, move=1.0)
SCENES = Augment(scene=1.0, recolour=0.3, keywords=0.3)


def image(name: str, style: str = "noto") -> int:
    return next(i for i in range(len(SOURCE)) if NAMES[i] == name and SOURCE.styles[i] == style)


def test_every_thing_has_a_name_of_its_own_three_styles_or_more_and_words() -> None:
    assert len(SOURCE) == 7698
    assert len(set(NAMES)) == 1421
    assert {*SOURCE.styles} == STYLES
    pairs = Counter(zip(NAMES, SOURCE.styles, strict=True))
    assert set(pairs.values()) == {1}
    assert min(Counter(NAMES).values()) >= 3
    assert sum(not words for words in SOURCE.keywords) < 0.02 * len(SOURCE)


def test_a_word_for_a_thing_is_no_word_for_a_face() -> None:
    assert "puppy" in SOURCE.keywords[image("dog face")]
    assert "puppy" not in SOURCE.keywords[image("pleading face")]
    assert "bike" in SOURCE.keywords[image("bicycle")]
    assert "bike" not in SOURCE.keywords[image("man biking")]
    assert "cowboy" in SOURCE.keywords[image("cowboy hat face")]


def test_a_transparent_border_and_a_subject() -> None:
    frames = np.stack([SOURCE.read(i)[..., 3] for i in range(0, len(SOURCE), 16)])
    assert frames[:, 0].max() == frames[:, -1].max() == frames[:, :, 0].max() == frames[:, :, -1].max() == 0
    assert frames.reshape(len(frames), -1).max(axis=1).min() > 0


def test_another_size_is_refused() -> None:
    with pytest.raises(InputError, match="64 x 64"):
        open_source("emoji", 32)


def test_the_data_set_of_the_embedded_model_stays_readable() -> None:
    noto = open_noto()
    assert (len(noto), len(noto.members), noto.styles) == (3780, 1893, ())
    assert noto.read(3779).shape == (64, 64, 4)


def test_every_concept_is_drawn_once_an_epoch() -> None:
    count = len(SOURCE.members)
    for epoch in (0, 3):
        drawn = [SOURCE.concepts[nth_image(SOURCE, 5, n)] for n in range(epoch * count, (epoch + 1) * count)]
        assert len(set(drawn)) == count
    assert [nth_image(SOURCE, 5, n) for n in range(50)] != [nth_image(SOURCE, 5, count + n) for n in range(50)]


def test_all_styles_of_a_concept_are_drawn() -> None:
    members = SOURCE.members
    wide = next(k for k, concept in enumerate(members) if len(concept) == 6)
    drawn = {i for n in range(40 * len(members)) if (i := nth_image(SOURCE, 1, n)) in members[wide]}
    assert drawn == set(members[wide])


def test_a_view_does_not_depend_on_the_order_of_calls() -> None:
    first = [random_view(SOURCE, 7, v, 1, WILD) for v in range(20)]
    again = [random_view(SOURCE, 7, v, 1, WILD) for v in reversed(range(20))][::-1]
    assert first == again
    assert len(set(first)) > 15


def test_held_out_pairs_are_never_drawn_and_are_a_twentieth() -> None:
    every = Augment(background=1.0, recolour=1.0)
    views = [random_view(SOURCE, i, v, 1, every, True) for i in range(0, 3000, 10) for v in range(8)]
    assert not any(held_out(NAMES[view.index], view.background) for view in views)
    assert not any(held_out(NAMES[thing.index], thing.colour) for view in views for thing in view.shown if thing.colour)
    for words in (BACKGROUNDS, COLOURS):
        pairs = [(name, word) for name in set(NAMES) for word in words if word != PLAIN]
        assert 0.04 < sum(held_out(*pair) for pair in pairs) / len(pairs) < 0.06


def test_the_caption_names_the_background() -> None:
    for v in range(40):
        view = random_view(SOURCE, 3, v, 1, WILD)
        assert view.background in view.caption
        assert any(
            view.caption == grammar.on_background(template, NAMES[3], view.background)
            for template in grammar.ON_BACKGROUND
        )


def test_the_caption_names_the_colour_that_an_image_changes_to() -> None:
    apple = image("red apple")
    views = [random_view(SOURCE, apple, v, 1, Augment(recolour=1.0)) for v in range(60)]
    painted = [view for view in views if view.things]
    assert {view.caption for view in painted} == {f"{view.things[0].colour} apple" for view in painted}
    assert len({view.caption for view in painted}) > 5
    assert "green apple" not in {view.caption for view in painted}, "the green apple is another image"
    grey = next(i for i in range(len(SOURCE)) if dominant_hue(SOURCE.read(i)) is None)
    assert {random_view(SOURCE, grey, v, 1, Augment(recolour=1.0)) for v in range(20)} == {View(grey, NAMES[grey])}


def test_a_hue_changes_with_its_word_and_never_to_the_name_of_another_image() -> None:
    views = [random_view(SOURCE, image("red apple"), v, 1, Augment(hue=1.0)) for v in range(60)]
    swapped = [view for view in views if view.things]
    assert {view.caption for view in swapped} >= {"blue apple", "purple apple"}
    assert all(view.caption == f"{view.things[0].colour} apple" for view in swapped)
    assert "green apple" not in {view.caption for view in swapped}


def test_a_size_is_named() -> None:
    for v in range(40):
        view = random_view(SOURCE, 0, v, 1, Augment(resize=1.0))
        word, _, name = view.caption.partition(" ")
        assert name == NAMES[0]
        assert word in (grammar.SMALL if view.things[0].place[2] < 1 else grammar.LARGE)


def test_keywords_and_styles_are_named() -> None:
    dog = image("dog", "flat")
    captions = {random_view(SOURCE, dog, v, 1, Augment(keywords=1.0, style=1.0)).caption for v in range(80)}
    words = {caption.removesuffix(" style").replace(" in ", ", ").removesuffix(", flat") for caption in captions}
    assert words == set(SOURCE.keywords[dog])


def test_scenes_of_images_of_one_name_are_drawn() -> None:
    alike = SOURCE.subset([image("dog", style) for style in ("noto", "flat")])
    alike = replace(alike, styles=())
    assert all(random_view(alike, 0, v, 1, Augment(scene=1.0), True).things for v in range(20))


def test_no_opaque_image_is_in_a_scene() -> None:
    block = np.full((64, 64, 4), 255, np.uint8)
    half = replace(SOURCE, read=lambda i: block if i % 2 else SOURCE.read(i))
    shown = [thing.index for v in range(60) for thing in random_view(half, 0, v, 1, SCENES, True).things]
    assert len({*shown}) > 20
    assert not any(i % 2 for i in shown)
    alone = replace(SOURCE, read=lambda i: block if i else SOURCE.read(i))
    assert {thing.index for v in range(20) for thing in random_view(alone, 0, v, 1, SCENES, True).things} == {0}


def test_another_colour_of_a_name_is_not_one_that_is_held_out() -> None:
    for i in (i for i, name in enumerate(NAMES) if any(colour in name.split() for colour in HUES)):
        for v in range(30):
            view = random_view(SOURCE, i, v, 1, Augment(hue=1.0))
            assert not any(thing.colour and held_out(NAMES[i], thing.colour) for thing in view.things)


def test_scenes_are_of_one_style_and_say_what_they_show() -> None:
    views = [random_view(SOURCE, i, v, 1, SCENES, True) for i in range(0, 7000, 50) for v in range(2)]
    assert Counter(len(view.things) for view in views).keys() == {2, 3}
    for view in views:
        shown = [NAMES[thing.index] for thing in view.things]
        assert {SOURCE.styles[thing.index] for thing in view.things} == {SOURCE.styles[view.index]}
        assert len(set(shown)) in (1, len(shown))
        assert len(set(shown)) == 1 or not any(scenes.pair_held_out(*pair) for pair in combinations(shown, 2))
        if len(set(shown)) == 1:
            assert view.caption.startswith({2: "two ", 3: "three "}[len(shown)])


def test_the_rendered_scene_is_where_its_caption_says() -> None:
    star, moon = image("star"), image("full moon")
    above = View(star, "", things=(PlacedImage(star, (0.0, -0.24, 0.5)), PlacedImage(moon, (0.0, 0.24, 0.5))))
    (pixels,) = render_views(SOURCE, [above])
    alone = render_views(SOURCE, [View(star, "", things=above.things[:1]), View(moon, "", things=above.things[1:])])
    torch.testing.assert_close(pixels[:, :28], alone[0][:, :28])
    torch.testing.assert_close(pixels[:, 36:], alone[1][:, 36:])
    assert (alone[0][:, 36:] == 1).all()


def test_a_plain_view_is_the_image_on_white() -> None:
    i = image("red heart")
    pixels = ((render_views(SOURCE, [View(i, "")])[0] + 1) * 127.5).permute(1, 2, 0)
    rgba = torch.from_numpy(SOURCE.read(i).copy()).float()
    alpha = rgba[..., 3:] / 255
    torch.testing.assert_close(pixels, rgba[..., :3] * alpha + 255 * (1 - alpha), atol=1e-2, rtol=0)


def test_a_colour_is_that_of_recolour() -> None:
    i = image("red heart")
    painted = recoloured(SOURCE.read(i), "blue")
    other = replace(SOURCE, read=lambda _: painted)
    one, expected = (
        render_views(SOURCE, [View(i, "", things=(PlacedImage(i, colour="blue"),))]),
        render_views(other, [View(i, "")]),
    )
    assert torch.equal(one, expected)
    assert not torch.equal(one, render_views(SOURCE, [View(i, "")]))


def test_a_shift_moves_the_image_and_fills_with_the_background() -> None:
    i = image("red heart")
    shifted = View(i, "", "blue", (PlacedImage(i, (0.125, 0.0, 1.0)),))
    still, moved = render_views(SOURCE, [View(i, "", "blue"), shifted])
    torch.testing.assert_close(moved[:, :, 8:], still[:, :, :-8], atol=2e-2, rtol=0)
    corner = torch.tensor(BACKGROUNDS["blue"]) / 127.5 - 1
    torch.testing.assert_close(moved[:, 0, 0], corner)


@pytest.mark.parametrize("place", [(0.9, 0.0, 1.0), (0.0, -1.5, 1.0), (0.0, 0.0, 0.01), (-0.6, 0.6, 2.0)])
def test_a_place_may_reach_past_the_edge(place: scenes.Place) -> None:
    (pixels,) = render_views(SOURCE, [View(0, "", "blue", (PlacedImage(0, place),))])
    assert pixels.shape == (3, 64, 64)
    assert pixels.abs().max() <= 1 + 1e-5


def test_without_augmentation_a_caption_and_an_image_stay_as_they_are() -> None:
    for view in (random_view(SOURCE, 7, v, 1, Augment()) for v in range(40)):
        assert view == View(7, NAMES[7])


def test_an_opaque_image_keeps_its_background_and_is_in_no_scene() -> None:
    opaque = replace(SOURCE, read=lambda i: np.full((64, 64, 4), 255, np.uint8))
    views = [random_view(opaque, 7, v, 1, replace(WILD, scene=1.0)) for v in range(20)]
    assert {view.background for view in views} == {"white"}
    assert {len(view.shown) for view in views} == {1}
    assert len({random_view(SOURCE, 7, v, 1, WILD).background for v in range(20)}) > 4


def test_the_recipe_of_the_embedded_model_asks_for_every_kind_of_view() -> None:
    table = tomllib.loads((Path(__file__).parents[2] / "recipes/emoji.toml").read_text())
    augment = Augment(**table["data"]["augment"])
    views = [random_view(SOURCE, i, v, 1, augment) for i in range(0, len(SOURCE), 37) for v in range(8)]
    captions = " ; ".join(view.caption for view in views)
    for words in (" style", " background", "next to", " and ", "three ", "small ", "a picture of ", "purple "):
        assert words in captions
    assert 0.06 < sum(len(view.things) > 1 for view in views) / len(views) < 0.16
    assert 0.5 < sum(view == replace(View(view.index, ""), caption=view.caption) for view in views) / len(views) < 0.8
    held = [phrase.replace("{a}", "").strip() for phrase in grammar.HELD_OUT_PHRASES if "{a}" in phrase]
    assert not any(f"{words} " in captions for words in [*held, "in the flat style", "in front of a"])


EVERY = Augment(phrase=0.7, keywords=0.5, style=0.6, unknown=0.3, recolour=0.5, resize=0.3, background=0.3, move=0.3)


@pytest.mark.parametrize("i", [0, 7, 800, 3000, 5000])
def test_another_caption_says_what_the_view_shows(i: int) -> None:
    """Its colour, size, background and style are those of the view, and its noun is one of the image."""
    for v in range(30):
        view = random_view(SOURCE, i, v, 1, EVERY)
        (thing,) = view.shown
        for k in range(4):
            caption = other_caption(SOURCE, view, numbers(1, 99, k), replace(EVERY, unknown=0.0))
            subject = re.sub(r"(on|with|in front of) (an? )?\w+( background)?$", "", caption)
            assert view.background == PLAIN or view.background in caption
            assert (re.search(r"\b(?:small|little|tiny) ", subject) is None) == (thing.place[2] > 0.7)
            assert not thing.colour or thing.colour in caption
            named = re.search(r"(\w+) style", caption)
            assert named is None or named[1] == SOURCE.styles[i]


def test_other_captions_are_many_and_those_of_scenes_stay() -> None:
    dog = image("dog face")
    view = random_view(SOURCE, dog, 0, 1, Augment())
    found = {other_caption(SOURCE, view, numbers(1, 99, k), EVERY) for k in range(200)}
    assert len(found) > 120
    assert {caption for caption in found if "puppy" in caption}
    scene = next(view for v in range(50) if len((view := random_view(SOURCE, dog, v, 1, SCENES)).things) > 1)
    assert {other_caption(SOURCE, scene, numbers(1, 99, k), SCENES) for k in range(9)} == {scene.caption}
