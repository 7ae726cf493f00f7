"""A pipeline's class that is for another family than the model it loads.

Why: SDXL's network asks for 2816 numbers of size and crop that StableDiffusionPipeline does not give; between families
widths differ (768, 1024, 2048) and so do text encoders. The call raises in the middle of the run, or the weights that
do not fit are drawn at random.
Shown: the class, beside the family of the model.
Instead: the class of the family, or DiffusionPipeline, which reads it from the model.
Fix: none; the class stands in several places.
Source: diffusers, pipeline_stable_diffusion_xl.py, _get_add_time_ids; unet_2d_condition.py, get_aug_embed.
"""

from collections.abc import Iterator

from unnoise.check.examples import script
from unnoise.check.rule import ERROR, Finding, Rule
from unnoise.check.subject import Run, Subject
from unnoise.check.tables import GENERIC, fits_any
from unnoise.files.families.facts import facts
from unnoise.files.families.identity import Identity
from unnoise.files.families.names import by_class

RULE = Rule(id="UN207", name="pipeline-of-another-family", severity=ERROR)
# These are for Stable Diffusion 1 and 2 alike.
PLAIN = {
    "StableDiffusionPipeline", "StableDiffusionImg2ImgPipeline", "StableDiffusionInpaintPipeline",
    "StableDiffusionControlNetPipeline", "StableDiffusionControlNetImg2ImgPipeline",
    "StableDiffusionControlNetInpaintPipeline", "AnimateDiffPipeline",
}  # fmt: skip
OWN = ("StableDiffusionXL", "StableDiffusion3")
NEAR = ({"flux1", "chroma"}, {"sdxl", "kolors"})  # families that share a network or its text encoders


def check(subject: Subject) -> Iterator[Finding]:
    for run in subject.runs:
        if run.tool != "diffusers" or run.model is None or not run.model.identity.known:
            continue
        wanted, found = _families(run), run.model.identity.family
        if not wanted or found in wanted or found == "unnoise":
            continue
        known, class_ = facts(run.model.identity), GENERIC.get(found, "")
        title = known.title if known else found
        instead = f"take {class_ or 'DiffusionPipeline'}"
        expected = " or ".join(one.title for name in sorted(wanted) if (one := facts(Identity(name))))
        says = f"{run.pipeline} cannot run this model"
        yield Finding(RULE, run.model.place, says, title, expected, instead)


def _families(run: Run) -> set[str]:
    """List the families that a pipeline's class is for; none where that is not known."""
    if run.pipeline in PLAIN:
        return {"sd1", "sd2"}
    known = by_class(run.pipeline)
    if not known.known or (fits_any(run.pipeline) and not run.pipeline.startswith(OWN)):
        return set()
    return next((near for near in NEAR if known.family in near), {known.family})


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
