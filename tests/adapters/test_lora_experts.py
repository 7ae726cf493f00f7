"""A LoRA of Wan 2.2 is applied to the transformer that it is for: stated by the file, chosen, or else refused."""

import warnings
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from integrations import peers, test_foreign_wan
from safetensors.torch import save_file

import unnoise
from unnoise.adapters.lora.experts import stated
from unnoise.adapters.lora.hooks import ActiveAdapters
from unnoise.adapters.lora.read import read
from unnoise.adapters.lora.write import write
from unnoise.cli.options import HelpView, arguments, values
from unnoise.errors import InputError, InputWarning
from unnoise.generation.options import AdapterOptions
from unnoise.generation.request import split_lora
from unnoise.pipeline import Pipeline

LAYER = "blocks.0.self_attn.q"
HOW = {"seed": 1, "steps": 8, "size": 32, "frames": 5, "guidance_scale": 1.0}


@pytest.fixture(scope="module")
def wan(tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    return unnoise.load(peers.saved(test_foreign_wan.pipe(second=True), tmp_path_factory.mktemp("wan") / "model"))


def lora(path: Path, prefix: str = "diffusion_model.", seed: int = 0, **metadata: str) -> Path:
    generator = torch.Generator().manual_seed(seed)
    layer = f"{prefix}blocks.0.attn1.to_q" if prefix.startswith("transformer") else f"{prefix}{LAYER}"
    save_file(
        {
            f"{layer}.lora_down.weight": torch.randn(4, 24, generator=generator),
            f"{layer}.lora_up.weight": torch.randn(24, 4, generator=generator),
            f"{layer}.alpha": torch.tensor(4.0),
        },
        path, metadata,
    )  # fmt: skip
    return path


@pytest.mark.parametrize(
    ("name", "metadata", "networks"),
    [
        ("style_high_noise.safetensors", {}, {"transformer"}),
        ("Wan22LowNoise.safetensors", {}, {"transformer_2"}),
        ("wan2.2-low-noise-v1.safetensors", {}, {"transformer_2"}),
        ("HighNoise_style.safetensors", {}, {"transformer"}),
        ("lownoise.safetensors", {}, {"transformer_2"}),
        ("style.safetensors", {"ss_sd_model_name": "wan2.2_t2v_high_noise_14B_fp16.safetensors"}, {"transformer"}),
        ("style.safetensors", {"modelspec.title": "style low noise"}, {"transformer_2"}),
        ("style_low_noise.safetensors", {"ss_output_name": "style_high_noise"}, {"transformer"}),
        ("style.safetensors", {}, set()),
        ("low_light_high_quality.safetensors", {}, set()),
        ("yellow_noise.safetensors", {}, set()),
        ("low_noises.safetensors", {}, set()),
        ("high_noise_and_low_noise.safetensors", {}, {"transformer", "transformer_2"}),
    ],
)
def test_only_sure_words_state_a_network(name: str, metadata: dict[str, str], networks: set[str]) -> None:
    assert stated(Path(name), metadata) == networks


@pytest.mark.parametrize("prefix", ["diffusion_model.", "transformer.", "base_model.model."])
def test_the_file_states_its_network_or_is_refused(wan: Pipeline, tmp_path: Path, prefix: str) -> None:
    path = ("transformer.blocks.0.attn1.to_q", "transformer_2.blocks.0.attn1.to_q")
    for word, layer in zip(("high", "low"), path, strict=True):
        assert set(read(lora(tmp_path / f"a_{word}_noise.safetensors", prefix), wan).deltas) == {layer}
    plain = lora(tmp_path / "style.safetensors", prefix)
    with pytest.raises(InputError, match=r"not say which: write .*@transformer \(high noise\) or .*@transformer_2"):
        read(plain, wan)
    for network, layer in zip(("transformer", "transformer_2"), path, strict=True):
        found = read(plain, wan, network=network)
        assert (set(found.deltas), found.network) == ({layer}, network)
    with pytest.raises(InputError, match="says both"):
        read(lora(tmp_path / "high_noise_low_noise.safetensors", prefix), wan)


def test_names_that_state_the_network_need_no_choice(wan: Pipeline, tmp_path: Path) -> None:
    found = read(lora(tmp_path / "a.safetensors", "transformer_2."), wan)
    assert (set(found.deltas), found.network) == ({"transformer_2.blocks.0.attn1.to_q"}, "")
    for network in ("transformer", "transformer_2"):
        chosen = read(lora(tmp_path / "b.safetensors"), wan, network=network)
        write(tmp_path / "ours.safetensors", chosen)
        assert read(tmp_path / "ours.safetensors", wan).deltas.keys() == chosen.deltas.keys()


def test_a_choice_against_the_file_is_warned_of(wan: Pipeline, tmp_path: Path) -> None:
    found = read(lora(tmp_path / "a_high_noise.safetensors"), wan, network="transformer_2")
    assert any("as asked for; it says that it is for the other network" in note for note in found.notes)


def test_both_are_applied_at_their_levels_and_replayed(wan: Pipeline, tmp_path: Path) -> None:
    one, two = lora(tmp_path / "a.safetensors"), lora(tmp_path / "b_low_noise.safetensors", seed=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InputWarning)
        plain = wan.generate("a cat", **HOW)[0].x0
        both = wan.generate("a cat", **HOW, lora=(f"{one}:0.7@transformer", two))[0]
        flat = {f"{one}@transformer": 0.7, str(two): 1.0}
        assert torch.equal(wan.generate("a cat", **HOW, lora=flat)[0].x0, both.x0)
        assert [(used.weight, used.network) for used in both.metadata.adapters] == [
            (0.7, "transformer"), (1.0, "transformer_2"),
        ]  # fmt: skip
        high = wan.generate("a cat", **HOW, lora=f"{one}@transformer")[0].x0
        low = wan.generate("a cat", **HOW, lora=f"{one}@transformer_2")[0].x0
        assert not torch.equal(high, plain)
        assert not torch.equal(low, plain)
        assert not torch.equal(low, high)
        renamed = two.rename(tmp_path / "c.safetensors")  # the name no longer says it, the metadata does
        assert torch.equal(wan.replay(both.metadata, lora=(one, renamed)).x0, both.x0)
        twice = wan.generate("a cat", **HOW, lora=(f"{one}@transformer", f"{one}@transformer_2"))[0]
        assert torch.equal(wan.replay(twice.metadata, lora=one).x0, twice.x0)
        with pytest.raises(InputError, match="for transformer; give that file"):
            wan.replay(high_metadata(wan, one), lora=f"{one}@transformer_2")


def high_metadata(wan: Pipeline, file: Path) -> Any:
    return wan.generate("a cat", **HOW, lora=f"{file}@transformer")[0].metadata


@pytest.mark.filterwarnings("ignore:While injecting the PEFT adapters.*:RuntimeWarning")
def test_biases_of_wan_act_as_in_diffusers(tmp_path: Path) -> None:
    """Distilled Wan files have `diff_b` beside a LoRA, which diffusers loads as the bias of B."""
    peer = test_foreign_wan.pipe()
    ours = unnoise.load(peers.saved(peer, tmp_path / "model"))
    generator = torch.Generator().manual_seed(0)
    file = {}
    for k in range(2):
        for name in (f"{kind}_attn.{one}" for kind in ("self", "cross") for one in "qkvo"):
            stem = f"diffusion_model.blocks.{k}.{name}"
            file[f"{stem}.lora_down.weight"] = torch.randn(4, 24, generator=generator) * 0.3
            file[f"{stem}.lora_up.weight"] = torch.randn(24, 4, generator=generator) * 0.3
            file[f"{stem}.diff_b"] = torch.randn(24, generator=generator)
    save_file(file, tmp_path / "distilled.safetensors")
    found = read(tmp_path / "distilled.safetensors", ours)
    x, text = torch.randn(1, 16, 2, 4, 4, generator=generator), torch.randn(1, 6, 32, generator=generator)
    net, time = ours.diffusers_networks["transformer"], torch.tensor([300.0])
    with torch.no_grad():
        plain = net(x, time, text).sample
        with ActiveAdapters(ours, [(found, 1.0)]).on():
            live = net(x, time, text).sample
        peer.load_lora_weights(str(tmp_path), weight_name="distilled.safetensors")
        peers.assert_close(live, peer.transformer(x, time, text).sample)
    assert (live - plain).abs().max() > 0.05


def test_other_models_have_their_own_networks(tmp_path: Path) -> None:
    base = tiny.saved(tmp_path / "tiny.safetensors")
    path = tmp_path / "style.safetensors"
    save_file(
        {"lora_unet_enter.lora_down.weight": torch.ones(2, 6, 3, 3), "lora_unet_enter.alpha": torch.tensor(2.0),
         "lora_unet_enter.lora_up.weight": torch.ones(32, 2, 1, 1)}, path,
    )  # fmt: skip
    assert read(path, base, network="net").deltas.keys() == {"net.enter"}
    with pytest.raises(InputError, match=r"has no such network; it has net, text"):
        read(path, base, network="transformer_2")
    with pytest.raises(InputError, match="none of its 1 modules fits"):
        read(path, base, network="text")


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("a.safetensors", ("a.safetensors", 1.0, "")),
        ("a:0.5", ("a", 0.5, "")),
        ("a:0.5@unet", ("a", 0.5, "unet")),
        ("a@unet:0.5", ("a", 0.5, "unet")),
        ("a@unet", ("a", 1.0, "unet")),
        ("a@v2.safetensors:0.5", ("a@v2.safetensors", 0.5, "")),
        ("@unet", ("@unet", 1.0, "")),
    ],
)
def test_what_is_written_after_a_file(text: str, parts: tuple[str, float, str]) -> None:
    assert split_lora(text) == parts


def test_two_weights_are_refused() -> None:
    with pytest.raises(InputError, match="has two weights"):
        split_lora("a:0.5@unet:0.7")


def test_a_sweep_of_weights_keeps_the_network() -> None:
    parsed = arguments(AdapterOptions, HelpView())(lora=("a:0,0.5@unet", "b@unet:1"))
    assert values(parsed) == {"lora": [("a:0@unet", "b@unet:1"), ("a:0.5@unet", "b@unet:1")]}
