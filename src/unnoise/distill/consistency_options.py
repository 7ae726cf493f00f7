"""The options of `consistency`, a table of the recipe of `unnoise distill`."""

from dataclasses import dataclass
from typing import ClassVar, Final, Literal

from unnoise.distill.method_options import PROMPT_FILE, MethodOptions, RestOfRecipe
from unnoise.errors import InputError, check_number, check_whole

MOST_GAP: Final = 2**20  # float32 has 24 binary digits, of which r = t(1 - 1/gap) leaves four for t - r


@dataclass(frozen=True, slots=True)
class ConsistencyOptions(MethodOptions):
    """Consistency: the student maps every point of a path of the probability flow to the end of that path.

    Args:
        grid: the levels sigma between the calls, of the largest number of calls; fewer calls use some of them, two the
            middle one, by default that of ECT for pictures. It decides nothing that is trained.
        teacher: step from a point to the next by the teacher, with its guidance; false trains on the data alone,
            from the weights of the teacher.
        level_mean: mean of ln sigma, the levels of training, -10 to 10; a model of composed pictures needs high ones.
        level_std: standard deviation of ln sigma, 0.01 to 10.
        gap: the first distance between two points: r = t(1 - n(t)/gap), above 1.
        doublings: how many times `gap` doubles over the run, evenly, 0 to 19; the last, gap*2^doublings, is at most
            2^20.
        loss: "square"; "huber", which is linear in large errors; or "adaptive", each error over its own size.
        huber: size of an error at which the last two change, above 0 to 10, as a root mean square.
        continuous: the limit of points without a distance (sCM), by a forward derivative in float32; slower.
        tangent_warmup: steps over which the derivative of the student enters the continuous form, at least 0.
    """

    images: ClassVar[bool] = True
    sampler: ClassVar[str] = "Consistency"
    grid: tuple[float, ...] = (5.0, 1.6, 0.4)
    teacher: bool = True
    level_mean: float = 0.0
    level_std: float = 1.6
    gap: float = 2.0
    doublings: int = 8
    loss: Literal["square", "huber", "adaptive"] = "huber"
    huber: float = 0.03
    continuous: bool = False
    tangent_warmup: int = 1000

    def __post_init__(self) -> None:
        MethodOptions.__post_init__(self)
        check_number("consistency.level_mean", self.level_mean, -10, 10)
        check_number("consistency.level_std", self.level_std, 0.01, 10)
        check_number("consistency.gap", self.gap, 1.01, 1e6)
        check_whole("consistency.doublings", self.doublings, 0, 19)
        if self.gap * 2**self.doublings > MOST_GAP:
            last = self.gap * 2**self.doublings
            raise InputError(
                f"consistency.gap {self.gap:g}, doublings {self.doublings}: the last gap is {last:.0f}, and float32 "
                f"keeps two points apart up to {MOST_GAP}; lower one of them"
            )
        check_number("consistency.huber", self.huber, 1e-6, 10)
        check_whole("consistency.tangent_warmup", self.tangent_warmup, 0, 10**9)

    def check(self, recipe: RestOfRecipe) -> None:
        if recipe.data is None or recipe.data.source.endswith(PROMPT_FILE):
            raise InputError("consistency: needs images; add a [data] table with a source of images")
        if not self.teacher and recipe.guidance != (1.0, 1.0):
            raise InputError(
                f"guidance {list(recipe.guidance)}: is the teacher's, and consistency.teacher is false; leave it out"
            )
