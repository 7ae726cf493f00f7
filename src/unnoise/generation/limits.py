"""The ranges of options, and the checks that enforce them."""

from math import inf
from typing import Any, Final

from unnoise.errors import InputError, check_whole, quoted

STEPS: Final = 1000
GUIDANCE: Final = 100.0
SEEDS: Final = 2**63  # seeds are below this; sample k has seed + k
SIDE: Final = 4096  # pixels
AREA: Final = 1 << 22  # pixels computed at once
TOTAL: Final = 1 << 28  # pixels of all images of one request, which memory holds together
SAMPLES: Final = 4096  # of one prompt, and in one network call
ALL: Final = 1 << 16  # samples of one request
LETTERS: Final = 10_000  # of a prompt
DTYPES: Final = ("float32", "bfloat16", "float16")
FRAMES: Final = 1024  # of a video
SECONDS: Final = 600.0  # of audio
LORA: Final = 4.0  # the largest weight of a LoRA, positive or negative
SCALE: Final = 2.0  # the largest weight of a control or an IP-Adapter
PICTURE: Final = 1 << 14  # pixels of a side of the image that a network is conditioned on
AESTHETIC: Final = 10.0  # the highest aesthetic score
RESAMPLES: Final = 100  # times that a stretch of steps is taken
STRENGTH: Final = 0.6  # the default of an image without a mask


def check_text(name: str, text: object) -> None:
    """Raise InputError unless `text` is Unicode of at most LETTERS letters."""
    if not isinstance(text, str):
        raise InputError(f"{name} {quoted(text)}: must be text")
    if len(text) > LETTERS:
        raise InputError(f"{name} of {len(text)} letters: at most {LETTERS} are allowed")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InputError(f"{name} {quoted(text)}: not Unicode: it contains an unpaired surrogate") from None


def check_size(size: Any, name: str = "size", most: int = SIDE) -> None:
    """Raise InputError unless `size` is a width and a height, each from 1 to `most`."""
    if not isinstance(size, tuple | list) or len(size) != 2:
        raise InputError(f"{name} {quoted(size)}: a width and a height")
    for axis, side in zip(("width", "height"), size, strict=True):
        check_whole(axis if name == "size" else f"{name} {axis}", side, 1, most)


def check_corner(name: str, corner: Any) -> None:
    """Raise InputError unless `corner` is two whole numbers, pixels from the top and from the left."""
    if not isinstance(corner, tuple | list) or len(corner) != 2:
        raise InputError(f"{name} {quoted(corner)}: two whole numbers, pixels from the top and from the left")
    for axis, pixels in zip(("top", "left"), corner, strict=True):
        check_whole(f"{name} {axis}", pixels, 0, PICTURE)


def check_levels(name: str, ends: Any) -> None:
    """Raise InputError unless `ends` is a lower and an upper level, 0 <= lower < upper <= inf."""
    numbers = isinstance(ends, tuple | list) and all(isinstance(end, int | float) for end in ends)
    if not numbers or len(ends) != 2 or not 0 <= ends[0] < ends[1] <= inf:
        raise InputError(f"{name} {quoted(ends)}: a lower and a higher level, 0 to inf")
