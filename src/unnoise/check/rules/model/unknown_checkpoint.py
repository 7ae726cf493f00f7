"""A file is loaded as a Stable Diffusion checkpoint, but is not one.

Why: diffusers silently loads a file that matches none of its about 70 kinds of model as Stable Diffusion 1, even where
0 of the tensors match.
Shown: the kind of the file.
Instead: load the file with the class of its own model; a LoRA with load_lora_weights.
Fix: none.
Source: diffusers, loaders/single_file_utils.py, infer_diffusers_model_type (its last branch is "v1").
"""

from collections.abc import Iterator

from unnoise.check.examples import script, together, weights
from unnoise.check.rule import ERROR, Finding, Rule
from unnoise.check.subject import NamedModel, Subject

RULE = Rule(id="UN204", name="unknown-checkpoint", severity=ERROR)
WHOLE = ("checkpoint", "denoiser", "unknown")
SIGN = "input_blocks.0.0.weight"  # every checkpoint of Stable Diffusion has it
OTHERS = {
    "lora": ("a LoRA", "load_lora_weights"),
    "vae": ("an autoencoder", "AutoencoderKL.from_single_file"),
    "text": ("a text encoder", "the text encoder's own class"),
    "controlnet": ("a ControlNet", "ControlNetModel.from_single_file"),
    "embedding": ("a textual inversion", "load_textual_inversion"),
}


def check(subject: Subject) -> Iterator[Finding]:
    reported: set[str] = set()
    for run in subject.runs:
        model = run.model
        if run.tool not in ("diffusers", "comfyui") or model is None or model.weights is None or model.name in reported:
            continue
        reported.add(model.name)
        role = model.weights.role
        if role in OTHERS:
            what, how = OTHERS[role]
            message = f"{model.name[:80]} is loaded as a checkpoint"
            suggestion = f"load it with {how}" if run.tool == "diffusers" else "load it with the loader of its kind"
            yield Finding(RULE, model.place, message, what, "a checkpoint", suggestion)
        elif run.pipeline.startswith("StableDiffusion") and role in WHOLE and _is_unknown(model):
            message = (
                f"{model.name[:80]} has no tensors of Stable Diffusion, and diffusers loads it as Stable Diffusion 1"
            )
            suggestion = "load it with the class of its own model"
            measured = f"no tensor {SIGN}"
            yield Finding(RULE, model.place, message, measured, "a checkpoint of Stable Diffusion", suggestion)


def _is_unknown(model: NamedModel) -> bool:
    if model.weights is None or model.weights.identity.known:
        return False
    return not any(name.endswith((SIGN, "conv_in.weight")) for name in model.weights.header.tensors)


def _loaded(shapes: dict[str, tuple[str, tuple[int, ...]]]) -> Subject:
    using = script("""
        from diffusers import StableDiffusionPipeline
        pipe = StableDiffusionPipeline.from_single_file("own.safetensors")
        pipe("a lighthouse at dawn")
    """)
    return together(weights(shapes, path="own.safetensors"), using)


def bad() -> Subject:
    return _loaded({"blocks.0.attn.qkv.weight": ("F16", (3456, 1152)), "final_layer.weight": ("F16", (32, 1152))})


def good() -> Subject:
    from unnoise.check.sample_headers import SAMPLE_HEADERS

    return _loaded(dict(SAMPLE_HEADERS["sd1", ""]))
