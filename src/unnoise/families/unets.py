"""Recognise the U-Nets of Stable Diffusion, in the original layout and in that of diffusers."""

import re
from collections.abc import Mapping

from unnoise.families.detection import Net
from unnoise.families.identity import Identity

BLOCK = re.compile(
    r"(?:(input_blocks\.\d{1,2})\.1|down_blocks\.(\d)\.attentions\.\d)\.transformer_blocks\.(\d{1,3})\.attn2\.to_k\.weight"
)
STEMS = ("input_blocks.0.0.weight", "conv_in.weight")
LABELS = ("label_emb.0.0.weight", "add_embedding.linear_1.weight", "class_embedding.linear_1.weight")
TEMPORAL = ("time_stack", "temporal_transformer_blocks")
OTHERS = ("transformer_in", "cc_projection")  # ModelScope and I2VGen-XL; Zero123
# Width of the first layer, of the text, and of the added condition.   Source: ComfyUI,
# comfy/supported_models.py; unet/config.json of Kwai-Kolors/Kolors-diffusers
FAMILIES: Mapping[tuple[int, int, int | None], tuple[str, str]] = {
    (320, 768, None): ("sd1", ""),
    (320, 1024, None): ("sd2", ""),
    (320, 1024, 1536): ("sd2", "unclip"),
    (320, 1024, 2048): ("sd2", "unclip"),
    (320, 2048, 2816): ("sdxl", ""),
    (384, 1280, 2560): ("sdxl", "refiner"),
    (320, 2048, 5632): ("kolors", ""),
    (320, 1024, 768): ("svd", ""),
}
CHANNELS = {("sd1", 9): "inpaint", ("sd2", 9): "inpaint", ("sdxl", 9): "inpaint", ("sd1", 8): "pix2pix"} | {
    ("sdxl", 8): "pix2pix",
    ("sd2", 5): "depth",
}
DEPTHS = {(2, 4): "ssd-1b", (1, 2): "vega", (2, 5): "koala", (2, 6): "koala"}  # of the levels: fewest and most blocks


def find_unet(net: Net) -> Identity | None:
    """Recognise a U-Net by its widths, and its variant by its channels and depths."""
    stem = next((name for name in STEMS if name in net.shapes), "")
    wide = net.side(stem, 0)
    if wide is None or any(name in net for name in OTHERS):
        return None
    contexts, depths = _blocks(net)
    if len(contexts) != 1:
        return None
    context, tensor = next(iter(contexts.items()))
    label = next((length for name in LABELS if (length := net.side(name, 1)) is not None), None)
    family, variant = FAMILIES.get((wide, context, label), ("", ""))
    temporal = any(part in name for part in TEMPORAL for name in net.shapes) if context == 1024 else False
    if not family or temporal != (family == "svd"):
        return None
    if not variant:
        variant = CHANNELS.get((family, net.side(stem, 1) or 0), "") or _distilled(net, family, depths)
    return net.identity(family, variant, tensor)


def _blocks(net: Net) -> tuple[dict[int, str], dict[str, int]]:
    """Return the widths of the text, each with a tensor of that width, and the depth of each level."""
    contexts: dict[int, str] = {}
    depths: dict[str, int] = {}
    for name, shape in net.shapes.items():
        match = BLOCK.fullmatch(name)
        if match and len(shape) == 2:
            contexts.setdefault(shape[1], name)
            level = match[1] or match[2]
            depths[level] = max(depths.get(level, 0), int(match[3]) + 1)
    return contexts, depths


def _distilled(net: Net, family: str, depths: Mapping[str, int]) -> str:
    if family in ("sd1", "sdxl") and "time_embedding.cond_proj.weight" in net:
        return "lcm"
    return DEPTHS.get((min(depths.values()), max(depths.values())), "") if family == "sdxl" else ""
