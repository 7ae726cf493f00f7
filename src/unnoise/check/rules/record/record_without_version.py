"""The metadata does not state which version of the program drew the image.

Why: the same settings give another image in another version: torch 2.0 after 1.13 changed the images of AUTOMATIC1111,
and ComfyUI 0.3.12 changed the noise of its ancestral samplers. Without a version, 10 settings reproduce an image only
by trial and error.
Shown: the missing key.
Instead: turn on "Add program version to generation parameters" (AUTOMATIC1111, Forge), or note it yourself.
Fix: none; the version is not known.
Source: AUTOMATIC1111/stable-diffusion-webui#10599; Comfy-Org/ComfyUI#7233; invoke-ai/InvokeAI,
invokeai/app/invocations/metadata.py (app_version).
"""

from collections.abc import Iterator

from unnoise.check.examples import infotext
from unnoise.check.rule import NOTE, Finding, Rule
from unnoise.check.subject import GenerationRun, Subject

RULE = Rule(id="UN908", name="record-without-version", severity=NOTE, checks="run")
WEBUI = ("a1111", "forge", "sdcpp")


def check(run: GenerationRun) -> Iterator[Finding]:
    key = _missing(run)
    if key:
        message = "the metadata does not state the version of the program that drew this image"
        suggestion = "store the version with the image"
        yield Finding(RULE, run.place, message, f"no {key}", f"{key} of the program", suggestion)


def _missing(run: GenerationRun) -> str:
    """Return the key that complete metadata has; "" for metadata shortened by hand, which is not checked."""
    if run.tool in WEBUI and "Model hash" in run.others and not {"Version", "App"} & run.others.keys():
        return "Version"
    hashed = run.others.get("model")
    full = hashed is not None and isinstance(hashed.value, dict) and "hash" in hashed.value
    return "app_version" if run.tool == "invokeai" and full and "app_version" not in run.others else ""


def bad() -> Subject:
    return infotext("""
        a lighthouse at dawn
        Negative prompt: blurry
        Steps: 30, Sampler: Euler a, CFG scale: 7, Seed: 7, Size: 512x512, Model hash: 6ce0161689
    """)


def good() -> Subject:
    return infotext("""
        a lighthouse at dawn
        Negative prompt: blurry
        Steps: 30, Sampler: Euler a, CFG scale: 7, Seed: 7, Size: 512x512, Model hash: 6ce0161689, Version: v1.6.0
    """)
