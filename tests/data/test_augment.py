"""The strengths of data augmentation: their ranges, and what they mean for pixels and captions."""

from dataclasses import fields, replace

import pytest

from unnoise.data.augment import BACKGROUNDS, HALF, Augment, colour_of
from unnoise.errors import InputError

NAMES = [field.name for field in fields(Augment)]


@pytest.mark.parametrize("name", NAMES)
def test_each_strength_has_a_range(name: str) -> None:
    most = 0.5 if name in HALF else 1.0
    for value in (0.0, most):
        assert getattr(Augment(**{name: value}), name) == value
    for value in (-0.1, most + 0.1, float("nan")):
        with pytest.raises(InputError, match=rf"^augment\.{name} .*: from 0 to {most:g}$"):
            Augment(**{name: value})


def test_what_changes_pixels_and_what_changes_captions() -> None:
    assert Augment().none
    changed = {name for name in NAMES if not replace(Augment(), **{name: 0.3}).same_pixels}
    assert changed == {"background", "move", "hue", "recolour", "resize", "scene"}
    assert {name for name in NAMES if not replace(Augment(), **{name: 0.3}).none} == changed | {
        "phrase", "keywords", "style", "unknown",
    }  # fmt: skip


def test_colours_by_name_and_by_number() -> None:
    assert colour_of("#ff8000") == (255, 128, 0)
    assert {colour_of(name) for name in BACKGROUNDS} == {*BACKGROUNDS.values()}
    with pytest.raises(InputError, match=r"^background 'blu': #rrggbb, or a name; did you mean 'blue'"):
        colour_of("blu")
