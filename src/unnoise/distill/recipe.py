"""The recipe of `unnoise distill`: a TOML file with the fields of these dataclasses; unknown fields are refused."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, Protocol

from unnoise.card import Part
from unnoise.distill.grids import check_grid, spread_evenly
from unnoise.distill.imitate_options import ImitateOptions
from unnoise.errors import InputError, check_number, check_whole, quoted
from unnoise.formats.strict_json import Strict
from unnoise.generation.limits import GUIDANCE
from unnoise.train.adapter_recipe import LoraOptions
from unnoise.train.checkpoint_options import CheckpointOptions
from unnoise.train.fit_options import FitOptions
from unnoise.train.recipe import DataOptions, check_file_name, parse_recipe

STUDENT: Final = "student"  # the task of a distillation, and its folder
PROMPT_FILE: Final = ".txt"  # ending of a data.source of one prompt a line, for methods without images
LEAST_SCALE: Final = 0.1  # of the guidance scales, which are drawn evenly in their logarithm


class MethodOptions(Protocol):
    """What the options of every method have."""

    @property
    def images(self) -> bool:
        """Whether the method is trained on images, and not on prompts alone."""

    @property
    def most_steps(self) -> int:
        """The largest number of network calls that a student of these options can be trained for."""

    @property
    def extras(self) -> Mapping[str, object]:
        """The arguments that the student's network has besides the teacher's, see `NetExtras`."""

    def sampling(self, steps: int) -> tuple[Part, tuple[float, ...]]:
        """Return the sampler of a number of calls, and its levels after the noisiest; the last is 0."""

    def check(self, recipe: "DistillRecipe") -> None:
        """Raise InputError where the other tables of the recipe do not go with these options."""


@dataclass(frozen=True, slots=True)
class ConsistencyOptions(Strict):
    """Consistency: the student maps every point of a path of the probability flow to the end of that path.

    Args:
        teacher: step from a point to the next by the teacher, with its guidance; false trains on the data alone,
            from the weights of the teacher.
        grid: the levels sigma between the calls, of the largest number of calls; fewer calls use some of them, two the
            middle one, by default that of ECT for pictures. It decides nothing that is trained.
        level_mean: mean of ln sigma, the levels of training, -10 to 10; a model of composed pictures needs high ones.
        level_std: standard deviation of ln sigma, 0.01 to 10.
        gap: the first distance between two points: r = t(1 - n(t)/gap), above 1.
        doublings: how many times `gap` doubles over the run, evenly, 0 to 30.
        loss: "square"; "huber", which is linear in large errors; or "adaptive", each error over its own size.
        huber: size of an error at which the last two change, above 0 to 10, as a root mean square.
        continuous: the limit of points without a distance (sCM), by a forward derivative in float32; slower.
        tangent_warmup: steps over which the derivative of the student enters the continuous form, at least 0.
    """

    teacher: bool = True
    grid: tuple[float, ...] = (5.0, 1.6, 0.4)
    level_mean: float = 0.0
    level_std: float = 1.6
    gap: float = 2.0
    doublings: int = 8
    loss: Literal["square", "huber", "adaptive"] = "huber"
    huber: float = 0.03
    continuous: bool = False
    tangent_warmup: int = 1000

    def __post_init__(self) -> None:
        check_number("consistency.level_mean", self.level_mean, -10, 10)
        check_number("consistency.level_std", self.level_std, 0.01, 10)
        check_number("consistency.gap", self.gap, 1.01, 1e6)
        check_whole("consistency.doublings", self.doublings, 0, 30)
        check_number("consistency.huber", self.huber, 1e-6, 10)
        check_whole("consistency.tangent_warmup", self.tangent_warmup, 0, 10**9)
        check_grid("consistency.grid", self.grid)

    @property
    def images(self) -> bool:
        return True

    @property
    def most_steps(self) -> int:
        return len(self.grid) + 1

    @property
    def extras(self) -> Mapping[str, object]:
        return {}

    def sampling(self, steps: int) -> tuple[Part, tuple[float, ...]]:
        return Part("Consistency"), (*spread_evenly(self.grid, steps - 1), 0.0)

    def check(self, recipe: "DistillRecipe") -> None:
        if recipe.data is None or recipe.data.source.endswith(PROMPT_FILE):
            raise InputError("consistency: needs images; add a [data] table with a source of images")
        if not self.teacher and recipe.guidance != (1.0, 1.0):
            raise InputError(
                f"guidance {list(recipe.guidance)}: is the teacher's, and consistency.teacher is false; leave it out"
            )


@dataclass(frozen=True, slots=True)
class MatchOptions(Strict):
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
        check_grid("match.grid", self.grid)
        check_number("match.anchor", self.anchor, 0, 100)
        check_whole("match.anchor_steps", self.anchor_steps, 1, 100)
        check_whole("match.fake_updates", self.fake_updates, 1, 50)
        check_number("match.fake_learning_rate", self.fake_learning_rate, 1e-6, 100)
        check_number("match.shift", self.shift, 0.1, 20)
        low, high = self.levels
        if not 0 < low < high < 1:
            raise InputError(f"match.levels {list(self.levels)}: two numbers between 0 and 1, ascending")

    @property
    def images(self) -> bool:
        return False

    @property
    def most_steps(self) -> int:
        return len(self.grid) + 1

    @property
    def extras(self) -> Mapping[str, object]:
        return {"end": True} if self.end else {}

    def sampling(self, steps: int) -> tuple[Part, tuple[float, ...]]:
        return Part("DDIM"), (*spread_evenly(self.grid, steps - 1), 0.0)

    def check(self, recipe: "DistillRecipe") -> None:
        if not self.end and recipe.steps[0] == 1 and len(recipe.steps) > 1:
            raise InputError(
                f"steps {list(recipe.steps)}: match.end is false, so that one call and the first of several cannot "
                f"differ; set it to true, or leave out 1"
            )
        if recipe.steps == (1,) and self.anchor:
            raise InputError(
                f"match.anchor {self.anchor:g}: is of the first of several calls, and steps is [1]; set it to 0, or "
                f"add 2 to steps"
            )


METHODS: Final = ("consistency", "imitate", "match")  # each a table of the recipe, and a field of DistillRecipe


@dataclass(frozen=True, slots=True)
class DistillRecipe(Strict):
    """Everything that decides a distillation. The same recipe, versions and machine give the same weights.

    Args:
        name: of the student and its file.
        teacher: name or file of the model that is distilled; it stays as it is.
        fit: the optimizer of the student.
        init: a student of the same teacher to begin from, a model file; the teacher itself if empty.
        guidance: the smallest and the largest guidance scale of the teacher that the student learns, 0.1 to 100; the
            student takes the scale as an input. Two equal scales are folded in, and there is no input.
        steps: numbers of network calls that the student is trained for, 1 to 64 each, ascending.
        caption_dropout: share of captions or labels left out, 0 to 1, so that the student also draws without a prompt.
        data: the images and captions, or only the captions, that are trained on; without it the classes of the teacher.
        consistency, imitate, match: the method.
        lora: the student is a LoRA of the teacher, which is written as a LoRA file.
        checkpoints: what the run saves.
        prompts: of the contact sheets.
        seed: of noise, order and augmentation.
        licence: of the weights, as the card states it; the teacher's if empty.
    """

    name: str
    teacher: str
    fit: FitOptions
    init: str = ""
    guidance: tuple[float, float] = (1.0, 1.0)
    steps: tuple[int, ...] = (1, 2, 4)
    caption_dropout: float = 0.05
    data: DataOptions | None = None
    consistency: ConsistencyOptions | None = None
    imitate: ImitateOptions | None = None
    match: MatchOptions | None = None
    lora: LoraOptions | None = None
    checkpoints: CheckpointOptions = field(default_factory=CheckpointOptions)
    prompts: tuple[str, ...] = ()
    seed: int = 1
    licence: str = ""

    def __post_init__(self) -> None:
        check_file_name(self.name)
        check_whole("seed", self.seed, 0, 2**63 - 1)
        check_number("caption_dropout", self.caption_dropout, 0, 1)
        for scale in self.guidance:
            check_number("guidance", scale, LEAST_SCALE, GUIDANCE)
        if self.guidance[0] > self.guidance[1]:
            raise InputError(f"guidance {list(self.guidance)}: the smallest scale first, then the largest")
        given = [name for name in METHODS if getattr(self, name) is not None]
        if len(given) != 1:
            tables = " or ".join(f"[{name}]" for name in METHODS)
            raise InputError(f"method {' and '.join(given) or 'missing'}: exactly one table {tables} is needed")
        if self.fit.shard:
            raise InputError("fit.shard true: a student is not split among processes; leave it out")
        self._check_steps()
        self.checkpoints.check(self.fit)
        self.options.check(self)

    def _check_steps(self) -> None:
        for count in self.steps:
            check_whole("steps", count, 1, 64)
        if not self.steps or list(self.steps) != sorted(set(self.steps)):
            raise InputError(f"steps {quoted(list(self.steps))}: one or more numbers of calls, ascending")
        most = self.options.most_steps
        if self.steps[-1] > most:
            raise InputError(
                f"steps {list(self.steps)}: {self.method}.grid has levels for at most {most} calls; add some, or leave "
                f"out the larger numbers"
            )

    @property
    def method(self) -> str:
        """The name of the method, one of METHODS."""
        return next(name for name in METHODS if getattr(self, name) is not None)

    @property
    def options(self) -> MethodOptions:
        """The options of the method."""
        found: MethodOptions = getattr(self, self.method)
        return found

    @property
    def guided(self) -> bool:
        """Whether the teacher is guided."""
        return self.guidance != (1.0, 1.0)

    @property
    def guidance_input(self) -> bool:
        """Whether the student takes the guidance scale as an input."""
        return self.guidance[0] < self.guidance[1]

    def fits(self) -> dict[str, tuple[str, FitOptions]]:
        """Return the place and the optimizer of the only task."""
        return {STUDENT: ("fit", self.fit)}


def read_distill_recipe(path: Path) -> DistillRecipe:
    """Read a TOML recipe. Raises InputError that names the file, the field, its value and what is allowed."""
    return parse_recipe(DistillRecipe, path)
