"""A LoRA for denoiser and text encoder is applied to the denoiser alone.

Why: a LoRA trained on both learns its trigger words in the text encoder; without that part they have the meaning of the
base. In a kohya LoRA of SD 1.5, 72 of 264 modules belong to the text encoder. ComfyUI's LoraLoaderModelOnly never loads
them, and diffusers cannot apply a LoRA to T5.
Shown: the number of text encoder modules that are left out.
Instead: use the loader for both, LoraLoader in ComfyUI or pipe.load_lora_weights in diffusers.
Fix: none; in ComfyUI the other loader also needs a link from the text encoder.
Source: Comfy-Org/ComfyUI, nodes.py, LoraLoaderModelOnly; huggingface/diffusers#13188, kohya-ss/sd-scripts#1806.
"""

from collections.abc import Iterator

from unnoise.check.examples import together, workflow
from unnoise.check.items import RunAdapter
from unnoise.check.rule import WARN, Finding, Rule
from unnoise.check.rules.adapter._shared import kohya
from unnoise.check.subject import Subject

RULE = Rule(id="UN603", name="text-half-dropped", severity=WARN, checks="lora")


def check(one: RunAdapter) -> Iterator[Finding]:
    dropped, total = _dropped(one)
    if dropped and total > dropped:
        message = f"the text encoder part of {one.use.adapter.name} is not loaded"
        suggestion = "use LoraLoader" if one.tool == "comfyui" else "use load_lora_weights of the pipeline"
        measured = f"{dropped} of {total} modules are left out"
        yield Finding(RULE, one.use.place, message, measured, "all of them", suggestion)


def _dropped(one: RunAdapter) -> tuple[int, int]:
    if one.lora is None:
        return 0, 0
    parts = [module.part for module in one.lora.modules.values()]
    lost = [part for part in parts if part != "denoiser" and "text" not in one.use.parts]
    if one.tool == "diffusers" and not lost:
        lost = [part for part in parts if part == "text_3"]
    return len(lost), len(parts)


def bad() -> Subject:
    lora = kohya(
        {
            "unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k": (768, 320),
            "te_text_model_encoder_layers_0_self_attn_q_proj": (768, 768),
        }
    )
    loader = {"lora_name": "lora.safetensors", "strength_model": 1.0, "model": ["4", 0]}
    extra = {"10": {"class_type": "LoraLoaderModelOnly", "inputs": loader}}
    return together(
        lora, workflow(checkpoint="v1-5-pruned.safetensors", width=512, height=512, model=["10", 0], extra=extra)
    )


def good() -> Subject:
    lora = kohya({"unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k": (768, 320)})
    loader = {"lora_name": "lora.safetensors", "strength_model": 1.0, "model": ["4", 0]}
    extra = {"10": {"class_type": "LoraLoaderModelOnly", "inputs": loader}}
    return together(
        lora, workflow(checkpoint="v1-5-pruned.safetensors", width=512, height=512, model=["10", 0], extra=extra)
    )
