"""The options of `match`, a table of the recipe of `unnoise distill`."""

from collections.abc import Mapping
from dataclasses import dataclass

from unnoise.distill.method_options import MethodOptions, RestOfRecipe
from unnoise.errors import InputError, check_number, check_whole


@dataclass(frozen=True, slots=True)
class MatchOptions(MethodOptions):
    """Distribution matching: samples of the student are moved to where the teacher finds them more likely.

    Args:
        grid: the levels sigma between the calls, of the largest number of calls; fewer calls use some of them.
        anchor: weight of the path of the teacher, which the first of several calls follows, 0 to 100; it keeps the
            samples of a prompt as diverse as the teacher's. 0 is none: the first call is matched as the others are.
        anchor_steps: steps of the teacher over the jump of the first call, 1 to 100.
        fake_updates: updates of the network that follows the samples of the student, between two of the student, 1 to
            50. A run of fit.steps steps updates the student every fake_updates + 1 of them.
        fake_learning_rate: of that network, as a multiple of the learning rate, above 0 to 100.
        levels: the lowest and the highest level at which samples are compared, as sigma/(1 + sigma), 0 to 1.
        shift: of the levels in between, 0.1 to 20; above 1 compares more at high ones.
        decoupled: compare at other levels for the guidance, above the level of the call, than for the distribution.
        end: the student takes the level at which its jump ends as an input, which one call and several calls need.
    """

    grid: tuple[float, ...] = (5.0, 1.8, 0.6)
    anchor: float = 0.05
    anchor_steps: int = 4
    fake_updates: int = 2
    fake_learning_rate: float = 1.0
    levels: tuple[float, float] = (0.02, 0.98)
    shift: float = 1.0
    decoupled: bool = True
    end: bool = True

    def __post_init__(self) -> None:
        MethodOptions.__post_init__(self)
        check_number("match.anchor", self.anchor, 0, 100)
        check_whole("match.anchor_steps", self.anchor_steps, 1, 100)
        check_whole("match.fake_updates", self.fake_updates, 1, 50)
        check_number("match.fake_learning_rate", self.fake_learning_rate, 1e-6, 100)
        check_number("match.shift", self.shift, 0.1, 20)
        low, high = self.levels
        if not 0 < low < high < 1:
            raise InputError(f"match.levels {list(self.levels)}: two numbers between 0 and 1, ascending")

    @property
    def extras(self) -> Mapping[str, object]:
        return {"end": True} if self.end else {}

    def check(self, recipe: RestOfRecipe) -> None:
        if not self.end and len(recipe.steps) > 1 and (self.anchor or recipe.steps[0] == 1):
            raise InputError(
                f"steps {list(recipe.steps)}: match.end is false, so that the first calls of several numbers cannot "
                f"differ; set it to true, or give one number"
            )
        if recipe.steps == (1,) and self.anchor:
            raise InputError(
                f"match.anchor {self.anchor:g}: is of the first of several calls, and steps is [1]; set it to 0, or "
                f"add 2 to steps"
            )
