"""Weights of few bits load as the numbers they stand for; other quantisations are refused by name."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from test_gguf import packed, tensor
from test_gguf_blocks import random_blocks

from unnoise.errors import InputError
from unnoise.formats import quantised
from unnoise.formats.gguf import TYPES
from unnoise.formats.gguf_blocks import BLOCKS
from unnoise.formats.quantised import open_weights

CODES = {name: (code, block) for code, (name, block, _) in TYPES.items()}


@pytest.mark.parametrize("kind", BLOCKS)
def test_a_tensor_of_blocks_is_dequantised_in_chunks(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quantised, "CHUNK", 5)
    code, block = CODES[kind]
    blocks, path = random_blocks(kind, 12), tmp_path / "x.gguf"
    path.write_bytes(packed([], [tensor("a.weight", (2 * block, 6), code, 0)], bytes(blocks.numpy().tobytes())))
    stored = open_weights(path)
    assert stored.quantised
    assert stored.shapes()["a.weight"].shape == (6, 2 * block)
    for dtype in (torch.float32, torch.bfloat16):
        found = stored.dequantised(dtype)["a.weight"]
        assert torch.equal(found, BLOCKS[kind](blocks).reshape(6, 2 * block).to(dtype))


@pytest.mark.parametrize("kind", BLOCKS)
def test_a_tensor_may_be_empty(tmp_path: Path, kind: str) -> None:
    code, block = CODES[kind]
    (tmp_path / "x.gguf").write_bytes(packed([], [tensor("a", (block, 0), code, 0)], bytes(32)))
    assert open_weights(tmp_path / "x.gguf").dequantised(torch.float32)["a"].shape == (0, block)


def test_plain_tensors_of_gguf_are_as_they_are(tmp_path: Path) -> None:
    values = torch.randn(8)
    (tmp_path / "x.gguf").write_bytes(packed([], [tensor("a", (4, 2), 0, 0)], values.numpy().tobytes()))
    stored = open_weights(tmp_path / "x.gguf")
    assert not stored.quantised
    assert torch.equal(stored.dequantised(torch.bfloat16)["a"], values.reshape(2, 4))


@pytest.mark.parametrize("scale_name", ["scale_weight", "weight_scale"])
@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2])
def test_scaled_float8_is_weight_times_scale(tmp_path: Path, scale_name: str, dtype: torch.dtype) -> None:
    narrow, scale = torch.randn(6, 4).to(dtype), torch.tensor([0.25, 2, 3, 4, 5, 6])
    tensors = {
        "a.weight": narrow.clone(), f"a.{scale_name}": torch.tensor(0.5), "a.scale_input": torch.tensor(1.0),
        "b.weight": narrow.clone(), f"b.{scale_name}": scale[:, None], "c.weight": narrow, "c.bias": torch.ones(3),
        "scaled_fp8": torch.zeros(0, dtype=dtype),
        "a.comfy_quant": torch.tensor(list(json.dumps({"format": "float8_e4m3fn"}).encode()), dtype=torch.uint8),
    }  # fmt: skip
    save_file(tensors, tmp_path / "x.safetensors")
    stored = open_weights(tmp_path / "x.safetensors")
    found = stored.dequantised(torch.float32)
    assert found.keys() == stored.shapes().keys() == {"a.weight", "b.weight", "c.weight", "c.bias"}
    assert torch.equal(found["a.weight"], narrow.float() * 0.5)
    assert torch.equal(found["b.weight"], narrow.float() * scale[:, None])
    assert torch.equal(found["c.weight"], narrow.float())


def test_a_scale_of_another_shape_is_refused(tmp_path: Path) -> None:
    narrow = torch.randn(6, 4).to(torch.float8_e4m3fn)
    save_file({"a.weight": narrow, "a.weight_scale": torch.ones(6, 2)}, tmp_path / "x.safetensors")
    with pytest.raises(InputError, match="has a scale of"):
        open_weights(tmp_path / "x.safetensors").dequantised(torch.float32)


def test_the_fingerprint_is_of_the_file_and_sees_every_tensor(tmp_path: Path) -> None:
    found = set()
    for first, name in ((0.0, "a"), (1.0, "a"), (0.0, "b")):
        values = torch.randn(40, generator=torch.Generator().manual_seed(1))
        values[0] = first
        save_file({name: values.to(torch.float8_e4m3fn)}, tmp_path / "x.safetensors")
        found.add(open_weights(tmp_path / "x.safetensors").fingerprint())
    assert len(found) == 3


@pytest.mark.parametrize(
    ("end", "name"), [("weight.absmax", "bitsandbytes"), ("wscales", "SVDQuant"), ("weight_scale_2", "NVFP4")]
)
def test_other_quantisations_are_refused_by_name(tmp_path: Path, end: str, name: str) -> None:
    save_file({f"a.{end}": torch.ones(2), "a.weight": torch.ones(2)}, tmp_path / "x.safetensors")
    with pytest.raises(InputError, match=rf"'a\.{end}' is of {name}"):
        open_weights(tmp_path / "x.safetensors")


@pytest.mark.parametrize("content", [b'{"format": "mxfp8"}', b"[1]", b"\xff", b"[" * 1000])
def test_a_format_that_is_not_known_is_refused(tmp_path: Path, content: bytes) -> None:
    tensors = {"a.comfy_quant": torch.tensor(list(content), dtype=torch.uint8), "a.weight": torch.ones(2)}
    save_file(tensors, tmp_path / "x.safetensors")
    with pytest.raises(InputError, match="names the format"):
        open_weights(tmp_path / "x.safetensors")


def test_types_of_gguf_without_a_reader_are_refused_by_name(tmp_path: Path) -> None:
    code, block = CODES["IQ1_S"]
    (tmp_path / "x.gguf").write_bytes(packed([], [tensor("a", (block,), code, 0)], bytes(64)))
    with pytest.raises(InputError, match="'a' is of IQ1_S; supported"):
        open_weights(tmp_path / "x.gguf")
