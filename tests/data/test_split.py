"""Held-out images: which, how many, and that all images of a concept are on one side."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from unnoise.data.dataset import ImageDataset
from unnoise.data.split import split_validation


def images(concepts: Sequence[str]) -> ImageDataset:
    names = tuple((f"picture {i}",) for i in range(len(concepts)))
    return ImageDataset(
        "d", names, tuple(concepts), lambda i: np.full((1, 1, 4), i, np.uint8), sizes=((1, 1),) * len(names)
    )


@pytest.mark.parametrize(
    ("count", "share", "held"),
    [
        *((99, "auto", 0), (100, "auto", 5), (30_000, "auto", 1000), (40, 0.0, 0), (40, 0.1, 4), (40, 0.001, 1)),
        *((40, 0.5, 20), (1, 0.5, 0), (2, 0.5, 1), (1000, 0.05, 50)),
    ],
)
def test_how_many_are_held_out(count: int, share: float, held: int) -> None:
    whole = images([f"{i}.png" for i in range(count)])
    training, validation = split_validation(whole, share)
    assert len(training) == count - held
    assert (0 if validation is None else len(validation)) == held


def test_a_concept_is_on_one_side_and_an_image_keeps_what_it_has() -> None:
    whole = images([f"concept {i % 50}" for i in range(200)])
    training, validation = split_validation(whole, 0.2)
    assert validation is not None
    assert len(set(validation.concepts)) == 10
    assert not set(training.concepts) & set(validation.concepts)
    found = sorted((part.captions[k], part.read(k).max()) for part in (training, validation) for k in range(len(part)))
    assert found == sorted((whole.captions[i], i) for i in range(200))


def test_the_choice_is_of_the_names_alone() -> None:
    """Not of their order, and nearly the same in a larger set."""
    names = [f"{i}.png" for i in range(400)]
    held = [split_validation(images(some), 0.1)[1] for some in (names, names[::-1], [*names, "new.png"])]
    first, turned, larger = (set(one.concepts) for one in held if one is not None)
    assert first == turned
    assert len(first & larger) >= 39


def test_an_image_of_each_class_is_left_for_training() -> None:
    names = [f"{i}.png" for i in range(60)]
    labels = tuple("rare" if i == 7 else f"class {i % 3}" for i in range(60))
    for share in (0.1, 0.5):
        training, validation = split_validation(replace(images(names), labels=labels), share)
        assert validation is not None
        assert len(validation) == 60 * share
        assert training.classes == tuple(sorted(set(labels)))
        assert all(int(name[:-4]) == training.read(k).max() for k, name in enumerate(training.concepts))
        assert all(labels[int(name[:-4])] == training.labels[k] for k, name in enumerate(training.concepts))
    alone = replace(images(names), labels=tuple(names))
    assert split_validation(alone, 0.5)[1] is None


def styled(names: int, styles: Sequence[str]) -> ImageDataset:
    """Images of every name in every style."""
    pairs = [(f"thing {k}", style) for k in range(names) for style in styles]
    whole = images([name for name, _ in pairs])
    return replace(whole, captions=tuple((name,) for name, _ in pairs), styles=tuple(style for _, style in pairs))


@pytest.mark.parametrize(("share", "held"), [("auto", 15), (0.05, 15), (0.2, 60), (0.0, 0)])
def test_of_a_set_with_styles_pairs_are_held_out(share: float, held: int) -> None:
    whole = styled(100, ("flat", "3d", "blob"))
    training, validation = split_validation(whole, share)
    assert len(training) == 300 - held
    assert (len(validation) if validation else 0) == training.held_out == held
    assert len({names[0] for names in training.captions}) == 100, "every name stays, in another style"
    if validation:
        pairs = [{*zip(part.captions, part.styles, strict=True)} for part in (training, validation)]
        assert not pairs[0] & pairs[1]
        assert {*validation.styles} == {*whole.styles}


def test_the_pairs_held_out_do_not_depend_on_the_order() -> None:
    whole = styled(100, ("flat", "3d"))
    held = [split_validation(one, 0.1)[1] for one in (whole, whole.subset(range(199, -1, -1)))]
    first, turned = ({*zip(part.captions, part.styles, strict=True)} for part in held if part)
    assert first == turned


def test_the_last_style_of_a_name_is_never_held_out() -> None:
    whole = styled(40, ("flat",))
    assert split_validation(whole, 0.5) == (whole, None)
    training, validation = split_validation(styled(40, ("flat", "3d")), 0.5)
    assert len(training) == 40 == len(set(training.captions))
    assert validation is not None
