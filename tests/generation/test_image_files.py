"""An image carries its metadata through a file, equal to the bit; a sheet shows images as they are."""

import os
from contextlib import suppress
from dataclasses import replace
from io import BytesIO
from math import inf
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from PIL import Image, PngImagePlugin

from unnoise import __version__
from unnoise.card import Part
from unnoise.errors import InputError
from unnoise.generation.media.contact_sheet import contact_sheet, table_sheet
from unnoise.generation.media.files import read_metadata
from unnoise.generation.media.image import QUALITY, encode, write_image
from unnoise.generation.metadata import CallShape, Metadata, from_json, from_level, to_json, to_level

METADATA = Metadata(
    model="tiny",
    fingerprint="ab" * 32,
    prompt='ein "Herz"\n☃ \\ \0 \ud800',
    negative_prompt="",
    seed=2**63 - 1,
    size=(16, 24),
    sampler=Part("DDIM", {"eta": 0.1}),
    levels=("inf", 80.0, 1e-3, 0.0),
    guidance_scale=2.5,
    guidance_interval=(0.1, "inf"),
    guidance_rescale=0.7,
    dtype="float32",
    device="cpu",
    calls=(CallShape(3, 8, 1, 8, 1, 16, True),),
    versions={"unnoise": "0"},
)
IMAGE = Image.radial_gradient("L").convert("RGB").resize((16, 24))


@pytest.mark.parametrize("suffix", [".png", ".webp", ".jpg", ".jpeg", ".PNG"])
def test_metadata_comes_back(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    write_image(path, IMAGE, METADATA)
    assert read_metadata(path) == METADATA
    assert path.read_bytes() == encode(IMAGE, METADATA, suffix.lower())
    with Image.open(path) as image:
        assert image.size == IMAGE.size
        if suffix.startswith(".j"):
            apart = np.abs(np.asarray(image).astype(int) - np.asarray(IMAGE)).max()
            assert 0 < apart < 40, "a JPEG loses a little"
        else:
            assert image.convert("RGB").tobytes() == IMAGE.tobytes()


def test_another_ending_is_refused(tmp_path: Path) -> None:
    for name in ("a.gif", "a.bmp", "a", "a.wav"):
        with pytest.raises(InputError, match=f"{name}: images are written as .png, .webp, .jpg, .jpeg"):
            write_image(tmp_path / name, IMAGE, METADATA)
    assert not any(tmp_path.iterdir())


def test_a_jpeg_is_of_high_quality_and_says_when_its_comment_is_full(tmp_path: Path) -> None:
    assert QUALITY == 95
    long = replace(METADATA, prompt="☃" * 12_000)  # six letters each in ASCII
    with pytest.raises(InputError, match=r"metadata of 7\d{4} letters: a JPEG takes 65533; write a .png"):
        write_image(tmp_path / "a.jpg", IMAGE, long)
    assert not (tmp_path / "a.jpg").exists()
    write_image(tmp_path / "a.webp", IMAGE, long)
    assert read_metadata(tmp_path / "a.webp") == long


def test_long_metadata_comes_back(tmp_path: Path) -> None:
    long = replace(METADATA, prompt="word " * 2000, levels=tuple(1000.0 - i for i in range(1001)))
    write_image(tmp_path / "a.png", IMAGE, long)
    assert read_metadata(tmp_path / "a.png") == long


def test_equal_images_give_equal_bytes() -> None:
    assert encode(IMAGE, METADATA) == encode(IMAGE.copy(), from_json(to_json(METADATA), "metadata"))
    assert encode(IMAGE, METADATA) != encode(IMAGE, replace(METADATA, seed=1))


@given(st.floats(0, allow_nan=False), st.text(), st.integers(0, 2**63 - 1))
def test_metadata_is_exact(sigma: float, prompt: str, seed: int) -> None:
    metadata = replace(METADATA, levels=(to_level(inf), to_level(sigma)), prompt=prompt, seed=seed)
    assert from_json(to_json(metadata), "metadata") == metadata
    assert from_level(to_level(sigma)) == sigma


def other_png(text: str | None) -> bytes:
    info = PngImagePlugin.PngInfo()
    if text is not None:
        info.add_text("unnoise", text)
    out = BytesIO()
    IMAGE.save(out, "PNG", pnginfo=info)
    return out.getvalue()


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", "cannot be read: an unknown format; convert it to one of PNG, JPEG"),
        (b"%!PS-Adobe-3.0 EPSF-3.0", "cannot be read: EPS; convert it to one of PNG, JPEG"),
        (encode(IMAGE, METADATA)[:60], "not a valid .png file|cannot be read: Truncated|has no metadata"),
        (other_png(None), "has no metadata"),
        (other_png("hello"), "metadata: Expecting value"),
        (other_png("[]"), "a sheet of several samples"),
        (other_png("{}"), "field 'negative_prompt' is missing"),
        (other_png(to_json(METADATA).replace('"seed"', '"sead"')), "unknown field 'sead': did you mean 'seed'"),
        (other_png(to_json(METADATA).replace("float32", "float8")), "dtype: 'float8'"),
    ],
)
def test_refuses(tmp_path: Path, content: bytes, fault: str) -> None:
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(InputError, match=fault):
        read_metadata(tmp_path / "a.png")


def test_refuses_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    for path, fault in (
        (tmp_path, "not a regular file"),
        (tmp_path / "none.png", "none.png: cannot be read: No such file"),
        (tmp_path / "pipe.png", "pipe.png: not a regular file"),
    ):
        with pytest.raises(InputError, match=fault):
            read_metadata(path)


FORMER = (  # as unnoise 0.1 wrote it
    '{"model": "tiny", "fingerprint": "ab", "prompt": "a", "negative": "", "seed": 1, "size": [16, 16], "sampler": '
    '{"class": "DDIM"}, "grid": ["inf", 0.0], "weight": 2.0, "between": [0.0, "inf"], "rescale": 0.0, '
    '"dtype": "float32", "device": "cpu", "row": 0, "rows": 1, "versions": {"unnoise": "0.1.3", "torch": "2.6"}}'
)


def test_metadata_of_a_former_version_is_refused_with_that_version(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(other_png(FORMER))
    with pytest.raises(InputError) as caught:
        read_metadata(tmp_path / "a.png")
    assert str(caught.value) == (
        f"{tmp_path / 'a.png'}: metadata: written by unnoise 0.1.3, whose metadata has another form; replay it with "
        f"that version, this is {__version__}"
    )
    hostile = FORMER.replace("0.1.3", "0" * 30), FORMER.replace('"0.1.3"', "[]"), FORMER.replace("versions", "levels")
    for text in hostile:
        with pytest.raises(InputError, match=r"metadata: .*unknown field|is missing"):
            from_json(text, "metadata")


@settings(max_examples=150)
@given(st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), min_size=1, max_size=4))
def test_changed_bytes_are_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[int, int]]
) -> None:
    content = bytearray(encode(IMAGE, METADATA))
    for place, value in changes:
        content[place] = value
    path = tmp_path_factory.getbasetemp() / "changed.png"
    path.write_bytes(content)
    with suppress(InputError):
        read_metadata(path)


@pytest.mark.parametrize("count", [2, 3000])
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp"])
def test_a_sheet_says_that_it_is_one(tmp_path: Path, count: int, suffix: str) -> None:
    write_image(tmp_path / f"sheet{suffix}", IMAGE, [METADATA] * count)
    Image.open(tmp_path / f"sheet{suffix}").load()
    with pytest.raises(InputError, match="a sheet of several samples; replay the file of one sample"):
        read_metadata(tmp_path / f"sheet{suffix}")


def shown(page: Image.Image, color: tuple[int, int, int]) -> int:
    return next((count for count, found in page.getcolors(1 << 24) or [] if found == color), 0)


def test_a_sheet_shows_every_image_enlarged_by_a_whole_factor() -> None:
    colors = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (0, 255, 255)]
    page = contact_sheet([Image.new("RGB", (64, 64), color) for color in colors], [str(c) for c in colors], "title")
    assert {shown(page, color) for color in colors} == {(3 * 64) ** 2}


def test_sheet_takes_any_number_size_and_caption() -> None:
    tall = [Image.new("L", (8, 24), 200), Image.new("RGB", (1000, 600), (1, 2, 3))]
    page = contact_sheet(tall, ["", "a very long caption that cannot fit its cell " * 9], "t" * 500, columns=2)
    assert max(page.size) < 1400
    assert contact_sheet([IMAGE], ["☃"], "").width > IMAGE.width
    many = contact_sheet([Image.new("RGB", (64, 64))] * 3000, ["x"] * 3000, "many")
    assert many.width * many.height < 40_000_000


def test_a_table_has_a_label_for_each_row_and_column() -> None:
    colors = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (0, 255, 255), (255, 0, 255)]
    images = [Image.new("RGB", (64, 64), color) for color in colors]
    page = table_sheet(images, ["row 1", "row 2"], ["one", "two", "three"], "title")
    assert {shown(page, color) for color in colors} == {(3 * 64) ** 2}
    places = [np.argwhere((np.asarray(page) == color).all(-1)).mean(0).tolist() for color in colors]
    assert [place[0] for place in places[:3]] == [places[0][0]] * 3, "a row is level"
    assert places[0][1] == places[3][1] < places[1][1] < places[2][1]
    assert places[0][0] < places[3][0]
    for changed in (
        table_sheet(images, ["row 1", "row 3"], ["one", "two", "three"], "title"),
        table_sheet(images, ["row 1", "row 2"], ["one", "too", "three"], "title"),
        table_sheet(images, ["row 1", "row 2"], ["one", "two", "three"], "tittle"),
    ):
        assert changed.size == page.size
        assert changed.tobytes() != page.tobytes(), "every label is drawn"
    assert table_sheet(images, [""], ["x"] * 6, "").width > 6 * 192
