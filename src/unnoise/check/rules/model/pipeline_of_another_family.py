"""The pipeline class is for another family than the model it loads.

Why: SDXL's network needs an input of 2816 numbers that StableDiffusionPipeline does not pass. Widths (768, 1024, 2048)
and text encoders differ between families. The call raises during the run, or weights that do not fit are initialised at
random.
Shown: the class and the family of the model.
Instead: the class of the family, or DiffusionPipeline, which selects it from the model.
Fix: none; the class appears in several places.
Source: diffusers, pipeline_stable_diffusion_xl.py, _get_add_time_ids; unet_2d_condition.py, get_aug_embed.
"""

from collections.abc import Iterator

from unnoise.check.examples import script
from unnoise.check.rule import ERROR, Finding, Rule
from unnoise.check.subject import GenerationRun, Subject
from unnoise.check.tables import GENERIC, fits_any
from unnoise.families.facts import facts
from unnoise.families.identity import Identity
from unnoise.families.names import by_class, by_name

RULE = Rule(id="UN207", name="pipeline-of-another-family", severity=ERROR, checks="run")
# These are for Stable Diffusion 1 and 2 alike.
PLAIN = {
    "StableDiffusionPipeline", "StableDiffusionImg2ImgPipeline", "StableDiffusionInpaintPipeline",
    "StableDiffusionControlNetPipeline", "StableDiffusionControlNetImg2ImgPipeline",
    "StableDiffusionControlNetInpaintPipeline", "AnimateDiffPipeline",
}  # fmt: skip
PUBLISHERS = (
    "stabilityai/", "black-forest-labs/", "stable-diffusion-v1-5/", "runwayml/", "CompVis/", "Wan-AI/", "Lightricks/",
    "PixArt-alpha/", "Efficient-Large-Model/", "Qwen/", "HiDream-ai/", "Tongyi-MAI/", "genmo/", "zai-org/", "THUDM/",
    "hunyuanvideo-community/", "Kwai-Kolors/", "kandinsky-community/", "segmind/",
)  # fmt: skip
OWN = ("StableDiffusionXL", "StableDiffusion3")


def check(run: GenerationRun) -> Iterator[Finding]:
    expected, identity = _families(run), _identity(run)
    if not expected or not identity.known or identity.family in expected or identity.family == "unnoise":
        return
    titles = [known.title for name in sorted(expected) if (known := facts(Identity(name)))]
    known = facts(identity)
    place = run.model.place if run.model else run.place
    message = f"{run.pipeline} is for another family than this model"
    suggestion = f"use {GENERIC.get(identity.family, 'DiffusionPipeline')}"
    yield Finding(RULE, place, message, known.title if known else str(identity), " or ".join(titles), suggestion)


def _identity(run: GenerationRun) -> Identity:
    """Return what the model is, whatever the class; by name only if the name starts with a known publisher."""
    if run.tool != "diffusers" or run.model is None:
        return Identity()
    if run.model.identity.known:
        return run.model.identity
    return by_name(run.model.name) if run.model.name.startswith(PUBLISHERS) else Identity()


def _families(run: GenerationRun) -> set[str]:
    """List the families that a pipeline's class is for; none where that is not known."""
    if run.pipeline in PLAIN:
        return {"sd1", "sd2"}
    known = by_class(run.pipeline)
    if not known.known or (fits_any(run.pipeline) and not run.pipeline.startswith(OWN)):
        return set()
    return {known.family}


def bad() -> Subject:
    return script("""
        from diffusers import StableDiffusionPipeline
        pipe = StableDiffusionPipeline.from_pretrained("stabilityai/stable-diffusion-xl-base-1.0")
        pipe("a lighthouse at dawn")
    """)


def good() -> Subject:
    return script("""
        from diffusers import StableDiffusionXLPipeline
        pipe = StableDiffusionXLPipeline.from_pretrained("stabilityai/stable-diffusion-xl-base-1.0")
        pipe("a lighthouse at dawn")
    """)
