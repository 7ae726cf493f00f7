"""A LoRA was trained with T5's padding masked, but this tool attends to the padding.

Why: FLUX.1 attends to all 512 positions of T5; a short prompt fills 20 of them. sd-scripts can mask the rest in
training (--apply_t5_attn_mask), but diffusers and ComfyUI use no mask.
Shown: the setting in the metadata of the LoRA.
Instead: train without the mask, or expect a weaker effect with short prompts.
Fix: none.
Source: kohya-ss/sd-scripts, flux_train_network.py and library/strategy_flux.py (apply_t5_attn_mask);
huggingface/diffusers#8673, #11536; diffusers/pipelines/flux/pipeline_flux.py, _get_t5_prompt_embeds.
"""

from collections.abc import Iterator

from unnoise.check.effective_settings import identity
from unnoise.check.examples import script, together, weights
from unnoise.check.rule import NOTE, Finding, Rule
from unnoise.check.subject import GenerationRun, Subject

RULE = Rule(id="UN811", name="t5-mask-of-training", severity=NOTE, checks="run")
KEY = "ss_apply_t5_attn_mask"


def check(run: GenerationRun) -> Iterator[Finding]:
    if run.tool not in ("diffusers", "comfyui") or identity(run).family != "flux1":
        return
    for use in run.adapters:
        metadata = use.adapter.weights.header.metadata if use.adapter.weights else {}
        if metadata.get(KEY) == "True":
            message = "this LoRA was trained with T5's padding masked, but this tool attends to it"
            yield Finding(RULE, use.place, message, f"{KEY} True", "False", "train it without --apply_t5_attn_mask")


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
