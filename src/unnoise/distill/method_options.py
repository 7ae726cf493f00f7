"""What the options of every method of a distillation have: the levels between the calls, and what follows from them."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, Protocol

from unnoise.card import Part
from unnoise.errors import InputError, check_number
from unnoise.formats.strict_json import Strict
from unnoise.train.fit_options import FitOptions
from unnoise.train.recipe import DataOptions

PROMPT_FILE = ".txt"  # ending of a data.source of one prompt a line, for methods without images


class RestOfRecipe(Protocol):
    """The rest of a recipe, which options are checked against; see `DistillRecipe`."""

    @property
    def fit(self) -> FitOptions: ...

    @property
    def data(self) -> DataOptions | None: ...

    @property
    def guidance(self) -> tuple[float, float]: ...

    @property
    def steps(self) -> tuple[int, ...]: ...


@dataclass(frozen=True, slots=True)
class MethodOptions(Strict):
    """The options of a method.

    Args:
        grid: the levels sigma between the calls, of the largest number of calls; fewer calls use some of them.
    """

    images: ClassVar[bool] = False  # whether it is trained on images, and not on prompts alone
    sampler: ClassVar[str] = "DDIM"  # of its students
    grid: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        """Raise InputError unless the levels are above 0, finite and descending."""
        for level in self.grid:
            check_number(f"{self.name}.grid", level, 1e-4, 1e6)
        if any(here <= there for here, there in pairwise(self.grid)):
            raise InputError(
                f"{self.name}.grid {list(self.grid)}: levels sigma between the calls, descending, without the last, 0"
            )

    @property
    def name(self) -> str:
        """The table of the recipe."""
        return type(self).__name__.removesuffix("Options").lower()

    @property
    def most_steps(self) -> int:
        """The largest number of network calls that a student of these options can be trained for."""
        return len(self.grid) + 1

    @property
    def extras(self) -> Mapping[str, object]:
        """The arguments that the student's network has besides the teacher's, see `NetExtras`."""
        return {}

    def sampling(self, steps: int) -> tuple[Part, tuple[float, ...]]:
        """Return the sampler of a number of calls, and its levels after the noisiest; the last is 0."""
        return Part(self.sampler), (*spread_evenly(self.grid, steps - 1), 0.0)

    def check(self, recipe: RestOfRecipe) -> None:
        """Raise InputError where the other tables of the recipe do not go with these options."""


def spread_evenly(levels: tuple[float, ...], count: int) -> tuple[float, ...]:
    """Return `count` of some levels, spread evenly: the middle one for one, all of them for all."""
    places = (round(k * (len(levels) + 1) / (count + 1)) - 1 for k in range(1, count + 1))
    return tuple(levels[place] for place in places)
