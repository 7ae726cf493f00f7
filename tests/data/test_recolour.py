"""The dominant hue of an image, and another colour in its place."""

import colorsys

import numpy as np
import pytest

from unnoise.data.emoji import open_emoji
from unnoise.data.recolour import COLOURS, LEAST_SHARE, dominant_hue, recoloured

SOURCE = open_emoji()
HEART = next(i for i, names in enumerate(SOURCE.captions) if names[0] == "red heart")


def flat(*parts: tuple[tuple[int, int, int], int]) -> np.ndarray:
    """An opaque image of some colours, each on its number of rows, 10 together."""
    rows = [[(*colour, 255)] * 10 for colour, count in parts for _ in range(count)]
    return np.array(rows, np.uint8)


def hue(pixels: np.ndarray) -> float:
    red, green, blue = pixels[..., :3].reshape(-1, 3).mean(0) / 255
    return 360 * colorsys.rgb_to_hsv(red, green, blue)[0]


def test_the_dominant_hue_is_that_of_most_coloured_pixels() -> None:
    assert dominant_hue(flat(((255, 0, 0), 7), ((0, 0, 255), 3))) in range(-28, 29)
    assert dominant_hue(flat(((0, 0, 255), 6), ((255, 0, 0), 4))) in range(142, 199)
    assert dominant_hue(flat(((128, 128, 128), 10))) is None
    assert dominant_hue(flat(((255, 0, 0), 4), ((128, 128, 128), 6))) is None, f"less than {LEAST_SHARE}"
    assert dominant_hue(np.zeros((8, 8, 4), np.uint8)) is None


@pytest.mark.parametrize("colour", [*COLOURS])
def test_the_new_colour_is_the_one_that_is_named(colour: str) -> None:
    before, after = SOURCE.read(HEART), recoloured(SOURCE.read(HEART), colour)
    assert np.array_equal(before[..., 3], after[..., 3])
    seen = after[before[..., 3] > 200]
    saturation = (seen[:, :3].max(1) - seen[:, :3].min(1).astype(int)).mean()
    wanted, _, (low, high) = COLOURS[colour]
    if wanted is None:
        assert saturation < 5
        assert 255 * low - 5 <= seen[:, :3].mean() <= 255 * high + 5
    else:
        assert abs((hue(seen) - wanted + 180) % 360 - 180) < 15
        assert saturation > 40


def test_only_the_dominant_hue_changes() -> None:
    pixels = flat(((220, 20, 20), 6), ((20, 20, 220), 2), ((128, 128, 128), 2))
    after = recoloured(pixels, "green")
    assert np.array_equal(after[6:], pixels[6:])
    assert not np.array_equal(after[:6], pixels[:6])


def test_shades_stay_in_their_order() -> None:
    shades = flat(*(((value, value // 8, value // 8), 2) for value in (80, 120, 160, 200, 240)))
    for colour in COLOURS:
        bright = recoloured(shades, colour)[..., :3].mean((1, 2))
        assert (np.diff(bright[::2]) > 0).all(), colour


def test_an_image_without_a_dominant_hue_stays() -> None:
    grey = flat(((128, 128, 128), 10))
    assert recoloured(grey, "red") is grey
