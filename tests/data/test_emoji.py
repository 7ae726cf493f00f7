"""The embedded data set and its views."""

import hashlib
import tomllib
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from unnoise.data.open import open_source
from unnoise.data.shuffle import nth_image
from unnoise.data.view import BACKGROUNDS, Augment, View, held_out, random_view, render_views
from unnoise.errors import InputError

SOURCE = open_source("emoji", 64)
WILD = Augment(background=1.0, move=1.0, hue=1.0)


def test_the_data_set_has_the_size_of_the_readme() -> None:
    assert len(SOURCE) == 3780
    assert len(SOURCE.members) == 1893
    assert SOURCE.captions[SOURCE.concepts.index("red heart")][0] == "red heart"


def test_a_name_belongs_to_one_image() -> None:
    assert max(Counter(names[0] for names in SOURCE.captions).values()) == 1
    counts = Counter(name for names in SOURCE.captions for name in names)
    assert max(counts.values()) == 1


def test_images_have_a_transparent_border() -> None:
    frames = np.stack([SOURCE.read(i)[..., 3] for i in range(0, len(SOURCE), 16)])
    assert frames[:, 0].max() == frames[:, -1].max() == 0
    assert frames.reshape(len(frames), -1).max(axis=1).min() > 0


def test_another_size_is_refused() -> None:
    with pytest.raises(InputError, match="64 x 64"):
        open_source("emoji", 32)


def test_every_concept_is_drawn_once_an_epoch() -> None:
    count = len(SOURCE.members)
    for epoch in (0, 3):
        drawn = [SOURCE.concepts[nth_image(SOURCE, 5, n)] for n in range(epoch * count, (epoch + 1) * count)]
        assert len(set(drawn)) == count
    assert [nth_image(SOURCE, 5, n) for n in range(50)] != [nth_image(SOURCE, 5, count + n) for n in range(50)]


def test_all_variants_of_a_concept_are_drawn() -> None:
    members = SOURCE.members
    wide = next(i for i, concept in enumerate(members) if len(concept) == 6)
    count = len(members)
    drawn = {i for n in range(40 * count) if (i := nth_image(SOURCE, 1, n)) in members[wide]}
    assert drawn == set(members[wide])


def test_a_view_does_not_depend_on_the_order_of_calls() -> None:
    first = [random_view(SOURCE, 7, v, 1, WILD) for v in range(20)]
    again = [random_view(SOURCE, 7, v, 1, WILD) for v in reversed(range(20))][::-1]
    assert first == again
    assert len(set(first)) > 15


def test_held_out_pairs_are_never_drawn_and_are_a_twentieth() -> None:
    views = [random_view(SOURCE, i, v, 1, WILD) for i in range(200) for v in range(20)]
    assert not any(held_out(SOURCE.captions[view.index][0], view.background) for view in views)
    pairs = [(names[0], colour) for names in SOURCE.captions for colour in BACKGROUNDS if colour != "white"]
    assert 0.04 < sum(held_out(*pair) for pair in pairs) / len(pairs) < 0.06


def test_the_caption_names_the_background() -> None:
    for v in range(20):
        view = random_view(SOURCE, 3, v, 1, WILD)
        assert view.caption.endswith(f"on a {view.background} background")


def test_a_hue_changes_with_its_word_and_never_to_the_name_of_another_image() -> None:
    apple = SOURCE.concepts.index("red apple")
    views = [random_view(SOURCE, apple, v, 1, WILD) for v in range(60)]
    swapped = [view for view in views if view.hue_shift]
    assert swapped
    assert not any("red apple" in view.caption for view in swapped)
    assert not any("green apple" in view.caption for view in swapped), "the green apple is another image"


def test_a_plain_view_is_the_image_on_white() -> None:
    i = SOURCE.concepts.index("red heart")
    pixels = ((render_views(SOURCE, [View(i, "")])[0] + 1) * 127.5).permute(1, 2, 0)
    rgba = torch.from_numpy(SOURCE.read(i).copy()).float()
    alpha = rgba[..., 3:] / 255
    torch.testing.assert_close(pixels, rgba[..., :3] * alpha + 255 * (1 - alpha), atol=1e-2, rtol=0)


def test_a_shift_moves_the_image_and_fills_with_the_background() -> None:
    i = SOURCE.concepts.index("red heart")
    still, moved = render_views(SOURCE, [View(i, "", "blue"), View(i, "", "blue", (0.125, 0.0, 1.0))])
    torch.testing.assert_close(moved[:, :, 8:], still[:, :, :-8], atol=2e-2, rtol=0)
    corner = torch.tensor(BACKGROUNDS["blue"]) / 127.5 - 1
    torch.testing.assert_close(moved[:, 0, 0], corner)


def test_without_augmentation_a_caption_and_an_image_stay_as_they_are() -> None:
    for view in (random_view(SOURCE, 7, v, 1, Augment()) for v in range(40)):
        assert view == View(7, view.caption)
        assert view.caption in SOURCE.captions[7]


def test_an_opaque_image_keeps_its_background() -> None:
    opaque = replace(SOURCE, read=lambda i: np.full((64, 64, 4), 255, np.uint8))
    assert {random_view(opaque, 7, v, 1, WILD).background for v in range(20)} == {"white"}
    assert len({random_view(SOURCE, 7, v, 1, WILD).background for v in range(20)}) > 4


def test_the_recipe_of_the_embedded_model_asks_for_its_views() -> None:
    """They are those that the embedded model was trained on, before augmentation was off by default."""
    table = tomllib.loads((Path(__file__).parents[2] / "recipes/emoji.toml").read_text())
    augment = Augment(**table["data"]["augment"])
    views = [random_view(SOURCE, i, v, 1, augment) for i in range(0, 3780, 37) for v in range(8)]
    plain = repr([(one.index, one.caption, one.background, one.place, one.hue_shift) for one in views])
    assert hashlib.sha256(plain.encode()).hexdigest()[:16] == "951cb6ddc7ade49e"
