"""A number of skipped layers of CLIP in the wrong tool's counting, or for a model that has its layer already.

Why: AUTOMATIC1111's 2 is diffusers' 1 and ComfyUI's -2: all mean the last layer but one. Stable Diffusion XL and 3
were trained on that layer, and diffusers' clip_skip=1 takes there the last but two, on which no weight was trained; in
AUTOMATIC1111 the number has no effect with XL at all. ComfyUI's -2 in diffusers is hidden_states[1] of 13.
Shown: the number, and the layer that it means.
Instead: nothing with SDXL; with Stable Diffusion 1 what AUTOMATIC1111 calls 2 is clip_skip=1 in diffusers.
Fix: unsafe: of Stable Diffusion 1 in diffusers write the number without its sign, less 1.
Source: diffusers/pipelines/stable_diffusion/pipeline_stable_diffusion.py (hidden_states[-(clip_skip + 1)]) and
stable_diffusion_xl/pipeline_stable_diffusion_xl.py (-(clip_skip + 2)); ComfyUI, nodes.py, CLIPSetLastLayer;
lllyasviel/stable-diffusion-webui-forge#387.
"""

from collections.abc import Iterator

from unnoise.check.acting import identity
from unnoise.check.examples import script
from unnoise.check.rule import NOTE, WARN, Change, Finding, Fix, Rule
from unnoise.check.subject import Run, Said, Subject

RULE = Rule(id="UN803", name="clip-skip-numbering", severity=WARN)
TRAINED_BEFORE_LAST = ("sdxl", "sd3")
WEBUI = ("a1111", "forge")


def check(subject: Subject) -> Iterator[Finding]:
    for run in subject.runs:
        if run.clip_skip is not None and identity(run).known:
            finding = _judged(run, run.clip_skip, identity(run).family)
            if finding is not None:
                yield finding


def _judged(run: Run, said: Said[int], family: str) -> Finding | None:
    skip, settled = said.value, family in TRAINED_BEFORE_LAST
    layer = {"diffusers": -skip - (2 if settled else 1), "comfyui": skip}.get(run.tool, -skip)
    measured = f"{skip}, which is layer {layer}"
    if run.tool in WEBUI and settled and skip > 1:
        says = "this model takes its own layer of CLIP, the number has no effect"
        return Finding(RULE, said.place, says, f"clip skip {skip}", "1", "leave it at 1", NOTE)
    if run.tool in ("diffusers", "comfyui") and settled and layer != -2 and skip:
        says = "this model was trained on the last layer of CLIP but one, this takes another"
        instead = "leave it out" if run.tool == "diffusers" else "write -2, or leave the node out"
        return Finding(RULE, said.place, says, measured, "layer -2", instead)
    if run.tool == "diffusers" and family == "sd1" and skip < 0:
        says = "diffusers counts from 0 upwards, this is a layer near the words"
        instead = f"if {skip} of ComfyUI is meant, write {-skip - 1}"
        return Finding(RULE, said.place, says, measured, "layer -1 or -2", instead)
    if run.tool == "diffusers" and family == "sd1" and skip >= 2:
        says = "diffusers counts from 0 where other tools count from 1"
        instead = f"if clip skip {skip} of AUTOMATIC1111 is meant, write {skip - 1}"
        return Finding(RULE, said.place, says, measured, "layer -1 or -2", instead, NOTE)
    return None


def fix(subject: Subject, finding: Finding) -> Fix | None:
    for run in subject.runs:
        said = run.clip_skip
        if said is None or not said.place.same(finding.place) or run.tool != "diffusers":
            continue
        if identity(run).family == "sd1" and (said.value == 2 or -2 <= said.value < 0):
            value = abs(said.value) - 1
            return Fix("unsafe", f"write {value}", (Change(finding.place, value),))
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
