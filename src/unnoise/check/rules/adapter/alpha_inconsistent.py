"""The alphas of a LoRA differ between layers, and diffusers uses the commonest one for all attention layers.

Why: alpha/rank is the strength of a layer. When diffusers 0.42.1 loads a kohya file of a U-Net, the names of other
alphas do not match the attention layers, so these get the commonest alpha. Measured at rank 4 in a file with three
alphas of 1: a query layer trained at alpha 4 runs at 0.25. ComfyUI and Forge read each alpha.
Shown: alpha/rank of the attention layers that differ and that of the commonest alpha.
Instead: train with one alpha, or scale the up weights by alpha/rank and write one alpha.
Fix: none; the weights would have to be written again.
Source: diffusers/utils/peft_utils.py, get_peft_kwargs, and loaders/lora_conversion_utils.py, _get_alpha_name.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

from unnoise.check.examples import script, together
from unnoise.check.items import loaded, lora_files
from unnoise.check.rule import NOTE, WARN, Finding, Rule
from unnoise.check.rules.adapter._shared import kohya
from unnoise.check.subject import Location, Subject, Weights

RULE = Rule(id="UN604", name="alpha-inconsistent", severity=WARN)
ATTENTION = ("_to_q", "_to_k", "_to_v", "_to_out_0")
UNETS = ("diffusers", "ldm")


def check(subject: Subject) -> Iterator[Finding]:
    for one in loaded(subject, "lora"):
        if one.tool == "diffusers" and one.use.adapter.weights:
            yield from _judge(one.use.adapter.weights, one.use.place)
    for weights, _ in lora_files(subject):
        yield from (replace(finding, severity=NOTE) for finding in _judge(weights, weights.place))


def _judge(weights: Weights, place: Location) -> Iterator[Finding]:
    lora = weights.lora
    if lora is None or lora.layout != "kohya" or lora.dialect not in UNETS:
        return
    alphas = {
        name: weights.values[module.alpha][0]
        for name, module in lora.modules.items()
        if module.part == "denoiser" and module.rank and len(weights.values.get(module.alpha, ())) == 1
    }
    if len(set(alphas.values())) < 2:
        return
    commonest = Counter(alphas.values()).most_common(1)[0][0]
    wrong = [name for name, alpha in alphas.items() if alpha != commonest and name.endswith(ATTENTION)]
    if not wrong:
        return
    rank = lora.modules[wrong[0]].rank or 1
    message = "the alphas of this LoRA differ, and diffusers uses the commonest one for all attention layers"
    suggestion = "give every layer one alpha, scaling its up weight, or load it with a tool that reads each alpha"
    measured = f"{len(wrong)} layers at {commonest / rank:g}, such as {wrong[0][:100]}"
    yield Finding(RULE, place, message, measured, f"{alphas[wrong[0]] / rank:g} as trained", suggestion)


def bad() -> Subject:
    block = "unet_down_blocks_0_attentions_0_transformer_blocks_0"
    lora = kohya(
        {f"{block}_attn2_to_k": (768, 320), f"{block}_ff_net_2": (1280, 320), f"{block}_ff_net_0_proj": (320, 2560)},
        alphas={f"{block}_attn2_to_k": 16.0, f"{block}_ff_net_2": 4.0, f"{block}_ff_net_0_proj": 4.0},
    )
    text = """
        import torch
        from diffusers import StableDiffusionPipeline
        pipe = StableDiffusionPipeline.from_pretrained("stable-diffusion-v1-5/stable-diffusion-v1-5")
        pipe.load_lora_weights("lora.safetensors")
        image = pipe("a lighthouse", num_inference_steps=30, generator=torch.Generator("cpu").manual_seed(1)).images[0]
    """
    return together(lora, script(text))


def good() -> Subject:
    block = "unet_down_blocks_0_attentions_0_transformer_blocks_0"
    return kohya({f"{block}_attn2_to_k": (768, 320), f"{block}_ff_net_2": (1280, 320)}, alphas=16.0)
