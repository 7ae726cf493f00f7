"""clip_skip follows the numbering of another tool, or the model does not use it.

Why: AUTOMATIC1111's 2 is diffusers' 1 and ComfyUI's -2: all mean the last layer but one. Stable Diffusion XL and 3 were
trained on that layer. For them diffusers' clip_skip=1 selects the last layer but two, which they were not trained on;
in AUTOMATIC1111 the number has no effect with XL. ComfyUI's -2 in diffusers is hidden_states[1] of 13.
Shown: the number and the layer it selects.
Instead: leave it out with SDXL; with Stable Diffusion 1 write clip_skip=1 in diffusers for AUTOMATIC1111's 2.
Fix: unsafe: for Stable Diffusion 1 in diffusers write the absolute value less 1.
Source: diffusers/pipelines/stable_diffusion/pipeline_stable_diffusion.py (hidden_states[-(clip_skip + 1)]) and
stable_diffusion_xl/pipeline_stable_diffusion_xl.py (-(clip_skip + 2)); ComfyUI, nodes.py, CLIPSetLastLayer;
lllyasviel/stable-diffusion-webui-forge#387.
"""

from collections.abc import Iterator

from unnoise.check.effective_settings import identity
from unnoise.check.examples import script
from unnoise.check.rule import NOTE, WARN, Finding, Fix, Rule
from unnoise.check.subject import GenerationRun, Located, Subject

RULE = Rule(id="UN803", name="clip-skip-numbering", severity=WARN, checks="run")
TRAINED_BEFORE_LAST = ("sdxl", "sd3")
WEBUI = ("a1111", "forge")


def check(run: GenerationRun) -> Iterator[Finding]:
    if run.clip_skip is not None and identity(run).known:
        finding = _judged(run, run.clip_skip, identity(run).family)
        if finding is not None:
            yield finding


def _judged(run: GenerationRun, setting: Located[int], family: str) -> Finding | None:
    skip, settled = setting.value, family in TRAINED_BEFORE_LAST
    layer = {"diffusers": -skip - (2 if settled else 1), "comfyui": skip}.get(run.tool, -skip)
    measured = f"{skip}, which is layer {layer}"
    right = abs(skip) - 1
    fix = Fix.unsafe(setting.place, right) if skip in (-2, -1, 2) else None
    if run.tool in WEBUI and settled and skip > 1:
        message = "this model always uses its own layer of CLIP, so the number has no effect"
        return Finding(RULE, setting.place, message, f"clip skip {skip}", "1", "leave it at 1", NOTE)
    if run.tool in ("diffusers", "comfyui") and settled and layer != -2 and skip:
        message = "this model was trained on the last layer of CLIP but one; this number selects another"
        suggestion = "leave it out" if run.tool == "diffusers" else "write -2, or leave the node out"
        return Finding(RULE, setting.place, message, measured, "layer -2", suggestion)
    if run.tool == "diffusers" and family == "sd1" and skip < 0:
        message = "diffusers counts upwards from 0; a negative number selects a layer near the input"
        suggestion = f"if {skip} of ComfyUI is meant, write {right}"
        return Finding(RULE, setting.place, message, measured, "layer -1 or -2", suggestion, fix=fix)
    if run.tool == "diffusers" and family == "sd1" and skip >= 2:
        message = "diffusers counts from 0 where other tools count from 1"
        suggestion = f"if clip skip {skip} of AUTOMATIC1111 is meant, write {right}"
        return Finding(RULE, setting.place, message, measured, "layer -1 or -2", suggestion, NOTE, fix)
    return None


def bad() -> Subject:
    return script("""
        from diffusers import StableDiffusionPipeline
        pipe = StableDiffusionPipeline.from_pretrained("stable-diffusion-v1-5/stable-diffusion-v1-5")
        pipe("a lighthouse at dawn", num_inference_steps=30, clip_skip=2)
    """)


def good() -> Subject:
    return script("""
        from diffusers import StableDiffusionPipeline
        pipe = StableDiffusionPipeline.from_pretrained("stable-diffusion-v1-5/stable-diffusion-v1-5")
        pipe("a lighthouse at dawn", num_inference_steps=30, clip_skip=1)
    """)
