"""Folders and tars of images: captions are found, faults named, unreadable images counted or refused."""

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from unnoise.data.dataset import ImageDataset
from unnoise.data.open import open_source
from unnoise.errors import InputError, InputWarning

COLOURS = {"red": (200, 0, 0), "green": (0, 200, 0), "blue": (0, 0, 200)}


def png(colour: str, size: tuple[int, int] = (20, 30)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, COLOURS[colour]).save(buffer, "PNG")
    return buffer.getvalue()


def text_files(folder: Path) -> Path:
    for colour in COLOURS:
        (folder / f"{colour}.png").write_bytes(png(colour))
        (folder / f"{colour}.txt").write_text(f"a {colour} square\n")
    return folder


def metadata_file(folder: Path) -> Path:
    rows = []
    for colour in COLOURS:
        (folder / f"{colour}.png").write_bytes(png(colour))
        rows.append(json.dumps({"file_name": f"{colour}.png", "text": f"a {colour} square"}))
    (folder / "metadata.jsonl").write_text("\n".join(rows))
    return folder


def tar_file(folder: Path) -> Path:
    with tarfile.open(folder / "set-000.tar", "w") as archive:
        for colour in COLOURS:
            for ending, data in (("png", png(colour)), ("txt", f"a {colour} square".encode())):
                member = tarfile.TarInfo(f"data/{colour}.{ending}")
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
    return folder / "set-000.tar"


def colours_of(dataset: ImageDataset) -> dict[str, tuple[int, ...]]:
    return {names[0]: tuple(dataset.read(i)[8, 8, :3].tolist()) for i, names in enumerate(dataset.captions)}


@pytest.mark.parametrize("make", [text_files, metadata_file, tar_file])
def test_images_have_their_captions(tmp_path: Path, make) -> None:
    dataset = open_source(str(make(tmp_path)), 16)
    assert colours_of(dataset) == {f"a {name} square": rgb for name, rgb in COLOURS.items()}
    assert dataset.read(0).shape == (16, 16, 4)
    assert dataset.read(0).dtype == np.uint8


@pytest.mark.parametrize("make", [text_files, metadata_file])
def test_a_corrupt_image_is_skipped_and_counted_or_refused(tmp_path: Path, make) -> None:
    folder = make(tmp_path)
    (folder / "red.png").write_bytes(png("red")[:60])
    with pytest.warns(InputWarning, match=r"1 images skipped: 1 unreadable \('red\.png'\)"):
        assert open_source(str(folder), 16).skipped == 1
    with pytest.raises(InputError, match=r"red\.png"):
        open_source(str(folder), 16, strict=True)


@pytest.mark.parametrize("ending", ["png", "jpg", "webp", "gif", "bmp"])
def test_a_truncated_image_is_found_when_the_data_set_is_opened(tmp_path: Path, ending: str) -> None:
    text_files(tmp_path)
    colours = np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)
    path = tmp_path / f"half.{ending}"
    Image.fromarray(colours).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    path.with_suffix(".txt").write_text("half a picture")
    with pytest.warns(InputWarning, match=f"1 unreadable .'half.{ending}'"):
        dataset = open_source(str(tmp_path), 16)
    assert dataset.skipped == 1
    assert len(colours_of(dataset)) == 3


def test_a_missing_caption_is_refused_with_its_file(tmp_path: Path) -> None:
    (text_files(tmp_path) / "blue.txt").unlink()
    with pytest.raises(InputError, match=r"blue\.png.*blue\.txt"):
        open_source(str(tmp_path), 16)


@pytest.mark.parametrize(
    "row", ["nonsense", "[]", '{"text": "x"}', '{"file_name": "red.png"}', '{"file_name": "../x.png", "text": "x"}']
)
def test_a_bad_line_is_refused_with_its_number(tmp_path: Path, row: str) -> None:
    (metadata_file(tmp_path) / "metadata.jsonl").write_text(row)
    with pytest.raises(InputError, match=r"metadata\.jsonl:1"):
        open_source(str(tmp_path), 16)


@pytest.mark.parametrize("name", ["nowhere", "."])
def test_a_folder_without_images_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=r"data\.source"):
        open_source(str(tmp_path / name), 16)


def test_a_tar_without_captions_is_refused(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        member = tarfile.TarInfo("a.png")
        member.size = len(png("red"))
        archive.addfile(member, io.BytesIO(png("red")))
    with pytest.raises(InputError, match=r"a\.png.*caption"):
        open_source(str(tmp_path / "x.tar"), 16)


def test_a_file_that_is_not_a_tar_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.tar").write_bytes(b"no tar" * 200)
    with pytest.raises(InputError, match="cannot be read"):
        open_source(str(tmp_path / "x.tar"), 16)


def test_a_decompression_bomb_is_refused(tmp_path: Path) -> None:
    Image.new("1", (20_000, 20_000)).save(tmp_path / "bomb.png")
    (tmp_path / "bomb.txt").write_text("black")
    with pytest.raises(InputError, match="none of its 1 images can be read"):
        open_source(str(tmp_path), 16)
