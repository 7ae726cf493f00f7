"""A spacing of noise levels that silently changes the number of steps.

Why: ComfyUI's `ddim_uniform` strides over the 1000 levels in whole numbers: 12 steps become 13, 60 become 63, 150
become 167. `beta` rounds to whole levels and drops duplicates, from 139 steps on. A comparison at equal steps is then
not one.
Shown: the steps that are run and those in the file.
Instead: a number that divides 1000, or another spacing.
Fix: none; the number is your choice.
Source: ComfyUI, comfy/samplers.py, ddim_scheduler and beta_scheduler.
"""

from collections.abc import Iterator
from functools import cache

from unnoise.check.examples import workflow
from unnoise.check.rule import NOTE, Finding, Rule
from unnoise.check.subject import GenerationRun, Subject

RULE = Rule(id="UN114", name="step-count-changes", severity=NOTE, checks="run")
LEVELS = 1000
SHAPE = 0.6  # both parameters of the beta distribution
CLEAN, MOST = 138, 150  # steps: up to the first no levels coincide; beyond the second this is not computed


def check(run: GenerationRun) -> Iterator[Finding]:
    if run.tool != "comfyui" or run.grid is None or run.steps is None or not 0 < run.steps.value < LEVELS:
        return
    if (run.facts is not None and run.facts.process != "ddpm") or (run.strength and run.strength.value < 1):
        return  # other levels, or the last of a longer grid
    taken = _taken(run.grid.value, run.steps.value)
    if taken != run.steps.value:
        message = f"the spacing {run.grid.value} does not run the number of steps that is set"
        suggestion = "use a number of steps that divides 1000, or another spacing"
        yield Finding(RULE, run.steps.place, message, f"{taken} steps", f"{run.steps.value}", suggestion)


@cache
def _taken(grid: str, steps: int) -> int:
    if grid == "ddim_uniform":
        stride = max(LEVELS // steps, 1)
        return -(-(LEVELS - 1) // stride)
    if grid == "beta" and CLEAN < steps <= MOST:
        from unnoise.sampling.beta import quantile  # 20 ms to import, and seldom needed

        shares = (1 - index / steps for index in range(steps))
        return len({round((quantile(share, SHAPE, SHAPE) if share < 1 else 1.0) * (LEVELS - 1)) for share in shares})
    return steps


def bad() -> Subject:
    return workflow(steps=60, scheduler="ddim_uniform")


def good() -> Subject:
    return workflow(steps=50, scheduler="ddim_uniform")
