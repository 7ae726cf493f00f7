"""A picture carries its recipe through a file, equal to the bit; a sheet shows pictures as they are."""

import os
from contextlib import suppress
from dataclasses import replace
from io import BytesIO
from math import inf
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st
from PIL import Image, PngImagePlugin

from unnoise.card import Part
from unnoise.errors import InputError
from unnoise.generation.media.contact_sheet import sheet
from unnoise.generation.media.image import png, read_recipe, write_picture
from unnoise.generation.metadata import Metadata, from_json, from_level, to_json, to_level

RECIPE = Metadata(
    model="tiny",
    fingerprint="ab" * 32,
    prompt='ein "Herz"\n☃ \\ \0 \ud800',
    negative="",
    seed=2**63 - 1,
    size=(16, 24),
    sampler=Part("DDIM", {"eta": 0.1}),
    grid=("inf", 80.0, 1e-3, 0.0),
    weight=2.5,
    between=(0.1, "inf"),
    rescale=0.7,
    dtype="float32",
    device="cpu",
    row=1,
    rows=8,
    versions={"unnoise": "0"},
)
IMAGE = Image.radial_gradient("L").convert("RGB").resize((16, 24))


def test_recipe_comes_back(tmp_path: Path) -> None:
    write_picture(tmp_path / "a.png", IMAGE, RECIPE)
    assert read_recipe(tmp_path / "a.png") == RECIPE
    with Image.open(tmp_path / "a.png") as image:
        assert image.tobytes() == IMAGE.tobytes()


def test_long_recipe_comes_back(tmp_path: Path) -> None:
    long = replace(RECIPE, prompt="word " * 2000, grid=tuple(1000.0 - i for i in range(1001)))
    write_picture(tmp_path / "a.png", IMAGE, long)
    assert read_recipe(tmp_path / "a.png") == long


def test_equal_pictures_give_equal_bytes() -> None:
    assert png(IMAGE, RECIPE) == png(IMAGE.copy(), from_json(to_json(RECIPE), "recipe"))
    assert png(IMAGE, RECIPE) != png(IMAGE, replace(RECIPE, seed=1))


@given(st.floats(0, allow_nan=False), st.text(), st.integers(0, 2**63 - 1))
def test_recipe_is_exact(sigma: float, prompt: str, seed: int) -> None:
    recipe = replace(RECIPE, grid=(to_level(inf), to_level(sigma)), prompt=prompt, seed=seed)
    assert from_json(to_json(recipe), "recipe") == recipe
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
        (b"", "cannot be read as a PNG"),
        (b"plain text", "cannot be read as a PNG"),
        (png(IMAGE, RECIPE)[:60], "PNG picture|carries no recipe"),
        (other_png(None), "carries no recipe"),
        (other_png("hello"), "recipe: Expecting value"),
        (other_png("[]"), "sheet"),
        (other_png("{}"), "'model' is missing"),
        (other_png(to_json(RECIPE).replace('"seed"', '"sead"')), "unknown field 'sead': did you mean 'seed'"),
        (other_png(to_json(RECIPE).replace("float32", "float8")), "dtype: 'float8'"),
    ],
)
def test_refuses(tmp_path: Path, content: bytes, fault: str) -> None:
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(InputError, match=fault):
        read_recipe(tmp_path / "a.png")


def test_refuses_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    for path in (tmp_path, tmp_path / "none.png", tmp_path / "pipe.png"):
        with pytest.raises(InputError, match="cannot be read"):
            read_recipe(path)


@settings(max_examples=150)
@given(st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), min_size=1, max_size=4))
def test_changed_bytes_are_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[int, int]]
) -> None:
    content = bytearray(png(IMAGE, RECIPE))
    for place, value in changes:
        content[place] = value
    path = tmp_path_factory.getbasetemp() / "changed.png"
    path.write_bytes(content)
    with suppress(InputError):
        read_recipe(path)


@pytest.mark.parametrize("count", [2, 3000])
def test_a_sheet_says_that_it_is_one(tmp_path: Path, count: int) -> None:
    write_picture(tmp_path / "sheet.png", IMAGE, [RECIPE] * count)
    Image.open(tmp_path / "sheet.png").load()
    with pytest.raises(InputError, match="is a sheet of several pictures"):
        read_recipe(tmp_path / "sheet.png")


def shown(page: Image.Image, color: tuple[int, int, int]) -> int:
    return next((count for count, found in page.getcolors(1 << 24) or [] if found == color), 0)


def test_sheet_shows_every_picture_enlarged_by_a_whole_factor() -> None:
    colors = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (0, 255, 255)]
    page = sheet([Image.new("RGB", (64, 64), color) for color in colors], [str(c) for c in colors], "title")
    assert {shown(page, color) for color in colors} == {(3 * 64) ** 2}


def test_sheet_takes_any_number_size_and_caption() -> None:
    tall = [Image.new("L", (8, 24), 200), Image.new("RGB", (1000, 600), (1, 2, 3))]
    page = sheet(tall, ["", "a very long caption that cannot fit its cell " * 9], "t" * 500, columns=2)
    assert max(page.size) < 1400
    assert sheet([IMAGE], ["☃"], "").width > IMAGE.width
    many = sheet([Image.new("RGB", (64, 64))] * 3000, ["x"] * 3000, "many")
    assert many.width * many.height < 40_000_000
