"""Records in pictures, written as the tools write them, and masks."""

import json
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image, PngImagePlugin

from unnoise.check.examples import SAMPLING
from unnoise.check.read.dispatch import read
from unnoise.check.read.picture import read_mask, read_picture
from unnoise.check.subject import GenerationRun, Subject

INFOTEXT = "ein Leuchtturm, 灯台\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1, Size: 512x512, Version: v1.10.1"
API: dict[str, Any] = {
    "3": {"class_type": "KSampler", "inputs": SAMPLING | {"latent_image": ["5", 0]}, "is_changed": [float("nan")]},
    "5": {"class_type": "EmptyLatentImage", "inputs": {"width": 512, "height": 512, "batch_size": 1}},
    "9": {"class_type": "SaveImage", "inputs": {"images": ["3", 0]}},
}
INTERFACE = {"nodes": [{"id": 3, "type": "KSampler", "widgets_values": [1, "fixed", 9, 9, "euler", "simple", 1]}]}


def png(path: Path, texts: dict[str, str], zip: bool = False) -> Path:
    info = PngImagePlugin.PngInfo()
    for key, text in texts.items():
        info.add_text(key, text, zip=zip) if text.isascii() else info.add_itxt(key, text, zip=zip)
    Image.new("RGB", (64, 64)).save(path, pnginfo=info)
    return path


def one(subject: Subject) -> GenerationRun:
    assert not subject.faults
    assert not subject.texts
    (run,) = subject.runs
    return run


def steps(subject: Subject) -> Any:
    run = one(subject)
    return run.steps.value if run.steps else None


@pytest.mark.parametrize("zip", [False, True])
@pytest.mark.parametrize(
    ("texts", "tool"),
    [
        ({"parameters": INFOTEXT}, "a1111"),
        ({"prompt": json.dumps(API), "workflow": json.dumps(INTERFACE)}, "comfyui"),
        ({"parameters": json.dumps({"prompt": API})}, "comfyui"),
        ({"invokeai_metadata": json.dumps({"app_version": "5.6.0", "steps": 20})}, "invokeai"),
        ({"sd-metadata": json.dumps({"app_id": "invoke-ai/InvokeAI", "image": {"steps": 20}})}, "invokeai"),
        ({"prompt": "a plain prompt", "parameters": INFOTEXT}, "a1111"),
    ],
)
def test_png(tmp_path: Path, texts: dict[str, str], tool: str, zip: bool) -> None:
    """What the server was sent counts before what the interface shows."""
    subject = read(png(tmp_path / "a.png", texts, zip))
    assert (subject.tool, steps(subject)) == (tool, 20)


def test_interface_alone(tmp_path: Path) -> None:
    assert steps(read_picture(str(png(tmp_path / "a.png", {"workflow": json.dumps(INTERFACE)})))) == 9


@pytest.mark.parametrize("suffix", ["jpg", "webp"])
@pytest.mark.parametrize(
    "comment",
    [
        b"UNICODE\0" + INFOTEXT.encode("utf-16-be"),  # as piexif writes it
        b"UNICODE\0" + INFOTEXT.encode("utf-16-le"),
        b"ASCII\0\0\0" + INFOTEXT.encode(),
        INFOTEXT.encode(),
    ],
)
def test_exif_comment(tmp_path: Path, suffix: str, comment: bytes) -> None:
    exif = Image.Exif()
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.UserComment] = comment
    Image.new("RGB", (64, 64)).save(tmp_path / f"a.{suffix}", exif=exif)
    run = one(read(tmp_path / f"a.{suffix}"))
    assert run.prompt is not None
    assert run.prompt.value == "ein Leuchtturm, 灯台"


@pytest.mark.parametrize("moving", [False, True])
def test_webp_of_comfyui(tmp_path: Path, moving: bool) -> None:
    """Its writer of WebP puts texts under tags from Make downwards."""
    exif = Image.Exif()
    exif[ExifTags.Base.Model] = f"prompt:{json.dumps(API)}"
    exif[ExifTags.Base.Make] = f"workflow:{json.dumps(INTERFACE)}"
    more: dict[str, Any] = {"save_all": True, "append_images": [Image.new("RGB", (64, 64), "red")]} if moving else {}
    Image.new("RGB", (64, 64)).save(tmp_path / "a.webp", exif=exif, **more)
    assert steps(read(tmp_path / "a.webp")) == 20


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp"])
def test_picture_without_record(tmp_path: Path, suffix: str) -> None:
    Image.new("RGB", (64, 64)).save(tmp_path / f"a.{suffix}")
    (fault,) = read(tmp_path / f"a.{suffix}").faults
    assert (fault.kind, "without generation metadata" in fault.message) == ("unknown", True)


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def test_hostile_pictures(tmp_path: Path) -> None:
    path = png(tmp_path / "a.png", {"parameters": INFOTEXT})
    whole = path.read_bytes()
    bomb = chunk(b"zTXt", b"parameters\0\0" + zlib.compress(bytes(64 << 20)))
    size = chunk(b"IHDR", struct.pack(">IIBBBBB", 1 << 30, 1 << 30, 8, 2, 0, 0, 0))
    deep = png(tmp_path / "b.png", {"prompt": "[" * 100_000}).read_bytes()
    for content, kind in (
        (whole[:33] + bomb + whole[33:], "broken"),
        (whole[:8] + size + whole[33:], "broken"),
        (whole[:30], "broken"),
        (deep, "unknown"),
    ):
        path.write_bytes(content)
        assert [fault.kind for fault in read(path).faults] == [kind]


def painted(tmp_path: Path, values: Any, mode: str = "L") -> str:
    Image.fromarray(np.asarray(values, np.uint8)).convert(mode).save(tmp_path / "mask.png")
    return str(tmp_path / "mask.png")


def test_mask(tmp_path: Path) -> None:
    values = np.zeros((64, 128))
    values[:, 64:] = 255
    values[0, 0] = 128
    for mode in ("L", "RGB", "RGBA", "P"):
        mask = read_mask(painted(tmp_path, values, mode))
        assert mask is not None
        assert (mask.size, mask.low, mask.high) == ((128, 64), 0.0, 1.0)
        assert (mask.cells, mask.lost) == (65, 0)
        assert (mask.soft, mask.ones) == (1 / values.size, 0.5 + 1 / values.size)


def test_mask_of_65536_levels(tmp_path: Path) -> None:
    Image.fromarray(np.full((16, 16), 0x4000, np.uint16)).save(tmp_path / "mask.png")
    mask = read_mask(str(tmp_path / "mask.png"))
    assert mask is not None
    assert (mask.low, mask.ones) == (0x40 / 255, 0.0)


@pytest.mark.parametrize("seed", range(8))
def test_what_a_mask_loses_is_what_torch_loses(tmp_path: Path, seed: int) -> None:
    draw = np.random.default_rng(seed)
    high, wide = (int(side) for side in draw.integers(8, 120, 2))
    values = draw.random((high, wide)) ** draw.integers(1, 12) * 255
    mask = read_mask(painted(tmp_path, values))
    ones = values.astype(np.uint8) > 127
    rows, columns = high // 8, wide // 8
    ones = ones[: rows * 8, : columns * 8]
    cells = ones.reshape(rows, 8, columns, 8).any((1, 3))
    near = torch.nn.functional.interpolate(torch.tensor(ones)[None, None].float(), size=(rows, columns))
    assert mask is not None
    assert (mask.cells, mask.lost) == (int(cells.sum()), int((cells & ~(near[0, 0].numpy() > 0.5)).sum()))


def test_what_is_no_mask(tmp_path: Path) -> None:
    (tmp_path / "mask.png").write_bytes(b"words")
    assert read_mask(str(tmp_path / "mask.png")) is None
    assert read_mask(str(tmp_path / "none.png")) is None
    assert read_mask(painted(tmp_path, np.zeros((4, 64)))) is None
    Image.new("1", (5000, 5000)).save(tmp_path / "mask.png")
    assert read_mask(str(tmp_path / "mask.png")) is None
