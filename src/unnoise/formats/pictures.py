"""The one decoder of every image that is opened: a closed list of formats, told by content; 8 bits, upright, sRGB."""

import logging
import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from io import BytesIO
from math import isfinite
from tempfile import TemporaryFile
from typing import Any, Final

from PIL import Image, ImageCms, ImageMath, ImageOps, TiffImagePlugin, UnidentifiedImageError

from unnoise.errors import InputError, InputWarning
from unnoise.formats.open_file import open_file

FORMATS: Final = {  # as Pillow names them: endings of their files
    "PNG": (".png", ".apng"),
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "WEBP": (".webp",),
    "GIF": (".gif",),
    "TIFF": (".tif", ".tiff"),
    "BMP": (".bmp",),
    "AVIF": (".avif",),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm", ".pfm"),
}
ENDINGS: Final = frozenset(ending for endings in FORMATS.values() for ending in endings)
OTHERS: Final = (
    ".jp2", ".heic", ".heif", ".jxl", ".svg", ".eps", ".psd", ".exr", ".hdr", ".tga", ".ico", ".dds", ".qoi",
)  # fmt: skip
STARTS: Final = (  # first bytes, and the format; the first that matches
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"\xff\xd8\xff", "JPEG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
    (b"BM", "BMP"),
    *((b"P%d" % kind, "PPM") for kind in range(1, 7)),
    (b"Pf", "PPM"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),  # a codestream of 7 KB takes 500 MB in OpenJPEG
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
    (b"\xff\x0a", "JPEG XL"),
    (b"%!PS", "EPS"),
    (b"\xc5\xd0\xd3\xc6", "EPS"),
    (b"%PDF", "PDF"),
    (b"8BPS", "Photoshop"),
    (b"\xd7\xcd\xc6\x9a", "WMF"),
    (b"\x01\0\0\0", "EMF"),
    (b"\0\0\x01\0", "ICO"),
    (b"DDS ", "DDS"),
    (b"qoif", "QOI"),
    (b"\x76\x2f\x31\x01", "OpenEXR"),
    (b"#?RADIANCE", "Radiance HDR"),
    (b"<svg", "SVG"),
    (b"<?xml", "XML"),
)
AVIF_BRANDS, HEIC_BRANDS = (b"avif", b"avis"), (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1")
READ: Final = ", ".join(FORMATS)
HEAD = 64  # bytes from which a format is told
BYTES = 256 << 20  # of a file
PIXELS = 64_000_000  # of an image
PYTHON_PIXELS = 1 << 20  # of an image that Pillow decodes in Python, at about 2 million pixels a second
WHITE = 65_535  # of 16 bits, 257 times that of 8
EIGHT_BITS = [(value + 128) // 257 for value in range(WHITE + 1)]
LIBTIFF = re.compile(r"\w{3,60}: ")
NOT_FINITE: Final = "not finite"  # what is wrong with an image of NaN
LONGEST = 100  # letters of what a library or a file says
logging.getLogger("PIL").addHandler(logging.NullHandler())  # or its complaints go to stderr
SRGB = cache(lambda: ImageCms.createProfile("sRGB"))


def format_of(head: bytes) -> str:
    """Name the format of an image by its first HEAD bytes; empty where it is no image that is known."""
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WEBP"
    if head[4:8] == b"ftyp":
        brands = [head[8:12], *(head[at : at + 4] for at in range(16, len(head) - 3, 4))]
        known = {**dict.fromkeys(HEIC_BRANDS, "HEIC"), **dict.fromkeys(AVIF_BRANDS, "AVIF")}
        return min((known[brand] for brand in brands if brand in known), default="")
    return next((name for start, name in STARTS if head.startswith(start)), "")


@contextmanager
def opened(source: str | os.PathLike[str] | bytes, what: str, pixels: int = PIXELS) -> Iterator[Image.Image]:
    """Open an image of the closed list whose pixels are not decoded yet; they may be decoded within the block.

    Args:
        source: a file, or its bytes.
        what: the start of every message, such as "image a.png".
        pixels: the most that the image may have, which its header says.

    Raises:
        InputError: it is no regular file or of another format, is too large, or cannot be decoded within the block.
    """
    with one_line(what), _file(source, what) as file, warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        name = format_of(file.read(HEAD))
        if name not in FORMATS:
            raise InputError(f"{what}: cannot be read: {name or 'an unknown format'}; convert it to one of {READ}")
        try:
            image = Image.open(file, formats=[name])
        except Image.DecompressionBombError as error:
            raise InputError(f"{what}: at most {pixels} pixels in all: {error}") from None
        with image:
            _check_area(image, what, pixels)
            _check_rows(image, what)
            yield image


@contextmanager
def one_line(what: str) -> Iterator[None]:
    """Turn whatever a decoder raises on a broken image into an InputError."""
    try:
        yield
    except (InputError, InputWarning):
        raise
    except UnidentifiedImageError:
        raise InputError(f"{what}: cannot be read: its header is broken") from None
    except Exception as error:  # Pillow's readers raise anything on hostile bytes
        reason = str(getattr(error, "strerror", None) or error).partition("\n")[0] or type(error).__name__
        raise InputError(f"{what}: cannot be read: {reason[:LONGEST]}") from None


def decode(source: str | os.PathLike[str] | bytes | Image.Image, what: str, pixels: int = PIXELS) -> Image.Image:
    """Decode an image: 8 bits, upright, sRGB; RGB, or RGBA where a pixel is transparent.

    Of an animation or of several pages the first is taken. A PIL image goes the same way as a file. A change that is
    not without loss is said in one line.

    Args:
        source: a file, its bytes, or a PIL image.
        what, pixels: as for `opened`.

    Raises:
        InputError: as `opened` does, or the values of its pixels have no known range.
    """
    if isinstance(source, Image.Image):
        _check_area(source, what, pixels)
        with one_line(what):
            return normalised(source, what)
    with opened(source, what, pixels) as image:
        return normalised(image, what)


def normalised(image: Image.Image, what: str) -> Image.Image:
    """Bring an image to 8 bits, upright, sRGB; RGB, or RGBA where a pixel is transparent."""
    if image.format != "MPO" and getattr(image, "is_animated", False):  # the others of MPO are previews of the first
        _say(what, "has several frames, of which one is used")
    with _libtiff_quiet(image, what):
        image.load()
    profile, is_16_bits = image.info.get("icc_profile"), image.format == "PPM" or image.mode.startswith("I;16")
    found = ImageOps.exif_transpose(image)
    if found.mode == "F":
        found = _of_floats(found, what)
    elif found.mode.startswith("I"):
        found = _of_whole_numbers(found, is_16_bits, what)
    found = _of_bytes(found, profile, what)
    if found.mode == "RGBA" and found.getchannel("A").getextrema() == (255, 255):
        found = found.convert("RGB")
    plain = Image.new(found.mode, found.size)  # without what else the file carries
    plain.paste(found)
    return plain


@contextmanager
def _libtiff_quiet(image: Image.Image, what: str) -> Iterator[None]:
    """Raise InputError for what libtiff would write to stderr, and Pillow take for a whole image."""
    if "libtiff" not in _codecs(image):
        yield
        return
    with TemporaryFile() as written:
        stderr = os.dup(2)
        try:
            os.dup2(written.fileno(), 2)
            yield
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
        written.seek(0)
        lines = written.read(BYTES).decode(errors="replace").splitlines()
    if complaint := next((line for line in lines if LIBTIFF.match(line)), ""):
        raise InputError(f"{what}: cannot be read: {complaint[:LONGEST]}")


def over_white(image: Image.Image) -> Image.Image:
    """Compose a normalised image on white, as RGB."""
    if image.mode != "RGBA":
        return image
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")


def format_of_file(path: str | os.PathLike[str], what: str) -> str:
    """Name the format of a regular file, as `format_of` does. Raises InputError for any other."""
    with one_line(what), _file(path, what) as file:
        return format_of(file.read(HEAD))


def contents(path: str | os.PathLike[str], what: str, most: int = BYTES) -> bytes:
    """Read a regular file of at most `most` bytes. Raises InputError for any other."""
    with one_line(what), _file(path, what) as file:
        found: bytes = file.read(most + 1)
    if len(found) > most:
        raise InputError(f"{what}: over {most} bytes, the most that is read")
    return found


@contextmanager
def _file(source: str | os.PathLike[str] | bytes, what: str) -> Iterator[Any]:
    """Open a regular file of at most BYTES; a FIFO or a device is never waited for."""
    if isinstance(source, bytes):
        yield BytesIO(source)
        return
    with open_file(source) as file:
        size = os.fstat(file.fileno()).st_size
        if size > BYTES:
            raise InputError(f"{what}: {size} bytes, at most {BYTES}")
        yield file


def _check_area(image: Image.Image, what: str, pixels: int) -> None:
    area = image.width * image.height
    if area > pixels:
        raise InputError(f"{what}: {image.width}x{image.height} pixels, at most {pixels} in all")
    if area > PYTHON_PIXELS and _codecs(image) & set(Image.DECODERS):
        raise InputError(f"{what}: {image.width}x{image.height} pixels, at most {PYTHON_PIXELS} for a {image.format} "
                         f"of this kind; convert it to PNG")  # fmt: skip


def _check_rows(image: Image.Image, what: str) -> None:
    """Raise InputError for a TIFF whose strips end above its last row, which Pillow would leave black."""
    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        return
    last = max((tile.extents[3] for tile in image.tile if tile.extents), default=0)
    rows = image.tag_v2[TiffImagePlugin.IMAGELENGTH]  # the height before the image is turned
    if last < rows:
        raise InputError(f"{what}: its data end at row {last} of {rows}; the file is damaged")


def _codecs(image: Image.Image) -> set[str]:
    """Name the decoders that an image waits for."""
    return {tile[0] for tile in getattr(image, "tile", ())}


def _of_floats(image: Image.Image, what: str) -> Image.Image:
    """Bring floats from 0 to 1, or whole numbers of 16 bits as floats, to 8 bits: L."""
    low, high = _ends(image)
    unequal = ImageMath.lambda_eval(lambda args: args["image"] != args["image"], image=image)
    if unequal.getextrema()[1] or not isfinite(low) or not isfinite(high):
        raise InputError(f"{what}: {NOT_FINITE}: NaN or infinity in its floats; leave it out, or write it again")
    if not 0 <= low <= high <= WHITE or 1 < high < 256:
        raise InputError(
            f"{what}: floats from {low:g} to {high:g}; those from 0 to 1 and those from 0 to {WHITE} are read; "
            "scale them"
        )
    _say(what, f"floats from 0 to {1 if high <= 1 else WHITE} are brought to 8 bits")
    scale = 255 if high <= 1 else 1 / 257
    return image.point(lambda value: value * scale + 0.5).convert("L")


def _of_whole_numbers(image: Image.Image, is_16_bits: bool, what: str) -> Image.Image:
    """Bring 16 bits, or 32 bits of which at most 16 are used, to 8 bits: L, or LA with a transparent grey."""
    transparent, image = image.info.get("transparency"), image.convert("I")
    low, high = _ends(image)
    if not 0 <= low <= high <= WHITE:
        raise InputError(
            f"{what}: whole numbers from {low:g} to {high:g}; those from 0 to 255 and those from 0 to {WHITE} are "
            "read; scale them"
        )
    if not is_16_bits:
        _say(what, f"pixels of 32 bits are read as values from 0 to {255 if high <= 255 else WHITE}")
    if not is_16_bits and high <= 255:
        return image.convert("L")
    grey = image.point(EIGHT_BITS, "L")
    if isinstance(transparent, int):
        grey.putalpha(image.point([255 * (value != transparent) for value in range(WHITE + 1)], "L"))
    return grey


def _ends(image: Image.Image) -> tuple[float, float]:
    low, high = image.getextrema()
    return float(low), float(high)  # type: ignore[arg-type]  # of one channel


def _of_bytes(image: Image.Image, profile: bytes | None, what: str) -> Image.Image:
    """Convert at most 8 bits a channel, and the colours of an embedded profile, to RGB or RGBA in sRGB."""
    transparent = image.info.get("transparency")
    if isinstance(transparent, tuple) and max(transparent) > 255:
        image.info["transparency"] = tuple(value >> 8 for value in transparent)  # of 16 bits, as Pillow reads pixels
    if image.mode == "LAB":
        return ImageCms.profileToProfile(image, ImageCms.createProfile("LAB"), SRGB(), outputMode="RGB") or image
    if image.mode == "La":
        image = image.convert("LA")
    has_alpha = transparent is not None or image.mode in ("RGBA", "RGBa", "LA", "PA")
    mode = "RGBA" if has_alpha else "RGB"
    if image.mode not in ("L", "CMYK", mode) or has_alpha:
        image = image.convert(mode)
    found = _in_srgb(image, profile, what) if profile else image
    return found if found.mode == mode else found.convert(mode)


def _in_srgb(image: Image.Image, profile: bytes, what: str) -> Image.Image:
    """Convert the colours of an embedded profile; one that cannot be used is said in one line."""
    try:
        own = ImageCms.getOpenProfile(BytesIO(profile))
        name = " ".join(ImageCms.getProfileDescription(own).split())[:LONGEST]
        if "srgb" in name.lower():
            return image
        alpha = image.getchannel("A") if image.mode == "RGBA" else None
        colours = image.convert("RGB") if image.mode == "RGBA" else image
        found = ImageCms.profileToProfile(colours, own, SRGB(), outputMode="RGB") or image
    except (ImageCms.PyCMSError, OSError, TypeError, ValueError) as error:
        _say(what, f"its colour profile cannot be used, sRGB is assumed: {str(error)[:LONGEST]}")
        return image
    _say(what, f"converted from the colour profile {name!r} to sRGB")
    if alpha is not None:
        found.putalpha(alpha)
    return found


def _say(what: str, remark: str) -> None:
    warnings.warn(f"{what}: {remark}", InputWarning, stacklevel=2)
