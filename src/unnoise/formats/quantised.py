"""Weights that are stored in fewer bits: GGUF blocks and scaled float8, dequantised tensor by tensor.

Source: ggml-org/ggml, docs/gguf.md; ComfyUI, comfy/ops.py and comfy/quant_ops.py (scale_weight, weight_scale).
"""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor

from unnoise.errors import InputError
from unnoise.formats.gguf import TYPES, read_weights_header
from unnoise.formats.gguf_blocks import BLOCKS
from unnoise.formats.header import Entry, Header
from unnoise.formats.json_text import json_object
from unnoise.formats.mmap import map_entries
from unnoise.formats.open_file import open_file
from unnoise.formats.tensors import DTYPES, FLOATS8

CHUNK = 1 << 16  # blocks that are dequantised at once
HEAD = 1024  # bytes of each tensor in a fingerprint
SCALES = (".scale_weight", ".weight_scale")
UNUSED = (".scale_input", ".input_scale", ".comfy_quant", "scaled_fp8")  # of the inputs of layers; markers
KINDS = ("float8_e4m3fn", "float8_e5m2")  # formats that a `.comfy_quant` may name
# The end of a tensor's name that identifies a quantisation which is not supported.
OTHERS: Mapping[str, str] = {
    ".weight_scale_2": "NVFP4",
    ".absmax": "bitsandbytes",
    ".quant_map": "bitsandbytes",
    ".SCB": "bitsandbytes int8",
    ".wscales": "SVDQuant (Nunchaku)",
    ".qweight": "GPTQ, AWQ or SVDQuant",
    ".qzeros": "GPTQ or AWQ",
}
SUPPORTED = f"supported are float8 with scales and the GGUF types {', '.join(BLOCKS)}"


@dataclass(frozen=True, slots=True)
class WeightsFile:
    """Hold the header of a file of weights, GGUF or safetensors.

    Args:
        path: of the file.
        header: with the entries of all tensors.
        quantised: whether some tensors have to be dequantised.
    """

    path: str | os.PathLike[str]
    header: Header
    quantised: bool

    def shapes(self) -> dict[str, Tensor]:
        """Return the tensors on the meta device, as they are after dequantising."""
        return {
            name: torch.empty(entry.shape, dtype=DTYPES.get(entry.dtype, torch.float32), device="meta")
            for name, entry in self.header.tensors.items()
            if not name.endswith((*SCALES, *UNUSED))
        }

    def dequantised(self, dtype: torch.dtype) -> dict[str, Tensor]:
        """Read all tensors; those of few bits are dequantised in float32 and rounded to `dtype`."""
        mapped = map_entries(self.path, self.header, lambda entry: entry.dtype in BLOCKS)
        found = {}
        for name, stored in mapped.tensors.items():
            entry = self.header.tensors[name]
            if name.endswith((*SCALES, *UNUSED)):
                continue
            if entry.dtype in BLOCKS:
                found[name] = _from_blocks(stored, entry, dtype)
            elif entry.dtype in FLOATS8:
                found[name] = _scaled(stored, _scale(name, mapped.tensors), f"{self.path}: {name}").to(dtype)
            else:
                found[name] = stored
            mapped.release()
        return found

    def fingerprint(self) -> str:
        """Return the sha256 of names, types, shapes and first bytes of every tensor as it is stored."""
        digest = hashlib.sha256()
        with open_file(self.path) as file:
            for name, entry in sorted(self.header.tensors.items()):
                file.seek(entry.start)
                digest.update(f"{name}\0{entry.dtype}\0{list(entry.shape)}\0".encode())
                digest.update(file.read(min(HEAD, entry.end - entry.start)))
        return digest.hexdigest()


def open_weights(path: str | os.PathLike[str]) -> WeightsFile:
    """Read the header of a GGUF or safetensors file. Raises InputError for a quantisation that is not supported."""
    header = read_weights_header(path)
    for name, entry in header.tensors.items():
        other = next((kind for end, kind in OTHERS.items() if name.endswith(end)), "")
        if other or (entry.dtype not in DTYPES and entry.dtype not in BLOCKS):
            raise InputError(f"{path}: tensor {name!r} is of {other or entry.dtype}; {SUPPORTED}")
    scaled = {name for name in header.tensors if name.endswith(SCALES)}
    if any(name.endswith(".comfy_quant") for name in header.tensors):
        _check_kinds(path, header)
    return WeightsFile(path, header, bool(scaled) or any(entry.dtype in BLOCKS for entry in header.tensors.values()))


def _check_kinds(path: str | os.PathLike[str], header: Header) -> None:
    with open_file(path) as file:
        for name, entry in header.tensors.items():
            if not name.endswith(".comfy_quant"):
                continue
            file.seek(entry.start)
            kind = _kind(file.read(min(entry.end - entry.start, HEAD)))
            if kind not in KINDS:
                raise InputError(f"{path}: tensor {name!r} names the format {kind!r}; {SUPPORTED}")


def _kind(raw: bytes) -> Any:
    try:
        return json_object(raw.decode()).get("format")
    except ValueError:
        return None


def _from_blocks(stored: Tensor, entry: Entry, dtype: torch.dtype) -> Tensor:
    """Dequantise the bytes of a tensor, CHUNK blocks at a time."""
    found = torch.empty(prod(entry.shape), dtype=dtype)
    if not len(found):
        return found.reshape(entry.shape)
    width = next(size for name, _, size in TYPES.values() if name == entry.dtype)
    blocks = stored.reshape(-1, width)
    at = 0
    for some in blocks.split(CHUNK):
        numbers = BLOCKS[entry.dtype](some).reshape(-1)
        found[at : at + len(numbers)] = numbers
        at += len(numbers)
    return found.reshape(entry.shape)


def _scale(name: str, tensors: Mapping[str, Tensor]) -> Tensor | None:
    layer = name.removesuffix(".weight")
    return next((tensors[layer + end] for end in SCALES if layer + end in tensors), None)


def _scaled(stored: Tensor, scale: Tensor | None, where: str) -> Tensor:
    """Multiply a weight by its scale: one number, or one for each row."""
    if scale is None:
        return stored.float()
    if scale.numel() == 1:
        return stored.float() * scale.float().reshape(())
    if stored.ndim != 2 or scale.numel() != len(stored):
        raise InputError(
            f"{where}: {list(stored.shape)} has a scale of {list(scale.shape)}; one number, or one a row, is supported"
        )
    return stored.float() * scale.float().reshape(-1, 1)
