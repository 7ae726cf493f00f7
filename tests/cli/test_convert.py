"""`unnoise convert`: weights come out as they were, and what is no weight does not run."""

import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from unnoise.cli.main import main
from unnoise.formats.unpickle import flat


class Evil:
    """Runs a command where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("old", [False, True], ids=["archive", "older"])
@pytest.mark.parametrize("nested", [False, True])
def test_weights_come_out_as_they_were(
    tmp_path: Path, old: bool, nested: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = {"a.weight": torch.randn(3, 4), "b": torch.arange(5), "c": torch.randn(2).half()}
    weights |= {"d": torch.randn(6)[::2]}
    content = {"state_dict": weights, "epoch": 3} if nested else weights
    torch.save(content, tmp_path / "model.ckpt", _use_new_zipfile_serialization=not old)
    assert main(["convert", str(tmp_path / "model.ckpt")]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "model.safetensors")
    found = load_file(tmp_path / "model.safetensors")
    assert found.keys() == weights.keys()
    assert all(torch.equal(found[name], value) and found[name].dtype == value.dtype for name, value in weights.items())


def evil(path: Path, mark: Path) -> None:
    torch.save({"a": torch.ones(2), "b": Evil(mark)}, path)


def plain_evil(path: Path, mark: Path) -> None:
    path.write_bytes(pickle.dumps({"a": Evil(mark)}, protocol=2))


@pytest.mark.parametrize("make", [evil, plain_evil])
def test_code_does_not_run_and_is_named(
    tmp_path: Path, make: Callable[[Path, Path], None], capsys: pytest.CaptureFixture[str]
) -> None:
    make(tmp_path / "model.bin", tmp_path / "mark")
    assert main(["convert", str(tmp_path / "model.bin")]) == 2
    err = capsys.readouterr().err
    assert "needs posix.system, which is not a weight" in err
    assert err.count("\n") == 1
    assert not (tmp_path / "mark").exists()
    assert not (tmp_path / "model.safetensors").exists()


@pytest.mark.parametrize(
    "content", [b"", b"\x80\x04garbage", b"PK\x03\x04" + b"\0" * 60], ids=["empty", "garbage", "half an archive"]
)
def test_damaged_files_are_one_line(tmp_path: Path, content: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "model.pt").write_bytes(content)
    assert main(["convert", str(tmp_path / "model.pt")]) == 2
    err = capsys.readouterr().err
    assert err.startswith("unnoise: ")
    assert err.count("\n") == 1
    assert not (tmp_path / "model.safetensors").exists()


def test_what_is_there_is_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"a": torch.ones(2)}, tmp_path / "model.pt")
    (tmp_path / "model.safetensors").write_text("mine")
    assert main(["convert", str(tmp_path / "model.pt")]) == 2
    assert (tmp_path / "model.safetensors").read_text() == "mine"
    assert "--force overwrites it" in capsys.readouterr().err
    assert main(["convert", str(tmp_path / "model.pt"), "--force"]) == 0
    assert main(["convert", str(tmp_path / "none.pt")]) == 2
    assert main(["convert", str(tmp_path / "model.safetensors"), str(tmp_path / "y.safetensors")]) == 2


def test_a_pickle_of_any_name_is_converted(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(2)}, tmp_path / "model.safetensors")
    assert main(["convert", str(tmp_path / "model.safetensors"), str(tmp_path / "out.safetensors")]) == 0
    assert torch.equal(load_file(tmp_path / "out.safetensors")["a"], torch.ones(2))


def test_what_is_written_is_bounded_by_what_is_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"a": torch.zeros(1 << 20)}, tmp_path / "plain.pt")
    with zipfile.ZipFile(tmp_path / "plain.pt") as plain, zipfile.ZipFile(tmp_path / "bomb.pt", "w") as bomb:
        for entry in plain.infolist():
            bomb.writestr(entry.filename, plain.read(entry), zipfile.ZIP_DEFLATED)
    torch.save({"a": torch.zeros(1).expand(1 << 30)}, tmp_path / "expanded.pt")
    for name, words in (("bomb.pt", "unpack to more"), ("expanded.pt", "at most 2 times")):
        assert main(["convert", str(tmp_path / name)]) == 2
        assert words in capsys.readouterr().err
    assert not [path for path in tmp_path.iterdir() if path.suffix in (".safetensors", ".part")]


def test_no_table_of_tensors_is_refused() -> None:
    for content in ([torch.ones(1)], {1: torch.ones(1)}, {"a": 3}, {}):
        with pytest.raises(ValueError, match=r"not a dict of tensors|no tensor among"):
            flat(content)


def test_weights_of_a_model_file_need_a_place_to_write(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["convert", "emoji.safetensors", "--weights", "int8"]) != 0
    assert "give the file to write" in capsys.readouterr().err
