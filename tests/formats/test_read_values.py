"""The few numbers that are read are those that the safetensors library wrote."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from unnoise.errors import InputError
from unnoise.formats.header import Entry, read_header
from unnoise.formats.read_values import MOST, read_values

DTYPES = [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16]
DTYPES += [torch.int8, torch.uint8, torch.bool]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "file.safetensors"


@pytest.mark.parametrize("dtype", DTYPES)
def test_reads_every_type_that_has_numbers(path: Path, dtype: torch.dtype) -> None:
    wanted = torch.tensor([[0, 1, 3], [5, 7, 100]], dtype=torch.float64).to(dtype)
    save_file({"a": torch.ones(3), "b": wanted, "c": torch.ones(5)}, path)
    found = read_values(path, read_header(path).tensors, ["b"])
    assert found == {"b": tuple(wanted.double().flatten().tolist())}


def test_reads_at_most_the_given_number(path: Path) -> None:
    save_file({"a": torch.arange(2.0 * MOST), "none": torch.zeros(0), "one": torch.tensor(8.0)}, path)
    tensors = read_header(path).tensors
    assert read_values(path, tensors, ["a"], 3) == {"a": (0.0, 1.0, 2.0)}
    assert len(read_values(path, tensors, ["a"], 10 * MOST)["a"]) == MOST
    assert read_values(path, tensors, ["one", "none", "missing", "one"]) == {"one": (8.0,), "none": ()}


def test_leaves_out_other_dtypes(path: Path) -> None:
    save_file({"a": torch.ones(4, dtype=torch.float8_e4m3fn), "b": torch.ones(2, dtype=torch.complex64)}, path)
    assert read_values(path, read_header(path).tensors, ["a", "b"]) == {}


def test_refuses_a_missing_or_short_file(path: Path) -> None:
    path.write_bytes(b"1234")
    with pytest.raises(InputError, match="ends before"):
        read_values(path, {"a": Entry("F32", (2,), 0, 8)}, ["a"])
    with pytest.raises(InputError, match="cannot be read"):
        read_values(path.with_name("missing"), {}, ["a"])
