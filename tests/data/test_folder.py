"""Folders and tars of pictures: captions found, faults named, broken pictures counted or refused."""

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from unnoise.data.dataset import ImageDataset, open_source
from unnoise.errors import InputError

COLOURS = {"red": (200, 0, 0), "green": (0, 200, 0), "blue": (0, 0, 200)}


def png(colour: str, size: tuple[int, int] = (20, 30)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, COLOURS[colour]).save(buffer, "PNG")
    return buffer.getvalue()


def beside(folder: Path) -> Path:
    for colour in COLOURS:
        (folder / f"{colour}.png").write_bytes(png(colour))
        (folder / f"{colour}.txt").write_text(f"a {colour} square\n")
    return folder


def listed(folder: Path) -> Path:
    rows = []
    for colour in COLOURS:
        (folder / f"{colour}.png").write_bytes(png(colour))
        rows.append(json.dumps({"file_name": f"{colour}.png", "text": f"a {colour} square"}))
    (folder / "metadata.jsonl").write_text("\n".join(rows))
    return folder


def tarred(folder: Path) -> Path:
    with tarfile.open(folder / "set-000.tar", "w") as archive:
        for colour in COLOURS:
            for ending, data in (("png", png(colour)), ("txt", f"a {colour} square".encode())):
                member = tarfile.TarInfo(f"data/{colour}.{ending}")
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
    return folder / "set-000.tar"


def colours_of(source: ImageDataset) -> dict[str, tuple[int, ...]]:
    return {names[0]: tuple(source.read(i)[8, 8, :3].tolist()) for i, names in enumerate(source.captions)}


@pytest.mark.parametrize("make", [beside, listed, tarred])
def test_pictures_meet_their_captions(tmp_path: Path, make) -> None:
    source = open_source(str(make(tmp_path)), 16)
    assert colours_of(source) == {f"a {name} square": rgb for name, rgb in COLOURS.items()}
    assert source.read(0).shape == (16, 16, 4)
    assert source.read(0).dtype == np.uint8


@pytest.mark.parametrize("make", [beside, listed])
def test_a_corrupt_picture_is_skipped_and_counted_or_refused(tmp_path: Path, make) -> None:
    folder = make(tmp_path)
    (folder / "red.png").write_bytes(png("red")[:60])
    assert open_source(str(folder), 16).skipped == 1
    with pytest.raises(InputError, match=r"red\.png"):
        open_source(str(folder), 16, strict=True)


@pytest.mark.parametrize("ending", ["png", "jpg", "webp", "gif", "bmp"])
def test_a_picture_whose_end_is_missing_is_found_before_it_is_needed(tmp_path: Path, ending: str) -> None:
    beside(tmp_path)
    colours = np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)
    path = tmp_path / f"half.{ending}"
    Image.fromarray(colours).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    path.with_suffix(".txt").write_text("half a picture")
    source = open_source(str(tmp_path), 16)
    assert source.skipped == 1
    assert len(colours_of(source)) == 3


def test_a_missing_caption_is_refused_with_its_file(tmp_path: Path) -> None:
    (beside(tmp_path) / "blue.txt").unlink()
    with pytest.raises(InputError, match=r"blue\.png.*blue\.txt"):
        open_source(str(tmp_path), 16)


@pytest.mark.parametrize(
    "row", ["nonsense", "[]", '{"text": "x"}', '{"file_name": "red.png"}', '{"file_name": "../x.png", "text": "x"}']
)
def test_a_bad_line_is_refused_with_its_number(tmp_path: Path, row: str) -> None:
    (listed(tmp_path) / "metadata.jsonl").write_text(row)
    with pytest.raises(InputError, match=r"metadata\.jsonl:1"):
        open_source(str(tmp_path), 16)


@pytest.mark.parametrize("name", ["nowhere", "."])
def test_no_pictures_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=r"data\.source"):
        open_source(str(tmp_path / name), 16)


def test_a_tar_without_captions_is_refused(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        member = tarfile.TarInfo("a.png")
        member.size = len(png("red"))
        archive.addfile(member, io.BytesIO(png("red")))
    with pytest.raises(InputError, match=r"a\.png.*caption"):
        open_source(str(tmp_path / "x.tar"), 16)


def test_something_that_is_no_tar_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.tar").write_bytes(b"no tar" * 200)
    with pytest.raises(InputError, match="cannot be read"):
        open_source(str(tmp_path / "x.tar"), 16)


def test_a_bomb_is_not_opened(tmp_path: Path) -> None:
    Image.new("1", (20_000, 20_000)).save(tmp_path / "bomb.png")
    (tmp_path / "bomb.txt").write_text("black")
    with pytest.raises(InputError, match="no picture that can be read"):
        open_source(str(tmp_path), 16)
