"""`unnoise inspect`: what it says of files that real writers made, and of those that are broken."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from unnoise.check.read.weights import ALPHAS, describe, read_weights
from unnoise.cli.inspect import inspect
from unnoise.embedded import find
from unnoise.errors import InputError
from unnoise.formats.header import Entry, Header, read_header

LAYER = "lora_unet_input_blocks_4_1_transformer_blocks_0_attn2_to_k"
Told = Callable[..., dict[str, Any]]


def lora(layers: int = 1, rank: int = 8) -> dict[str, torch.Tensor]:
    found = {}
    for number in range(layers):
        layer = LAYER.replace("blocks_0", f"blocks_{number}")
        found[f"{layer}.lora_down.weight"] = torch.ones(rank, 2048, dtype=torch.float16)
        found[f"{layer}.lora_up.weight"] = torch.ones(640, rank, dtype=torch.bfloat16)
        found[f"{layer}.alpha"] = torch.tensor(4.0)
    return found


@pytest.fixture
def told(capsys: pytest.CaptureFixture[str]) -> Told:
    """Inspect a file; give what is printed as JSON for it."""

    def call(path: Path) -> dict[str, Any]:
        inspect(path, as_json=True)
        [one] = json.loads(capsys.readouterr().out)["files"]
        return one

    return call


def test_a_lora(tmp_path: Path, told: Told, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "style.safetensors"
    save_file(lora(2), path, {"ss_base_model_version": "sdxl_base_v1-0", "ss_tag_frequency": "x" * 9999})
    one = told(path)
    assert (one["role"], one["family"], one["format"]) == ("lora", "sdxl", "safetensors")
    assert "2048 in" in one["known_by"]
    assert one["lora"] == {
        "layout": "kohya",
        "dialect": "ldm",
        "kinds": {"lora": 2},
        "modules": {"denoiser": 2},
        "ranks": [8],
        "alphas": [4.0],
        "strange_tensors": 0,
    }
    assert one["dtypes"]["F16"] == {"tensors": 2, "parameters": 2 * 8 * 2048, "bytes": 4 * 8 * 2048}
    assert (one["tensors"], one["parameters"]) == (6, 2 * 8 * (2048 + 640) + 2)
    assert one["bytes"] == path.stat().st_size
    assert one["metadata"] == {"ss_base_model_version": "sdxl_base_v1-0"}
    inspect(path)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == str(path)
    assert any(line.split() == ["rank", "8"] for line in lines)
    assert any(line.split() == ["alpha", "4"] for line in lines)


def test_a_model_of_this_program(told: Told) -> None:
    one = told(find("emoji"))
    assert (one["family"], one["role"]) == ("unnoise", "checkpoint")
    assert one["parts"] == ["denoiser", "vae", "text"]
    assert one["parameters"] > 1e6


def test_a_folder_of_diffusers(tmp_path: Path, told: Told, capsys: pytest.CaptureFixture[str]) -> None:
    from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel

    unet = UNet2DModel(
        sample_size=8,
        block_out_channels=(8, 8),
        norm_num_groups=8,
        down_block_types=("DownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "UpBlock2D"),
    )
    DDPMPipeline(unet, DDPMScheduler(prediction_type="v_prediction")).save_pretrained(tmp_path)
    one = told(tmp_path)
    assert (one["class"], one["prediction"]) == ("DDPMPipeline", "v_prediction")
    count = sum(parameter.numel() for parameter in unet.parameters())
    assert one["components"]["unet"]["parameters"] == one["parameters"] == count
    assert one["components"]["scheduler"]["class"] == "DDPMScheduler"
    inspect(tmp_path)
    assert "UNet2DModel" in capsys.readouterr().out


def test_what_is_unknown_is_called_so(tmp_path: Path, told: Told, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.safetensors"
    save_file({"weight": torch.ones(3, 4)}, path, {"note": "line\nbreak \x1b[31m"})
    one = told(path)
    assert (one["family"], one["role"], one["prediction"]) == ("unknown", "unknown", "")
    inspect(path)
    assert "\x1b" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "content", "fault"),
    [
        ("a.safetensors", b"", "too few"),
        ("a.safetensors", b"\x08\0\0\0\0\0\0\0{not js}", "not JSON"),
        ("a.ckpt", b"\x80\x02", "pickle"),
        ("a.gguf", b"GGUF\x09\0\0\0", "version 9"),
        ("a.safetensors", None, "no such file"),
        ("folder", None, "not a diffusers folder"),
    ],
)
def test_refuses(tmp_path: Path, name: str, content: bytes | None, fault: str) -> None:
    path = tmp_path / name
    if name == "folder":
        path.mkdir()
    elif content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=fault):
        inspect(path)


def test_a_file_that_is_cut_short_says_where(tmp_path: Path) -> None:
    path = tmp_path / "cut.safetensors"
    save_file(lora(), path)
    whole = path.read_bytes()
    last = max(read_header(path).tensors.items(), key=lambda item: item[1].end)
    path.write_bytes(whole[:-100])
    [fault] = read_weights(str(path)).faults
    assert fault.kind == "broken"
    assert fault.message == (
        f"is cut short: it has {len(whole) - 100} bytes, the tensor {last[0]!r} ends at byte {len(whole)}"
    )
    path.write_bytes(whole[:50])
    assert "its header alone ends at byte" in read_weights(str(path)).faults[0].message
    assert read_weights(str(tmp_path / "missing")).faults[0].kind == "unreadable"


def test_only_a_few_numbers_are_read(tmp_path: Path) -> None:
    path = tmp_path / "lora.safetensors"
    save_file(lora(40), path)
    [weights] = read_weights(str(path)).weights
    alphas = {name: numbers for name, numbers in weights.values.items() if name.endswith(".alpha")}
    assert len(alphas) == 40
    assert set(alphas.values()) == {(4.0,)}
    others = [numbers for name, numbers in weights.values.items() if name not in alphas]
    assert 2 <= len(others) <= 12
    assert all(len(numbers) == 16 for numbers in others)
    assert ALPHAS >= 5000


def test_a_loras_training_is_told_under_the_names_of_its_trainer(tmp_path: Path) -> None:
    path = tmp_path / "lora.safetensors"
    said = {"ss_network_dim": "8", "ss_learning_rate": "0.0001", "ss_noise_offset": "None", "ss_v2": "False"}
    save_file(lora(), path, said | {"ss_sd_model_name": "base.safetensors", "ss_clip_skip": "nan"})
    [training] = read_weights(str(path)).trainings
    assert training.tool == "kohya"
    assert {key: value.value for key, value in training.settings.items()} == {
        "network_dim": 8,
        "learning_rate": 0.0001,
        "v2": False,
        "sd_model_name": "base.safetensors",
        "clip_skip": "nan",
    }
    assert training.base is not None
    assert training.base.name == "base.safetensors"


@pytest.mark.parametrize(
    ("shapes", "role", "family"),
    [
        ({"emb_params": (8, 768)}, "embedding", "sd1"),
        ({"clip_l": (8, 768), "clip_g": (8, 1280)}, "embedding", "sdxl"),
        ({"<cat-toy>": (1024,)}, "embedding", "sd2"),
        ({"weight": (5, 5)}, "unknown", "unknown"),
        ({"controlnet_cond_embedding.conv_in.weight": (16, 3, 3, 3)}, "controlnet", "unknown"),
        ({"control_model.input_blocks.4.1.transformer_blocks.0.attn2.to_k.weight": (640, 2048)}, "controlnet", "sdxl"),
        ({"text_model.encoder.layers.0.mlp.fc1.weight": (3072, 768)}, "text", "unknown"),
        ({}, "unknown", "unknown"),
    ],
)
def test_roles(shapes: dict[str, tuple[int, ...]], role: str, family: str) -> None:
    header = Header({}, {name: Entry("F16", shape, 0, 0) for name, shape in shapes.items()}, 100)
    subject = describe(header, "model.safetensors")
    assert subject.weights[0].role == role
    assert subject.models[0].weights is subject.weights[0]
    if role != "text":
        assert subject.models[0].identity.family == family


def test_nothing_heavy_is_imported() -> None:
    import subprocess
    import sys

    code = "import sys, unnoise.check.read.weights, unnoise.cli.inspect; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert not {"torch", "numpy", "diffusers", "safetensors"} & set(done.stdout.split())
