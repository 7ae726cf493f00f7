"""Image inputs of every kind: files and PIL images alike, alpha that is kept, control images of another shape."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from PIL import ExifTags, Image, ImageOps

from unnoise.errors import InputError, InputWarning
from unnoise.formats.pictures import over_white
from unnoise.generation.images import RawImages, opened, prepare_images, with_alpha
from unnoise.generation.media.files import read_metadata
from unnoise.generation.sample import Sample
from unnoise.pipeline import Pipeline

SIDE = 32
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    return tiny.saved(tmp_path_factory.mktemp("inputs") / "tiny.safetensors")


def clear(width: int = SIDE, height: int = SIDE) -> Image.Image:
    """Return noise in all four channels, a quarter of it quite transparent."""
    made = np.random.default_rng(1).integers(0, 256, (height, width, 4), dtype=np.uint8)
    made[: height // 2, : width // 2, 3] = 0
    return Image.fromarray(made)


def mask(width: int = SIDE, height: int = SIDE) -> Image.Image:
    found = Image.new("L", (width, height), 0)
    found.paste(255, (width // 2 - 3, 0, width - 2, height))
    return found


def edited(pipeline: Pipeline, **how: Any) -> Sample:
    return pipeline.generate("a cat", seed=3, steps=3, **how)[0]


def values(image: Image.Image) -> np.ndarray[Any, Any]:
    return np.asarray(image, dtype=int)


@pytest.mark.parametrize("feather", [0, 3])
@pytest.mark.parametrize("suffix", [".png", ".webp"])
def test_kept_pixels_come_back_with_their_alpha(pipeline: Pipeline, tmp_path: Path, feather: int, suffix: str) -> None:
    image = clear(35, 29)
    image.save(tmp_path / "image.png")
    mask(35, 29).save(tmp_path / "mask.png")
    sample = edited(pipeline, image=image, mask=mask(35, 29), feather=feather)
    of_files = edited(pipeline, image=tmp_path / "image.png", mask=str(tmp_path / "mask.png"), feather=feather)
    assert sample.image.mode == "RGBA"
    assert sample.image.tobytes() == of_files.image.tobytes()
    assert sample.metadata == of_files.metadata
    sample.save(tmp_path / f"out{suffix}")
    with Image.open(tmp_path / f"out{suffix}") as file:
        out = values(file)
    kept = values(mask(35, 29)) == 0
    assert (out[kept] == values(image)[kept]).all()
    if feather == 0:
        assert (out[~kept][:, 3] == 255).all(), "what is painted is opaque"
    again = pipeline.replay(read_metadata(tmp_path / f"out{suffix}"), image=image, mask=mask(35, 29))
    assert again.image.tobytes() == sample.image.tobytes()
    another = image.copy()
    another.putpixel((0, 0), (1, 2, 3, 0))  # equal over white
    with pytest.raises(InputError, match=r"image: the metadata names one of sha256 .*, and another is given"):
        pipeline.replay(sample.metadata, image=another, mask=mask(35, 29))


def test_outpainting_keeps_alpha_and_a_jpeg_is_over_white(pipeline: Pipeline, tmp_path: Path) -> None:
    sample = edited(pipeline, image=clear(), outpaint=(0, 8, 8, 0), feather=0)
    assert (values(sample.image)[8:, :SIDE] == values(clear())).all()
    assert (values(sample.image)[:8, :, 3] == 255).all()
    sample.save(tmp_path / "a.jpg")
    with Image.open(tmp_path / "a.jpg") as file:
        corner = values(file)[10:22, 2:14]
    assert corner.mean() > 240, "transparent pixels are white"


def test_what_is_between_kept_and_painted_is_mixed_over_white() -> None:
    generator = torch.Generator().manual_seed(0)
    image = torch.from_numpy(values(clear(8, 8))).permute(2, 0, 1)[None].float() / 127.5 - 1
    painted, share = torch.rand(2, 3, 8, 8, generator=generator) * 2 - 1, torch.rand(1, 1, 8, 8, generator=generator)
    alpha = (image[:, 3:] + 1) / 2
    known = image[:, :3] * alpha + (1 - alpha)  # over white, which is 1
    data = known + share * (painted - known)
    found = with_alpha(data, image, share)
    new = (found[:, 3:] + 1) / 2
    torch.testing.assert_close(new, (share + (1 - share) * alpha).expand(2, -1, -1, -1))
    torch.testing.assert_close(found[:, :3] * new + (1 - new), data, atol=1e-5, rtol=0)
    assert torch.equal(with_alpha(data, image, torch.zeros_like(share))[0], image[0])


def test_transparent_pixels_of_which_none_is_kept_are_white_and_said(pipeline: Pipeline) -> None:
    with pytest.warns(InputWarning, match="^image: its transparent pixels become white, as none is kept$"):
        whole = edited(pipeline, image=clear(), strength=0.4)
    assert whole.image.mode == "RGB"
    assert whole.image.tobytes() == edited(pipeline, image=over_white(clear()), strength=0.4).image.tobytes()


def test_files_and_pil_images_are_the_same_inputs(tmp_path: Path) -> None:
    ramp = np.linspace(0, 65535, SIDE)[None].repeat(SIDE, 0).astype(np.uint16)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    Image.fromarray(ramp).save(tmp_path / "wide.png")
    clear(20, 12).convert("RGB").save(tmp_path / "turned.png", exif=exif)
    clear().save(tmp_path / "clear.png")
    clear().convert("RGB").convert("CMYK").save(tmp_path / "cmyk.tif")
    for name in ("wide.png", "turned.png", "clear.png", "cmyk.tif"):
        path = tmp_path / name
        with Image.open(path) as file:
            given, read = (opened(RawImages(one, one, one, one)) for one in (file, path))
        for field in ("image", "mask", "control_image", "ip_adapter_image"):
            one, other = getattr(given, field), getattr(read, field)
            assert (one.mode, one.size, one.tobytes()) == (other.mode, other.size, other.tobytes()), (name, field)
        if name == "wide.png":
            assert np.abs(values(read.image)[..., 0] - ramp / 257).max() <= 0.5
        assert read.control_image.tobytes() == over_white(read.image).tobytes()
        assert read.image.size == ((12, 20) if name == "turned.png" else (SIDE, SIDE))
    for field in ("image", "mask", "control_image", "ip_adapter_image"):
        with pytest.raises(InputError, match=f"^{field} int: a path"):
            opened(RawImages(**{field: 5}))


@pytest.mark.parametrize("mode", ["I;16", "LAB", "CMYK", "P", "1", "F", "PA"])
@pytest.mark.filterwarnings("ignore:mask. floats from 0 to 1:unnoise.errors.InputWarning")
def test_a_mask_of_any_mode_paints_its_white(mode: str) -> None:
    white, black = {"I;16": (65535, 0), "LAB": ((255, 128, 128), (0, 128, 128)), "CMYK": ((0,) * 4, (0, 0, 0, 255)),
                    "P": (1, 0), "1": (1, 0), "F": (1.0, 0.0), "PA": ((1, 255), (0, 255))}[mode]  # fmt: skip
    found = Image.new(mode, (4, 4), black)
    if mode in ("P", "PA"):
        found.putpalette([0, 0, 0, 255, 255, 255])
    found.paste(white, (2, 0, 4, 4))
    image = Image.new("RGB", (4, 4), "red")
    prepared = prepare_images(opened(RawImages(image, found)), (4, 4), None, True, CPU)
    assert prepared.mask is not None
    assert torch.equal(prepared.mask[0, 0, 0], torch.tensor([0.0, 0, 1, 1]))


def control(how: Any, size: tuple[int, int], image: Image.Image) -> torch.Tensor:
    raw = opened(RawImages(control_image=image, control_resize=how))
    found = prepare_images(raw, size, None, True, CPU).control_image
    assert found is not None
    return found


def test_a_control_image_of_another_shape_is_cropped_padded_or_stretched() -> None:
    image = Image.new("RGB", (32, 16), "white")
    image.paste("red", (0, 0, 8, 16))
    image.paste("blue", (24, 0, 32, 16))
    with pytest.warns(InputWarning, match="^control_image of 32x16: cropped to the shape of 16x16; control_resize can"):
        found = control("crop", (16, 16), image)
    assert torch.equal(found, torch.ones(1, 3, 16, 16)), "the middle, in its own shape"
    with pytest.warns(InputWarning, match="control_image of 32x16: padded with black to the shape of 16x16"):
        found = control("pad", (16, 16), image)
    assert torch.equal(found[0, :, :4], torch.zeros(3, 4, 16))
    assert torch.equal(found[0, :, 12:], torch.zeros(3, 4, 16))
    assert found[0, :, 8, 8].tolist() == [1, 1, 1]
    assert found[0, :, 8, 1].tolist() == pytest.approx([1, 0, 0], abs=0.01)
    with pytest.warns(InputWarning, match="control_image of 32x16: resized to 16x16"):
        found = control("stretch", (16, 16), image)
    assert found[0, :, 0, 1].tolist() == pytest.approx([1, 0, 0], abs=0.01)
    for how in ("crop", "pad", "stretch"):
        with pytest.warns(InputWarning, match="control_image of 32x16: resized to 16x8"):
            same = control(how, (16, 8), image)
        assert torch.equal(same, control("stretch", (16, 8), ImageOps.fit(image, (16, 8), Image.Resampling.LANCZOS)))
