"""Images in Python as a data set."""

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from unnoise.data.iterable import dataset_of
from unnoise.data.samples import ImageSamples
from unnoise.errors import InputError, InputWarning
from unnoise.train.own_data import own_data

GREY = np.arange(12 * 16, dtype=np.uint8).reshape(12, 16)
COLOUR = np.stack([GREY, GREY + 1, GREY + 2], axis=2)


@pytest.mark.parametrize(
    "image",
    [
        COLOUR, COLOUR.transpose(2, 0, 1), COLOUR / 255, (COLOUR / 255).astype(np.float32), COLOUR.astype(np.int64),
        torch.from_numpy(COLOUR), torch.from_numpy(COLOUR).permute(2, 0, 1) / 255, Image.fromarray(COLOUR),
    ],
)  # fmt: skip
def test_an_image_keeps_its_pixels(image: Any) -> None:
    dataset = dataset_of([image], 12)
    assert np.array_equal(dataset.read(0)[..., :3], COLOUR[:, 2:14])
    assert dataset.target == dataset_of([image]).target == (12, 12)


@pytest.mark.parametrize("image", [GREY, GREY[..., None], GREY[None], GREY / 255, GREY > 4, Image.fromarray(GREY)])
def test_grey_is_grey(image: Any) -> None:
    expected = (GREY > 4) * 255 if np.asarray(image).dtype.kind == "b" else GREY
    assert np.array_equal(dataset_of([image], 12).read(0)[..., 1], expected[:, 2:14])


def test_captions_and_labels_of_pairs_and_dicts() -> None:
    assert dataset_of([(COLOUR, "a"), (COLOUR, ("b", "c"))]).captions == (("a",), ("b", "c"))
    numbers = dataset_of([(COLOUR, 3), (COLOUR, np.int64(11)), (COLOUR, torch.tensor(3))])
    assert (numbers.labels, numbers.classes, numbers.captioned) == (("3", "11", "3"), ("3", "11"), False)
    assert dataset_of([(COLOUR, 1)], classes=("cat", "dog")).labels == ("dog",)
    rows = [
        {"image": COLOUR, "text": "a", "label": 0, "kind": "x"},
        {"image": COLOUR, "text": "b", "label": 1, "kind": "y"},
    ]
    assert (dataset_of(rows).captions, dataset_of(rows).labels) == ((("a",), ("b",)), ())
    assert dataset_of(rows, labels="kind").labels == ("x", "y")
    assert dataset_of(rows, labels="", captions="none").captions == (("",), ("",))
    assert dataset_of([COLOUR]).captions == (("",),)


def test_a_generator_is_kept_and_a_sequence_is_read_when_needed() -> None:
    def images() -> Iterator[Any]:
        yield from ((COLOUR, str(i)) for i in range(3))

    dataset = dataset_of(images())
    assert (len(dataset), dataset.read(2).shape) == (3, (12, 12, 4))

    class Own:
        """Images that are made when they are asked for."""

        asked: list[int]

        def __init__(self) -> None:
            self.asked = []

        def __len__(self) -> int:
            return 2

        def __getitem__(self, i: int) -> Any:
            self.asked.append(i)
            return COLOUR

    own = Own()
    dataset, before = dataset_of(own), len(own.asked)
    dataset.read(1)
    assert own.asked[before:] == [1]


def test_what_is_not_finite_is_counted() -> None:
    bad = np.full((12, 12, 3), np.nan)
    with pytest.warns(InputWarning, match=r"^list: 2 images skipped: 2 not finite \('list\[1\]', \.\.\.\)$"):
        assert dataset_of([COLOUR, bad, COLOUR + np.inf]).skipped == 2
    with pytest.raises(InputError, match=r"'list\[1\]': not finite: NaN or infinity in the array"):
        dataset_of([COLOUR, bad], strict=True)


@pytest.mark.parametrize("image", [COLOUR / 255 - 0.5, COLOUR.astype(np.int64) * 2, COLOUR * 1.0])
def test_values_of_an_unknown_range_are_refused(image: Any) -> None:
    with pytest.raises(InputError, match=r"values from .* to .*, of .* from 0 to .*; scale them"):
        dataset_of([image], strict=True)


@pytest.mark.parametrize(
    ("items", "fault"),
    [
        ([], "no image; at least one is needed"),
        (["a.png"], r"list\[0\]: 'a.png': an image is a PIL image, or an array"),
        ([np.zeros((3, 4, 5, 6))], r"list\[0\]: array.*: an image is"),
        ([np.zeros((0, 4))], "an image is"),
        ([np.array([["a"]])], "an image is"),
        ([{"text": "a"}], r"list\[0\]: a dict of 'text'; 'image' is needed"),
        ([(COLOUR, "a", 1)], r"list\[0\]: 3 values"),
        ([(COLOUR, 1.5)], r"list\[0\]: label 1.5"),
        ([COLOUR, None], r"list\[1\]: None: an image is"),
        ([(COLOUR, "a"), COLOUR], r"1 of 2 images have none, the first is 'list\[1\]'"),
    ],
)
def test_what_is_no_image_is_refused_by_its_place(items: list[Any], fault: str) -> None:
    with pytest.raises(InputError, match=rf"^[^\n]*{fault}[^\n]*$"):
        dataset_of(items)


def test_a_label_without_a_class_is_refused() -> None:
    with pytest.raises(InputError, match=r"list\[0\]: label 2: from 0 to 1"):
        dataset_of([(COLOUR, 2)], classes=("cat", "dog"))


@pytest.mark.parametrize("mode", ["F", "I", "CMYK", "P", "LA", "YCbCr", "HSV"])
def test_every_mode_of_an_image_in_memory_is_read(mode: str) -> None:
    image = Image.fromarray(GREY / np.float32(255)) if mode == "F" else Image.fromarray(COLOUR).convert(mode)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InputWarning)
        assert dataset_of([image], 12).read(0).shape == (12, 12, 4)


def test_a_data_set_is_samples_of_ones_own_loop() -> None:
    samples = ImageSamples(dataset_of([(COLOUR, 7), (COLOUR, 3)]))
    x, number = samples[0]
    assert (len(samples), number, x.shape) == (2, 1, (3, 12, 12))
    torch.testing.assert_close(x, torch.from_numpy(COLOUR[:, 2:14]).permute(2, 0, 1) / 127.5 - 1)
    plain = ImageSamples(dataset_of([COLOUR, COLOUR + 1]))
    assert torch.equal(plain[0], x)
    x0, cond = own_data(samples.dataset, 1, 2).first()
    assert cond is not None
    assert torch.equal(x0, torch.stack([x, x]))
    assert cond.conditioning.label.tolist() == [1, 0]
    with pytest.raises(InputError, match=r"^list: captions have no numbers; set captions = \"none\""):
        ImageSamples(dataset_of([(COLOUR, "a")]))
