"""The options of `imitate`, a table of the recipe of `unnoise distill`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from unnoise.distill.method_options import MethodOptions, RestOfRecipe
from unnoise.errors import InputError, check_number, check_whole
from unnoise.nets.blocks import MOST_POINTS

POINTS = 8  # of a student with a network of this program; a jump of one is straight


@dataclass(frozen=True, slots=True)
class ImitateOptions(MethodOptions):
    """Imitate: the student follows a path of its own in one call, with the teacher's velocity along it.

    Args:
        grid: the levels sigma between the calls, of the largest number of calls; fewer calls use some of them.
        points: of x0 along a jump, 1 to 64, between which it is linear; 8 by default. A LoRA, or the network of another
            program, has 1.
        inner: times that the teacher is run along each jump of a step, 1 to 64.
        jumps: which are trained: "calls", each number of calls equally often, and then each of its jumps; or "all",
            each jump equally often.
        floor: place sigma/(1 + sigma) below which errors of x0 weigh no more, 0.001 to 1; above, they weigh
            1/place^2, as errors of the velocity do.
        ends: first steps of the run, which regress the ends of jumps on the teacher's own paths; 0 for none.
        ends_paths: of the teacher, which these steps use again and again, 1 to 1000000; whole batches are computed.
        ends_steps: of the teacher on each of them, 1 to 1000.
    """

    grid: tuple[float, ...] = (3.0, 1.0, 0.3333)
    points: int | None = None
    inner: int = 2
    jumps: Literal["calls", "all"] = "calls"
    floor: float = 0.05
    ends: int = 0
    ends_paths: int = 512
    ends_steps: int = 24

    def __post_init__(self) -> None:
        MethodOptions.__post_init__(self)
        if self.points is not None:
            check_whole("imitate.points", self.points, 1, MOST_POINTS)
        check_whole("imitate.inner", self.inner, 1, 64)
        check_number("imitate.floor", self.floor, 0.001, 1)
        check_whole("imitate.ends", self.ends, 0, 10**9)
        check_whole("imitate.ends_paths", self.ends_paths, 1, 10**6)
        check_whole("imitate.ends_steps", self.ends_steps, 1, 1000)

    @property
    def extras(self) -> Mapping[str, object]:
        return {"end": True, "points": POINTS if self.points is None else self.points}

    def check(self, recipe: RestOfRecipe) -> None:
        """Raise InputError where the warm start is longer than the run."""
        if self.ends > recipe.fit.steps:
            raise InputError(f"imitate.ends {self.ends}: at most fit.steps, {recipe.fit.steps}")
