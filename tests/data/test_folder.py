"""Folders and tars of images: captions are found, faults named, unreadable images counted or refused."""

import io
import json
import os
import tarfile
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from unnoise.data.dataset import ImageDataset
from unnoise.data.open import open_source
from unnoise.errors import InputError, InputWarning
from unnoise.formats import pictures

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


def test_captions_of_some_images_are_refused_with_their_number_and_both_ways_out(tmp_path: Path) -> None:
    (text_files(tmp_path) / "blue.txt").unlink()
    with pytest.raises(InputError, match=r"1 of 3 images have none, the first is 'blue\.png'; add it, or .*\"none\""):
        open_source(str(tmp_path), 16)
    assert not open_source(str(tmp_path), 16, captions="none").captioned


@pytest.mark.parametrize("row", ["nonsense", "[]", '{"text": "x"}', '{"file_name": "../x.png", "text": "x"}'])
def test_a_bad_line_is_refused_with_its_number(tmp_path: Path, row: str) -> None:
    (metadata_file(tmp_path) / "metadata.jsonl").write_text(row)
    with pytest.raises(InputError, match=r"metadata\.jsonl:1"):
        open_source(str(tmp_path), 16)


@pytest.mark.parametrize("name", ["nowhere", "."])
def test_a_folder_without_images_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=r"data\.source"):
        open_source(str(tmp_path / name), 16)


def test_a_tar_without_captions_is_unconditional(tmp_path: Path) -> None:
    path = tar_of(tmp_path / "x.tar", {"a.png": png("red"), "b.png": png("blue")})
    assert open_source(str(path), 16).captions == (("",), ("",))


def test_a_file_that_is_not_a_tar_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.tar").write_bytes(b"no tar" * 200)
    with pytest.raises(InputError, match="cannot be read"):
        open_source(str(tmp_path / "x.tar"), 16)


def test_a_decompression_bomb_is_refused(tmp_path: Path) -> None:
    Image.new("1", (20_000, 20_000)).save(tmp_path / "bomb.png")
    (tmp_path / "bomb.txt").write_text("black")
    with pytest.raises(InputError, match="none of its 1 images can be read"):
        open_source(str(tmp_path), 16)


def said(folder: Path, strict: bool = False) -> tuple[ImageDataset, str]:
    """Open a folder; return the set and what is said."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        dataset = open_source(str(folder), 16, strict)
    return dataset, "\n".join(str(one.message) for one in caught)


def add(path: Path, content: bytes = b"", caption: str | None = "a thing") -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    if caption is not None:
        path.with_suffix(".txt").write_text(caption)


@pytest.mark.parametrize("ending", [".avif", ".tif", ".tiff", ".jfif", ".jpe", ".bmp", ".gif", ".ppm", ".TIF", ".webp"])
def test_every_format_that_is_decoded_is_used(tmp_path: Path, ending: str) -> None:
    with (tmp_path / f"a{ending}").open("wb") as file:
        format = {".jfif": "JPEG", ".jpe": "JPEG", ".tif": "TIFF"}.get(ending.lower(), ending[1:].upper())
        Image.new("RGB", (20, 20), (200, 0, 0)).save(file, format)
    (tmp_path / "a.txt").write_text("red")
    dataset, line = said(tmp_path, strict=True)
    assert (len(dataset), dataset.skipped, line) == (1, 0, "")
    assert np.abs(dataset.read(0)[8, 8].astype(int) - (200, 0, 0, 255)).max() < 8


@pytest.mark.parametrize("name", ["b.heic", "b.dat", "b"])
def test_an_image_beside_a_caption_is_used_by_its_content(tmp_path: Path, name: str) -> None:
    text_files(tmp_path)
    add(tmp_path / name, png("red"))
    dataset, line = said(tmp_path)
    assert (len(dataset), line) == (4, "")


HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"
SKIPPED = [
    ("b.heic", HEIC, "1 HEIC ('b.heic')"),
    ("b.jxl", b"\xff\x0a\xfa\x7f", "1 JPEG XL ('b.jxl')"),
    ("b.png", b"%!PS-Adobe-3.0 EPSF-3.0", "1 EPS ('b.png')"),
    ("b.mp4", b"\0\0\0\x20ftypisom", "1 of an unknown format ('b.mp4')"),
    ("._a.png", b"\0\5\x16\7", "1 hidden ('._a.png')"),
    (".ipynb_checkpoints/a-checkpoint.png", png("red"), "1 hidden ('.ipynb_checkpoints/a-checkpoint.png')"),
    ("b.png", png("red")[:60], "1 unreadable ('b.png')"),
]


@pytest.mark.parametrize(("name", "content", "line"), SKIPPED)
@pytest.mark.parametrize("caption", ["a thing", None])
def test_what_is_left_out_is_said_or_refused(
    tmp_path: Path, name: str, content: bytes, line: str, caption: str | None
) -> None:
    text_files(tmp_path)
    add(tmp_path / name, content, caption)
    if caption is None and line.startswith(("1 of", "1 unread")):
        return  # a film is no concern of ours; an image without a caption is refused elsewhere
    dataset, found = said(tmp_path)
    assert (len(dataset), dataset.skipped) == (3, 1)
    assert found == f"{tmp_path}: 1 images skipped: {line}"
    with pytest.raises(InputError, match="leave out strict to skip it") as caught:
        said(tmp_path, strict=True)
    assert Path(name).name in str(caught.value)


def test_a_file_that_is_too_long_is_left_out(tmp_path: Path) -> None:
    text_files(tmp_path)
    add(tmp_path / "film.mp4")
    with (tmp_path / "film.mp4").open("wb") as file:
        file.truncate(pictures.BYTES + 1)
    assert said(tmp_path)[1] == f"{tmp_path}: 1 images skipped: 1 unreadable ('film.mp4')"


def test_a_folder_named_like_an_image_does_not_block(tmp_path: Path) -> None:
    text_files(tmp_path)
    add(tmp_path / "x.png" / "inside.png", png("red"))
    dataset, line = said(tmp_path)
    assert (len(dataset), line) == (4, f"{tmp_path}: 1 images skipped: 1 a folder ('x.png')")
    os.mkfifo(tmp_path / "pipe.png")
    assert "1 not a regular file ('pipe.png')" in said(tmp_path)[1]


def test_links_out_of_a_folder_are_not_followed(tmp_path: Path) -> None:
    inside, outside = tmp_path / "set", tmp_path / "outside"
    inside.mkdir()
    add(outside / "secret.png", png("red"), "a secret")
    text_files(inside)
    (inside / "a.png").symlink_to(outside / "secret.png")
    (inside / "a.txt").write_text("mine")
    (inside / "b.png").write_bytes(png("red"))
    (inside / "b.txt").symlink_to(outside / "secret.txt")
    (inside / "c").symlink_to(outside)
    (inside / "d.png").symlink_to(inside / "red.png")
    (inside / "d.txt").write_text("within")
    dataset, line = said(inside)
    assert {names[0] for names in dataset.captions} == {*(f"a {colour} square" for colour in COLOURS), "within"}
    left = "3 linked from outside the folder ('a.png', ...)"
    assert line == f"{inside}: 3 images skipped: {left}"
    (inside / "metadata.jsonl").write_text('{"file_name": "a.png", "text": "x"}\n{"file_name": "red.png", "text": "y"}')
    assert "1 linked from outside the folder ('a.png')" in said(inside)[1]
    (inside / "metadata.jsonl").unlink()
    (inside / "metadata.jsonl").symlink_to(outside / "secret.txt")
    with pytest.raises(InputError, match="a link out of the folder"):
        said(inside)


def test_images_that_metadata_does_not_list_are_said(tmp_path: Path) -> None:
    metadata_file(tmp_path)
    add(tmp_path / "more.png", png("red"), None)
    assert said(tmp_path)[1] == f"{tmp_path}: 1 images skipped: 1 not in metadata.jsonl ('more.png')"


@pytest.mark.parametrize(
    ("raw", "fault"),
    [
        ("café".encode("cp1252"), "byte 3 is 0xe9, which is not UTF-8 but as in Latin-1 or cp1252"),
        (b"\xef\xbb\xbfcaf\xe9", "byte 6 is 0xe9"),
        ("a cat".encode("utf-16"), "byte 0 is 0xff, which is not UTF-8 but as in UTF-16"),
        ("a cat".encode("utf-16-le"), "byte 1 is 0x00, no letter of a text but as in UTF-16"),
        (b"x" * 70_000, "over 65536 bytes"),
    ],
)
def test_captions_are_utf_8_or_refused_with_the_byte(tmp_path: Path, raw: bytes, fault: str) -> None:
    (text_files(tmp_path) / "red.txt").write_bytes(raw)
    with pytest.raises(InputError, match=rf"^caption '.*red\.txt': {fault}"):
        said(tmp_path)
    if len(raw) < 1000:
        with pytest.raises(InputError, match=r"t\.tar: 'a\.txt': " + fault):
            said(tar_of(tmp_path / "t.tar", {"a.png": png("red"), "a.txt": raw}))
        (tmp_path / "t.tar").unlink()
        (tmp_path / "metadata.jsonl").write_bytes(raw)
        with pytest.raises(InputError, match=rf"metadata\.jsonl: {fault}"):
            said(tmp_path)


def test_a_byte_order_mark_is_no_letter_of_a_caption(tmp_path: Path) -> None:
    (text_files(tmp_path) / "red.txt").write_bytes("a café".encode("utf-8-sig"))
    assert ("a café",) in said(tmp_path)[0].captions
    line = '{"file_name": "red.png", "text": "one\u2028line"}'
    (tmp_path / "metadata.jsonl").write_bytes(line.encode("utf-8-sig"))
    assert said(tmp_path)[0].captions == (("one\u2028line",),)


@pytest.mark.parametrize(
    "row", [b'{"file_name": "a\\u0000.png", "text": "x"}', b"[" * 100_000, b'{"a":' * 50_000, b"1" * 5_000,
            b'{"file_name": ["a"], "text": "x"}', b'{"file_name": "red.png", "text": ["x", 5]}']
)  # fmt: skip
def test_a_hostile_line_is_one_line(tmp_path: Path, row: bytes) -> None:
    (metadata_file(tmp_path) / "metadata.jsonl").write_bytes(row)
    with pytest.raises(InputError, match=r"^[^\n]*metadata\.jsonl:1: [^\n]{5,140}$"):
        said(tmp_path)


def tar_of(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def with_header(path: Path, at: int, changes: dict[int, bytes]) -> Path:
    """Change fields of the header of a member, and its checksum."""
    whole = bytearray(path.read_bytes())
    for place, value in {**changes, 148: b" " * 8}.items():
        whole[at + place : at + place + len(value)] = value
    whole[at + 148 : at + 156] = b"%06o\0 " % sum(whole[at : at + 512])
    path.write_bytes(whole)
    return path


HUGE, NEGATIVE = b"\x80" + (10**13).to_bytes(11, "big"), b"\xff" * 11 + b"\0"
ZERO = b"%011o\0" % 0


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({124: HUGE}, "unexpected end of data|bytes, at most"),
        ({124: NEGATIVE}, "a header of -"),
        ({156: b"S", 257: b"ustar  \0", 386: ZERO, 398: ZERO, 482: b"\0", 483: HUGE}, "not a regular file"),
        ({156: b"6"}, "the header at byte 1536 is broken"),
        ({156: b"x", 124: b"%011o\0" % 9000}, "a header of 9000 bytes"),
    ],
)
def test_a_hostile_tar_is_one_line(tmp_path: Path, changes: dict[int, bytes], fault: str) -> None:
    path = with_header(tar_of(tmp_path / "t.tar", {"a.txt": b"x", "a.png": png("red")}), 1024, changes)
    with pytest.raises(InputError, match=fault) as caught:
        said(path)
    assert "\n" not in str(caught.value)


def test_a_broken_header_is_not_the_end_of_a_tar(tmp_path: Path) -> None:
    members = {"a.txt": b"x", "a.png": png("red"), "b.txt": b"y", "b.png": png("blue")}
    path = tar_of(tmp_path / "t.tar", members)
    assert len(said(path)[0]) == 2
    whole = bytearray(path.read_bytes())
    at = whole.index(b"b.txt")
    whole[at + 148 : at + 156] = b"999999\0 "
    path.write_bytes(whole)
    with pytest.raises(InputError, match=f"the header at byte {at} is broken"):
        said(path)


def test_what_is_left_out_of_a_tar_is_said(tmp_path: Path) -> None:
    members = {"a.txt": b"a thing", "a.png": png("red"), "a.jpg": png("red"), "._a.png": b"\0", "b.v2.png": png("red"),
               "c.heic": HEIC, "c.txt": b"a thing", "d.png": png("red")[:60], "d.txt": b"d"}  # fmt: skip
    dataset, line = said(tar_of(tmp_path / "t.tar", members))
    assert (len(dataset), dataset.skipped) == (1, 5)
    for reason in ("1 second of its sample ('t.tar:a.jpg')", "1 hidden ('t.tar:._a.png')", "1 of the format .heic",
                   "1 with a second dot in the name", "1 unreadable ('t.tar:d.png')"):  # fmt: skip
        assert reason in line
    with pytest.raises(InputError, match="leave out strict"):
        said(tmp_path / "t.tar", strict=True)


@pytest.mark.parametrize("raw", [b"[" * 60_000, b'{"text": 5}', b"[]"])
def test_json_of_a_tar_is_one_line(tmp_path: Path, raw: bytes) -> None:
    with pytest.raises(InputError, match=r"t\.tar: 'a\.(json|png)': [^\n]{5,140}$"):
        said(tar_of(tmp_path / "t.tar", {"a.png": png("red"), "a.json": raw}))


def test_sixteen_bits_and_remarks(tmp_path: Path) -> None:
    grey = np.linspace(0, 65535, 16 * 16).reshape(16, 16)
    for name, array in (("a.png", grey.astype(np.uint16)), ("b.tif", grey.astype(np.int32))):
        Image.fromarray(array).save(tmp_path / name)
        (tmp_path / name).with_suffix(".txt").write_text("grey")
    dataset, line = said(tmp_path)
    assert line == f"{tmp_path}: 1 images ('b.tif'): pixels of 32 bits are read as values from 0 to 65535"
    for i in range(2):
        assert np.abs(dataset.read(i)[..., 0] - grey / 257).max() <= 0.51
