"""Only regular files are opened, in the folder where they belong, and no more than a limit is read."""

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from unnoise.errors import InputError
from unnoise.formats.open_file import inside, is_file, open_file, read_bytes, read_text


def unix_socket(path: Path) -> None:
    folder = os.open(path.parent, os.O_RDONLY)  # the name of a socket has at most 108 letters
    try:
        with socket.socket(socket.AF_UNIX) as one:
            one.bind(f"/proc/self/fd/{folder}/{path.name}")
    finally:
        os.close(folder)


OTHERS: dict[str, Callable[[Path], object]] = {
    "a FIFO": os.mkfifo,
    "a folder": lambda path: path.mkdir(),
    "a device": lambda path: path.symlink_to("/dev/zero"),
    "a socket": unix_socket,
}


@pytest.mark.parametrize(("kind", "make"), OTHERS.items(), ids=OTHERS)
def test_anything_but_a_regular_file_is_refused(tmp_path: Path, kind: str, make: Callable[[Path], object]) -> None:
    make(tmp_path / "it")
    assert not is_file(tmp_path / "it")
    with pytest.raises(InputError, match=f"it: is {kind}, not a file"):
        open_file(tmp_path / "it")


@pytest.mark.parametrize("name", ["none", "zero\0byte", "x" * 300])
def test_what_is_not_there_is_one_line(tmp_path: Path, name: str) -> None:
    assert not is_file(tmp_path / name)
    with pytest.raises(InputError, match="cannot be read"):
        open_file(tmp_path / name)


def test_the_limit_is_on_what_is_read_not_on_what_the_file_states(tmp_path: Path) -> None:
    (tmp_path / "it").write_bytes(b"12345")
    assert read_bytes(tmp_path / "it", 5) == b"12345"
    with pytest.raises(InputError, match="larger than 4 bytes"):
        read_bytes(tmp_path / "it", 4)
    assert os.stat("/proc/self/maps").st_size == 0
    with pytest.raises(InputError, match="larger than 64 bytes"):
        read_bytes("/proc/self/maps", 64)


@pytest.mark.parametrize("content", [b"\xffa", "ä".encode("cp1252")])
def test_a_text_is_utf_8(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "it").write_bytes(content)
    with pytest.raises(InputError, match=r"not a text in UTF-8: byte 0 is 0x(ff|e4)"):
        read_text(tmp_path / "it")
    (tmp_path / "it").write_text("ä", encoding="utf-8-sig")
    assert read_text(tmp_path / "it") == "ä"


def test_links_stay_in_the_folder(tmp_path: Path) -> None:
    root = tmp_path / "model"
    (root / "unet").mkdir(parents=True)
    (tmp_path / "secret").write_text("s")
    (root / "shared").write_text("t")
    (root / "unet/in").symlink_to("../shared")
    (root / "unet/out").symlink_to("../../secret")
    (root / "up").symlink_to("..")
    assert read_text(root / "unet/in", root=root) == "t"
    assert read_text(root / "unet/out") == "s"  # a person named it
    for path in (root / "unet/out", root / "up/secret", root / "../secret"):
        with pytest.raises(InputError, match="outside the folder"):
            read_text(path, root=root)


def test_the_cache_of_hugging_face_is_links_into_its_blobs(tmp_path: Path) -> None:
    snapshot = tmp_path / "models--a--b/snapshots/123"
    (snapshot / "vae").mkdir(parents=True)
    blobs = tmp_path / "models--a--b/blobs"
    blobs.mkdir()
    (blobs / "hash").write_text("t")
    (snapshot / "vae/config.json").symlink_to("../../../blobs/hash")
    assert inside(snapshot / "vae/config.json", snapshot) == blobs / "hash"
    assert inside(snapshot / "vae/config.json", snapshot / "vae") == blobs / "hash"
    (snapshot / "out").symlink_to("../../../elsewhere")
    with pytest.raises(InputError, match="outside the folder"):
        inside(snapshot / "out", snapshot)
