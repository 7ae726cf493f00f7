"""A number of frames that a video model cannot draw: it is rounded, and the clip has another length.

Why: the first frame of a video stands alone in the latent, and each further one holds 4 frames (Wan, HunyuanVideo) or
8 (LTX): lengths are 4k + 1 or 8k + 1. Asked for 80 frames at 16 a second, Wan draws 81 in diffusers and 77 in ComfyUI;
sound, masks and control videos of 80 frames then no longer fit.
Shown: the number, and what becomes of it.
Instead: write the number that is drawn.
Fix: safe: writes what it becomes.
Source: diffusers/pipelines/wan/pipeline_wan.py, `num_frames // 4 * 4 + 1`; diffusers/pipelines/ltx/pipeline_ltx.py,
`(num_frames - 1) // 8 + 1`; comfyanonymous/ComfyUI, comfy_extras/nodes_hunyuan.py, `((length - 1) // 4) + 1`.
"""

from collections.abc import Iterator

from unnoise.check.examples import script
from unnoise.check.rule import WARN, Change, Finding, Fix, Rule
from unnoise.check.subject import Run, Subject

RULE = Rule(id="UN308", name="frames-rounded", severity=WARN)
TOOLS = ("diffusers", "comfyui")
MOST = 1 << 20


def check(subject: Subject) -> Iterator[Finding]:
    """Find numbers of frames that are not stride*k + 1."""
    for run in subject.runs:
        stride = run.facts.stride if run.facts else None
        if run.frames is None or not stride or run.tool not in TOOLS or not 1 < run.frames.value <= MOST:
            continue
        if (run.frames.value - 1) % stride:
            yield Finding(
                RULE,
                run.frames.place,
                says=f"the clip will have {_drawn(run, run.frames.value, stride)} frames instead",
                measured=f"{run.frames.value} frames",
                expected=f"{stride}k + 1",
                instead=f"write {_drawn(run, run.frames.value, stride)}",
            )


def _drawn(run: Run, frames: int, stride: int) -> int:
    """Give the number of frames that is drawn: Wan's pipelines in diffusers round otherwise than all else."""
    wan = run.tool == "diffusers" and run.model is not None and run.model.identity.family == "wan"
    return (frames if wan else frames - 1) // stride * stride + 1


def fix(subject: Subject, finding: Finding) -> Fix | None:
    return Fix("safe", finding.instead, (Change(finding.place, int(finding.instead.split()[-1])),))


def bad() -> Subject:
    return script("""
        import torch
        from diffusers import WanPipeline

        pipe = WanPipeline.from_pretrained("Wan-AI/Wan2.1-T2V-1.3B-Diffusers", torch_dtype=torch.bfloat16)
        noise = torch.Generator("cpu").manual_seed(1)
        frames = pipe("a lighthouse at dawn", num_frames=80, generator=noise).frames[0]
        """)


def good() -> Subject:
    return script("""
        import torch
        from diffusers import WanPipeline

        pipe = WanPipeline.from_pretrained("Wan-AI/Wan2.1-T2V-1.3B-Diffusers", torch_dtype=torch.bfloat16)
        noise = torch.Generator("cpu").manual_seed(1)
        frames = pipe("a lighthouse at dawn", num_frames=81, generator=noise).frames[0]
        """)
