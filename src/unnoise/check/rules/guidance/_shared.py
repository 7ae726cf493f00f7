"""What the rules of guidance share: the weight that acts, and its name in the words of the tool."""

from unnoise.check.subject import Run, Said
from unnoise.check.tables import default, embeds, generic

AUTOMATIC = ("DiffusionPipeline", "AutoPipelineForText2Image")
BOTH_WAYS = ("LatentConsistencyModelPipeline", "LatentConsistencyModelImg2ImgPipeline")


def weight(run: Run) -> float | None:
    """Give the weight of classifier-free guidance as it acts, 1 or less being off; None where it is not known."""
    if run.guidance is not None:
        return run.guidance.value
    if run.tool != "diffusers":
        return None
    class_ = pipeline(run)
    if class_ in BOTH_WAYS or takes_weight(run):
        return 1.0
    value = default(run, "true_cfg_scale" if embeds(class_) else "guidance_scale")
    return float(value) if isinstance(value, int | float) else None


def takes_weight(run: Run) -> bool:
    """Say whether a model of few steps takes the weight as an input, as LCM does: diffusers then guides no more."""
    facts = run.facts
    return run.tool == "diffusers" and facts is not None and facts.distilled == "steps" and facts.embedded is not None


def pipeline(run: Run) -> str:
    """Give the class of a run's pipeline; that which an automatic one becomes, where its model is known."""
    if run.pipeline in AUTOMATIC and run.model is not None:
        return generic(run.model.identity)
    return run.pipeline


def word(run: Run) -> str:
    """Give the name of the weight in the words of the tool."""
    words = {"comfyui": "cfg", "a1111": "CFG scale", "forge": "CFG scale", "sdcpp": "CFG scale"}
    words |= {"invokeai": "cfg_scale", "unnoise": "weight", "mflux": "guidance"}
    return words.get(run.tool, "guidance_scale")


def is_text(said: Said[str] | None) -> bool:
    """Say whether a prompt says anything."""
    return said is not None and bool(said.value.strip())
