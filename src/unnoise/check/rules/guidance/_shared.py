"""Helpers of the rules of guidance: the guidance scale in effect, and the tool's name for it."""

from unnoise.check.subject import GenerationRun, Located
from unnoise.check.tables import default, embeds, generic

CLASSIC = ("a1111", "forge", "comfyui", "sdcpp", "swarmui")  # tools whose plain scale is classifier-free guidance
AUTOMATIC = ("DiffusionPipeline", "AutoPipelineForText2Image")
BOTH_WAYS = ("LatentConsistencyModelPipeline", "LatentConsistencyModelImg2ImgPipeline")
# Words in the classes of ComfyUI's nodes that limit guidance.
LIMITS = ("DynamicThresholding", "RescaleCFG", "CFGRescale", "SkimmedCFG", "Skimmed_CFG", "AutomaticCFG", "APG",
          "CFGZero", "CFGNorm", "Mahiro", "TCFG")  # fmt: skip
# What extensions record that limit guidance, or guide at a few levels alone.   Source: v0xie/sd-webui-incantations,
# scripts/cfg_combiner.py; mcmonkeyprojects/sd-dynamic-thresholding, scripts/dynamic_thresholding.py;
# lllyasviel/stable-diffusion-webui-forge, extensions-builtin/sd_forge_dynamic_thresholding
RECORDED = ("CFG Interval Enable", "Dynamic thresholding enabled", "dynthres_enabled")
BELOW = ("diffusers", "invokeai", "fooocus")  # tools in which guidance is off below 1 too; others invert it there
USES = ("cfg_pp", "cfg++")  # samplers that use the negative prompt at any scale
# Nodes that use it without guidance.   Source: ChenDarYen/ComfyUI-NAG; ComfyUI, comfy_extras/nodes_perpneg.py
NODES = ("NAG", "PerpNeg")
AUDIO = "audio_guidance_scale"
# The second of two pipelines, which has no guidance of its own; official examples repeat both prompts there.
# Source: diffusers, docs/source/en/api/pipelines/stable_cascade.md and wuerstchen.md
SECOND = ("StableCascadeDecoderPipeline", "WuerstchenDecoderPipeline")


def weight(run: GenerationRun) -> float | None:
    """Return the classifier-free guidance scale in effect, 1 or less is off; None where it is not known."""
    if run.guidance is not None:
        return run.guidance.value
    if run.tool != "diffusers":
        return None
    class_ = pipeline(run)
    if class_ in BOTH_WAYS or takes_weight(run):
        return 1.0
    value = default(run, "true_cfg_scale" if embeds(class_) else "guidance_scale")
    return float(value) if isinstance(value, int | float) else None


def takes_weight(run: GenerationRun) -> bool:
    """Return whether a few-step model takes the scale as an input, as LCM does, so that diffusers does not guide."""
    facts = run.facts
    return run.tool == "diffusers" and facts is not None and facts.distilled == "steps" and facts.embedded is not None


def pipeline(run: GenerationRun) -> str:
    """Return the class of a run's pipeline; for an automatic one, the class that its model selects."""
    if run.pipeline in AUTOMATIC and run.model is not None:
        return generic(run.model.identity)
    return run.pipeline


def word(run: GenerationRun) -> str:
    """Return the tool's name of the guidance scale."""
    words = {"comfyui": "cfg", "a1111": "CFG scale", "forge": "CFG scale", "sdcpp": "CFG scale"}
    words |= {"invokeai": "cfg_scale", "mflux": "guidance", "swarmui": "CFG Scale"}
    return words.get(run.tool, "guidance_scale")


def guides_twice(run: GenerationRun) -> bool:
    """Return whether classifier-free guidance runs on a network that takes its scale as an input."""
    facts, stated = run.facts, run.guidance
    if facts is None or facts.distilled != "guidance" or facts.embedded is None or run.tool not in CLASSIC:
        return False
    return stated is not None and stated.value > 1


def limits_guidance(run: GenerationRun) -> bool:
    """Return whether a node of ComfyUI or an extension of AUTOMATIC1111 limits guidance, or where it acts."""
    recorded = (run.others[key].value for key in RECORDED if key in run.others)
    classes = (key.partition(".")[0] for key in run.others)
    return any(value == "True" for value in recorded) or any(word in name for name in classes for word in LIMITS)


def is_text(prompt: Located[str] | None) -> bool:
    """Return whether a prompt is not empty."""
    return prompt is not None and bool(prompt.value.strip())


def negative_acts(run: GenerationRun, value: float) -> bool:
    """Return whether the negative prompt changes the image at a guidance scale, here or in the pipeline before."""
    if value > 1 or (value < 1 and run.tool not in BELOW) or _guides_audio(run):
        return True
    if run.tool == "diffusers" and pipeline(run) in SECOND:
        return True
    if run.sampler is not None and any(word in run.sampler.value.lower() for word in USES):
        return True
    return any(word in text for text in (*run.others, run.pipeline) for word in NODES)


def _guides_audio(run: GenerationRun) -> bool:
    """Return whether LTX-2 guides its audio with the negative prompt; the default scale is above 1."""
    stated = run.others.get(AUDIO)
    is_off = stated is not None and isinstance(stated.value, int | float) and stated.value <= 1
    return pipeline(run).startswith("LTX2") and not is_off
