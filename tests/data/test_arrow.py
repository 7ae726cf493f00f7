"""Parquet files and data sets saved by `datasets`: columns, splits, files that cells name, and what is damaged."""

import builtins
import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from clock import within
from data.test_folder import png
from pyarrow import parquet

from unnoise.data.arrow_table import features_of, image_column, pyarrow as imported, value_columns
from unnoise.data.dataset import ImageDataset
from unnoise.data.hf_dataset import is_saved, saved_splits
from unnoise.data.open import open_source, source_columns
from unnoise.data.parquet import WINDOW, ImageColumn, splits
from unnoise.errors import InputError, InputWarning

COLOURS = ("red", "green", "blue")
PIXELS = {"red": (200, 0, 0), "green": (0, 200, 0), "blue": (0, 0, 200)}
CELL = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
FEATURES = {"image": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": ["warm", "cold"]}}


def table(count: int = 6, features: bool = True) -> Any:
    """Make a table of coloured images as the `datasets` library writes it."""
    cells = pyarrow.array([{"bytes": png(COLOURS[i % 3]), "path": None} for i in range(count)], CELL)
    names = pyarrow.array([COLOURS[i % 3] for i in range(count)], pyarrow.string())
    labels = pyarrow.array([i % 2 for i in range(count)], pyarrow.int64())
    made = pyarrow.table({"image": cells, "label": labels, "text": names})
    info = {"huggingface": json.dumps({"info": {"features": FEATURES}})}
    return made.replace_schema_metadata(info) if features else made


def parquet_file(folder: Path, made: Any, name: str = "a.parquet", rows: int = 4) -> Path:
    folder.mkdir(exist_ok=True)
    parquet.write_table(made, folder / name, row_group_size=rows)
    return folder / name


def saved(folder: Path, made: Any, rows: int = 4) -> Path:
    """Save a table as `Dataset.save_to_disk` does."""
    folder.mkdir(exist_ok=True)
    with (
        pyarrow.OSFile(str(folder / "data-00000-of-00001.arrow"), "wb") as file,
        pyarrow.ipc.new_stream(file, made.schema) as to,
    ):
        to.write_table(made, max_chunksize=rows)
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": "data-00000-of-00001.arrow"}]}))
    (folder / "dataset_info.json").write_text(json.dumps({"features": FEATURES}))
    return folder


def opened(path: Path | str, **options: Any) -> ImageDataset:
    return open_source(str(path), 16, **options)


def colours_of(dataset: ImageDataset) -> list[tuple[int, ...]]:
    return [tuple(dataset.read(i)[8, 8, :3].tolist()) for i in range(len(dataset))]


WRITERS = [saved, parquet_file]


@pytest.mark.parametrize("write", WRITERS)
def test_images_captions_and_names_of_classes_are_read(tmp_path: Path, write: Callable[..., Path]) -> None:
    place = write(tmp_path / "set", table())
    dataset = opened(place)
    assert [names[0] for names in dataset.captions] == [*COLOURS] * 2
    assert colours_of(dataset) == [PIXELS[colour] for colour in COLOURS] * 2
    assert opened(place, labels="label").labels == ("warm", "cold") * 3
    assert source_columns(str(place)) == {"label": 6, "text": 6}
    assert len(set(dataset.concepts)) == 6
    with pytest.raises(InputError, match=r"labels = 'x': no image has this column; .* are there: label, text"):
        opened(place, labels="x")


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize("count", [0, 1, WINDOW + 3])
def test_rows_of_several_batches_are_read_in_any_order(tmp_path: Path, write: Callable[..., Path], count: int) -> None:
    place = write(tmp_path / "set", table(count), rows=WINDOW + 1)
    if not count:
        with pytest.raises(InputError, match="none of its 0 images"):
            opened(place)
        return
    dataset = opened(place)
    for i in (count - 1, 0, count // 2, count - 1):
        assert tuple(dataset.read(i)[8, 8, :3].tolist()) == PIXELS[COLOURS[i % 3]]


def test_numbers_without_names_and_raw_bytes(tmp_path: Path) -> None:
    made = pyarrow.table({"jpg": [png("red"), png("blue")], "kind": [7, 3], "text": [["a", "b"], ["c"]]})
    dataset = opened(parquet_file(tmp_path, made), labels="kind")
    assert (dataset.classes, colours_of(dataset)) == (("3", "7"), [PIXELS["red"], PIXELS["blue"]])
    assert opened(tmp_path / "a.parquet").captions == (("a", "b"), ("c",))
    assert opened(parquet_file(tmp_path / "b", table(features=False)), labels="label").classes == ("0", "1")


def test_a_class_without_a_name_is_refused_and_a_negative_one_is_none(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"label: class 5, and 2 names; write a name for each"):
        opened(parquet_file(tmp_path, table(2).set_column(1, "label", pyarrow.array([0, 5]))))
    with pytest.raises(InputError, match=r"1 of 2 images have none, the first is 'a.parquet:1'"):
        opened(parquet_file(tmp_path, table(2).set_column(1, "label", pyarrow.array([0, -1]))), labels="label")


@pytest.mark.parametrize("write", WRITERS)
def test_cells_name_files_of_the_folder_alone(tmp_path: Path, write: Callable[..., Path]) -> None:
    (tmp_path / "secret.png").write_bytes(png("red"))
    names = ["blue.png", "../secret.png", str(tmp_path / "secret.png"), "", None, "missing.png"]
    cells = [{"bytes": None, "path": name} for name in names]
    place = write(tmp_path / "set", table(6).set_column(0, "image", pyarrow.array(cells)))
    (tmp_path / "set/blue.png").write_bytes(png("blue"))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        dataset = opened(place)
    (line,) = (str(one.message) for one in caught)
    assert colours_of(dataset) == [PIXELS["blue"]]
    for reason in ("2 outside the folder", "2 without an image", "1 unreadable"):
        assert reason in line
    with pytest.raises(InputError, match="outside the folder"):
        opened(place, strict=True)


def test_splits_are_chosen_by_name(tmp_path: Path) -> None:
    (tmp_path / "saved").mkdir()
    for name, count in (("train", 4), ("test", 2)):
        parquet_file(tmp_path / "data", table(count), f"{name}-00000-of-00001.parquet")
        saved(tmp_path / "saved" / name, table(count))
    (tmp_path / "saved/dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    for folder in ("data", "saved"):
        with pytest.warns(InputWarning, match=r"split 'train' is used; splits that are there: test, train"):
            assert len(opened(tmp_path / folder)) == 4
        assert len(opened(f"{tmp_path / folder}:test")) == 2
        with pytest.raises(InputError, match=r"no split 'dev'; splits that are there: test, train"):
            opened(f"{tmp_path / folder}:dev")
    assert (saved_splits(tmp_path / "saved"), is_saved(tmp_path / "saved/test")) == (["train", "test"], True)


@pytest.mark.parametrize(
    "names", ["5", "[]", "[5]", '[""]', '["../set"]', '[".."]', '["a/b"]', '["a\\u0000"]', '["."]']
)
def test_splits_that_are_no_folders_are_refused(tmp_path: Path, names: str) -> None:
    (tmp_path / "dataset_dict.json").write_text(f'{{"splits": {names}}}')
    with pytest.raises(InputError, match=r"dataset_dict.json: splits .*: a list of names of folders$"):
        opened(tmp_path)


def test_arrow_files_of_a_cache_and_other_files_are_refused(tmp_path: Path) -> None:
    (saved(tmp_path / "set", table()) / "state.json").unlink()
    with pytest.raises(
        InputError, match=r"\.arrow files without state.json; save the data set with Dataset.save_to_disk"
    ):
        opened(tmp_path / "set")
    (tmp_path / "set.tar.gz").touch()
    with pytest.raises(
        InputError, match=r"set.tar.gz': a file; a folder, or a .tar \(not compressed\) or .parquet file"
    ):
        opened(tmp_path / "set.tar.gz")


@pytest.mark.parametrize("name", ["train.parquet", "train/0000.parquet", "train-00000-of-00002-a1b2.parquet"])
def test_a_file_says_its_split(tmp_path: Path, name: str) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).touch()
    (tmp_path / "metadata.parquet").touch()
    assert splits(tmp_path) == {"train": [tmp_path / name]}


def test_several_splits_without_train_are_refused(tmp_path: Path) -> None:
    for name in ("a", "b"):
        parquet_file(tmp_path, table(2), f"{name}-0-of-1.parquet")
    with pytest.raises(InputError, match=r"several splits, of which none is 'train': a, b; name one, as FOLDER:SPLIT"):
        opened(tmp_path)


@pytest.mark.parametrize("write", WRITERS)
def test_a_file_that_changes_is_named(tmp_path: Path, write: Callable[..., Path]) -> None:
    dataset = opened(write(tmp_path / "set", table()))
    file = next(path for path in (tmp_path / "set").iterdir() if path.suffix in (".arrow", ".parquet"))
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(InputError, match=rf"{file.name}: has changed since it was opened"):
        dataset.read(5)
    file.unlink()
    with pytest.raises(InputError, match=rf"{file.name}: cannot be read: No such file"):
        dataset.read(5)


@pytest.mark.parametrize(
    ("state", "fault"),
    [
        ("[]", "not a JSON object"),
        ("{}", "_data_files None: a list of files"),
        ('{"_data_files": [{"filename": "x.arrow"}]}', "_data_files names 'x.arrow': no file of this folder"),
        ('{"_data_files": [{"filename": "../secret.arrow"}]}', "outside the folder"),
        ('{"_data_files": [5]}', "_data_files names None"),
        ('{"_data_files": [], "_indices_files": [1]}', "save it after flatten_indices"),
        ('{"_data_files": []}', "none of its 0 images"),
    ],
)
def test_a_broken_state_is_one_line(tmp_path: Path, state: str, fault: str) -> None:
    saved(tmp_path / "set", table())
    (tmp_path / "secret.arrow").write_bytes((tmp_path / "set/data-00000-of-00001.arrow").read_bytes())
    (tmp_path / "set/state.json").write_text(state)
    with pytest.raises(InputError, match=fault):
        opened(tmp_path / "set")


def test_the_column_of_images_is_found_or_named() -> None:
    make = lambda **kinds: pyarrow.schema(list(kinds.items()))  # noqa: E731
    binary = pyarrow.binary()
    assert image_column(make(a=pyarrow.int64(), b=binary), "set") == "b"
    assert image_column(make(mask=binary, image=binary), "set") == "image"
    assert value_columns(make(a=pyarrow.int8(), b=binary, c=pyarrow.date32(), d=pyarrow.list_(pyarrow.string()))) == [
        "a",
        "d",
    ]
    with pytest.raises(InputError, match=r"^set: no column has the bytes of images; columns that are there: 'a'$"):
        image_column(make(a=pyarrow.string()), "set")
    with pytest.raises(
        InputError, match=r"^set: several columns have bytes: 'a', 'b'; rename that of the images 'image'$"
    ):
        image_column(make(a=binary, b=binary), "set")


@pytest.mark.parametrize("raw", [b"", b"5", b'{"info": 5}', b'{"info": {"features": []}}', b"\xff"])
def test_features_that_are_none_are_left_out(raw: bytes) -> None:
    assert features_of(pyarrow.schema([], {"huggingface": raw})) == {}


def test_without_pyarrow_one_line_says_how_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = parquet_file(tmp_path, table())
    known = builtins.__import__

    def missing(name: str, *rest: Any) -> Any:
        if name.startswith("pyarrow"):
            raise ImportError(name)
        return known(name, *rest)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(InputError, match=r"read by pyarrow: pip install 'unnoise\[data\]'$"):
        opened(place)
    with pytest.raises(InputError, match="pip install"):
        imported("set")


def test_a_row_group_is_read_in_windows_forward(tmp_path: Path) -> None:
    place = parquet_file(tmp_path, table(3 * WINDOW), rows=3 * WINDOW)
    column = ImageColumn(place, "image")
    rows = list(range(3 * WINDOW))
    assert [column.cell(0, row)["bytes"] for row in rows] == [png(COLOURS[row % 3]) for row in rows]
    assert (column.start, len(column.cells)) == (2 * WINDOW, WINDOW)
    assert column.cell(0, 1)["bytes"] == png("green")
    assert column.start == 0
    with pytest.raises(InputError, match="fewer rows than it states"):
        column.cell(0, 3 * WINDOW)


def test_rows_that_take_no_bytes_are_refused_in_time(tmp_path: Path) -> None:
    columns = {"image": pyarrow.nulls(1 << 20, pyarrow.binary()), "text": pyarrow.nulls(1 << 20, pyarrow.string())}
    many = pyarrow.table(columns)
    place = parquet_file(tmp_path, many, rows=1 << 20)
    packed = saved(tmp_path / "saved", many.slice(0, 1))
    options = pyarrow.ipc.IpcWriteOptions(compression="zstd")
    with pyarrow.ipc.new_stream(str(packed / "data-00000-of-00001.arrow"), many.schema, options=options) as to:
        to.write_table(many)
    with within(60):
        with pytest.raises(InputError, match=r"1048576 rows in \d+ bytes; the file is damaged"):
            opened(place)
        with pytest.raises(InputError, match=r"bytes in a file of \d+: compressed; save it with `datasets`"):
            opened(packed)
    zeros = pyarrow.table({"image": pyarrow.array([bytes(1 << 26), b"x"], pyarrow.binary())})
    parquet.write_table(
        zeros, tmp_path / "zeros.parquet", compression="zstd", use_dictionary=False, write_statistics=False
    )
    with within(60), pytest.raises(InputError, match=r"bytes packed into \d+; more than 100 to 1 is not unpacked$"):
        opened(tmp_path / "zeros.parquet")
