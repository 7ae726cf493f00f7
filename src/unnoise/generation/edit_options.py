"""How a picture is changed, beside how it is drawn: what is kept of it, with which seam, towards what."""

from dataclasses import dataclass
from typing import Final, Literal

from unnoise.errors import InputError, check_whole
from unnoise.formats.strict_json import Strict
from unnoise.generation.limits import SEEDS, SIDE, check_number, check_text

Soft = Literal["blend", "levels"]
SOFT: Final = ("blend", "levels")
REPAINTS: Final = 100  # times that a stretch of steps is taken
HINT: Final = 2.0  # the largest weight of a hint or a look


@dataclass(frozen=True, slots=True)
class Change(Strict):
    """Hold what was asked; None has no part in it.

    feather: pixels over which the painted goes over into the kept, 0 ... 4096, None = half a cell of the latent grid;
    soft: what a grey of the mask is: "blend" mixes both, "levels" is the strength of its place; repaint: how often each
    stretch of steps is taken, so that painted and kept come to agree, 1 ... 100; expand: pixels that are added left,
    above, right and below; origin: what the image shows, from which it is inverted to its noise; tile: side in pixels
    of the windows in which a picture larger than the model's size is drawn; variation: share of the way on the sphere
    to the noise of variation_seed, 0 ... 1; toward: another prompt, toward_share of the way, 0 ... 1; hint_weight,
    look_weight: how much a picture counts whose shapes are followed, or that is to be resembled, 0 ... 2.
    Raises InputError that names the first field that is out of its range, or that could not act.
    """

    feather: int | None = None
    soft: Soft = "blend"
    repaint: int | None = None
    expand: tuple[int, int, int, int] | None = None
    origin: str | None = None
    tile: int | None = None
    variation: float | None = None
    variation_seed: int | None = None
    toward: str | None = None
    toward_share: float | None = None
    control_scale: float | None = None
    ip_adapter_scale: float | None = None

    def __post_init__(self) -> None:
        if self.feather is not None:
            check_whole("feather", self.feather, 0, SIDE)
        if self.soft not in SOFT:
            raise InputError(f"soft {self.soft!r}: one of {', '.join(SOFT)}")
        if self.repaint is not None:
            check_whole("repaint", self.repaint, 1, REPAINTS)
        self._check_expand()
        for name, text in (("origin", self.origin), ("toward", self.toward)):
            if text is not None:
                check_text(name, text)
        if self.tile is not None:
            check_whole("tile", self.tile, 1, SIDE)
        for first, share, second, other in (
            ("variation", self.variation, "variation_seed", self.variation_seed),
            ("toward_share", self.toward_share, "toward", self.toward),
        ):
            if share is not None:
                check_number(first, share, 0, 1)
            if (share is None) != (other is None):
                raise InputError(f"{first} and {second}: act together, and one of them is missing")
        if self.variation_seed is not None:
            check_whole("variation_seed", self.variation_seed, 0, SEEDS - 1)
        for name, weight in (("hint_weight", self.control_scale), ("look_weight", self.ip_adapter_scale)):
            if weight is not None:
                check_number(name, weight, 0, HINT)

    def _check_expand(self) -> None:
        if self.expand is None:
            return
        if not isinstance(self.expand, tuple | list) or len(self.expand) != 4:
            raise InputError(f"expand {self.expand!r}: pixels left, above, right and below")
        for name, side in zip(("left", "above", "right", "below"), self.expand, strict=True):
            check_whole(f"expand {name}", side, 0, SIDE)
        if not any(self.expand):
            raise InputError("expand 0,0,0,0: adds nothing")


NOTHING: Final = Change()
