"""The recipe of `unnoise distill`: a TOML file with the fields of these dataclasses; unknown fields are refused."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from unnoise.distill.consistency_options import ConsistencyOptions
from unnoise.distill.imitate_options import ImitateOptions
from unnoise.distill.match_options import MatchOptions
from unnoise.distill.method_options import MethodOptions
from unnoise.errors import InputError, check_number, check_whole, quoted
from unnoise.formats.strict_json import Strict
from unnoise.generation.limits import GUIDANCE
from unnoise.train.adapter_recipe import LoraOptions
from unnoise.train.checkpoint_options import CheckpointOptions
from unnoise.train.fit_options import FitOptions
from unnoise.train.recipe import DataOptions, check_file_name, parse_recipe

STUDENT: Final = "student"  # the task of a distillation, and its folder
LEAST_SCALE: Final = 0.1  # of the guidance scales, which are drawn evenly in their logarithm
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
