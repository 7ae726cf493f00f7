"""`unnoise edit` end to end: files in, files out, what is said, and what is refused with nothing written."""

import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tiny
from PIL import Image

from unnoise.cli.main import main

Run = Callable[..., tuple[int, str, str]]
SIDE = 16


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("edit") / "tiny.safetensors"
    tiny.saved(path)
    return str(path)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A photo, and a mask that is white in its right half."""
    monkeypatch.chdir(tmp_path)
    noise = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    Image.fromarray(noise).save("photo.png")
    mask = Image.new("L", (SIDE, SIDE), 0)
    mask.paste(255, (SIDE // 2, 0, SIDE, SIDE))
    mask.save("mask.png")
    return tmp_path


@pytest.fixture
def run(folder: Path, model: str, capsys: pytest.CaptureFixture[str]) -> Run:
    """Edit in that folder; give the exit code, stdout and stderr."""

    def call(*arguments: str) -> tuple[int, str, str]:
        code = main(["edit", *arguments, "--model", model])
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


def pixels(path: str) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def test_white_is_painted_and_black_comes_back(run: Run, model: str) -> None:
    assert run("photo.png", "a dog", "--mask", "mask.png", "--seed", "1", "-o", "out.png")[0] == 0
    kept = np.s_[:, : SIDE // 2]
    assert (pixels("out.png")[kept] == pixels("photo.png")[kept]).all()
    assert (pixels("out.png") != pixels("photo.png")).any()
    again = ["replay", "out.png", "--model", model, "--image", "photo.png", "--mask", "mask.png", "-o", "again.png"]
    assert main(again) == 0
    assert (pixels("again.png") == pixels("out.png")).all()


def test_a_mask_can_be_inverted(run: Run, model: str) -> None:
    assert run("photo.png", "a dog", "--mask", "mask.png", "--invert-mask", "--seed", "1", "-o", "out.png")[0] == 0
    kept = np.s_[:, SIDE // 2 :]
    assert (pixels("out.png")[kept] == pixels("photo.png")[kept]).all()
    again = ["replay", "out.png", "--model", model, "--image", "photo.png", "--mask", "mask.png"]
    assert main([*again, "--invert-mask", "-o", "again.png"]) == 0
    assert (pixels("again.png") == pixels("out.png")).all()


def test_what_the_grid_can_resolve_is_said(run: Run) -> None:
    """A line of one pixel is painted in whole cells, and the user is told."""
    mask = Image.new("L", (SIDE, SIDE), 0)
    mask.paste(255, (9, 0, 10, SIDE))
    mask.save("line.png")
    code, _, said = run("photo.png", "a dog", "--mask", "line.png", "-o", "out.png")
    assert code == 0
    assert "cells" in said
    changed = (pixels("out.png") != pixels("photo.png")).any(-1)
    assert changed[:, 9].any()
    assert not np.delete(changed, 9, axis=1).any()


def test_outpaint_adds_around(run: Run) -> None:
    assert run("photo.png", "a dog", "--outpaint", "0,0,8,4", "-o", "out.png")[0] == 0
    made = pixels("out.png")
    assert made.shape == (SIDE + 4, SIDE + 8, 3)
    assert (made[:SIDE, :SIDE] == pixels("photo.png")).all()


def test_several_give_files_and_a_sheet(run: Run, folder: Path) -> None:
    code, out, _ = run("photo.png", "a dog", "-n", "3", "--seed", "5", "--strength", "0.5", "-o", "dogs.png")
    assert code == 0
    assert "dogs.png" in out
    assert len({path.read_bytes() for path in folder.glob("**/*.png")}) >= 4


def bomb(path: Path, width: int, height: int) -> None:
    """Write a PNG whose header says that it is large, and no more than a few of its bytes."""
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = [(b"IHDR", head), (b"IDAT", zlib.compress(bytes(100_000))), (b"IEND", b"")]
    chunks = (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in parts
    )
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))


def test_bad_input_is_one_line_and_nothing_is_written(run: Run, folder: Path) -> None:
    Image.new("L", (SIDE, SIDE), 0).save("keep.png")
    Image.new("L", (SIDE, SIDE), 255).save("paint.png")
    (folder / "text.png").write_text("no picture")
    bomb(folder / "bomb.png", 30_000, 30_000)
    bomb(folder / "large.png", 6000, 5000)
    before = sorted(folder.iterdir())
    for said, arguments in {
        "mask: paints nothing": ("photo.png", "a", "--mask", "keep.png"),
        "mask: paints every pixel": ("photo.png", "a", "--mask", "paint.png"),
        "strength 1.5": ("photo.png", "a", "--strength", "1.5"),
        "strength 0.0": ("photo.png", "a", "--strength", "0"),
        "image text.png: cannot be read": ("text.png", "a"),
        "none.png: cannot be read": ("none.png", "a"),
        "bomb.png: at most 16000000 pixels": ("bomb.png", "a"),
        "large.png: 6000x5000 pixels, at most 16000000": ("large.png", "a"),
        "invert_mask: acts on a mask, and none is given": ("photo.png", "a", "--invert-mask"),
        "--keep-outside: unknown here; use no option: white is painted": ("photo.png", "a", "--keep-outside"),
        "outpaint '1,2,3'": ("photo.png", "a", "--outpaint", "1,2,3"),
        "feather -1": ("photo.png", "a", "--mask", "mask.png", "--feather", "-1"),
        "unknown adapter 'inkk'": ("photo.png", "a", "--lora", "inkk"),
    }.items():
        code, out, error = run(*arguments, "-o", "out.png")
        assert code == 2, arguments
        assert error.count("\n") == 1, error
        assert said in error, error
        assert out == ""
    assert sorted(folder.iterdir()) == before
