"""The flow shift of Wan is the one for another image size.

Why: the authors of Wan give 3.0 for 480p and 5.0 for 720p. 5.0 at 480p places more of the steps at high noise and
leaves less detail; 3.0 at 720p weakens the composition.
Shown: the shift and the one for this size.
Instead: flow_shift 3.0 at 832 x 480, 5.0 at 1280 x 720.
Fix: unsafe: write the shift of the size.
Source: diffusers, pipeline_wan.py, example ("5.0 for 720P, 3.0 for 480P"); Wan-Video/Wan2.1, README.
"""

from collections.abc import Iterator

from unnoise.check.effective_settings import effective_schedule
from unnoise.check.examples import script
from unnoise.check.rule import NOTE, Finding, Fix, Rule
from unnoise.check.subject import GenerationRun, Subject

RULE = Rule(id="UN113", name="shift-for-another-size", severity=NOTE, checks="run")
SMALL, LARGE = 832 * 480, 1280 * 720  # pixels
RIGHT = {SMALL: 3.0, LARGE: 5.0}
NEAR = 0.1  # relative difference of areas that counts as the same size


def check(run: GenerationRun) -> Iterator[Finding]:
    schedule = effective_schedule(run)
    if schedule is None or schedule.identity.family != "wan" or not run.width or not run.height:
        return
    shift, area = schedule.config.get("flow_shift"), run.width.value * run.height.value
    right = next((RIGHT[one] for one in RIGHT if abs(area / one - 1) <= NEAR), None)
    if shift is not None and right is not None and shift.value in RIGHT.values() and shift.value != right:
        message = f"this shift is meant for another size than {run.width.value} x {run.height.value}"
        fix = Fix.unsafe(shift.place, right, f"{right:g}")
        suggestion = f"write flow_shift={right:g}"
        yield Finding(RULE, shift.place, message, f"{shift.value:g}", f"{right:g}", suggestion, fix=fix)


def bad() -> Subject:
    return script("""
        from diffusers import UniPCMultistepScheduler, WanPipeline
        pipe = WanPipeline.from_pretrained("Wan-AI/Wan2.1-T2V-14B-Diffusers")
        pipe.scheduler = UniPCMultistepScheduler.from_config(pipe.scheduler.config, flow_shift=3.0)
        pipe("a lighthouse at dawn", width=1280, height=720, num_frames=81)
    """)


def good() -> Subject:
    return script("""
        from diffusers import UniPCMultistepScheduler, WanPipeline
        pipe = WanPipeline.from_pretrained("Wan-AI/Wan2.1-T2V-14B-Diffusers")
        pipe.scheduler = UniPCMultistepScheduler.from_config(pipe.scheduler.config, flow_shift=5.0)
        pipe("a lighthouse at dawn", width=1280, height=720, num_frames=81)
    """)
