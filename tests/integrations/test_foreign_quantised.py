"""Single files of few bits and of wrapped names: equal to a file of the numbers that they stand for."""

import json
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import unnoise
from integrations import maker_names, peers, test_foreign_flux
from integrations.test_foreign_single_transformers import State, written
from unnoise.errors import InputError
from unnoise.families.tensors import unwrapped

Q8_0, F32, BLOCK = 8, 0, 32


def q8_0(value: Tensor) -> tuple[bytes, Tensor]:
    """Quantise a tensor as ggml does; also return the numbers that are stored. Source: ggml, quantize_row_q8_0_ref"""
    rows = value.reshape(-1, BLOCK)
    scale = (rows.abs().amax(1, keepdim=True) / 127).half()
    numbers = (rows / scale.float().clamp(min=1e-12)).round().clamp(-127, 127)
    raw = np.concatenate([scale.numpy().view(np.uint8), numbers.to(torch.int8).numpy().view(np.uint8)], axis=1)
    return raw.tobytes(), (scale.float() * numbers).reshape(value.shape)


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value.encode())) + value.encode()


def gguf(state: State, path: Path) -> State:
    """Write a GGUF file with matrices in Q8_0, and return the numbers that it stands for."""
    infos, data, stored = b"", b"", {}
    for name, value in state.items():
        blocks = value.ndim == 2 and value.shape[1] % BLOCK == 0
        raw, stored[name] = q8_0(value.float()) if blocks else (value.float().numpy().tobytes(), value.float())
        sides = tuple(reversed(value.shape))
        infos += text(name) + struct.pack(f"<I{len(sides)}Q", len(sides), *sides)
        infos += struct.pack("<IQ", Q8_0 if blocks else F32, len(data))
        data += raw + bytes(-len(raw) % BLOCK)
    head = b"GGUF" + struct.pack("<IQQ", 3, len(state), 0) + infos
    path.write_bytes(head + bytes(-len(head) % BLOCK) + data)
    return stored


def test_gguf_is_the_numbers_it_stands_for(tmp_path: Path) -> None:
    pipe = test_foreign_flux.pipe(tmp_path)
    folder = peers.saved(pipe, tmp_path / "model")
    stored = gguf(maker_names.flux(pipe.transformer.state_dict()), tmp_path / "flux.gguf")
    plain = written(stored, tmp_path / "flux.safetensors")
    one, whole = (unnoise.load(path, components=folder) for path in (tmp_path / "flux.gguf", plain))
    for name, value in whole.denoiser.state_dict().items():
        assert torch.equal(one.denoiser.state_dict()[name], value), name
    half = unnoise.load(tmp_path / "flux.gguf", components=folder, dtype="bfloat16")
    assert half.card.fingerprint == one.card.fingerprint != whole.card.fingerprint
    alone = [peers.moved(pipeline).generate("a cat", seed=3, steps=2, size=32)[0].x0 for pipeline in (one, whole)]
    assert torch.equal(*alone)


@pytest.mark.parametrize("prefix", ["state_dict.", "module.", "state_dict._orig_mod."])
def test_wrapped_names_and_scaled_float8(tmp_path: Path, prefix: str) -> None:
    pipe = test_foreign_flux.pipe(tmp_path)
    folder = peers.saved(pipe, tmp_path / "model")
    state = maker_names.flux(pipe.transformer.state_dict())
    narrow = {name: value for name, value in state.items() if value.ndim == 2}
    stored: State = {f"{prefix}{name}": value for name, value in state.items()}
    plain = dict(state)
    for name, value in narrow.items():
        scale = value.abs().max() / 448
        stored[prefix + name] = (value / scale).to(torch.float8_e4m3fn)
        stored[prefix + name.removesuffix(".weight") + ".scale_weight"] = scale
        plain[name] = stored[prefix + name].float() * scale
    one = unnoise.load(written(stored, tmp_path / "scaled.safetensors"), components=folder)
    whole = unnoise.load(written(plain, tmp_path / "plain.safetensors"), components=folder)
    for name, value in whole.denoiser.state_dict().items():
        assert torch.equal(one.denoiser.state_dict()[name], value), name
    meta = unnoise.loading.meta(tmp_path / "scaled.safetensors", components=folder)
    assert meta.card.family == "flux1"


def test_a_prefix_of_some_names_stays() -> None:
    assert unwrapped({"module.a": 1, "b": 2}) == {"module.a": 1, "b": 2}
    assert unwrapped({"module.state_dict.a": 1}) == {"a": 1}
    assert unwrapped({}) == {}


def test_a_pickle_given_as_a_model_is_to_be_converted(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(2)}, tmp_path / "model.ckpt")
    with pytest.raises(InputError, match="unnoise convert FILE") as error:
        unnoise.load(tmp_path / "model.ckpt")
    assert len(json.dumps(str(error.value))) < 300
