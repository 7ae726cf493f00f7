"""The image strength of mflux is as large as usual in diffusers, but in mflux it is the share that is kept.

Why: mflux skips max(1, int(steps * image_strength)) steps: for 20 steps at 0.8 it runs 4, and diffusers runs 16. Its
default is 0.4. At 1 no step is left, and the image is returned unchanged.
Shown: the strength and the steps that are run.
Instead: write 1 - s for a strength s of diffusers.
Fix: unsafe: write 1 - strength.
Source: filipstrand/mflux, src/mflux/config/runtime_config.py, init_time_step; mflux-community/mflux#86, #123.
"""

from collections.abc import Iterator

from unnoise.check.examples import script
from unnoise.check.rule import ERROR, NOTE, Finding, Fix, Rule
from unnoise.check.subject import GenerationRun, Subject

RULE = Rule(id="UN702", name="strength-of-another-convention", severity=NOTE, checks="run")
LARGE = 0.75  # three quarters of the steps are skipped from here on


def check(run: GenerationRun) -> Iterator[Finding]:
    if run.tool != "mflux" or run.strength is None or run.steps is None or not _is_large(run):
        return
    steps, strength = run.steps.value, min(run.strength.value, 1.0)
    count = steps - max(1, int(steps * strength))
    message = "a larger image strength keeps more of the image in mflux, the reverse of diffusers"
    measured = f"image strength {run.strength.value:g}: {count} of {steps} steps are run"
    grade = ERROR if count < 1 else None
    suggestion = f"if strength {strength:g} of diffusers is meant, write {1 - strength:.2g}"
    kept = round(1 - strength, 4)
    fix = Fix.unsafe(run.strength.place, kept, f"{kept:g}") if strength < 1 else None
    yield Finding(RULE, run.strength.place, message, measured, "about 0.4", suggestion, grade, fix)


def _is_large(run: GenerationRun) -> bool:
    return run.strength is not None and run.strength.value >= LARGE


def bad() -> Subject:
    return script("""
        from mflux import Config, Flux1
        flux = Flux1.from_name("dev")
        config = Config(num_inference_steps=20, image_path="harbour.png", image_strength=0.8)
        flux.generate_image(seed=2, prompt="a harbour in fog", config=config)
    """)


def good() -> Subject:
    return script("""
        from mflux import Config, Flux1
        flux = Flux1.from_name("dev")
        config = Config(num_inference_steps=20, image_path="harbour.png", image_strength=0.4)
        flux.generate_image(seed=2, prompt="a harbour in fog", config=config)
    """)
