"""The index, configs and weight files of a diffusers folder are read strictly, and without torch."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from unnoise.errors import InputError
from unnoise.formats.diffusers_folder import INDEX, listed_components, shard_files, weight_files
from unnoise.formats.json_text import LONGEST, read_json


def test_lists_the_components_of_an_index() -> None:
    index = {
        "_class_name": "X", "_diffusers_version": ["a", "b"], "unet": ["diffusers", "UNet2DConditionModel"],
        "safety_checker": [None, None], "force_zeros_for_empty_prompt": True, "scale": [1, 2], "more": ["a", "b", "c"],
    }  # fmt: skip
    assert listed_components(index) == {"unet": ("diffusers", "UNet2DConditionModel")}


@pytest.mark.parametrize("index", [{}, {"weight_map": []}, {"weight_map": {"a": 1}}, {"weight_map": None}])
def test_an_index_without_shards_has_none(index: dict[str, object]) -> None:
    assert shard_files(index) == []


def test_shards_are_listed_once_and_sorted() -> None:
    assert shard_files({"weight_map": {"a": "2.safetensors", "b": "1.safetensors", "c": "2.safetensors"}}) == [
        "1.safetensors",
        "2.safetensors",
    ]


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"{", "not JSON"),
        (b"[]", "not a JSON object"),
        (b" " * (LONGEST + 1), "larger than"),
        (b"\xff", "not a text in UTF-8"),
    ],
)
def test_refuses_other_files(tmp_path: Path, content: bytes, fault: str) -> None:
    (tmp_path / INDEX).write_bytes(content)
    with pytest.raises(InputError, match=fault):
        read_json(tmp_path / INDEX)


def test_reads_a_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / INDEX).write_text('{"a": 1}', encoding="utf-8-sig")
    assert read_json(tmp_path / INDEX) == {"a": 1}


def test_finds_one_file_a_variant_or_shards(tmp_path: Path) -> None:
    folder = tmp_path / "unet"
    folder.mkdir()
    with pytest.raises(InputError, match="has no weights"):
        weight_files(tmp_path, "unet")
    (folder / "model.bin").touch()
    with pytest.raises(InputError, match="a pickle, which can run code"):
        weight_files(tmp_path, "unet")
    (folder / "diffusion_pytorch_model.fp16.safetensors").touch()
    assert [path.name for path in weight_files(tmp_path, "unet")] == ["diffusion_pytorch_model.fp16.safetensors"]
    (folder / "diffusion_pytorch_model.safetensors").touch()
    assert [path.name for path in weight_files(tmp_path, "unet")] == ["diffusion_pytorch_model.safetensors"]
    index = {"weight_map": {"a": "b.safetensors"}}
    (folder / "diffusion_pytorch_model.safetensors.index.json").write_text(json.dumps(index))
    assert weight_files(tmp_path, "unet") == [folder / "b.safetensors"]


def test_imports_no_torch() -> None:
    code = "import sys, unnoise.formats.diffusers_folder; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
