"""A script trains a LoRA with an alpha other than its rank, and saves it without the alpha.

Why: `save_lora_weights` writes the matrices alone. Without its metadata a loader takes alpha = rank, so a LoRA trained
with r=16 and lora_alpha=32 loads at 0.5 of its strength, and one with r=64 and lora_alpha=16 at 4 times.
Shown: the strength after loading, as a factor of that of training.
Instead: pass `unet_lora_adapter_metadata` or `transformer_lora_adapter_metadata` to `save_lora_weights`, or train with
lora_alpha=r.
Fix: none; the metadata come from the network.
Source: diffusers, utils/peft_utils.py, get_peft_kwargs (lora_alpha = r without alphas), and loaders/lora_base.py,
_save_lora_weights; huggingface/diffusers#14409, #6087.
"""

import ast
from collections.abc import Iterator

from unnoise.check.examples import script
from unnoise.check.rule import WARN, Finding, Rule
from unnoise.check.script_numbers import script_numbers
from unnoise.check.subject import Script, Subject
from unnoise.check.syntax import calls, keyword, place_of

RULE = Rule(id="UN621", name="alpha-lost-on-saving", severity=WARN, checks="script")
CLOSE = 1e-6
# Words of scripts that write the alpha themselves.   Source: diffusers, examples/advanced_diffusion_training
WRITTEN = ("adapter_metadata", "network_alpha", "kohya", ".alpha", "_collate_lora_metadata")


def check(script: Script) -> Iterator[Finding]:
    saved = [call for call, name in calls(script) if name == "save_lora_weights"]
    if not saved or any(given.arg is None for call in saved for given in call.keywords):
        return
    if any(word in line for line in script.lines for word in WRITTEN):
        return
    for call, name in calls(script):
        factor = _factor(call, script) if name == "LoraConfig" else None
        if factor is not None and abs(factor - 1) > CLOSE:
            message = "this LoRA is saved without its alpha, and loads with another strength"
            suggestion = "pass the adapter metadata to save_lora_weights, or train with lora_alpha=r"
            measured = f"{factor:.3g} of the strength of training"
            yield Finding(RULE, place_of(script, call), message, measured, "1", suggestion)


def _factor(call: ast.Call, script: Script) -> float | None:
    """Return rank/alpha; None where one of them is not known, or where layers have their own."""
    if any(keyword(call, name) is not None for name in ("rank_pattern", "alpha_pattern", "use_rslora")):
        return None
    rank, alpha = keyword(call, "r"), keyword(call, "lora_alpha")
    numbers = script_numbers(script).number
    height, factor = numbers(rank), numbers(alpha)
    if (
        height is None
        or factor is None
        or height <= 0
        or factor <= 0
        or ast.dump(rank or call) == ast.dump(alpha or call)
    ):
        return None
    return height / factor


TRAIN = """
    import torch
    from diffusers import StableDiffusionPipeline
    from peft import LoraConfig
    from peft.utils import get_peft_model_state_dict

    pipe = StableDiffusionPipeline.from_pretrained("stable-diffusion-v1-5/stable-diffusion-v1-5")
    pipe.unet.add_adapter(LoraConfig(r=16, lora_alpha={}, target_modules=["to_q", "to_k", "to_v", "to_out.0"]))
    train(pipe.unet, torch.optim.AdamW(pipe.unet.parameters(), lr=1e-4))
    StableDiffusionPipeline.save_lora_weights("out", unet_lora_layers=get_peft_model_state_dict(pipe.unet))
"""


def bad() -> Subject:
    return script(TRAIN.format(32))


def good() -> Subject:
    return script(TRAIN.format(16))
