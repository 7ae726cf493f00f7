"""Many steps with a sampler that adds noise: more steps give another image, not a better one.

Why: an ancestral or SDE sampler draws new noise at every step, so images after 80 and after 100 steps differ as much as
two seeds do. On exact mixtures the error of DPM-Solver++ 2M, which adds no noise, is 0.003 of the data's spread at 50
calls (bench/samplers.py --all).
Shown: the steps and the most that improve the image.
Instead: 20 to 40 steps, or a deterministic sampler where convergence matters. Up to 120 steps it is a note.
Fix: none; the number is your choice.
Source: Karras et al. 2022, arXiv:2206.00364, section 4; Song et al. 2021, arXiv:2010.02502, table 1 (eta).
"""

from collections.abc import Iterator

from unnoise.check.examples import infotext
from unnoise.check.rule import NOTE, WARN, Finding, Rule
from unnoise.check.subject import GenerationRun, Subject

RULE = Rule(id="UN120", name="stochastic-never-converges", severity=WARN, checks="run")
ENOUGH, SURELY = 60, 120  # steps
SLOW = ("ddpm", "consistency")  # these need many steps, or have no limit to reach


def check(run: GenerationRun) -> Iterator[Finding]:
    found, known = run.sampler_facts, run.facts
    if found is None or not found.stochastic or found.distilled or found.name in SLOW or run.steps is None:
        return
    if known is not None and known.modality == "image" and ENOUGH < run.steps.value < 1000 and not known.distilled:
        message = f"{found.name} adds noise at every step and does not converge to one image"
        suggestion = "use 20 to 40 steps, or a deterministic sampler such as DPM++ 2M"
        measured, expected = f"{run.steps.value} steps", f"at most {ENOUGH}"
        grade = WARN if run.steps.value > SURELY else NOTE
        yield Finding(RULE, run.steps.place, message, measured, expected, suggestion, grade)


def bad() -> Subject:
    return infotext("""
        a lighthouse at dawn
        Steps: 150, Sampler: Euler a, CFG scale: 6, Seed: 1, Size: 1024x1024, Model: sd_xl_base_1.0, Version: v1.10.1
    """)


def good() -> Subject:
    return infotext("""
        a lighthouse at dawn
        Steps: 30, Sampler: Euler a, CFG scale: 6, Seed: 1, Size: 1024x1024, Model: sd_xl_base_1.0, Version: v1.10.1
    """)
