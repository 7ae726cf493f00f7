"""A LoRA that was trained with T5's padding masked out, used by a tool that attends to the padding.

Why: FLUX.1 attends to all of the 512 places of T5, of which a short prompt fills 20. sd-scripts can mask the rest
while it trains (--apply_t5_attn_mask); the LoRA then never saw them, but diffusers and ComfyUI use no mask.
Shown: what the LoRA's metadata say.
Instead: train without the mask, or expect weaker effect with short prompts.
Fix: none.
Source: kohya-ss/sd-scripts, flux_train_network.py and library/strategy_flux.py (apply_t5_attn_mask);
huggingface/diffusers#8673, #11536; diffusers/pipelines/flux/pipeline_flux.py, _get_t5_prompt_embeds.
"""

from collections.abc import Iterator

from unnoise.check.acting import identity
from unnoise.check.examples import script, together, weights
from unnoise.check.rule import NOTE, Finding, Rule
from unnoise.check.subject import Subject

RULE = Rule(id="UN811", name="t5-mask-of-training", severity=NOTE)
KEY = "ss_apply_t5_attn_mask"


def check(subject: Subject) -> Iterator[Finding]:
    for run in subject.runs:
        if run.tool not in ("diffusers", "comfyui") or identity(run).family != "flux1":
            continue
        for use in run.adapters:
            metadata = use.adapter.weights.header.metadata if use.adapter.weights else {}
            if metadata.get(KEY) == "True":
                says = "this LoRA was trained with the padding of T5 masked, which this tool attends to"
                yield Finding(RULE, use.place, says, f"{KEY} True", "False", "train it without --apply_t5_attn_mask")


def _used(masked: str) -> Subject:
    layer = "lora_unet_double_blocks_0_img_attn_proj"
    tensors = {
        f"{layer}.lora_down.weight": ("BF16", (16, 3072)),
        f"{layer}.lora_up.weight": ("BF16", (3072, 16)),
        f"{layer}.alpha": ("F32", ()),
    }
    values = {f"{layer}.alpha": (16.0,)}
    lora = weights(tensors, {"ss_base_model_version": "flux1", KEY: masked}, values, path="woodcut.safetensors")
    return together(
        lora,
        script("""
            import torch
            from diffusers import FluxPipeline
            pipe = FluxPipeline.from_pretrained("black-forest-labs/FLUX.1-dev", torch_dtype=torch.bfloat16)
            pipe.load_lora_weights("woodcut.safetensors")
            pipe("a lighthouse at dawn, woodcut", num_inference_steps=28)
        """),
    )


def bad() -> Subject:
    return _used("True")


def good() -> Subject:
    return _used("False")
