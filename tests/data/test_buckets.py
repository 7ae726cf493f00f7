"""Aspect buckets: their sizes, the bucket of each image, and an order of batches that depends on the seed alone."""

import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from unnoise.data.buckets import ASPECT, bucket_sizes, cropped, nth_batch, split_into_buckets, warn_of_square
from unnoise.data.dataset import ImageDataset
from unnoise.data.emoji import open_emoji
from unnoise.data.open import open_source
from unnoise.errors import InputWarning

SHAPES = ((32, 32), (64, 32), (32, 64), (48, 24), (33, 31))


@pytest.fixture
def dataset(tmp_path: Path) -> ImageDataset:
    """Images whose left half is red and right half blue, and one turned by EXIF."""
    for i, size in enumerate(SHAPES):
        image = Image.new("RGB", size, "blue")
        image.paste((255, 0, 0), (0, 0, size[0] // 2, size[1]))
        exif = image.getexif()
        if i == 3:
            exif[0x0112] = 6
        image.save(tmp_path / f"{i}.png", exif=exif)
        (tmp_path / f"{i}.txt").write_text(f"picture {i}")
    return open_source(str(tmp_path), 32)


@pytest.mark.parametrize(("side", "multiple"), [(16, 2), (64, 8), (512, 8), (1024, 16), (60, 4)])
def test_sizes_have_about_one_area_and_are_multiples(side: int, multiple: int) -> None:
    sizes = bucket_sizes(side, multiple)
    assert sizes[0] == (side, side)
    assert len(sizes) == len(set(sizes)) <= 40
    step = max(multiple, side / 16)
    for width, height in sizes:
        assert (height, width) in sizes
        assert (width % multiple, height % multiple) == (0, 0)
        assert max(width, height) <= ASPECT * min(width, height)
        assert abs(width * height - side * side) <= 0.5 * step * max(width, height)


def test_each_image_goes_to_the_size_of_its_shape_and_is_whole(dataset: ImageDataset) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        buckets = split_into_buckets(dataset, bucket_sizes(32, 4))
    found = {bucket.dataset.captions[i][0]: bucket.size for bucket in buckets for i in range(len(bucket.dataset))}
    assert found["picture 0"] == found["picture 4"] == (32, 32)
    assert found["picture 1"][0] > 1.7 * found["picture 1"][1]
    assert found["picture 2"] == found["picture 3"] == found["picture 1"][::-1]
    for bucket in buckets:
        for i in range(len(bucket.dataset)):
            pixels = bucket.dataset.read(i)
            assert pixels.shape == (bucket.size[1], bucket.size[0], 4)
            axis = 0 if bucket.dataset.captions[i] == ("picture 3",) else 1  # turned upright
            red = pixels[..., 0].mean(1 - axis)
            assert red[1] > 200
            assert red[-2] < 50


def test_a_square_crop_is_said_in_one_line(dataset: ImageDataset) -> None:
    for crop in (lambda: split_into_buckets(dataset, [(32, 32)]), lambda: warn_of_square(dataset)):
        with pytest.warns(InputWarning, match="4 of 5 images are cropped around .* up to 50% of their area") as said:
            crop()
        assert len(said) == 1
    assert cropped((64, 32), (32, 32)) == pytest.approx(0.5)
    assert cropped((64, 32), (128, 64)) == 0


def test_images_without_sizes_are_one_bucket() -> None:
    (bucket,) = split_into_buckets(open_emoji(), bucket_sizes(64, 4))
    assert bucket.size == (64, 64)
    assert len(bucket.dataset) == len(open_emoji())


def test_batches_of_buckets_are_counted_and_drawn_by_their_share() -> None:
    counts = (70, 20, 10)
    seen = Counter[int]()
    for step in range(2500):
        bucket, number = nth_batch(counts, 5, step)
        assert number == seen[bucket]
        seen[bucket] += 1
    assert [seen[k] / 2500 for k in range(3)] == pytest.approx([0.7, 0.2, 0.1], abs=0.03)
    assert nth_batch(counts, 5, 1234) == nth_batch(counts, 5, 1234)
    assert [nth_batch(counts, 6, step)[0] for step in range(50)] != [
        nth_batch(counts, 5, step)[0] for step in range(50)
    ]
    assert [nth_batch((7,), 5, step) for step in (0, 9, 5000)] == [(0, 0), (0, 9), (0, 5000)]


def test_a_bucket_reads_its_own_images(dataset: ImageDataset) -> None:
    """Closures of different buckets do not mix up their members."""
    buckets = split_into_buckets(dataset, bucket_sizes(32, 4))
    first = {bucket.size: np.array(bucket.dataset.read(0)) for bucket in buckets}
    assert len({image.shape for image in first.values()}) == len(buckets) == 3
