"""A header is either sound, and then the safetensors library agrees, or refused; nothing else ever comes out."""

import json
import os
from pathlib import Path

import pytest
import safetensors
import torch
from hypothesis import given, settings, strategies as st
from safetensors.torch import save, save_file

from unnoise.errors import InputError
from unnoise.formats.header import LONGEST, VALUES, Entry, read_header

SOUND = save({"a": torch.arange(6.0).reshape(2, 3), "b": torch.zeros(4, dtype=torch.float16)}, {"key": "value"})


def packed(header: object, data: bytes = b"") -> bytes:
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(raw).to_bytes(8, "little") + raw + data


def tensor(dtype: object = "U8", shape: object = (4,), offsets: object = (0, 4)) -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("header") / "file.safetensors"


def test_reads_files_of_the_library(path: Path) -> None:
    tensors = {
        "half": torch.zeros(2, 3, dtype=torch.float16),
        "scalar": torch.tensor(1.0),
        "none": torch.zeros(0, 5),
        "whole": torch.zeros(7, dtype=torch.int64),
        "brain": torch.zeros(2, dtype=torch.bfloat16),
    }
    save_file(tensors, path, {"format": "pt"})
    header = read_header(path)
    assert header.metadata == {"format": "pt"}
    assert header.size == path.stat().st_size
    assert {name: entry.shape for name, entry in header.tensors.items()} == {
        name: tuple(value.shape) for name, value in tensors.items()
    }
    assert header.tensors["whole"].dtype == "I64"


def test_offsets_are_those_of_the_file(path: Path) -> None:
    path.write_bytes(packed({"a": tensor(shape=[4])}, b"wxyz"))
    entry = read_header(path).tensors["a"]
    assert entry == Entry("U8", (4,), path.stat().st_size - 4, path.stat().st_size)
    assert path.read_bytes()[entry.start : entry.end] == b"wxyz"


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", "too few"),
        (b"\x08\0\0\0\0\0\0\0", "too few"),
        ((2**63).to_bytes(8, "little") + b"{}", "declares"),
        ((2**64 - 1).to_bytes(8, "little") + b"{}", "declares"),
        (b"PK\x03\x04" + b"\0" * 60, "a zip archive"),
        (packed(b"[]  "), "start with"),
        (packed(b" {} "), "start with"),
        (packed(b'{"a":\xff}'), "not JSON"),
        (packed(b"{'a': 1}"), "not JSON"),
        (packed(b'{"a": NaN}'), "NaN"),
        (packed(b'{"a":' + b"9" * 5000 + b"}"), "not JSON"),
        (packed(b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}"), "nested"),
        (packed(b'{"a":' + b"[" * 100_000 + b"}"), "nested"),
        (packed(b'{"a":[' + b"0," * VALUES + b"0]}"), "values"),
        (packed(b"{" + b" " * LONGEST + b"}"), "at most"),
        (packed(b'{"a":1,"a":2}'), "twice"),
        (packed(b'{"a":{"dtype":"U8","dtype":"I8","shape":[0],"data_offsets":[0,0]}}'), "twice"),
        (packed({"__metadata__": {"a": 1}}), "__metadata__"),
        (packed({"__metadata__": []}), "__metadata__"),
        (packed({"a": 5}), "exactly"),
        (packed({"a": tensor() | {"more": 1}}, b"1234"), "exactly"),
        (packed({"a": tensor("F5")}, b"1234"), "dtype"),
        (packed({"a": tensor(["U8"])}, b"1234"), "dtype"),
        (packed({"a": tensor(shape=[-4])}, b"1234"), "shape"),
        (packed({"a": tensor(shape=[4.0])}, b"1234"), "shape"),
        (packed({"a": tensor(shape=[True])}, b"1"), "shape"),
        (packed({"a": tensor(shape=4)}, b"1234"), "shape"),
        (packed({"a": tensor(shape=[2**63])}, b"1234"), "shape"),
        (packed({"a": tensor(shape=[2**62] * 900)}, b"1234"), "shape"),
        (packed({"a": tensor(shape=[2**62] * 20)}, b"1234"), "fit"),
        (packed({"a": tensor(offsets=[0, 5])}, b"1234"), "outside"),
        (packed({"a": tensor(offsets=[4, 0])}, b"1234"), "outside"),
        (packed({"a": tensor(offsets=[0, 4, 4])}, b"1234"), "outside"),
        (packed({"a": tensor(offsets=[0, "4"])}, b"1234"), "outside"),
        (packed({"a": tensor(offsets=None)}, b"1234"), "outside"),
        (packed({"a": tensor(shape=[3])}, b"1234"), "fit"),
        (packed({"a": tensor("F4", [7], [0, 4])}, b"1234"), "fit"),
        (packed({"a": tensor(), "b": tensor()}, b"1234"), "overlaps"),
        (packed({"a": tensor(), "b": tensor(offsets=[2, 6])}, b"123456"), "overlaps"),
        (packed({"a": tensor(), "b": tensor(offsets=[5, 9])}, b"123456789"), "gap"),
        (packed({"a": tensor(offsets=[1, 5])}, b"12345"), "gap"),
        (packed({"a": tensor()}, b"12345"), "belong to no tensor"),
        (packed({}, b"1"), "belong to no tensor"),
        (SOUND[:-1], "outside"),
        (SOUND + b"\0", "belong to no tensor"),
    ],
)
def test_refuses(path: Path, content: bytes, fault: str) -> None:
    path.write_bytes(content)
    with pytest.raises(InputError, match=fault) as refusal:
        read_header(path)
    assert str(refusal.value).startswith(str(path))
    assert len(str(refusal.value)) < len(str(path)) + 300


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo, lambda path: None, lambda path: path.symlink_to(path)])
def test_refuses_a_path_that_is_not_a_file(tmp_path: Path, make: object) -> None:
    path = tmp_path / "thing"
    make(path)  # type: ignore[operator]
    with pytest.raises(InputError, match="thing"):
        read_header(path)


def test_refuses_an_impossible_path() -> None:
    with pytest.raises(InputError, match="cannot be read"):
        read_header("a\0b")


def outcome(path: Path, content: bytes) -> bool:
    """Read bytes as a file: True if they are sound. Whatever is accepted here, the library accepts too."""
    path.write_bytes(content)
    try:
        read_header(path)
    except InputError:
        return False
    with safetensors.safe_open(path, "pt") as file:
        file.keys()
    return True


@settings(max_examples=250)
@given(st.lists(st.tuples(st.integers(0, len(SOUND) - 1), st.integers(0, 255)), min_size=1, max_size=4))
def test_changed_bytes(path: Path, changes: list[tuple[int, int]]) -> None:
    content = bytearray(SOUND)
    for place, value in changes:
        content[place] = value
    outcome(path, bytes(content))


@settings(max_examples=100)
@given(st.integers(0, len(SOUND) - 1))
def test_truncation(path: Path, length: int) -> None:
    assert not outcome(path, SOUND[:length])


@settings(max_examples=200)
@given(st.binary(max_size=200), st.integers(0, 2**64 - 1))
def test_noise(path: Path, content: bytes, length: int) -> None:
    outcome(path, length.to_bytes(8, "little") + content)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
)
SMALL = st.integers(0, 8)
TENSOR = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from(["U8", "F16", "F32", "BOOL", "F4", "X"]),
        "shape": st.lists(SMALL, max_size=3),
        "data_offsets": st.lists(SMALL, min_size=2, max_size=2),
    }
)


@settings(max_examples=150)
@given(st.dictionaries(st.text(max_size=3), TENSOR | JSON, max_size=3), st.binary(max_size=12))
def test_any_header(path: Path, header: dict[str, object], data: bytes) -> None:
    outcome(path, packed(header, data))
