"""The strength of data augmentation, and the colours that it knows by name."""

import re
from dataclasses import dataclass, fields

from unnoise.errors import InputError, nearest
from unnoise.formats.strict_json import Strict

BACKGROUNDS: dict[str, tuple[int, int, int]] = {
    "white": (255, 255, 255),
    "black": (0, 0, 0),
    "gray": (128, 128, 128),
    "red": (220, 40, 40),
    "orange": (255, 150, 40),
    "yellow": (255, 225, 80),
    "green": (50, 160, 70),
    "blue": (50, 90, 220),
    "cyan": (90, 210, 230),
    "purple": (130, 60, 180),
    "pink": (255, 160, 200),
    "brown": (125, 80, 45),
}
HALF = frozenset({"shift", "scale"})  # fields that are at most 0.5
OF_CAPTIONS = ("phrase", "keywords", "style", "unknown")  # fields that change no pixel


@dataclass(frozen=True, slots=True)
class Augment(Strict):
    """The strength of data augmentation. By default there is none: the image and its caption as they are.

    Args:
        phrase: probability of a phrase such as "an icon of a ..." around the caption, 0 to 1.
        background: probability of a coloured background, named in the caption, 0 to 1; an opaque image keeps its own.
        move: probability of a shift and a change of size, 0 to 1.
        shift: largest shift, as a share of the side, 0 to 0.5.
        scale: largest change of size, 0 to 0.5: 1 +- scale.
        hue: probability of another colour, 0 to 1, where the caption has a colour word, which changes with it.
        keywords: probability of a keyword in place of the name, 0 to 1, where the data set has keywords.
        style: probability that the caption names the style, 0 to 1, where the data set has styles.
        recolour: probability of another colour of an image with one dominant colour, named in the caption, 0 to 1.
        resize: probability of a small or large subject, named so in the caption, 0 to 1.
        scene: probability of a scene of two or three transparent images, such as "a cat next to a dog", 0 to 1.
        unknown: probability of one or two made-up words in the caption, which a model learns to read past, 0 to 1.
    """

    phrase: float = 0.0
    background: float = 0.0
    move: float = 0.0
    shift: float = 0.06
    scale: float = 0.12
    hue: float = 0.0
    keywords: float = 0.0
    style: float = 0.0
    recolour: float = 0.0
    resize: float = 0.0
    scene: float = 0.0
    unknown: float = 0.0

    @property
    def none(self) -> bool:
        """Whether every view is the image itself, with its caption as written."""
        return self.same_pixels and not any(getattr(self, name) for name in OF_CAPTIONS)

    @property
    def same_pixels(self) -> bool:
        """Whether every view has the same pixels."""
        return not any((self.background, self.move, self.hue, self.recolour, self.resize, self.scene))

    @property
    def of_captions(self) -> "Augment":
        """The same variations of the captions, and none of the pixels."""
        return Augment(**{name: getattr(self, name) for name in OF_CAPTIONS})

    def check_pixels(self, place: str) -> None:
        """Raise InputError for what varies captions alone, where only pixels are used. place: of this table."""
        for name in OF_CAPTIONS:
            if value := getattr(self, name):
                raise InputError(f"{place}.{name} {value:g}: varies captions, and only pixels are used; leave it out")

    def __post_init__(self) -> None:
        for field in fields(self):
            value, most = getattr(self, field.name), 0.5 if field.name in HALF else 1
            if not 0 <= value <= most:
                raise InputError(f"augment.{field.name} {value:g}: from 0 to {most}")


def colour_of(background: str) -> tuple[int, int, int]:
    """Return a colour as red, green and blue, 0 to 255. Raises InputError unless it is a known name or #rrggbb."""
    if background in BACKGROUNDS:
        return BACKGROUNDS[background]
    if not re.fullmatch("#[0-9a-fA-F]{6}", background):
        raise InputError(f"background {background!r}: #rrggbb, or a name; {nearest(background, BACKGROUNDS)}")
    red, green, blue = bytes.fromhex(background[1:])
    return red, green, blue
