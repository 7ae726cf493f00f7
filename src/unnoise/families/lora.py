"""Describe a LoRA file by its header: its layout, its modules with rank and alpha, and its base."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from unnoise.families.bases import BaseShape, fitting, named
from unnoise.families.identity import Identity
from unnoise.families.own import LORA, base_identity
from unnoise.formats.header import Entry


@dataclass(frozen=True, slots=True)
class Module:
    """Describe the adapter of one layer.

    Args:
        part: "denoiser", "text", "text_2" or "text_3".
        kind: "lora", "loha", "lokr", "oft", "glora", "ia3", "full", "norm" or "dora".
        rank: None for a kind without a rank.
        alpha: the name of its tensor, "" if there is none.
        width: of input and output, None where the shapes do not show it.
        conv: it adapts a convolution of more than one pixel.
        missing: the half that the file lacks, "down" or "up".
    """

    part: str
    kind: str
    rank: int | None
    alpha: str
    width: tuple[int | None, int | None]
    conv: bool = False
    missing: str = ""


@dataclass(frozen=True, slots=True)
class Lora:
    """Describe a LoRA file.

    Args:
        layout: "kohya", "peft", "diffusers" or "lycoris".
        modules: by name in the file.
        dialect: the names of the denoiser's layers: "diffusers" (down_blocks), "ldm" (input_blocks), "transformer" for
            a network without such blocks, "" without a denoiser.
        strange: the number of tensors that belong to no module.
    """

    layout: str
    modules: Mapping[str, Module]
    dialect: str = ""
    strange: int = 0


PARTS = {
    "lora_te1_": "text",
    "lora_te2_": "text_2",
    "lora_te3_": "text_3",
    "lora_te_": "text",
    "lora_prior_te_": "text",
    "lora_unet_": "denoiser",
    "lora_prior_unet_": "denoiser",
    "lora_transformer_": "denoiser",
    "lycoris_text_model_": "text",
    "lycoris_": "denoiser",
    "text_encoder_2.": "text_2",
    "text_encoder_3.": "text_3",
    "text_encoder.": "text",
    "text_encoders.clip_l.transformer.": "text",
    "text_encoders.clip_g.transformer.": "text_2",
    "text_encoders.t5xxl.transformer.": "text_3",
    "text_model.": "text",
    "unet.": "denoiser",
    "transformer.": "denoiser",
    "transformer_2.": "denoiser",
    "prior.": "denoiser",
    "diffusion_model.": "denoiser",
    "model.diffusion_model.": "denoiser",
}
START = re.compile("|".join(re.escape(start) for start in sorted(PARTS, key=len, reverse=True)))
WRAPPED = "base_model.model."  # PEFT's prefix
MODULES = 20_000  # modules that are read; the largest real files have about 3,000
LONGEST = 250  # characters of a tensor's name; real ones have at most about 150
# The last part of a tensor's name, which says its role in the module.   Source: kohya-ss/sd-scripts, networks/lora.py;
# huggingface/diffusers, loaders/lora_conversion_utils.py; KohakuBlueleaf/LyCORIS, lycoris/modules;
# comfyanonymous/ComfyUI, comfy/lora.py (set_weight), comfy/ops.py (scale_weight of fp8); XLabs-AI/x-flux (qkv_lora1)
END = re.compile(
    r"[._](lora_(?:down|up|mid)\.(?:weight|scale_weight|weight_scale)"
    r"|lora_[AB](?:\.[\w-]{1,64})?\.(?:weight|bias|scale_weight|weight_scale)"
    r"|lora\.(?:down|up)\.weight|(?<=_lora\d\.)(?:down|up)\.weight|set_weight|(?<=y_norm\.)scale"
    r"|lora_linear_layer\.(?:down|up)\.weight|lora_magnitude_vector(?:\.[\w-]{1,64}){0,2}|dora_scale|alpha"
    r"|hada_w[12]_[ab]|hada_t[12]|lokr_w[12](?:_[ab])?|lokr_t2|oft_blocks|oft_diag|rescale|[ab][12]\.weight|on_input"
    r"|diff|diff_b|w_norm|b_norm)$"
)
KINDS = {"hada": "loha", "lokr": "lokr", "oft_": "oft", "resc": "oft", "on_i": "ia3", "diff": "full", "w_no": "norm"}
KINDS |= {"b_no": "norm", "set_": "full", "down": "lora", "up": "lora", "mid": "lora"}
KINDS |= dict.fromkeys(("a1", "a2", "b1", "b2"), "glora")
SURE = {"lora", "loha", "lokr", "oft", "ia3", "dora"}  # kinds with names that only adapters have
PLAIN = {"dora_scale": "scale", "scale": "set_weight"}  # roles that are not the ending itself
PAIRS = {"down": "up", "up": "down"}
DIALECTS = (
    ("diffusers", re.compile(r"(?:down|up)_blocks_\d|mid_block_")),
    ("ldm", re.compile(r"(?:input|output)_blocks_\d|middle_block_")),
)


def read_lora(tensors: Mapping[str, Entry], metadata: Mapping[str, str]) -> Lora | None:
    """Read the modules of a LoRA file from its header; None for a file that is not a LoRA."""
    groups = grouped(tensors)
    layouts = Counter(_layout(key[len(name) + 1 :]) for name, halves in groups.items() for key in halves.values())
    modules = {name: _module(name, halves, tensors) for name, halves in groups.items() if set(halves) != {"alpha"}}
    count = sum(len(groups[name]) + (modules[name].kind == "ia3") for name in modules)
    if not tensors and metadata.get("ss_network_module"):
        return Lora("kohya", {})
    if count * 2 < max(len(tensors), 1) or not any(_is_sure(name, one) for name, one in modules.items()):
        return None
    layout = layouts.most_common(1)[0][0]
    if {one.kind for one in modules.values()} & {"loha", "lokr", "oft", "glora", "ia3"}:
        layout = "lycoris"
    counts = dialects(modules)
    return Lora(layout, modules, max(counts, key=lambda key: counts[key]) if counts else "", len(tensors) - count)


def grouped(tensors: Iterable[str]) -> dict[str, dict[str, str]]:
    """Group tensors by module: {module: {role: tensor}}.

    Roles are "down", "mid" and "up" of a LoRA, the same with "_scale" for their factors as fp8, "alpha", "scale" of
    DoRA (PEFT's is "magnitude"), "down_bias" and "up_bias", and otherwise the names of LyCORIS and ComfyUI.
    """
    groups: dict[str, dict[str, str]] = {}
    for key in tensors:
        if len(key) <= LONGEST and len(groups) < MODULES and (found := END.search(key)):
            groups.setdefault(key[: found.start()], {})[_role(found[1])] = key
    return groups


def dialects(modules: Mapping[str, Module]) -> dict[str, int]:
    """Count the modules of the denoiser by dialect."""
    counts: Counter[str] = Counter()
    for name, module in modules.items():
        if module.part == "denoiser":
            layer = target(name)
            counts[next((dialect for dialect, marks in DIALECTS if marks.match(layer)), "transformer")] += 1
    return dict(counts)


def target(name: str) -> str:
    """Return the layer that a module adapts, with underscores for dots and without the prefix of its network."""
    plain = name.removeprefix(WRAPPED)
    start = START.match(plain)
    return plain[start.end() if start else 0 :].replace(".", "_")


def base_of(lora: Lora, metadata: Mapping[str, str]) -> Identity:
    """Recognise the base of a LoRA: by its shapes, and by its metadata where shapes do not identify it."""
    found, stated = by_shapes(lora), by_metadata(metadata)
    if not found.known:
        return stated
    if stated.family == "chroma" and found.family == "flux1":  # the same layers: only metadata differs
        return stated
    if stated.family != found.family:
        return found
    return replace(found, variant=found.variant or stated.variant, prediction=stated.prediction)


def by_shapes(lora: Lora) -> Identity:
    """Recognise the base by the widths and numbers of the adapted layers."""
    return fitting(list(_shapes(lora)))


def by_metadata(metadata: Mapping[str, str]) -> Identity:
    """Recognise the base by the metadata of the trainer."""
    if LORA in metadata:
        return base_identity(metadata)
    for key in ("ss_base_model_version", "modelspec.architecture"):
        value = metadata.get(key, "")
        found = named(value)
        if found.known:
            kind = {"epsilon": "eps", "v": "v"}.get(metadata.get("modelspec.prediction_type", "").lower(), "")
            if value.endswith("_v") and found.family in ("sd1", "sd2"):
                kind = "v"
            return replace(found, prediction=kind, known_by=f"the metadata {key} = {value[:60]!r}")
    return Identity()


def _shapes(lora: Lora) -> Iterator[BaseShape]:
    for name, module in lora.modules.items():
        prefix = "lora_te_" if name.startswith("lora_te_") else ""
        yield BaseShape(name, target(name), module.part, module.width, prefix)


def _role(ending: str) -> str:
    if ending in PLAIN:
        return PLAIN[ending]
    if ending.startswith("lora_magnitude_vector"):
        return "magnitude"
    if ending.startswith("lora"):
        half = "mid" if "_mid" in ending else "down" if "lora_A" in ending or "down" in ending else "up"
        return half + ("_bias" if ending.endswith(".bias") else "_scale" if "scale" in ending else "")
    return ending.removesuffix(".weight")


def _layout(ending: str) -> str:
    if ending.startswith(("lora_A", "lora_B", "lora_magnitude")):
        return "peft"
    if ending.startswith(("lora.", "down.", "up.", "lora_linear_layer")):
        return "diffusers"
    return "kohya"


def _is_sure(name: str, module: Module) -> bool:
    return module.kind in SURE or name.startswith(("lora_", "lycoris_"))


def _module(name: str, halves: Mapping[str, str], tensors: Mapping[str, Entry]) -> Module:
    start = START.match(name.removeprefix(WRAPPED))
    part = PARTS[start[0]] if start else "denoiser"
    kinds = sorted(KINDS[half[:4]] for half in halves if half[:4] in KINDS)
    kind = "lora" if "lora" in kinds or not kinds else kinds[0]
    shapes = {half: tensors[key].shape for half, key in halves.items()}
    if kind == "ia3" and f"{name}.weight" in tensors:
        shapes["weight"] = tensors[f"{name}.weight"].shape
    rank, width, conv = _measure(kind, shapes)
    missing = next((other for half, other in PAIRS.items() if half in halves and other not in halves), "")
    if kind == "lora" and not {"scale", "magnitude"}.isdisjoint(halves):
        kind = "dora"
    return Module(part, kind, rank, halves.get("alpha", ""), width, conv, missing)


Shapes = Mapping[str, tuple[int, ...]]
Size = tuple[
    int | None, tuple[int | None, int | None], bool
]  # rank, (width in, width out), whether it is a convolution


def _measure(kind: str, shapes: Shapes) -> Size:
    if kind == "lora":
        down, up = shapes.get("down", ()), shapes.get("up", ())
        wide = next((shape for shape in (shapes.get("mid", ()), down) if len(shape) > 2), ())
        return _at(down, 0, _at(up, 1)), (_at(down, 1), _at(up, 0)), any(side > 1 for side in wide[2:])
    if kind == "loha":
        first, second = shapes.get("hada_w1_a", ()), shapes.get("hada_w1_b", ())
        core = shapes.get("hada_t1", ())
        out = _at(first, 1) if core else _at(first, 0)
        return _at(second, 0), (_at(second, 1), out), any(side > 1 for side in core[2:])
    if kind == "lokr":
        return _lokr(shapes)
    if kind == "glora":
        return _at(shapes.get("b1", ()), 1), (None, _at(shapes.get("b1", ()), 0)), False
    if kind == "full":
        diff = shapes.get("diff", shapes.get("set_weight", ()))
        return None, (_at(diff, 1), _at(diff, 0, _at(shapes.get("diff_b", ()), 0))), any(side > 1 for side in diff[2:])
    if kind == "oft":
        blocks = shapes.get("oft_blocks", shapes.get("oft_diag", ()))
        return None, (None, blocks[-3] * blocks[-2] if len(blocks) == 3 else None), False
    return None, (None, _at(shapes.get("w_norm", shapes.get("weight", ())), 0)), False


def _lokr(shapes: Shapes) -> Size:
    """Multiply the sides of both factors: those of their Kronecker product."""
    rank = None
    sides: list[tuple[int | None, int | None]] = []
    conv = any(side > 1 for side in (*shapes.get("lokr_w2", ())[2:], *shapes.get("lokr_t2", ())[2:]))
    for factor in ("lokr_w1", "lokr_w2"):
        whole, left, right = (shapes.get(factor + half, ()) for half in ("", "_a", "_b"))
        tucker = factor == "lokr_w2" and "lokr_t2" in shapes
        if not whole:
            rank = _at(right, 0, rank)
        sides.append((_at(whole or right, 1), _at(whole, 0) if whole else _at(left, 1 if tucker else 0)))
    (first_in, first_out), (second_in, second_out) = sides
    return rank, (_times(first_in, second_in), _times(first_out, second_out)), conv


def _times(first: int | None, second: int | None) -> int | None:
    return None if first is None or second is None else first * second


def _at(shape: tuple[int, ...], index: int, default: int | None = None) -> int | None:
    return shape[index] if index < len(shape) else default
