"""Captions and labels by column: folders, metadata, tars; what is missing is counted and named."""

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data.test_folder import metadata_file, png, tar_of, text_files
from PIL import Image

from unnoise.data.augment import Augment
from unnoise.data.columns import ImageRow, count_columns, first_folder, items_of
from unnoise.data.dataset import ImageDataset
from unnoise.data.open import open_source, source_columns
from unnoise.data.view import random_view, render_views
from unnoise.errors import InputError, InputWarning
from unnoise.train.recipe import DataOptions


def opened(path: Path, **options: Any) -> ImageDataset:
    return open_source(str(path), 16, **options)


def rows(*columns: dict[str, Any]) -> list[ImageRow]:
    return [ImageRow(f"{i}.png", given, bytes, f"line {i}") for i, given in enumerate(columns)]


def captions(*columns: dict[str, Any], of: str = "auto") -> list[tuple[str, ...]]:
    return [item.captions for item in items_of("set", rows(*columns), of, "")]


def labels(*columns: dict[str, Any], of: str = "label") -> list[str]:
    return [item.label for item in items_of("set", rows(*columns), "auto", of)]


def by_folder(folder: Path) -> Path:
    for name in ("cat/1.png", "cat/more/2.png", "dog/1.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(png("red"))
    return folder


def test_the_first_column_that_an_image_has_is_its_caption() -> None:
    assert captions({"text": "a", "caption": "b", "txt": "c"}, {"caption": " b "}, {"text": None, "txt": "c"}) == [
        ("a",), ("b",), ("c",),
    ]  # fmt: skip
    assert captions({"text": ["a", " ", "b "]}) == [("a", "b")]
    assert captions({"text": "a", "title": "b"}, of="title") == [("b",)]
    assert captions({"text": "a"}, of="none") == captions({"other": "a"}) == [("",)]


def test_captions_of_some_are_counted_with_the_first_and_both_ways_out() -> None:
    line = (
        r"^set: captions = 'auto': 2 of 3 images have none, the first is '1.png'; add it, or set captions = \"none\"$"
    )
    with pytest.raises(InputError, match=line):
        captions({"text": "a"}, {}, {"text": None})


def test_empty_captions_are_said_in_one_line() -> None:
    with pytest.warns(InputWarning, match=r"^set: 2 of 3 images have an empty caption, the first is '1.png'; they are"):
        assert captions({"text": "a"}, {"text": " "}, {"text": []}) == [("a",), ("",), ("",)]


@pytest.mark.parametrize("of", ["captions", "labels"])
def test_a_column_that_is_not_there_is_refused_with_those_that_are(of: str) -> None:
    with pytest.raises(InputError, match=rf"^set: {of} = 'x': no image has this column; .* are there: a, text$"):
        (captions if of == "captions" else labels)({"a": 1, "text": "t", "x": None}, {"a": 2}, of="x")


@pytest.mark.parametrize("value", [5, {"a": 1}, ["a", 1], "x" * 70_000])
def test_a_caption_is_a_text(value: object) -> None:
    with pytest.raises(InputError, match=r"^line 0: .*caption"):
        captions({"text": value})


def test_labels_are_texts_or_whole_numbers() -> None:
    assert labels({"label": " cat "}, {"label": 3}, {"label": 4.0}, {"label": "7"}) == ["cat", "3", "4", "7"]
    for value in (1.5, float("nan"), True, ["a"], "x" * 300):
        with pytest.raises(InputError, match=r"^line 0: label .*: a text of 1 to 200 letters, or a number$"):
            labels({"label": value})


@pytest.mark.parametrize("missing", [{}, {"label": None}, {"label": " "}])
def test_labels_missing_for_some_are_counted(missing: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"^set: labels = 'label': 1 of 2 images have none, the first is '1.png'; add"):
        labels({"label": 1}, missing)


def test_labels_are_read_instead_of_captions_unless_both_are_asked_for() -> None:
    (item,) = items_of("set", rows({"text": "a", "label": 1}), "auto", "label")
    assert (item.captions, item.label) == (("",), "1")
    (item,) = items_of("set", rows({"text": "a", "label": 1}), "text", "label")
    assert (item.captions, item.label) == (("a",), "1")


def test_classes_that_are_numbers_are_in_the_order_of_their_values() -> None:
    dataset = ImageDataset("few", (("",),) * 4, ("a", "b", "c", "d"), lambda i: np.zeros((1, 1, 4), np.uint8),
                           labels=("10", "2", "cat", "2"))  # fmt: skip
    assert dataset.classes == ("2", "10", "cat")


def test_folders_are_labels(tmp_path: Path) -> None:
    dataset = opened(by_folder(tmp_path), labels="folders")
    assert (dataset.labels, dataset.classes, dataset.captioned) == (("cat", "cat", "dog"), ("cat", "dog"), False)
    assert opened(tmp_path).labels == ()
    assert source_columns(str(tmp_path)) == {"folders": 3}
    (tmp_path / "x.png").write_bytes(png("red"))
    with pytest.raises(InputError, match=r"labels = 'folders': 1 of 4 images have none, the first is 'x.png'"):
        opened(tmp_path, labels="folders")


@pytest.mark.parametrize(
    ("path", "folder"), [("a/b/c.png", "a"), ("./a/b.png", "a"), ("b.png", None), ("./b.png", None)]
)
def test_the_first_folder_of_a_path(path: str, folder: str | None) -> None:
    assert first_folder(path).get("folders") == folder


def described(folder: Path, kind: str) -> Path:
    """Write three images, two of them in a folder, and their metadata."""
    table = [("cat/1.png", "a cat", 0), ("cat/more/2.png", "two, cats", 0), ("dog/1.png", "a dog", 1)]
    by_folder(folder)
    if kind == "jsonl":
        lines = [json.dumps({"file_name": name, "text": text, "class": label}) for name, text, label in table]
        (folder / "metadata.jsonl").write_text("\n".join(lines))
    elif kind == "csv":
        lines = [f'{name},"{text}",{label}' for name, text, label in table]
        (folder / "metadata.csv").write_text("\n".join(["file_name,text,class", *lines]))
    else:
        import pyarrow
        from pyarrow import parquet

        columns = dict(zip(("file_name", "text", "class"), zip(*table, strict=True), strict=True))
        parquet.write_table(
            pyarrow.table({name: list(found) for name, found in columns.items()}), folder / "metadata.parquet"
        )
    return folder


@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet"])
def test_metadata_gives_columns(tmp_path: Path, kind: str) -> None:
    described(tmp_path, kind)
    assert opened(tmp_path).captions == (("a cat",), ("two, cats",), ("a dog",))
    assert opened(tmp_path, labels="class").labels == ("0", "0", "1")
    assert opened(tmp_path, labels="folders").labels == ("cat", "cat", "dog")
    (tmp_path / "dog/2.png").write_bytes(png("red"))
    with pytest.warns(InputWarning, match=rf"1 images skipped: 1 not in metadata.{kind} \('dog/2.png'\)"):
        opened(tmp_path)


def test_metadata_in_sub_folders_is_of_these_folders(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        metadata_file(tmp_path / name)
    dataset = opened(tmp_path, labels="folders", captions="text")
    assert len(dataset) == 6
    assert dict(zip(dataset.concepts, dataset.labels, strict=True))["b/red.png"] == "b"
    (tmp_path / "a/metadata.csv").write_text("file_name,text\nred.png,x")
    with pytest.raises(InputError, match=r"metadata.csv and metadata.jsonl describe the same images; keep one"):
        opened(tmp_path)


def test_metadata_without_captions_takes_them_from_text_files(tmp_path: Path) -> None:
    text_files(tmp_path)
    lines = [json.dumps({"file_name": f"{name}.png", "label": name}) for name in ("red", "blue")]
    (tmp_path / "metadata.jsonl").write_text("\n".join(lines))
    with pytest.warns(InputWarning, match=r"1 not in metadata.jsonl \('green.png'\)"):
        dataset = opened(tmp_path, captions="auto")
    assert dataset.captions == (("a red square",), ("a blue square",))


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("name,text\na.png,x", "file_name is needed"),
        ("file_name,text,text\na.png,x,y", "each name once"),
        ("file_name,text\na.png,x,y", r"csv:2: 3 values for 2 columns; put quotes"),
        ('file_name,text\na.png,"x', r"csv:2: not CSV: unexpected end"),
        ("file_name,text\n../a.png,x", r"csv:2: file_name '../a.png' lies outside"),
        ("file_name,text\n,x", "the name of a file is needed"),
        ("file_name,text\na.png," + "x" * 140_000, "field larger than"),
    ],
)
def test_broken_csv_is_one_line(tmp_path: Path, text: str, fault: str) -> None:
    (tmp_path / "metadata.csv").write_text(text)
    with pytest.raises(InputError, match=rf"^[^\n]*{fault}[^\n]*$"):
        opened(tmp_path)


def test_tars_give_columns(tmp_path: Path) -> None:
    red = png("red")
    first = {"a/1.png": red, "a/1.cls": b"3\n", "a/1.json": b'{"kind": "y"}'}
    second = {"b/2.png": red, "b/2.cls": b"11", "b/2.json": b'{"kind": "x", "text": "b"}'}
    path = tar_of(tmp_path / "t.tar", first | second)
    assert opened(path, labels="cls").classes == ("3", "11")
    assert opened(path, labels="kind").labels == ("y", "x")
    assert opened(path, labels="folders").labels == ("a", "b")
    with pytest.raises(InputError, match=r"1 of 2 images have none, the first is 't.tar:a/1.png'"):
        opened(path)


def test_a_tar_that_changes_is_named(tmp_path: Path) -> None:
    path = tar_of(tmp_path / "t.tar", {"a.png": png("red"), "b.png": png("blue")})
    dataset = opened(path)
    path.write_bytes(path.read_bytes() + b"\0" * 512)
    with pytest.raises(InputError, match=r"t\.tar: has changed since it was opened; leave it as it is"):
        dataset.read(1)
    path.unlink()
    with pytest.raises(InputError, match=r"t\.tar: cannot be read: No such file"):
        dataset.read(0)


def test_a_file_that_vanishes_is_named(tmp_path: Path) -> None:
    dataset = opened(text_files(tmp_path))
    (tmp_path / "green.png").unlink()
    with pytest.raises(InputError, match=r"green.png: cannot be read: No such file or directory$"):
        dataset.read(1)


def test_an_image_that_is_not_finite_is_counted_as_such(tmp_path: Path) -> None:
    for name, value in (("a", 0.5), ("b", np.nan), ("c", np.inf)):
        Image.fromarray(np.full((16, 16), value, np.float32)).save(tmp_path / f"{name}.tif")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert opened(tmp_path).skipped == 2
    assert any("2 images skipped: 2 not finite ('b.tif', ...)" in str(one.message) for one in caught)


@pytest.mark.parametrize(
    ("background", "colour"), [("white", [1, 1, 1]), ("#ff0000", [1, -1, -1]), ("black", [-1] * 3)]
)
def test_transparent_images_are_said_and_placed_on_the_background(
    tmp_path: Path, background: str, colour: list[float]
) -> None:
    Image.new("RGBA", (16, 16), (0, 0, 0, 0)).save(tmp_path / "a.png")
    Image.new("RGB", (16, 16)).save(tmp_path / "b.png")
    with pytest.warns(InputWarning, match=r"1 images \('a.png'\): transparent; the colour behind is data.background"):
        dataset = DataOptions(str(tmp_path), 16, background=background).open()
    pixels = render_views(dataset, [random_view(dataset, i, 0, 1, Augment()) for i in range(2)])
    assert pixels[0, :, 3, 3].tolist() == pytest.approx(colour)
    assert pixels[1].max() == -1


@pytest.mark.parametrize("background", ["", "beige", "#fff", "#12345g", "ff0000"])
def test_a_background_that_is_no_colour_is_refused(background: str) -> None:
    with pytest.raises(InputError, match=r"^background '.*': #rrggbb, or a name; .*known: black, blue"):
        DataOptions("x", background=background)


def test_the_embedded_set_has_no_columns() -> None:
    with pytest.raises(InputError, match="leave out captions and labels"):
        DataOptions("emoji", labels="folders").open()
    assert not DataOptions("emoji", captions="none").open().captioned
    assert not source_columns("emoji")


def test_a_split_of_a_folder_is_its_folder(tmp_path: Path) -> None:
    for name in ("train", "test"):
        (tmp_path / name).mkdir()
        text_files(tmp_path / name)
    (tmp_path / "test/red.png").unlink()
    assert len(open_source(f"{tmp_path}:test", 16)) == 2
    with pytest.raises(InputError, match=r"has no folder 'val'"):
        open_source(f"{tmp_path}:val", 16)


def test_columns_are_counted() -> None:
    assert count_columns(rows({"a": 1}, {"a": None, "b": 2}, {"a": 0})) == {"a": 2, "b": 1}
