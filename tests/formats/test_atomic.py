"""A file that is being written is the old one or the new one at every moment, and nothing else stays behind."""

import os
import stat
from pathlib import Path

import pytest

from unnoise.errors import InputError, OutputError
from unnoise.formats.atomic import check_writable, replacing, replacing_folder, sweep


def test_writes(tmp_path: Path) -> None:
    path = tmp_path / "new" / "deep" / "file"
    with replacing(path) as file:
        file.write(b"content")
    assert path.read_bytes() == b"content"
    assert list(path.parent.iterdir()) == [path]


def test_replaces_only_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with replacing(path) as file:
        file.write(b"new")
        file.flush()
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"


def interrupted(path: Path, error: type[BaseException]) -> None:
    with replacing(path) as file:
        file.write(b"half")
        raise error


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit, MemoryError])
def test_keeps_the_old_file_when_interrupted(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with pytest.raises(error):
        interrupted(path, error)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_mode_is_that_of_a_plain_file(tmp_path: Path) -> None:
    (tmp_path / "plain").write_bytes(b"")
    with replacing(tmp_path / "file"):
        pass
    modes = {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert len(modes) == 1


def test_full_disk_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match=r"cannot write .*file': No space left"), replacing(tmp_path / "file"):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("path", ["file/under", "file/under/it", "folder", "x" * 300])
def test_refuses_early_and_late(tmp_path: Path, path: str) -> None:
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match="cannot write"):
        check_writable(tmp_path / path)
    with pytest.raises(InputError, match="cannot write"), replacing(tmp_path / path) as file:
        file.write(b"content")
    assert sorted(tmp_path.iterdir()) == [tmp_path / "file", tmp_path / "folder"]


def test_refuses_a_folder_that_is_not_writable() -> None:
    with pytest.raises(InputError, match="cannot write"):
        check_writable("/proc/none/picture.png")


def test_check_leaves_nothing(tmp_path: Path) -> None:
    check_writable(tmp_path / "new" / "file")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_replaced_keeps_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "train.sh"
    path.write_text("a")
    path.chmod(0o751)
    with replacing(path) as file:
        file.write(b"b")
    assert path.read_text() == "b"
    assert path.stat().st_mode & 0o777 == 0o751


def test_a_folder_is_there_when_it_is_whole(tmp_path: Path) -> None:
    with replacing_folder(tmp_path / "model") as part:
        (part / "a").write_text("x")
        assert not (tmp_path / "model").exists()
    assert [path.name for path in (tmp_path / "model").iterdir()] == ["a"]
    with pytest.raises(KeyboardInterrupt), replacing_folder(tmp_path / "other"):
        raise KeyboardInterrupt
    with pytest.raises(InputError, match="cannot write"), replacing_folder(tmp_path / "model"):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_what_a_killed_process_left_is_removed_and_what_a_running_one_writes_stays(tmp_path: Path) -> None:
    target = tmp_path / "x[1].safetensors"
    (tmp_path / ".x[1].safetensors.0123abcd.part").write_text("half")
    (tmp_path / ".x[1].safetensors.0123abce.part").mkdir()
    others = [tmp_path / ".x1.safetensors.0123abcd.part", tmp_path / ".x[1].safetensors.mine.part"]
    for other in others:
        other.write_text("of another")
    with replacing(target) as file:
        sweep(target)
        file.write(b"new")
    assert sorted(tmp_path.iterdir()) == sorted([target, *others])
