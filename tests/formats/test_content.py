"""A file that holds something else is named for what it is, with what to do."""

import pickle
from pathlib import Path

import pytest
import torch

from unnoise.errors import InputError
from unnoise.formats.content import SIGNS, described
from unnoise.formats.header import read_header

CONVERT = "unnoise convert FILE"


def refused(path: Path, content: bytes) -> str:
    path.write_bytes(content)
    with pytest.raises(InputError) as error:
        read_header(path)
    return str(error.value)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_a_pickle_is_to_be_converted(tmp_path: Path, protocol: int) -> None:
    assert CONVERT in refused(tmp_path / "model.ckpt", pickle.dumps({"a": [1.0] * 100}, protocol))


@pytest.mark.parametrize("archive", [True, False])
def test_a_file_of_torch_is_to_be_converted(tmp_path: Path, archive: bool) -> None:
    torch.save({"a": torch.ones(3)}, tmp_path / "a.pt", _use_new_zipfile_serialization=archive)
    assert CONVERT in refused(tmp_path / "b.safetensors", (tmp_path / "a.pt").read_bytes())


def test_other_files_are_named(tmp_path: Path) -> None:
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
    assert "git lfs pull" in refused(tmp_path / "a", pointer)
    assert "HTML page" in refused(tmp_path / "a", b"<!DOCTYPE html><html></html>" * 3)
    assert "PNG" in refused(tmp_path / "a", b"\x89PNG\r\n\x1a\n" + bytes(100))


def test_no_sign_hides_another() -> None:
    assert all(described(sign) == words for sign, words in SIGNS)
    assert described(b"") == described(b"abc") == ""
