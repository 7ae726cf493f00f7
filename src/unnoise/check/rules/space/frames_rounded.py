"""A video model cannot draw this number of frames; it is rounded, and the clip has another length.

Why: the first latent frame encodes one frame of the video, and each further one encodes 4 (Wan, HunyuanVideo) or 8
(LTX): lengths are 4k + 1 or 8k + 1. With num_frames=80, Wan draws 81 in diffusers and 77 in ComfyUI; sound, masks and
control videos of 80 frames then no longer fit.
Shown: the given number and the allowed numbers.
Instead: write the number that is drawn.
Fix: safe: write the number that is drawn.
Source: diffusers/pipelines/wan/pipeline_wan.py, `num_frames // 4 * 4 + 1`; diffusers/pipelines/ltx/pipeline_ltx.py,
`(num_frames - 1) // 8 + 1`; comfyanonymous/ComfyUI, comfy_extras/nodes_hunyuan.py, `((length - 1) // 4) + 1`.
"""

from collections.abc import Iterator

from unnoise.check.examples import script
from unnoise.check.rule import WARN, Finding, Fix, Rule
from unnoise.check.subject import GenerationRun, Subject

RULE = Rule(id="UN308", name="frames-rounded", severity=WARN, checks="run")
TOOLS = ("diffusers", "comfyui")
MOST = 1 << 20


def check(run: GenerationRun) -> Iterator[Finding]:
    stride = run.facts.stride if run.facts else None
    if run.frames is None or not stride or run.tool not in TOOLS or not 1 < run.frames.value <= MOST:
        return
    if (run.frames.value - 1) % stride:
        drawn = _drawn(run, run.frames.value, stride)
        message = f"the number of frames is rounded to {drawn}"
        suggestion = f"write {drawn}"
        fix = Fix.safe(run.frames.place, drawn)
        measured = f"{run.frames.value} frames"
        yield Finding(RULE, run.frames.place, message, measured, f"{stride}k + 1", suggestion, fix=fix)


def _drawn(run: GenerationRun, frames: int, stride: int) -> int:
    """Return the number of frames that is drawn; Wan's pipelines in diffusers round differently from the others."""
    wan = run.tool == "diffusers" and run.model is not None and run.model.identity.family == "wan"
    return (frames if wan else frames - 1) // stride * stride + 1


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
