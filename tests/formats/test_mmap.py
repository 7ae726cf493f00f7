"""Tensors mapped to their files: equal to what another reader gives, unread until used, and never written back."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from unnoise.errors import InputError
from unnoise.formats.mmap import map_tensors


def test_equal_to_what_was_saved(tmp_path: Path) -> None:
    tensors = {
        "a": torch.randn(3, 5),
        "b": torch.randn(7).bfloat16(),
        "c": torch.arange(6).reshape(2, 3),
        "d": torch.zeros(0, 4),
        "e": torch.randn(4).to(torch.float8_e4m3fn),
        "f": torch.tensor(2.5, dtype=torch.float16),
    }
    save_file(tensors, tmp_path / "x.safetensors", {"k": "v"})
    mapped = map_tensors([tmp_path / "x.safetensors"])
    assert mapped.metadata == {"k": "v"}
    assert mapped.tensors.keys() == mapped.entries.keys() == tensors.keys()
    for name, value in tensors.items():
        assert mapped.tensors[name].dtype == value.dtype
        assert torch.equal(mapped.tensors[name].float(), value.float()), name
    mapped.release()
    assert torch.equal(mapped.tensors["a"], tensors["a"])


def test_a_write_stays_in_memory(tmp_path: Path) -> None:
    save_file({"a": torch.ones(4)}, tmp_path / "x.safetensors")
    before = (tmp_path / "x.safetensors").read_bytes()
    map_tensors([tmp_path / "x.safetensors"]).tensors["a"].fill_(7)
    assert (tmp_path / "x.safetensors").read_bytes() == before


def test_a_tensor_is_in_one_file(tmp_path: Path) -> None:
    for name in "xy":
        save_file({"a": torch.ones(4)}, tmp_path / f"{name}.safetensors")
    with pytest.raises(InputError, match=r"y\.safetensors: tensor 'a' is also in another file of the model"):
        map_tensors([tmp_path / "x.safetensors", tmp_path / "y.safetensors"])


def test_unsupported_dtypes_are_refused(tmp_path: Path) -> None:
    save_file({"a": torch.ones(4).to(torch.float8_e8m0fnu)}, tmp_path / "x.safetensors")
    with pytest.raises(InputError, match="tensor 'a' is F8_E8M0; supported are "):
        map_tensors([tmp_path / "x.safetensors"])
