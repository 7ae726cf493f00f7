"""`unnoise plan`: from headers alone, near what is then measured, for every family."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from diffusers import AutoencoderKL, UNet2DConditionModel
from integrations import (
    ldm_names,
    peers,
    test_foreign_flux,
    test_foreign_pixart,
    test_foreign_sana,
    test_foreign_sd,
    test_foreign_sd3,
    test_foreign_sdxl,
    test_foreign_stable_audio,
    test_foreign_wan,
)
from torch import nn

import unnoise
from unnoise import devices as memory
from unnoise.cli.main import main
from unnoise.estimate import memory as budgets

FAMILIES: dict[str, tuple[Callable[[Path], Any], list[str]]] = {
    "sd1": (test_foreign_sd.pipe, ["--size", "64"]),
    "sdxl": (test_foreign_sdxl.pipe, ["--size", "64"]),
    "sd3": (test_foreign_sd3.pipe, ["--size", "32"]),
    "flux1": (test_foreign_flux.pipe, ["--size", "32"]),
    "pixart": (lambda _: test_foreign_pixart.pipe(alpha=False), ["--size", "64"]),
    "sana": (lambda _: test_foreign_sana.pipe(), ["--size", "32"]),
    "wan-2.1": (lambda _: test_foreign_wan.pipe(), ["--size", "32", "--frames", "5"]),
    "wan-2.2": (lambda _: test_foreign_wan.pipe(second=True), ["--size", "32", "--frames", "5"]),
    "stable-audio": (lambda _: test_foreign_stable_audio.pipe(), ["--seconds", "1"]),
}
# The peak is the kernel's of this program alone: `getrusage` starts from that of the process which began it.
PEAK = """
import re, resource, sys
import unnoise
unnoise.load(sys.argv[3]).generate("a cat", size=64, steps=2, seed=1)  # so that all is imported
before = int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize() // 1024
n = int(sys.argv[2])
unnoise.load(sys.argv[1]).generate("a cat", size=256, n=n, batch=n, steps=1, seed=1)
peak = int(re.search(r"VmHWM:\\s*(\\d+)", open("/proc/self/status").read())[1])
print((peak - before) * 1024)
"""


def told(arguments: list[str], capsys: pytest.CaptureFixture[str], code: int = 0) -> dict[str, Any]:
    assert main(["plan", *arguments, "--json"]) == code
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


@pytest.mark.filterwarnings("ignore:.*weight_norm. is deprecated:FutureWarning")  # of diffusers' own autoencoder
@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_can_be_planned(tmp_path: Path, family: str, capsys: pytest.CaptureFixture[str]) -> None:
    make, size = FAMILIES[family]
    folder = peers.saved(make(tmp_path), tmp_path / "model")
    one, four = (told([str(folder), *size, "-n", n, "--batch", n], capsys) for n in ("1", "4"))
    assert four["stages"]["step"]["flops"] == pytest.approx(4 * one["stages"]["step"]["flops"], rel=0.05)
    assert four["stages"]["step"]["peak"] > 2.5 * one["stages"]["step"]["peak"]
    assert one["weights"].keys() >= {"net", "autoencoder", "text"}
    assert one["fits"]
    half = told([str(folder), *size, "--dtype", "bfloat16"], capsys)
    loaded = unnoise.load(folder, dtype="bfloat16").networks()
    assert half["weights"] == {role: weight_bytes(net) for role, net in loaded.items()}
    assert half["vae_dtype"] == "bfloat16"
    mixed = told([str(folder), *size, "--dtype", "bfloat16", "--vae-dtype", "float32"], capsys)
    assert mixed["vae_dtype"] == "float32"
    assert mixed["weights"] == half["weights"] | {"autoencoder": one["weights"]["autoencoder"]}


def weight_bytes(net: nn.Module) -> int:
    return sum(value.numel() * value.element_size() for value in (*net.parameters(), *net.buffers()))


@pytest.mark.slow
@pytest.mark.parametrize("n", [1, 4])
def test_it_is_near_what_is_measured(tmp_path: Path, n: int, capsys: pytest.CaptureFixture[str]) -> None:
    pipe = test_foreign_sd.pipe(tmp_path)
    small = peers.saved(pipe, tmp_path / "small")
    pipe.unet = UNet2DConditionModel(
        block_out_channels=(256, 512, 512), layers_per_block=2, sample_size=32, cross_attention_dim=32,
        attention_head_dim=8, down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
    )  # fmt: skip
    pipe.vae = AutoencoderKL(
        block_out_channels=(64, 128, 256, 256), down_block_types=("DownEncoderBlock2D",) * 4, latent_channels=4,
        up_block_types=("UpDecoderBlock2D",) * 4, layers_per_block=1,
    )  # fmt: skip
    folder = peers.saved(pipe, tmp_path / "model")
    expected = told([str(folder), "--size", "256", "-n", str(n), "--batch", str(n)], capsys)
    command = [sys.executable, "-c", PEAK, str(folder), str(n), str(small)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert expected["needed"] == pytest.approx(int(done.stdout.split()[-1]), rel=0.15)


def test_a_single_file_is_planned_without_its_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from safetensors.torch import save_file

    pipe = test_foreign_sd.pipe(tmp_path)
    text = ldm_names.clip(pipe.text_encoder, "cond_stage_model.transformer.")
    state = ldm_names.unet(pipe.unet) | ldm_names.vae(pipe.vae) | text
    save_file({name: value.contiguous().clone() for name, value in state.items()}, tmp_path / "x.safetensors")
    whole = told([str(peers.saved(pipe, tmp_path / "model")), "--size", "64"], capsys)
    assert told([str(tmp_path / "x.safetensors"), "--size", "64"], capsys)["weights"]["net"] == whole["weights"]["net"]


def test_what_does_not_fit_is_said_with_what_would(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = str(peers.saved(test_foreign_sd.pipe(tmp_path), tmp_path / "model"))
    asked = told([folder, "--size", "64", "-n", "8", "--batch", "8"], capsys)
    for module in (memory, budgets):
        monkeypatch.setattr(module, "available", lambda device: int(asked["needed"] * 0.8))
    less = told([folder, "--size", "64", "-n", "8", "--batch", "8"], capsys, code=1)
    assert not less["fits"]
    assert less["instead"]["batch"] < 8
    assert less["instead"]["needed"] < less["needed"]
    assert main(["plan", folder, "--size", "64", "-n", "8", "--batch", "8"]) == 1
    out = capsys.readouterr().out
    assert "does not fit" in out
    assert "would fit   " in out


def test_the_embedded_model_and_bad_input(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "emoji", "-n", "4"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("emoji: 64x64, 4 at once, float32\nweights     54.6 MB")
    for arguments, fault in (
        (["emoji", "--frames", "5"], "makes no video"),
        (["emoji", "--size", "65"], "must be multiples of 16"),
        (["nothing"], "unknown model 'nothing'"),
        (["emoji", "--components", "x"], "only for foreign models"),
        (["emoji", "--parts", "x"], "--parts: unknown here; use --components"),
    ):
        assert main(["plan", *arguments]) == 2
        assert fault in capsys.readouterr().err
