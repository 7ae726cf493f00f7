"""Images and masks as tensors: exact values, sizes that are drawn, what is cropped and put back."""

from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor

from unnoise.errors import InputError, InputWarning
from unnoise.generation.images import (
    PreparedImages,
    RawImages,
    drawn_size,
    fitted,
    image_tensor,
    mask_tensor,
    prepare_images,
    resized,
    sha256,
    up_to,
)

CPU = torch.device("cpu")


def photo(width: int, height: int) -> Image.Image:
    """Return an image whose red is 10 times the column, and green 10 times the row."""
    found = Image.new("RGB", (width, height))
    found.putdata([(10 * x, 10 * y, 255) for y in range(height) for x in range(width)])
    return found


def half(width: int, height: int) -> Tensor:
    mask = torch.zeros(height, width)
    mask[:, width // 2 :] = 1
    return mask


def prepared(raw: RawImages, size: tuple[int, int], soft: bool = True) -> PreparedImages:
    return prepare_images(raw, size, None, soft, CPU)


def test_values_of_an_image() -> None:
    found = image_tensor(photo(3, 2))
    assert found.shape == (1, 3, 2, 3)
    assert found[0, 2].tolist() == [[1.0] * 3] * 2
    torch.testing.assert_close(found[0, 0], torch.tensor([[0.0, 10, 20]] * 2) / 127.5 - 1)
    assert found[0, 1, 0, 0] == -1
    control = prepared(RawImages(control_image=photo(4, 4)), (4, 4)).control_image
    assert control is not None
    torch.testing.assert_close(control, torch.cat([image_tensor(photo(4, 4)) / 2 + 0.5]))
    assert (control.min(), control.max()) == (0, 1)


@pytest.mark.parametrize(("side", "up"), [(1, 8), (7, 8), (8, 8), (9, 16), (16, 16)])
def test_sides_go_up_to_whole_cells(side: int, up: int) -> None:
    assert up_to(side, 8) == up
    assert drawn_size(RawImages(photo(side, 8)), 8) == (up, 8)
    assert drawn_size(RawImages(photo(4, 8), outpaint=(side, 0, 0, 3)), 4) == (up_to(side + 4, 4), 12)
    assert drawn_size(RawImages(photo(4, 8), outpaint=(0, 5, side, 0)), 4) == (up_to(side + 4, 4), 16)


def test_an_image_is_resized_to_what_is_not_outpainted() -> None:
    raw = RawImages(photo(8, 8), outpaint=(1, 2, 3, 4))
    with pytest.warns(InputWarning, match="image of 8x8: resized to 12x9"):
        found = resized(raw, (16, 15))
    assert found.image.size == (12, 9)
    assert found.outpaint == raw.outpaint
    with pytest.warns(InputWarning, match="resized to 1x1"):
        assert resized(raw, (5, 7)).image.size == (1, 1)
    for size in ((4, 7), (5, 6)):
        with pytest.raises(InputError, match=f"size {size[0]}x{size[1]}: smaller than the 4x6 pixels of outpaint"):
            resized(raw, size)
    assert resized(raw, None) is raw
    assert fitted(raw, (8, 8)).image is raw.image


def test_what_is_drawn_beyond_an_image_repeats_its_border_and_is_cropped() -> None:
    found = prepared(RawImages(photo(5, 6), half(5, 6)), (8, 8))
    assert found.crop == (5, 6)
    assert found.image is not None
    assert found.mask is not None
    assert torch.equal(found.image[..., :6, :5], image_tensor(photo(5, 6)))
    assert torch.equal(found.image[..., :6, 5:], found.image[..., :6, 4:5].expand(1, 3, 6, 3))
    assert torch.equal(found.image[..., 6:, :], found.image[..., 5:6, :].expand(1, 3, 2, 8))
    assert torch.equal(found.mask[0, 0, :6, :5], half(5, 6))
    assert found.mask.sum() == half(5, 6).sum()
    painted = torch.full((2, 3, 8, 8), 0.25)
    back = found.restored(painted, 0)
    assert back.shape == (2, 3, 6, 5)
    assert torch.equal(back, torch.where(half(5, 6) == 1, 0.25, image_tensor(photo(5, 6))).expand(2, 3, 6, 5))
    assert prepared(RawImages(photo(8, 8)), (8, 8)).crop is None
    for size in ((4, 8), (8, 4)):
        with pytest.raises(InputError, match="image of 5x6: larger than the drawn size"):
            prepared(RawImages(photo(5, 6)), size)


def test_outpainted_pixels_are_painted() -> None:
    found = prepared(RawImages(photo(4, 4), outpaint=(1, 2, 3, 4)), (8, 10))
    assert found.image is not None
    assert found.mask is not None
    assert found.crop is None
    kept = found.mask[0, 0] == 0
    expected = torch.zeros(10, 8, dtype=torch.bool)
    expected[2:6, 1:5] = True
    assert torch.equal(kept, expected)
    assert bool((found.mask[0, 0][~expected] == 1).all())
    assert torch.equal(found.image[..., 2:6, 1:5], image_tensor(photo(4, 4)))


@pytest.mark.parametrize("soft", [True, False])
def test_a_grey_mixes_or_paints_outright(soft: bool) -> None:
    grey = torch.tensor([[0.0, 0.25], [0.5, 1.0]])
    found = prepared(RawImages(photo(2, 2), grey), (2, 2), soft)
    image = image_tensor(photo(2, 2))
    weight = grey if soft else (grey > 0).float()
    torch.testing.assert_close(found.restored(torch.zeros(1, 3, 2, 2), 0), image * (1 - weight))


@pytest.mark.parametrize(
    "mask",
    [torch.full((2, 2), 1.01), torch.full((2, 2), -0.01), torch.full((2, 2), torch.nan), torch.ones(2, 2, 2),
     torch.ones(4), 5, torch.zeros(2, 2), Image.new("L", (2, 2)), Image.new("F", (2, 2))],
)  # fmt: skip
def test_a_mask_that_is_refused(mask: Any) -> None:
    with pytest.raises(InputError, match=r"^mask"):
        mask_tensor(mask, (2, 2))


def test_a_mask_is_from_zero_to_one() -> None:
    ends = torch.tensor([[0.0, 1.0]])
    for leading in ((), (1,), (1, 1)):
        assert torch.equal(mask_tensor(ends.reshape(*leading, 1, 2), (2, 1)), ends[None, None])
    assert torch.equal(mask_tensor(ends, (2, 1), invert=True), 1 - ends[None, None])
    with pytest.raises(InputError, match="paints nothing"):
        mask_tensor(torch.ones(1, 2), (2, 1), invert=True)
    clear = Image.new("RGBA", (2, 1), (0, 0, 0, 255))
    clear.putpixel((1, 0), (0, 0, 0, 0))
    assert torch.equal(mask_tensor(clear, (2, 1)), ends[None, None])
    coloured = Image.new("RGBA", (2, 1), (255, 0, 0, 255))
    coloured.putpixel((1, 0), (9, 9, 9, 55))
    with pytest.warns(InputWarning, match="coloured"):
        torch.testing.assert_close(mask_tensor(coloured, (2, 1)), torch.tensor([[[[0.0, 200 / 255]]]]))
    with pytest.warns(InputWarning, match="mask of 2x1: resized to the image's 4x2"):
        assert mask_tensor(ends, (4, 2)).shape == (1, 1, 2, 4)
    with pytest.raises(InputError, match="paints every pixel"):
        prepared(RawImages(photo(2, 2), torch.ones(2, 2)), (2, 2))
    prepared(RawImages(photo(2, 2), torch.tensor([[1.0, 1.0], [1.0, 0.99]])), (2, 2))


def test_the_hash_is_of_the_values() -> None:
    one = torch.arange(6.0).reshape(2, 3)
    assert sha256(None) is None
    assert sha256(one) == sha256(one.T.contiguous().T) != sha256(one.T)
