"""Recognise the base of an adapter by the names, widths and numbers of the layers that it adapts."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from unnoise.families.identity import Identity

MOST = 5000  # modules that are read; the largest real files have about 3,000
KINDS = 500  # distinct names without numbers; real files have about 60
NUMBER = re.compile(r"(?<![^_])\d{1,6}(?![^_])")  # a whole part of a name, such as "1" in "blocks_1_attn2", but not "2"
BLOCK = re.compile(
    r"(?:(?:down|up|input|output)_blocks_\d{1,2}_(?:attentions_)?\d_|mid_block_attentions_\d_|middle_block_\d_)"
    r"transformer_blocks_(\d{1,2})_"
)
UNET = re.compile(r"(?:down|up|input|output)_blocks_#|(?:mid|middle)_block_")


@dataclass(frozen=True, slots=True)
class BaseShape:
    """Describe one adapted layer.

    Args:
        name: in the file.
        layer: the same with underscores, without the prefix of its network.
        part: "denoiser", "text", ...
        width: of its input and output.
        prefix: "lora_te_" if the name starts with it, as sd-scripts writes for models with one text encoder.
    """

    name: str
    layer: str
    part: str
    width: tuple[int | None, int | None]
    prefix: str = ""


@dataclass(frozen=True, slots=True)
class BaseSign:
    """Identify a base by a layer: a pattern of its name with # for numbers, its widths, the least highest number."""

    family: str
    variant: str
    layer: str
    into: int | None = None
    out: int | None = None
    least: int = 0


@dataclass(slots=True)
class _Kind:
    """Collect the layers that differ only in their numbers: a name for each width, and the highest first number."""

    widths: dict[tuple[int | None, int | None], str] = field(default_factory=dict)
    top: int = -1


DOUBLE = r"(?:double_blocks_#_(?:img|txt)_attn_(?:qkv|proj)|transformer_blocks_#_attn_(?:to|add)_[qkv](?:_proj)?)"
SINGLE = r"(?:single_blocks_#_linear[12]|single_transformer_blocks_#_(?:attn_to_[qkv]|proj_mlp|proj_out))"
WAN = r"(?:vace_)?blocks_#_(?:(?:self|cross)_attn_[qkvo]|cross_attn_[kv]_img|attn[12]_(?:to_[qkv]|to_out_#)|ffn_.*)"
SINGLE_STREAM = r"(?:layers|noise_refiner|context_refiner)_#_"
# The first match counts. Families of equal width differ in the number of blocks: Flux.1 has 19 double and 38
# single blocks, HunyuanVideo 20 and 40, Qwen-Image 60 double ones, Bria and Ovis fewer than 28 single ones.
# Source: the classes' defaults in huggingface/diffusers, models/transformers; black-forest-labs/flux2, model.py
SIGNS = (
    BaseSign("flux2", "klein-4b", r"single_(?:transformer_)?blocks_#_(?:linear1|attn_to_qkv_mlp_proj)", 3072, 27648),
    BaseSign("flux2", "klein-4b", r"single_(?:transformer_)?blocks_#_(?:linear2|attn_to_out)", 12288, 3072),
    BaseSign("flux2", "klein-9b", r"single_(?:transformer_)?blocks_#_(?:linear1|attn_to_qkv_mlp_proj)", 4096),
    BaseSign("flux2", "klein-9b", DOUBLE, 4096),
    BaseSign("flux2", "dev", r"single_(?:transformer_)?blocks_#_(?:linear1|attn_to_qkv_mlp_proj)", 6144),
    BaseSign("flux2", "dev", DOUBLE, 6144),
    BaseSign("chroma", "", r"distilled_guidance_layer_.*"),
    BaseSign("hunyuan-video", "", r"(?:txt_in_individual_token_refiner|context_embedder_token_refiner)_.*", 3072),
    BaseSign("hunyuan-video", "", r"(?:double_blocks_#_(?:img|txt)_(?:mod_linear|mlp_fc[12]))", 3072),
    BaseSign("hunyuan-video", "", SINGLE, 3072, least=38),
    BaseSign("hunyuan-video", "", r"double_blocks_#_(?:img|txt)_attn_(?:qkv|proj)", 3072, least=19),
    BaseSign("qwen-image", "", r"transformer_blocks_#_(?:img|txt)_(?:mlp_net_#_proj|mlp_net_#|mod_#)", 3072),
    BaseSign("qwen-image", "", DOUBLE, 3072, least=20),
    BaseSign("flux1", "", SINGLE, 3072, least=28),
    BaseSign("flux1", "", DOUBLE, 3072, least=10),
    BaseSign("sd3", "3.5-medium", r"(?:joint_blocks_#_x_block_attn2_.*|transformer_blocks_#_attn2_.*)", 1536),
    BaseSign(
        "sd3", "3.5-large", r"(?:joint_blocks_#_.*_qkv|transformer_blocks_#_attn_(?:to|add)_[qkv](?:_proj)?)", 2432
    ),
    BaseSign("sd3", "medium", r"(?:joint_blocks_#_.*_qkv|transformer_blocks_#_attn_(?:to|add)_[qkv](?:_proj)?)", 1536),
    BaseSign("auraflow", "", r"(?:joint_transformer_blocks_#|double_layers_#)_attn_.*", 3072),
    BaseSign("wan", "1.3b", WAN, 1536),
    BaseSign("wan", "14b", WAN, 5120),
    BaseSign("wan", "5b", WAN, 3072),
    BaseSign(
        "z-image",
        "",
        SINGLE_STREAM + r"(?:attention_(?:qkv|to_[qkv])|feed_forward_w[13])",
        3840,
    ),
    BaseSign("lumina2", "", SINGLE_STREAM + r"(?:attention_qkv|attn_to_[qkv])", 2304),
    BaseSign("hidream", "", r"(?:double|single)_stream_blocks_#_.*", 2560),
    BaseSign("mochi", "", r"transformer_blocks_#_attn1_add_[qkv]_proj", 1536),
    BaseSign("ltx", "", r"transformer_blocks_#_attn2_to_[kv]", 2048, 2048),
    BaseSign("sana", "", r"transformer_blocks_#_attn2_to_[kv]", 2240),
    BaseSign("sdxl", "refiner", r"(?:label_emb_#_#|add_embedding_linear_1)", 2560),
    BaseSign("sdxl", "", r"(?:label_emb_#_#|add_embedding_linear_1)", 2816),
)
CONTEXTS = {768: ("sd1", ""), 1024: ("sd2", ""), 2048: ("sdxl", ""), 1280: ("sdxl", "refiner")}
# Prefixes of ss_base_model_version and modelspec.architecture; the longest counts.   Source: kohya-ss/sd-scripts,
# library/sai_model_spec.py and train_util.py; Stability-AI/ModelSpec; ostris/ai-toolkit, toolkit/metadata.py
NAMES = {
    "sdxl": ("sdxl", ""),
    "stable-diffusion-xl-v1-refiner": ("sdxl", "refiner"),
    "stable-diffusion-xl": ("sdxl", ""),
    "sd_v1": ("sd1", ""),
    "sd_1": ("sd1", ""),
    "stable-diffusion-v1": ("sd1", ""),
    "sd_v2": ("sd2", ""),
    "sd_2": ("sd2", ""),
    "stable-diffusion-v2": ("sd2", ""),
    "sd3": ("sd3", ""),
    "stable-diffusion-3": ("sd3", ""),
    "stable-diffusion-v3": ("sd3", ""),
    "flux1": ("flux1", ""),
    "flux-1": ("flux1", ""),
    "flux.1": ("flux1", ""),
    "flux-2": ("flux2", ""),
    "flux2": ("flux2", ""),
    "flux.2": ("flux2", ""),
    "chroma": ("chroma", ""),
    "lumina-2": ("lumina2", ""),
    "lumina2": ("lumina2", ""),
    "hunyuan-video": ("hunyuan-video", ""),
    "hunyuanvideo": ("hunyuan-video", ""),
    "wan": ("wan", ""),
    "qwen-image": ("qwen-image", ""),
    "qwen_image": ("qwen-image", ""),
    "z-image": ("z-image", ""),
    "zimage": ("z-image", ""),
    "hidream": ("hidream", ""),
    "ltx": ("ltx", ""),
    "auraflow": ("auraflow", ""),
    "stable-cascade": ("cascade", ""),
}


def named(value: str) -> Identity:
    """Recognise a trainer's name of the base; Identity() for an unknown name."""
    plain = value.lower()
    start = max((start for start in NAMES if plain.startswith(start)), key=len, default="")
    return Identity(*NAMES[start]) if start else Identity()


def fitting(shapes: Sequence[BaseShape]) -> Identity:
    """Find the base whose layers have these names and shapes; Identity() if several match, or none."""
    kinds = _gather(shape for shape in shapes[:MOST] if shape.part == "denoiser")
    found = _unet(shapes[:MOST], kinds)
    if found is not None:
        return found
    for sign in SIGNS:
        pattern = re.compile(sign.layer)
        for layer, kind in kinds.items():
            name = _example(sign, kind) if kind.top >= sign.least and pattern.fullmatch(layer) else ""
            if name:
                return Identity(sign.family, sign.variant, known_by=_evidence(name, sign))
    return Identity() if kinds else _text(shapes[:MOST])


def _gather(shapes: Iterable[BaseShape]) -> dict[str, _Kind]:
    kinds: dict[str, _Kind] = {}
    for shape in shapes:
        layer = NUMBER.sub("#", shape.layer)
        if layer not in kinds and len(kinds) >= KINDS:
            continue
        kind = kinds.setdefault(layer, _Kind())
        kind.widths.setdefault(shape.width, shape.name)
        if first := NUMBER.search(shape.layer):
            kind.top = max(kind.top, int(first[0]))
    return kinds


def _example(sign: BaseSign, kind: _Kind) -> str:
    for (into, out), name in kind.widths.items():
        if sign.into in (None, into) and sign.out in (None, out):
            return name
    return ""


def _evidence(name: str, sign: BaseSign) -> str:
    widths = [f"{sign.into} in" if sign.into else "", f"{sign.out} out" if sign.out else ""]
    number = f"block {sign.least} or later" if sign.least else ""
    facts = ", ".join(fact for fact in (*widths, number) if fact)
    return f"{name[:100]}: {facts}" if facts else name[:100]


def _unet(shapes: Sequence[BaseShape], kinds: dict[str, _Kind]) -> Identity | None:
    """Recognise a U-Net by the width of its text, else by its depth; None if neither identifies it."""
    layers = {layer: kind for layer, kind in kinds.items() if UNET.match(layer) and "motion" not in layer}
    if not layers:
        return None
    for layer, kind in layers.items():
        for (into, _), name in kind.widths.items():
            if layer.endswith(("attn2_to_k", "attn2_to_v")) and into in CONTEXTS:
                family, variant = CONTEXTS[into]
                variant = variant or (_depth(shapes) if family == "sdxl" else "")
                return Identity(family, variant, known_by=f"{name[:100]}: {into} in")
    deep = next((shape.name for shape in shapes if _block(shape.layer) >= 2), "")
    if deep:
        return Identity("sdxl", _depth(shapes), known_by=f"{deep[:100]}: more than 2 blocks deep")
    found = _text(shapes)
    return found if found.known else None


def _block(layer: str) -> int:
    found = BLOCK.match(layer)
    return int(found[1]) if found else -1


def _depth(shapes: Sequence[BaseShape]) -> str:
    """Recognise pruned variants of SDXL by the depth of the third level: 4 blocks in SSD-1B, 2 in Vega, 10 in SDXL.

    Source: model_index and unet/config.json of segmind/SSD-1B and segmind/Segmind-Vega.
    """
    level = [_block(shape.layer) for shape in shapes if re.match(r"down_blocks_2_|input_blocks_[78]_", shape.layer)]
    middle = any(shape.layer.startswith("mid") and _block(shape.layer) >= 0 for shape in shapes)
    depths = {block for block in level if block >= 0}
    if middle or not depths:
        return ""
    return {3: "ssd-1b", 1: "vega"}.get(max(depths), "") if depths == set(range(max(depths) + 1)) else ""


def _text(shapes: Sequence[BaseShape]) -> Identity:
    """Recognise the text encoder of a model that has only one, which sd-scripts names lora_te_."""
    for shape in shapes:
        if shape.prefix and shape.layer.endswith("self_attn_q_proj") and shape.width[0] in (768, 1024):
            family, variant = CONTEXTS[shape.width[0]]
            return Identity(family, variant, known_by=f"{shape.name[:100]}: {shape.width[0]} in")
    return Identity()
