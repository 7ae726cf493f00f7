"""Every image goes one way: format by content, limits before decoding, 8 bits, upright, sRGB."""

import os
import random
import re
import struct
import subprocess
import sys
import warnings
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageCms, ImageOps, PngImagePlugin

from unnoise.errors import InputError, InputWarning
from unnoise.formats import pictures
from unnoise.formats.pictures import decode, format_of, opened, over_white

RAMP = np.linspace(0, 1, 33)[None].repeat(4, 0)
GREY = (RAMP * 255).round().astype(np.uint8)
WIDE = (RAMP * 65535).round().astype(np.uint16)
COLOURS = np.random.default_rng(0).integers(0, 256, (12, 20, 3), np.uint8)


def saved(image: Image.Image, format: str, **how: Any) -> bytes:
    out = BytesIO()
    image.save(out, format, **how)
    return out.getvalue()


def png(width: int, height: int, bits: int, rows: bytes) -> bytes:
    """Write a PNG in colour."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = struct.pack(">IIBBBBB", width, height, bits, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def values(image: Image.Image) -> np.ndarray[Any, Any]:
    return np.asarray(image).astype(int)


@pytest.mark.parametrize("format", ["PNG", "WEBP", "TIFF", "BMP", "PPM", "GIF", "JPEG", "AVIF"])
def test_formats_are_told_by_content(tmp_path: Path, format: str) -> None:
    how = {"WEBP": {"lossless": True}, "JPEG": {"quality": 95}, "AVIF": {"quality": 95}}.get(format, {})
    raw = saved(Image.fromarray(GREY).convert("RGB"), format, **how)
    assert format_of(raw[: pictures.HEAD]) == format
    (tmp_path / "wrong.txt").write_bytes(raw)
    found = decode(tmp_path / "wrong.txt", "image")
    assert found.mode == "RGB"
    assert np.abs(values(found)[..., 1] - GREY).max() <= (6 if format in ("JPEG", "AVIF") else 0)
    assert found.tobytes() == decode(raw, "image").tobytes()


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "EPS"),
        (b"\xc5\xd0\xd3\xc6" + bytes(40), "EPS"),
        (b"%PDF-1.7\n", "PDF"),
        (b"\xd7\xcd\xc6\x9a" + bytes(40), "WMF"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", "HEIC"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
        (b"\xff\x0a\xfa\x7f", "JPEG XL"),
        (b"\xff\x4f\xff\x51", "JPEG 2000"),
        (b"8BPS\0\x01", "Photoshop"),
        (b"<svg xmlns=", "SVG"),
        (b"no image", "an unknown format"),
        (b"", "an unknown format"),
    ],
)
def test_other_formats_are_refused_by_name_and_start_nothing(
    tmp_path: Path, head: bytes, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def started(*_: Any, **__: Any) -> None:
        raise AssertionError("a program is started")

    for place in ("Popen", "run", "call", "check_call", "check_output"):
        monkeypatch.setattr(subprocess, place, started)
    (tmp_path / "a.png").write_bytes(head)
    with pytest.raises(InputError, match=f"^image a: cannot be read: {name}; convert it to one of PNG, JPEG"):
        decode(tmp_path / "a.png", "image a")
    assert format_of(b"\0\0\0\x1cftypmif1\0\0\0\0mif1avifmiaf") == "AVIF"


@pytest.mark.parametrize("format", ["PNG", "TIFF", "PPM"])
def test_sixteen_bits_are_scaled(format: str) -> None:
    expected = np.round(WIDE / 257)
    for image in (Image.fromarray(WIDE), Image.fromarray((WIDE // 300).astype(np.uint16))):
        wanted = np.round(np.asarray(image) / 257)
        found = decode(saved(image, format), "image")
        assert (values(found) == wanted[..., None]).all()
        assert decode(image, "image").tobytes() == found.tobytes(), "a PIL image goes the same way"
    assert (expected[0, 0], expected[0, -1]) == (0, 255)
    for mode in ("I;16B", "I;16L", "I;16"):
        image = Image.frombytes(mode, (33, 4), WIDE.astype(">u2" if mode.endswith("B") else "<u2").tobytes())
        assert (values(decode(image, "image"))[..., 0] == expected).all()


def test_sixteen_bits_of_colour_are_scaled() -> None:
    """A PNG of 16 bits a channel, written by hand, as Pillow writes none."""
    big = np.stack([WIDE, WIDE[:, ::-1], WIDE // 2], -1).astype(">u2")
    found = values(decode(png(33, 4, 16, b"".join(b"\0" + row.tobytes() for row in big)), "image"))
    assert np.abs(found - big.astype(int) / 257).max() <= 1
    assert found[0, -1].tolist()[:2] == [255, 0]


@pytest.mark.parametrize(
    ("array", "remark"),
    [
        (RAMP.astype(np.float32), "floats from 0 to 1 are brought to 8 bits"),
        (WIDE.astype(np.float32), "floats from 0 to 65535 are brought to 8 bits"),
        (WIDE.astype(np.int32), "pixels of 32 bits are read as values from 0 to 65535"),
        (GREY.astype(np.int32), "pixels of 32 bits are read as values from 0 to 255"),
    ],
)
def test_wide_pixels_of_a_known_range_are_scaled_and_said(array: np.ndarray[Any, Any], remark: str) -> None:
    for source in (Image.fromarray(array), saved(Image.fromarray(array), "TIFF")):
        with pytest.warns(InputWarning, match=f"^image a: {remark}$"):
            found = decode(source, "image a")
        assert np.abs(values(found)[..., 0] - RAMP * 255).max() <= 0.51


@pytest.mark.parametrize(
    "array",
    [np.array([[-0.5, 1]]),
     np.array([[0, 3.7]]), np.array([[0, 1e6]]), np.array([[-1, 5]], np.int32), np.array([[0, 70_000]], np.int32)],
)  # fmt: skip
def test_pixels_without_a_known_range_are_refused(array: np.ndarray[Any, Any]) -> None:
    image = Image.fromarray(array.astype(np.float32) if array.dtype == np.float64 else array)
    with pytest.raises(InputError, match=r"^image a: (floats|whole numbers).* from .* to .*; scale them$"):
        decode(saved(image, "TIFF"), "image a")
    with pytest.raises(InputError, match=r"scale them$"):
        decode(image, "image a")


@pytest.mark.parametrize("row", [[0, np.nan, 1], [np.nan, 0, 1], [0, np.inf], [-np.inf, 1]])
def test_pixels_that_are_not_finite_are_refused_as_such(row: list[float]) -> None:
    image = Image.fromarray(np.array([row], np.float32))
    for source in (image, saved(image, "TIFF")):
        with pytest.raises(InputError, match=r"^image a: not finite: NaN or infinity in its floats; .*$"):
            decode(source, "image a")


def lab(colour: str) -> Image.Image:
    ends = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    made = ImageCms.profileToProfile(Image.new("RGB", (4, 4), colour), *ends, outputMode="LAB")
    assert made is not None
    return made


@pytest.mark.parametrize(
    "make",
    [lab, lambda colour: Image.new("RGB", (4, 4), colour).convert("CMYK"),
     lambda colour: Image.new("RGB", (4, 4), colour).convert("YCbCr"),
     lambda colour: Image.new("RGB", (4, 4), colour).convert("HSV"),
     lambda colour: Image.new("RGB", (4, 4), colour).quantize(4),
     lambda colour: Image.new("RGB", (4, 4), colour).convert("RGBX"),
     lambda colour: Image.new("RGBA", (4, 4), colour).convert("RGBa")],
)  # fmt: skip
def test_every_mode_of_colour_is_converted(make: Callable[[str], Image.Image]) -> None:
    for colour, wanted in (("#c03020", (192, 48, 32)), ("white", (255, 255, 255)), ("black", (0, 0, 0))):
        image = make(colour)
        found = decode(image, "image")
        assert found.mode == "RGB"
        assert np.abs(values(found) - wanted).max() <= 2, image.mode
        if image.mode in ("LAB", "CMYK", "P", "YCbCr"):
            assert decode(saved(image, "TIFF"), "image").tobytes() == found.tobytes()


def test_an_inverted_cmyk_jpeg_has_its_colours() -> None:
    image = Image.new("RGB", (16, 16), (200, 30, 60))
    assert np.abs(values(decode(saved(image.convert("CMYK"), "JPEG"), "image")) - (200, 30, 60)).max() < 8


def test_transparency_of_every_kind_becomes_alpha() -> None:
    palette = Image.fromarray(GREY).quantize(8)
    palette.info["transparency"] = int(np.asarray(palette)[0, 0])
    grey = Image.fromarray(GREY)
    wide = Image.fromarray(WIDE)
    for raw in (
        saved(palette, "PNG", transparency=palette.info["transparency"]),
        saved(grey, "PNG", transparency=0),
        saved(wide, "PNG", transparency=0),
        saved(grey.convert("RGB"), "PNG", transparency=(0, 0, 0)),
        saved(palette, "GIF", transparency=palette.info["transparency"]),
        saved(Image.merge("LA", (grey, Image.fromarray((GREY > 0).astype(np.uint8) * 255))), "PNG"),
    ):
        found = decode(raw, "image")
        assert found.mode == "RGBA"
        assert values(found)[0, [0, -1], 3].tolist() == [0, 255]
        assert over_white(found).mode == "RGB"
        assert values(over_white(found))[0, 0].tolist() == [255] * 3
        assert (values(over_white(found))[0, -1] == values(found)[0, -1, :3]).all()
    assert decode(Image.new("1", (4, 4), 1), "image").getpixel((0, 0)) == (255, 255, 255)
    assert decode(Image.new("RGBA", (4, 4), "red"), "image").mode == "RGB", "nothing is transparent"


@pytest.mark.parametrize("turn", range(2, 9))
@pytest.mark.parametrize("format", ["PNG", "JPEG", "TIFF", "WEBP"])
def test_images_are_turned_upright(turn: int, format: str) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = turn
    image = Image.fromarray(COLOURS).resize((40, 24), Image.Resampling.NEAREST)
    raw = saved(image, format, exif=exif)
    with Image.open(BytesIO(raw)) as file:
        wanted = ImageOps.exif_transpose(file).convert("RGB")
        given = decode(file, "image")
    found = decode(raw, "image")
    assert found.size == wanted.size == ((24, 40) if turn > 4 else (40, 24))
    assert found.tobytes() == wanted.tobytes() == given.tobytes()
    assert decode(found, "image").tobytes() == found.tobytes(), "turned once"


def test_a_colour_profile_is_converted_or_said() -> None:
    image = Image.new("RGB", (4, 4), (200, 30, 60))
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    with warnings.catch_warnings(action="error"):
        assert decode(saved(image, "PNG", icc_profile=srgb), "image").tobytes() == image.tobytes()
    with pytest.warns(InputWarning, match="its colour profile cannot be used, sRGB is assumed"):
        assert decode(saved(image, "PNG", icc_profile=b"no profile"), "image").tobytes() == image.tobytes()
    swapped = srgb.replace(b"rXYZ", b"tmp0").replace(b"bXYZ", b"rXYZ").replace(b"tmp0", b"bXYZ")
    swapped = swapped.replace("sRGB".encode("utf-16-be"), "Swap".encode("utf-16-be"))
    for mode, alpha in (("RGB", ()), ("RGBA", (90,))):
        source = Image.new(mode, (4, 4), (255, 0, 0, *alpha))
        with pytest.warns(InputWarning, match="converted from the colour profile 'Swap built-in' to sRGB"):
            found = decode(saved(source, "PNG", icc_profile=swapped), "image")
        assert np.abs(values(found)[0, 0] - (0, 0, 255, *alpha)).max() <= 2


def test_the_first_frame_is_used_and_said() -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    for format, how in (("GIF", {}), ("WEBP", {"lossless": True}), ("TIFF", {}), ("PNG", {})):
        raw = saved(frames[0], format, save_all=True, append_images=frames[1:], **how)
        with pytest.warns(InputWarning, match="has several frames, of which one is used"):
            assert decode(raw, "image").getpixel((0, 0)) == (255, 0, 0)


def test_limits_come_before_decoding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    large = png(3000, 3000, 8, bytes(200))
    with pytest.raises(InputError, match=r"^a: 3000x3000 pixels, at most 1000000 in all"):
        decode(large, "a", 1_000_000)
    with pytest.raises(InputError, match="at most 64000000 pixels in all: "):
        decode(png(30_000, 30_000, 8, b""), "a")
    with pytest.raises(InputError, match="3000x3000 pixels, at most"):
        decode(Image.new("L", (3000, 3000)), "a", 1_000_000)
    plain = b"P3\n2000 2000\n255\n" + b"1 " * 100
    with pytest.raises(InputError, match="at most 1048576 for a PPM of this kind; convert it to PNG"):
        decode(plain, "a")
    monkeypatch.setattr(pictures, "BYTES", 50)
    (tmp_path / "a.png").write_bytes(large)
    with pytest.raises(InputError, match=f"^a: {len(large)} bytes, at most 50"):
        decode(tmp_path / "a.png", "a")


@pytest.mark.parametrize("mode", ["L", "RGB", "I;16"])
def test_a_tiff_without_all_of_its_rows_is_refused(tmp_path: Path, mode: str) -> None:
    Image.new(mode, (16, 16)).save(tmp_path / "a.tiff")
    with Image.open(tmp_path / "a.tiff") as whole:
        assert decode(tmp_path / "a.tiff", "a").size == whole.size
    content = (tmp_path / "a.tiff").read_bytes()
    height, rows = struct.pack("<HHI", 257, 4, 1), struct.pack("<HHI", 257, 3, 1)
    entry = next(one for one in (height, rows) if one in content)
    at = content.index(entry) + len(entry)
    (tmp_path / "b.tiff").write_bytes(content[:at] + struct.pack("<H", 4096) + content[at + 2 :])
    with pytest.raises(InputError, match="its data end at row 16 of 4096"):
        decode(tmp_path / "b.tiff", "a")


def test_only_regular_files_are_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "device.png").symlink_to("/dev/zero")
    for name in ("pipe.png", "device.png", "."):
        with pytest.raises(InputError, match=r"(is a FIFO|is a device|is a folder|is .*), not a file"):
            decode(tmp_path / name, "a")
        with pytest.raises(InputError, match="not a file"):
            pictures.contents(tmp_path / name, "a")
    with pytest.raises(InputError, match=r"No such file|no such file|missing"):
        decode(tmp_path / "none.png", "a")
    (tmp_path / "long").write_bytes(bytes(11))
    assert pictures.contents(tmp_path / "long", "a", 11) == bytes(11)
    with pytest.raises(InputError, match=r"^a: over 10 bytes"):
        pictures.contents(tmp_path / "long", "a", 10)


SEEDS = [
    saved(Image.fromarray(COLOURS), "PNG"),
    saved(Image.fromarray(COLOURS), "JPEG"),
    saved(Image.fromarray(COLOURS), "WEBP"),
    saved(Image.fromarray(COLOURS), "GIF", save_all=True, append_images=[Image.new("RGB", (20, 12))]),
    saved(Image.fromarray(COLOURS), "TIFF", compression="tiff_lzw"),
    saved(Image.fromarray(WIDE), "TIFF"),
    saved(Image.fromarray(RAMP.astype(np.float32)), "TIFF"),
    saved(Image.fromarray(COLOURS), "BMP"),
    saved(Image.fromarray(COLOURS), "PPM"),
    saved(Image.fromarray(COLOURS), "AVIF"),
    saved(Image.fromarray(COLOURS), "TIFF", compression="tiff_deflate"),
    saved(Image.fromarray(GREY).convert("1"), "TIFF", compression="group4"),
    saved(Image.fromarray(COLOURS), "PNG", exif=Image.Exif(), pnginfo=PngImagePlugin.PngInfo()),
]


def fault(raw: bytes) -> str:
    """Return what is said of an image that cannot be decoded."""
    try:
        with warnings.catch_warnings(action="ignore", category=InputWarning):
            return "" if decode(raw, "image a").mode in ("RGB", "RGBA") else "no such mode"
    except InputError as error:
        return str(error)


@pytest.mark.parametrize("raw", SEEDS, ids=[format_of(raw[:64]) + str(k) for k, raw in enumerate(SEEDS)])
def test_broken_images_are_one_line(raw: bytes, capfd: pytest.CaptureFixture[str]) -> None:
    chance = random.Random(len(raw))
    for turn in range(60):
        broken = bytearray(raw[: chance.randrange(len(raw))] if turn % 3 == 0 else raw)
        for _ in range(0 if turn % 3 == 0 else chance.randrange(1, 8)):
            broken[chance.randrange(len(broken) if turn % 2 else min(len(broken), 120))] = chance.randrange(256)
        line = fault(bytes(broken))
        assert line == "" or line.startswith("image a: ")
        assert "\n" not in line
        assert len(line) < 300
    assert capfd.readouterr() == ("", "")


def test_pillow_complains_to_nobody(tmp_path: Path) -> None:
    raw = saved(Image.fromarray(COLOURS), "TIFF")
    tag = struct.pack("<HHII", 277, 3, 1, 3)  # samples per pixel
    assert tag in raw
    (tmp_path / "a.tif").write_bytes(raw.replace(tag, struct.pack("<HHII", 277, 3, 1, 11)))
    code = "import sys; from unnoise.formats.pictures import decode; decode(sys.argv[1], 'image a')"
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "a.tif")], capture_output=True, text=True)
    assert done.stderr.splitlines()[-1].startswith("unnoise.errors.InputError: image a: cannot be read: ")
    assert "More samples" not in done.stderr


def test_what_fails_within_the_block_is_one_line() -> None:
    with pytest.raises(InputError, match=r"^image a: cannot be read: boom$"), opened(SEEDS[0], "image a"):
        raise ValueError("boom\nmore")


def test_pillow_opens_files_in_one_place() -> None:
    """Only the embedded data set, a file of our own, is opened elsewhere."""
    source = Path(pictures.__file__).parents[1]
    calls = re.compile(r"\bImage\.open\(")
    found = {str(path.relative_to(source)) for path in source.rglob("*.py") if calls.search(path.read_text())}
    assert found == {"formats/pictures.py", "data/emoji.py"}
    assert all(f"Image.open(file, formats=[{name}" in (source / place).read_text() for place, name in
               (("formats/pictures.py", "name]"), ("data/emoji.py", '"WEBP"]')))  # fmt: skip
