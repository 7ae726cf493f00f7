"""diffusers drops the attention layers of a kohya LoRA for the text encoder that has no out_proj.

Why: diffusers detects the naming of a text encoder's LoRA by its out_proj. Without one it keeps the names to_q_lora for
q_proj, which match no layer. Measured with diffusers 0.42.1: of 8 adapted layers 2 are loaded, those of the MLP.
Shown: the number of attention layers of the text encoder that are lost.
Instead: load it with ComfyUI or Forge, or rename the modules to PEFT's (text_encoder....q_proj.lora_A.weight) first.
Fix: none; the file would have to be written again.
Source: diffusers/utils/state_dict_utils.py, convert_state_dict_to_diffusers; measured against 0.42.1.
"""

from collections.abc import Iterator

from unnoise.check.examples import script, together
from unnoise.check.items import RunAdapter
from unnoise.check.rule import WARN, Finding, Rule
from unnoise.check.rules.adapter._shared import kohya
from unnoise.check.subject import Subject

RULE = Rule(id="UN616", name="text-lora-without-out-proj", severity=WARN, checks="lora")
ATTENTION = ("_self_attn_q_proj", "_self_attn_k_proj", "_self_attn_v_proj")


def check(one: RunAdapter) -> Iterator[Finding]:
    if one.tool != "diffusers" or one.lora is None or one.lora.layout != "kohya":
        return
    for part in ("text", "text_2"):
        names = [name for name, module in one.lora.modules.items() if module.part == part]
        lost = [name for name in names if name.endswith(ATTENTION)]
        if lost and not any(name.endswith("_self_attn_out_proj") for name in names):
            message = f"diffusers drops the attention layers of the text encoder in {one.use.adapter.name}"
            suggestion = "load it with ComfyUI or Forge, or rename its modules as PEFT does"
            measured = f"{len(lost)} of {len(names)} layers of the text encoder, and no out_proj"
            expected = "an out_proj, by which diffusers detects the naming"
            yield Finding(RULE, one.use.place, message, measured, expected, suggestion)


def bad() -> Subject:
    lora = kohya(
        {
            "unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k": (768, 320),
            "te_text_model_encoder_layers_0_self_attn_q_proj": (768, 768),
        }
    )
    return together(lora, script(SCRIPT))


def good() -> Subject:
    lora = kohya(
        {
            "unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k": (768, 320),
            "te_text_model_encoder_layers_0_self_attn_q_proj": (768, 768),
            "te_text_model_encoder_layers_0_self_attn_out_proj": (768, 768),
        }
    )
    return together(lora, script(SCRIPT))


SCRIPT = """
    import torch
    from diffusers import StableDiffusionPipeline
    pipe = StableDiffusionPipeline.from_pretrained("stable-diffusion-v1-5/stable-diffusion-v1-5")
    pipe.load_lora_weights("lora.safetensors")
    image = pipe("a lighthouse", num_inference_steps=30, generator=torch.Generator("cpu").manual_seed(1)).images[0]
"""
