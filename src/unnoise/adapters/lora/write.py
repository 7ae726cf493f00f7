"""Write an adapter in the layout of PEFT and diffusers, or of kohya.

Scales are multiplied into B. Alpha is then the rank, or one number for all modules, and every reader gets it right.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

import torch
from torch import Tensor

from unnoise.adapters.lora.delta import Delta, Dora, FullDelta, LoHa, LoKr, LowRank, Replacement
from unnoise.adapters.lora.experts import NAMED
from unnoise.adapters.lora.read import Adapter
from unnoise.adapters.lora.scales import METADATA
from unnoise.errors import InputError, nearest
from unnoise.families.own import LORA
from unnoise.formats.strict_json import dump
from unnoise.formats.tensors import write_tensors

Layout = Literal["peft", "kohya"]
LAYOUTS = ("peft", "kohya")
KOHYA = {  # prefixes of kohya's names
    "unet": "lora_unet_",
    "transformer": "lora_unet_",
    "net": "lora_unet_",
    "text": "lora_te_",
    "text_encoder": "lora_te1_",
    "text_encoder_2": "lora_te2_",
    "text_encoder_3": "lora_te3_",
}
CLIPS = ("text_encoder.", "text_encoder_2.")
TEXT_MODEL = "text_model."  # in the names of files; transformers 5 omits it


def write(
    path: str | os.PathLike[str], adapter: Adapter, layout: Layout = "peft", dtype: torch.dtype = torch.float16
) -> None:
    """Write an adapter atomically.

    Args:
        path: the file to write.
        adapter: the adapter.
        layout: "peft" for LoRA and DoRA, read by diffusers and PEFT; "kohya" for all kinds.
        dtype: of the stored tensors.

    Raises:
        InputError: the layout is unknown or has no names for a kind of change, or a number is not finite in the dtype.
    """
    if layout not in LAYOUTS:
        raise InputError(f"layout {layout!r}: {nearest(layout, LAYOUTS)}")
    tensors: dict[str, Tensor] = {}
    one_text = not any(name.startswith("text_encoder_2.") for name in adapter.deltas)
    alpha = max((part.rank for part in map(_inner, adapter.deltas.values()) if isinstance(part, LowRank)), default=1)
    for name, delta in adapter.deltas.items():
        tensors |= _peft(name, delta) if layout == "peft" else _kohya(name, delta, one_text, alpha)
    for name, bias in adapter.biases.items():
        if layout == "peft" and name not in adapter.deltas:
            raise InputError(f"{name}: a difference of the bias alone, which peft has no names for; write it as kohya")
        tensors[f"{file_name(name)}.lora_B.bias" if layout == "peft" else f"{_kohya_name(name, one_text)}.diff_b"] = (
            bias
        )
    stored = {name: value.to(dtype) if value.ndim else value.float() for name, value in tensors.items()}
    for name, value in stored.items():
        if not bool(value.isfinite().all()):
            raise InputError(f"tensor {name!r} is not finite in {dtype}")
    metadata = {"format": "pt"}
    if layout == "peft":
        metadata[NAMED] = ",".join(dict.fromkeys(name.partition(".")[0] for name in adapter.deltas))
    if adapter.about is not None:
        metadata[LORA] = dump(adapter.about)
    if layout == "peft":
        metadata[METADATA] = json.dumps(_configs(adapter), sort_keys=True)
    write_tensors(path, {name: value.contiguous() for name, value in stored.items()}, metadata)


def low(delta: Delta, name: str) -> LowRank:
    """Return A and B with the scale multiplied into B. Raises InputError for another kind of change."""
    inner = _inner(delta)
    if not isinstance(inner, LowRank):
        raise InputError(
            f"{name}: a {type(inner).__name__}, which this layout has no names for; resize the adapter to a LoRA first"
        )
    return replace(inner, up=inner.up * inner.scale, scale=1.0)


def _inner(delta: Delta) -> Delta:
    return delta.inner if isinstance(delta, Dora) else delta


def _peft(name: str, delta: Delta) -> dict[str, Tensor]:
    part = low(delta, name)
    plain = file_name(name)
    trailing = [1] * (part.down.ndim - 2)
    found = {f"{plain}.lora_A.weight": part.down, f"{plain}.lora_B.weight": part.up.reshape(*part.up.shape, *trailing)}
    if isinstance(delta, Dora):
        if delta.axis:
            raise InputError(f"{name}: magnitudes of the inputs, which peft has no names for; write it as kohya")
        found[f"{plain}.lora_magnitude_vector"] = (
            delta.magnitude.reshape(1, -1, *trailing) if trailing else delta.magnitude
        )
    return found


def file_name(layer: str) -> str:
    """Return the name of a layer in files, which for CLIP is longer than in newer versions of transformers."""
    root, _, path = layer.partition(".")
    return f"{root}.{TEXT_MODEL}{path}" if f"{root}." in CLIPS and path.startswith("encoder.layers") else layer


def _kohya(name: str, delta: Delta, one_text: bool, alpha: int) -> dict[str, Tensor]:
    """Name the tensors of a change. alpha: one for all modules, as some readers apply the commonest to all."""
    plain = _kohya_name(name, one_text)
    found: dict[str, Tensor] = {}
    inner = _inner(delta)
    if isinstance(delta, Dora):
        trailing = [1] * (inner.down.ndim - 2) if isinstance(inner, LowRank) else []
        found[f"{plain}.dora_scale"] = delta.magnitude.reshape(*((1, -1) if delta.axis else (-1, 1)), *trailing)
    if isinstance(inner, LowRank):
        part = low(inner, name)
        trailing = [1] * (part.down.ndim - 2)
        found |= {
            f"{plain}.lora_down.weight": part.down,
            f"{plain}.lora_up.weight": (part.up * (part.rank / alpha)).reshape(*part.up.shape, *trailing),
            f"{plain}.alpha": torch.tensor(float(alpha)),
        }
    elif isinstance(inner, LoHa):
        found |= {f"{plain}.hada_w{k + 1}_a": left for k, left in enumerate(inner.left)}
        found |= {f"{plain}.hada_w{k + 1}_b": right for k, right in enumerate(inner.right)}
        found |= {f"{plain}.hada_t{k + 1}": core for k, core in enumerate(inner.cores or ())}
        found[f"{plain}.alpha"] = torch.tensor(inner.scale * len(inner.right[0]))
    elif isinstance(inner, LoKr):
        found |= {f"{plain}.lokr_w1": inner.first * inner.scale, f"{plain}.lokr_w2": inner.second}
    elif isinstance(inner, FullDelta):
        found[f"{plain}.diff"] = inner.difference
    elif isinstance(inner, Replacement):
        found[f"{plain}.set_weight"] = inner.value
    else:
        raise InputError(f"{name}: a {type(inner).__name__}, which the kohya layout has no names for")
    return found


def _kohya_name(name: str, one_text: bool) -> str:
    root, _, path = file_name(name).partition(".")
    start = "lora_te_" if one_text and root == "text_encoder" else KOHYA.get(root)
    if start is None:
        raise InputError(f"{name}: the kohya layout has no names for the layers of {root}; write it as peft")
    return start + path.replace(".", "_")


def _configs(adapter: Adapter) -> dict[str, Any]:
    """Return PEFT's configuration of each root as diffusers stores it in a header: rank and alpha of every layer.

    PEFT compares the ends of names, so the short names of CLIP's layers match in all versions of transformers.
    """
    found: dict[str, Any] = {}
    deltas: Mapping[str, Delta] = adapter.deltas
    for root in dict.fromkeys(name.partition(".")[0] for name in deltas):
        ranks = {
            name.partition(".")[2].removeprefix(TEXT_MODEL): low(delta, name).rank
            for name, delta in deltas.items()
            if name.startswith(f"{root}.")
        }
        first = next(iter(ranks.values()))
        others = {path: rank for path, rank in ranks.items() if rank != first}
        settings = {
            "r": first,
            "lora_alpha": first,
            "rank_pattern": others,
            "alpha_pattern": others,
            "target_modules": sorted(ranks),
            "lora_bias": any(name.startswith(f"{root}.") for name in adapter.biases),
            "use_dora": any(isinstance(delta, Dora) for name, delta in deltas.items() if name.startswith(f"{root}.")),
        }
        found |= {f"{root}.{key}": value for key, value in settings.items()}
    return found
