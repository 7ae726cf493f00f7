"""A sampler or a schedule replaces the levels that a student of `unnoise distill` was trained at.

Why: a student of 4 calls is trained for one sampler at 4 levels, which its card names. Another sampler, such as an
ancestral one, or levels of ordinary sampling run it where it was not trained.
Shown: the sampler or the levels of the request, and those of the card.
Instead: no sampler and no schedule; the card of the student sets both.
Fix: none; leave the option out.
Source: Song et al. 2023, arXiv:2303.01469, algorithm 1; Luo et al. 2023, arXiv:2310.04378, algorithm 3;
docs/distillation.md.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from unnoise.check.examples import request_on_student
from unnoise.check.rule import WARN, Finding, Rule
from unnoise.check.subject import GenerationRun, Location, Subject
from unnoise.errors import InputError
from unnoise.families.fact import TrainedSteps
from unnoise.sampling.registry import SAMPLERS, resolve_name

RULE = Rule(id="UN126", name="trained-levels-replaced", severity=WARN, checks="run", tools=("unnoise",))
EQUAL = 1e-3  # relative difference of equal levels


def check(run: GenerationRun) -> Iterator[Finding]:
    trained = {one[0]: one for one in run.facts.trained} if run.facts else {}
    if run.steps is None or run.steps.value not in trained or "strength" in run.others:
        return
    for place, measured, expected in _others(run, trained[run.steps.value]):
        message = f"{run.facts.title if run.facts else ''} was trained with another sampler or at other levels"
        yield Finding(RULE, place, message, measured, expected, "leave sampler and schedule out")


def _others(run: GenerationRun, trained: TrainedSteps) -> Iterator[tuple[Location, str, str]]:
    """List the places of settings that differ from those of the card, with both values."""
    _, class_, args, levels = trained
    stated = run.others.get("sampler_args")
    if run.sampler is not None and _made(run.sampler.value, stated.value if stated else {}) != _made(class_, args):
        yield run.sampler.place, f"sampler {run.sampler.value}", f"sampler {class_}"
    shown = f"levels {' '.join(f'{level:.3g}' for level in levels)}"
    if run.grid is not None:
        yield run.grid.place, f"schedule {run.grid.value}", shown
    own = run.others.get("grid")
    if own is not None and _differ([float(level) for level in own.value[1:]], levels):
        yield own.place, f"levels {' '.join(f'{float(level):.3g}' for level in own.value[1:])}", shown


def _made(name: str, args: Mapping[str, Any]) -> object:
    """Return the sampler of a class and its arguments, or of one of the names of any program; else the name."""
    kinds = {type(made).__name__: type(made) for made in (entry.make() for entry in SAMPLERS.values())}
    try:
        return kinds[name](**args) if name in kinds else SAMPLERS[resolve_name(name)[0]].make()
    except (InputError, TypeError):
        return name


def _differ(some: Sequence[float], others: Sequence[float]) -> bool:
    return len(some) != len(others) or any(
        abs(one - other) > EQUAL * max(one, other) for one, other in zip(some, others, strict=True)
    )


def bad() -> Subject:
    return request_on_student(steps=4, sampler="euler-a")


def good() -> Subject:
    return request_on_student(steps=4, sampler="ddim")
