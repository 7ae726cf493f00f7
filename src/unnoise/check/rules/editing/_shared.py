"""Helpers of the rules of editing: steps that a strength leaves, rounding of masks, and inputs of networks."""

from dataclasses import replace

from unnoise.check.effective_settings import identity
from unnoise.check.subject import GenerationRun, Location, Mask, Subject
from unnoise.check.tables import default
from unnoise.check.tables.pipelines import PIPELINES
from unnoise.check.tables.tasks import TASKS

# Pipelines that round steps*strength up, so that they always run at least one step.
# Source: get_timesteps of diffusers/pipelines/flux/pipeline_flux_img2img.py and of those that copy it.
BEGUN = ("Flux", "StableDiffusion3", "Chroma", "QwenImage", "ZImage", "SanaSprint", "VisualCloze")
# LCM's own pipeline runs all of its steps within the strength; LTX defines strength otherwise.
# Source: diffusers/pipelines/latent_consistency_models, ltx/pipeline_ltx_condition.py
OTHERWISE = ("LatentConsistency", "LTX", "Amused")
# Inpainting pipelines that do not round the mask, or have none. Source: diffusers/pipelines.
UNHARDENED = ("RePaint", "PaintByExample", "StableDiffusionDiffEdit", "StableAudio3", "Onnx")


def resolved_class(run: GenerationRun) -> str:
    """Return the class that runs; for an automatic pipeline, one that counts steps as the family does."""
    if run.pipeline.startswith("AutoPipelineFor") and run.task in ("image", "inpaint") and run.facts is not None:
        flow = run.facts.process == "flow"
        return "StableDiffusion3Img2ImgPipeline" if flow else "StableDiffusionImg2ImgPipeline"
    return run.pipeline


def steps_and_strength(run: GenerationRun) -> tuple[int, float] | None:
    """Return steps and strength of a run of diffusers, with defaults applied; None where they are not known."""
    class_ = resolved_class(run)
    if run.tool != "diffusers" or "strength" not in PIPELINES.get(class_, {}) or class_.startswith(OTHERWISE):
        return None
    if "denoising_start" in run.others or "timesteps" in run.others or "sigmas" in run.others:
        return None
    steps = run.steps.value if run.steps is not None else default(run, "num_inference_steps")
    strength = run.strength.value if run.strength is not None else default(run, "strength")
    known = isinstance(steps, int) and isinstance(strength, int | float) and 0 < steps <= 10_000 and 0 <= strength <= 1
    return (steps, float(strength)) if known else None


def steps_left(run: GenerationRun, steps: int, strength: float) -> int:
    """Count the steps that diffusers runs, in its own arithmetic."""
    if resolved_class(run).startswith(BEGUN):
        return steps - int(max(steps - min(steps * strength, steps), 0))
    return min(int(steps * strength), steps)


def binarises(run: GenerationRun, subject: Subject) -> bool:
    """Return whether a run rounds its mask to 0 and 1 at 0.5."""
    if run.tool != "diffusers" or run.task != "inpaint" or has_text(subject, "do_binarize=False"):
        return False
    known = run.pipeline in TASKS["inpaint"] or run.pipeline == "AutoPipelineForInpainting"
    return known and not run.pipeline.startswith(UNHARDENED)


def with_mask(subject: Subject, mask: Mask) -> Subject:
    """Attach a mask to every run, as if its file were next to the script."""
    runs = tuple(replace(run, mask=replace(mask, place=place_of_mask(run))) for run in subject.runs)
    return replace(subject, runs=runs)


def place_of_mask(run: GenerationRun) -> Location:
    """Return the place that names the mask of a run."""
    argument = run.others.get("mask_image")
    return argument.place if argument is not None else run.place


def has_text(subject: Subject, *words: str) -> bool:
    """Return whether a text of the subject contains one of some words."""
    return any(word in text for text in subject.texts.values() for word in words)


def is_base(run: GenerationRun) -> bool:
    """Return whether the network certainly takes no mask, by its tensors or by an unambiguous name."""
    if run.model is None or run.facts is None:
        return False
    recognised = identity(run)
    sure = run.model.weights is not None or not recognised.known_by.startswith("class")
    return sure and recognised.variant not in ("inpaint", "fill", "pix2pix") and "inpaint" not in run.model.name.lower()
