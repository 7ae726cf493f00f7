"""What `fuzz` mutates: a small valid file of every kind that the program reads, and its reader."""

import io
import json
import runpy
import struct
import sys
import tarfile
from collections.abc import Callable
from contextlib import redirect_stdout, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow
import tiny
import torch
from adapters.test_lora_hooks import adapter
from fuzz import Target
from PIL import Image
from pyarrow.parquet import write_table
from safetensors.torch import save

from unnoise import model_file
from unnoise.adapters.lora.read import read as read_lora
from unnoise.adapters.lora.write import write as write_lora
from unnoise.check.engine import check
from unnoise.data.open import open_source
from unnoise.errors import InputError
from unnoise.formats import pictures as door
from unnoise.formats.gguf import TYPES
from unnoise.formats.gguf_blocks import BLOCKS
from unnoise.formats.quantised import open_weights
from unnoise.generation.engine import Engine
from unnoise.generation.images import mask_tensor
from unnoise.generation.media.files import read_metadata
from unnoise.generation.request import request_of
from unnoise.generation.resolve import resolve
from unnoise.generation.stored import load as load_paused, save as save_paused
from unnoise.integrations.diffusers.load import meta
from unnoise.integrations.diffusers.source import read_folder
from unnoise.loading import load
from unnoise.train.adapter_recipe import read_adapter_recipe
from unnoise.train.recipe import read_recipe

CPU = torch.device("cpu")
ROOT = Path(__file__).resolve().parents[1]
FORMATS = (
    "PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP", "AVIF", "PPM", "TGA", "ICO", "PCX", "DDS", "JPEG2000", "SGI", "MSP",
    "XBM", "SPIDER", "QOI", "ICNS", "DIB", "BLP", "MPO", "EPS", "PDF",
)  # fmt: skip


def file(name: str, content: bytes, read: Callable[[Path], Any]) -> Target:
    """Make a target of one file."""
    return Target(f"{name}", {name: content}, lambda _, path: read(path))


def written(make: Callable[[Path], Any], name: str) -> bytes:
    """Return what a function writes to a path."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / name
        make(path)
        return path.read_bytes()


def picture(format: str, mode: str = "RGB") -> bytes:
    """Write a picture of a format; b"" where Pillow cannot here."""
    buffer = io.BytesIO()
    image = Image.fromarray(np.arange(16 * 16 * 3, dtype=np.uint8).reshape(16, 16, 3)).convert(mode)
    try:
        image.save(buffer, format)
    except (KeyError, OSError, ValueError, AttributeError):
        return b"" if mode == "1" else picture(format, {"RGB": "L", "L": "1"}.get(mode, "1"))
    return buffer.getvalue()


def pictures() -> list[Target]:
    """Pictures of every format that Pillow writes here, opened as an image and as a mask."""

    def either(path: Path) -> None:
        image = door.decode(path, "image")
        with suppress(InputError):
            mask_tensor(image, image.size)

    found = {format: picture(format) for format in FORMATS}
    deep = np.arange(256, dtype=np.uint16).reshape(16, 16) * 257
    for format in ("PNG", "TIFF"):
        buffer = io.BytesIO()
        Image.fromarray(deep).save(buffer, format)
        found[f"{format}16"] = buffer.getvalue()
    for mode in ("CMYK", "LAB", "F", "P", "RGBA", "LA", "I"):
        found[f"TIFF{mode}"] = picture("TIFF", mode)
    return [file(f"{name.lower()}.img", content, either) for name, content in found.items() if content]


def weights() -> list[Target]:
    """Files of weights: of a model, of few bits, of GGUF blocks."""
    narrow = {"a.weight": torch.randn(4, 4).to(torch.float8_e4m3fn), "a.scale_weight": torch.tensor(0.5)}
    blocks = struct.pack("<Q", 1) + b"a"
    kinds = [(code, block, size) for code, (name, block, size) in TYPES.items() if name in BLOCKS]
    head, data = b"", b""
    for number, (code, block, size) in enumerate(kinds):
        head += blocks[:8] + bytes([97 + number]) + struct.pack("<IQIQ", 1, block, code, len(data))
        data += bytes(size) + bytes(-size % 32)
    gguf = b"GGUF" + struct.pack("<IQQ", 3, len(kinds), 0) + head
    gguf += bytes(-len(gguf) % 32) + data
    return [
        file("model.safetensors", written(tiny.saved, "model.safetensors"), lambda path: model_file.load(path, CPU)),
        file("narrow.safetensors", save(narrow), lambda path: open_weights(path).dequantised(torch.float32)),
        file("model.gguf", gguf, lambda path: open_weights(path).dequantised(torch.float32)),
    ]


def records() -> list[Target]:
    """Metadata in outputs, paused samples, and adapters."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        pipeline = tiny.saved(folder / "tiny.safetensors")
        write_lora(folder / "lora.safetensors", adapter(pipeline), dtype=torch.float32)
        sample = pipeline.generate("a dog", seed=1)[0]
        for ending in ("png", "webp", "jpg", "gif", "tiff"):
            try:
                sample.save(folder / f"sample.{ending}")
            except InputError:
                continue
        engine = Engine(pipeline)
        (ticket,) = engine.admit(resolve(request_of("a cat"), pipeline))
        engine.step()
        save_paused(folder / "paused.safetensors", pipeline, engine.pause(ticket))
        contents = {path.name: path.read_bytes() for path in folder.iterdir()}

    def read(path: Path) -> None:
        pipeline.replay(read_metadata(path))

    found = [file(name, content, read) for name, content in contents.items() if name.startswith("sample.")]
    found.append(file("paused.safetensors", contents["paused.safetensors"], lambda path: load_paused(path, pipeline)))
    found.append(file("lora.safetensors", contents["lora.safetensors"], lambda path: read_lora(path, pipeline)))
    return found


def data() -> list[Target]:
    """A folder of captioned pictures, and tars of them."""
    png, lines = picture("PNG"), [json.dumps({"file_name": f"{name}.png", "text": "a cat"}) for name in "ab"]
    described = {"a.png": png, "b.png": png, "metadata.jsonl": "\n".join(lines).encode()}
    captioned = {"a.png": png, "a.txt": b"a cat", "b.webp": picture("WEBP"), "b.txt": "ein H\u00e4schen".encode()}

    listed = b'file_name,text,label\na.png,"a, cat",0\nb.png,a dog,1\n'

    def read(folder: Path, _: Path) -> None:
        source = open_source(str(folder), 16, strict=True)
        source.read(0)

    def read_tar(path: Path) -> None:
        open_source(str(path), 16, strict=True).read(0)

    def read_labels(folder: Path, _: Path) -> None:
        open_source(str(folder), 16, labels="label").read(0)

    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in (("a.png", png), ("a.json", b'{"caption": "a cat"}'), ("b.png", png), ("b.txt", b"dog")):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return [
        Target("described", described, read),
        Target("captioned", captioned, read),
        Target("listed", {"a.png": png, "b.png": png, "metadata.csv": listed}, read_labels, ("metadata.csv",)),
        *arrow(png, read_labels),
        file("data.tar", buffer.getvalue(), read_tar),
    ]


def arrow(png: bytes, read: Callable[[Path, Path], Any]) -> list[Target]:
    """A parquet file of images, metadata in one, and a data set that `datasets` saved."""
    info = {"info": {"features": {"label": {"_type": "ClassLabel", "names": ["cat", "dog"]}}}}
    cells = [{"bytes": png, "path": None}, {"bytes": None, "path": "b.png"}]
    columns = {"image": cells, "label": [0, 1], "text": ["a cat", "a dog"]}
    table = pyarrow.table(columns).replace_schema_metadata({"huggingface": json.dumps(info)})
    names = table.drop_columns("image").append_column("file_name", pyarrow.array(["a.png", "b.png"]))
    saved = {
        "state.json": json.dumps({"_data_files": [{"filename": "data.arrow"}]}).encode(),
        "data.arrow": written(lambda path: _write_stream(path, table), "data.arrow"),
    }
    described = {"a.png": png, "metadata.parquet": written(lambda path: write_table(names, path), "a.parquet")}
    return [
        Target("saved", {**saved, "b.png": png}, read, tuple(saved)),
        Target("parquet", {"a.parquet": written(lambda path: write_table(table, path), "a.parquet")}, read),
        Target("listed in parquet", {**described, "b.png": png}, read, ("metadata.parquet",)),
        Target("splits", {"dataset_dict.json": b'{"splits": ["train"]}', "train/state.json": b"{}"}, read),
    ]


def _write_stream(path: Path, table: Any) -> None:
    with pyarrow.OSFile(str(path), "wb") as file, pyarrow.ipc.new_stream(file, table.schema) as stream:
        stream.write_table(table)


def recipes() -> list[Target]:
    """Recipes of training."""
    readers = {"emoji.toml": read_recipe, "ink.toml": read_adapter_recipe, "outline.toml": read_adapter_recipe}
    return [file(name, (ROOT / "recipes" / name).read_bytes(), read) for name, read in readers.items()]


def foreign() -> list[Target]:
    """A diffusers folder: its configs and tokenizer."""
    with TemporaryDirectory() as name:
        make = runpy.run_path(str(ROOT / "examples/foreign/make.py"))["main"]
        sys.argv = ["make.py", name]
        with redirect_stdout(io.StringIO()):
            make()
        contents = {path.relative_to(name).as_posix(): path.read_bytes() for path in Path(name).rglob("*.*")}
        pipeline = load(name)
    configs = tuple(path for path in contents if path.endswith(".json") and not path.startswith("tokenizer/"))
    words = tuple(path for path in contents if path.startswith("tokenizer/"))

    def tokenizer(folder: Path, _: Path) -> None:
        source = read_folder(folder)
        source.tokenizers["tokenizer"]()("a cat")

    layer, width = "unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_q", 64
    low = torch.ones(2, width), torch.ones(width, 2)
    kohya = {f"lora_{layer}.{half}.weight": value for half, value in zip(("lora_down", "lora_up"), low, strict=True)}
    kohya[f"lora_{layer}.alpha"] = torch.tensor(1.0)
    dotted = "unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_q"
    peft = {f"{dotted}.lora_{half}.weight": value for half, value in zip("AB", low, strict=True)}
    peft[f"{dotted}.lora_magnitude_vector"] = torch.ones(width)
    return [
        file("kohya.safetensors", save(kohya), lambda path: read_lora(path, pipeline)),
        file("peft.safetensors", save(peft), lambda path: read_lora(path, pipeline)),
        Target("configs", contents, lambda folder, _: meta(folder), configs),
        Target("tokenizer", contents, tokenizer, words),
    ]


def checked() -> list[Target]:
    """Every file above, as `unnoise check` reads it."""
    return [
        Target(f"check {one.name}", one.files, lambda _, path: check(path), one.mutable)
        for one in (*weights(), *records(), *pictures(), *recipes())
    ]


def targets() -> list[Target]:
    """Make every target."""
    return [*weights(), *records(), *pictures(), *data(), *recipes(), *foreign(), *checked()]
