"""What the tensors of a module mean: magnitudes of DoRA, biases, norms, new values, fp8, alpha 0; against formulas."""

import copy
import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from integrations import peers, test_foreign_sd
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import unnoise
from unnoise.adapters.lora.delta import Dora, FullDelta, rows
from unnoise.adapters.lora.hooks import ActiveAdapters
from unnoise.adapters.lora.inject import eject, inject
from unnoise.adapters.lora.modules import magnitude_axis
from unnoise.adapters.lora.rank import resized
from unnoise.adapters.lora.read import read
from unnoise.adapters.lora.write import write
from unnoise.errors import InputError
from unnoise.pipeline import Pipeline

LINEAR = "down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q"
CONV = "down_blocks.0.resnets.0.conv1"
NORM, GROUP = "down_blocks.1.attentions.0.transformer_blocks.0.norm1", "down_blocks.0.resnets.0.norm1"


@pytest.fixture(scope="module")
def sd(tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    folder = tmp_path_factory.mktemp("sd")
    return unnoise.load(peers.saved(test_foreign_sd.pipe(folder), folder / "model"))


def saved(path: Path, layers: Mapping[str, Mapping[str, Tensor]]) -> Path:
    save_file(
        {
            f"lora_unet_{layer.replace('.', '_')}.{end}": value.contiguous()
            for layer, ends in layers.items()
            for end, value in ends.items()
        },
        path,
    )
    return path


def low(weight: Tensor, rank: int = 4, alpha: float = 2.0, seed: int = 0) -> tuple[dict[str, Tensor], Tensor]:
    """Make a LoRA of a weight, and the change that it stands for."""
    generator = torch.Generator().manual_seed(seed)
    down = torch.randn(rank, *weight.shape[1:], generator=generator) * 0.3
    up = torch.randn(len(weight), rank, *[1] * (weight.ndim - 2), generator=generator) * 0.3
    halves = {"lora_down.weight": down, "lora_up.weight": up, "alpha": torch.tensor(alpha)}
    return halves, (alpha / rank * up.flatten(1) @ down.flatten(1)).reshape(weight.shape)


def weight_of(pipeline: Pipeline, layer: str) -> Tensor:
    found = pipeline.diffusers_networks["unet"].get_submodule(layer).weight
    assert isinstance(found, Tensor)
    return found.detach()


@pytest.mark.parametrize("wide", [True, False], ids=["all-sides", "two-sides"])
@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("layer", [LINEAR, CONV])
def test_the_magnitudes_of_lycoris_are_along_their_axis(
    sd: Pipeline, tmp_path: Path, layer: str, axis: int, wide: bool
) -> None:
    """m * (W + D) / norm of (W + D) over all other sides: its `apply_weight_decompose`, on square weights too."""
    weight = weight_of(sd, layer)
    halves, change = low(weight)
    updated = weight + change
    others = [k for k in range(weight.ndim) if k != axis]
    norm = updated.square().sum(others, keepdim=True).sqrt()
    magnitude = norm * torch.linspace(0.7, 1.3, norm.numel()).reshape(norm.shape)
    stored = magnitude if wide else magnitude.reshape((1, -1) if axis else (-1, 1))
    path = saved(tmp_path / "dora.safetensors", {layer: {**halves, "dora_scale": stored}})
    found = read(path, sd)
    expected = magnitude * updated / norm - weight
    assert torch.allclose(found.deltas[f"unet.{layer}"].change(weight), expected, atol=1e-5)
    write(tmp_path / "ours.safetensors", found, "kohya", torch.float32)
    again = read(tmp_path / "ours.safetensors", sd).deltas[f"unet.{layer}"]
    assert torch.allclose(again.change(weight), expected, atol=1e-5)
    if axis:
        with pytest.raises(InputError, match="magnitudes of the inputs, which peft has no names for"):
            write(tmp_path / "ours.safetensors", found, "peft")


@pytest.mark.parametrize(
    ("shape", "peft", "axis"),
    [
        ((8,), True, 0), ((8,), False, 0), ((8, 1), True, 0), ((8, 1), False, 0), ((1, 8), True, 1), ((1, 8), False, 1),
        ((1, 8, 1, 1), True, 0), ((1, 8, 1, 1), False, 1), ((8, 1, 1, 1), True, 0), ((8, 1, 1, 1), False, 0),
        ((1, 8, 1, 1, 1), True, 0), ((1, 8, 1), False, 1), ((1,), False, 0), ((1, 1), False, 0),
        ((), False, None), ((8, 8), False, None), ((1, 1, 8), False, None),
    ],
)  # fmt: skip
def test_name_and_shape_state_the_axis(shape: tuple[int, ...], peft: bool, axis: int | None) -> None:
    assert magnitude_axis(shape, peft) == axis


def test_dora_of_peft_on_linear_layers_and_convolutions(sd: Pipeline, tmp_path: Path) -> None:
    torch.manual_seed(0)
    peer = test_foreign_sd.pipe(tmp_path)
    wrapped = get_peft_model(peer.unet, LoraConfig(r=4, lora_alpha=2, target_modules=["to_q", "conv1"], use_dora=True))
    for name, parameter in wrapped.named_parameters():
        if "lora_" in name:
            parameter.data.mul_(1.3) if "magnitude" in name else nn.init.normal_(parameter, std=0.1)
    wrapped.save_pretrained(tmp_path / "peft")
    found = read(tmp_path / "peft" / "adapter_model.safetensors", sd)
    merged = wrapped.merge_and_unload()
    assert {type(one) for one in found.deltas.values()} == {Dora}
    for name, delta in found.deltas.items():
        weight, path = weight_of(sd, name.removeprefix("unet.")), name.removeprefix("unet.")
        assert torch.allclose(weight + delta.change(weight), merged.get_submodule(path).weight, atol=1e-5), name


def test_magnitudes_of_another_size_are_refused(sd: Pipeline, tmp_path: Path) -> None:
    halves, _ = low(weight_of(sd, LINEAR))
    for shape, words in (
        ((7, 1), "7 magnitudes of outputs"),
        ((1, 7), "7 magnitudes of inputs"),
        ((3, 4), "one value"),
    ):
        path = saved(tmp_path / "a.safetensors", {LINEAR: {**halves, "dora_scale": torch.ones(shape)}})
        with pytest.raises(InputError, match=words):
            read(path, sd)


def answer(pipeline: Pipeline) -> Tensor:
    generator = torch.Generator().manual_seed(5)
    x, text = torch.randn(2, 4, 8, 8, generator=generator), torch.randn(2, 7, 32, generator=generator)
    with torch.no_grad():
        found: Tensor = pipeline.diffusers_networks["unet"](x, torch.tensor([300.0, 20.0]), text).sample
    return found


@pytest.mark.parametrize("scale", [1.0, -0.6])
def test_biases_norms_and_new_values(sd: Pipeline, tmp_path: Path, scale: float) -> None:
    """The weights as ComfyUI (diff, diff_b, set_weight) and LyCORIS (w_norm, b_norm) define them, live and merged."""
    net = sd.diffusers_networks["unet"]
    draw = torch.Generator().manual_seed(1)
    new = {layer: torch.randn(len(weight_of(sd, layer)), generator=draw) for layer in (LINEAR, CONV, NORM, GROUP)}
    halves, change = low(weight_of(sd, CONV))
    value = torch.randn(weight_of(sd, LINEAR).shape, generator=draw) * 0.3
    layers = {
        CONV: {**halves, "diff_b": new[CONV]},
        LINEAR: {"set_weight": value, "diff_b": new[LINEAR]},
        NORM: {"w_norm": new[NORM], "b_norm": 2 * new[NORM]},
        GROUP: {"diff": new[GROUP], "diff_b": 2 * new[GROUP]},
    }
    found = read(saved(tmp_path / "a.safetensors", layers), sd)
    differences = {CONV: change, LINEAR: value - weight_of(sd, LINEAR), NORM: new[NORM], GROUP: new[GROUP]}
    plain = answer(sd)
    expected = copy.deepcopy(net)
    for layer, difference in differences.items():
        module = expected.get_submodule(layer)
        bias = new[layer] if layer in (CONV, LINEAR) else 2 * new[layer]
        with torch.no_grad():
            module.weight += scale * difference  # type: ignore[operator]
            own = torch.zeros_like(bias) if module.bias is None else module.bias  # to_q has none
            module.bias = nn.Parameter(own + scale * bias)
    with ActiveAdapters(sd, [(found, scale)]).on():
        live = answer(sd)
    before = inject(sd, [(found, scale)])
    merged = answer(sd)
    eject(before)
    assert torch.equal(answer(sd), plain)
    right = answer(replace(sd, diffusers_networks={"unet": expected}))
    assert (right - plain).abs().max() > 0.05
    assert torch.allclose(live, right, atol=1e-4 * float(right.abs().max()))
    assert torch.allclose(merged, right, atol=1e-4 * float(right.abs().max()))


def test_biases_and_norms_are_written_and_resized(sd: Pipeline, tmp_path: Path) -> None:
    halves, _ = low(weight_of(sd, CONV))
    ones = torch.ones(len(weight_of(sd, CONV)))
    norm = torch.linspace(-1, 1, len(weight_of(sd, NORM)))
    layers = {CONV: {**halves, "diff_b": ones}, NORM: {"w_norm": norm, "b_norm": norm.clone()}}
    found = read(saved(tmp_path / "a.safetensors", layers), sd)
    write(tmp_path / "again.safetensors", found, "kohya", torch.float32)
    smaller = resized(found, sd, 2).adapter
    for other in (read(tmp_path / "again.safetensors", sd), smaller):
        assert other.biases.keys() == found.biases.keys()
        assert torch.equal(other.deltas[f"unet.{NORM}"].change(weight_of(sd, NORM)), norm)
    with pytest.raises(InputError, match=f"unet.{NORM}: a FullDelta, which this layout has no names for"):
        write(tmp_path / "peft.safetensors", found, "peft")


def test_each_row_has_its_own_share_of_norms_and_biases(sd: Pipeline, tmp_path: Path) -> None:
    layers = {
        layer: {"diff": torch.ones(size), "diff_b": torch.ones(size)}
        for layer in (NORM, GROUP)
        if (size := len(weight_of(sd, layer)))
    }
    found = read(saved(tmp_path / "a.safetensors", layers | {CONV: {"diff_b": torch.ones(32)}}), sd)
    plain, active = answer(sd), ActiveAdapters(sd, [(found, 1.0)])
    with active.on():
        full = answer(sd)
    with active.on(torch.tensor([[0.0], [1.0]])):
        mixed = answer(sd)
    assert torch.allclose(mixed, torch.stack([plain[0], full[1]]), atol=1e-5)
    assert (full - plain).abs().max() > 0.05


@pytest.mark.filterwarnings("ignore:.*LoRA tensor.s. have invalid shape")
def test_lora_bias_of_peft(sd: Pipeline, tmp_path: Path) -> None:
    """PEFT's own network with biases beside B, which its scaling multiplies too."""
    torch.manual_seed(0)
    peer = test_foreign_sd.pipe(tmp_path)
    targets = ["to_out.0", "conv1"]
    wrapped = get_peft_model(peer.unet, LoraConfig(r=4, lora_alpha=6, target_modules=targets, lora_bias=True))
    for name, parameter in wrapped.named_parameters():
        if "lora_" in name:
            nn.init.normal_(parameter, std=0.2)
    wrapped.save_pretrained(tmp_path / "peft")
    found = read(tmp_path / "peft" / "adapter_model.safetensors", sd)
    assert found.biases.keys() == found.deltas.keys()
    with ActiveAdapters(sd, [(found, 1.0)]).on():
        ours = answer(sd)
    peers.assert_close(ours, answer(replace(sd, diffusers_networks={"unet": wrapped})))
    write(tmp_path / "ours.safetensors", found, "peft", torch.float32)
    again = read(tmp_path / "ours.safetensors", sd)
    for name, bias in found.biases.items():
        assert torch.allclose(again.biases[name], bias, atol=1e-6)


@pytest.mark.parametrize("kind", [torch.float8_e4m3fn, torch.float8_e5m2])
@pytest.mark.parametrize("scaled", ["no", "one", "rows"])
def test_fp8_is_dequantised(sd: Pipeline, tmp_path: Path, kind: torch.dtype, scaled: str) -> None:
    halves, _ = low(weight_of(sd, LINEAR))
    down, up = halves["lora_down.weight"], halves["lora_up.weight"]
    stored = {"lora_down.weight": down.to(kind), "lora_up.weight": up.to(torch.float16), "alpha": halves["alpha"]}
    factor = {"no": torch.tensor(1.0), "one": torch.tensor(0.25), "rows": torch.tensor([0.5, 1.0, 2.0, 3.0])}[scaled]
    if scaled != "no":
        stored["lora_down.scale_weight" if scaled == "one" else "lora_down.weight_scale"] = factor
    path = saved(tmp_path / "a.safetensors", {LINEAR: stored})
    if scaled != "no":
        tensors = load_file(path)
        save_file({**tensors, "scaled_fp8": torch.empty(0, dtype=kind)}, path)
    right = 0.5 * up.half().float() @ (down.to(kind).float() * factor.reshape(-1, 1))
    found = read(path, sd)
    assert torch.allclose(found.deltas[f"unet.{LINEAR}"].change(weight_of(sd, LINEAR)), right, atol=1e-6)


def test_values_that_are_no_numbers_are_refused(sd: Pipeline, tmp_path: Path) -> None:
    halves, _ = low(weight_of(sd, LINEAR))
    up, nan = halves["lora_up.weight"], torch.tensor(float("nan"))
    cases: list[tuple[dict[str, Tensor], str]] = [
        ({"alpha": nan}, "alpha' contains NaN or infinity"),
        ({"lora_up.weight": torch.full_like(up, float("inf")).to(torch.float8_e5m2)}, "NaN or infinity"),
        ({"lora_up.weight": (up * 10).to(torch.int8)}, "up is int8; must be floating point"),
        ({"alpha": torch.ones(2)}, r"alpha of shape \[2\]; must be one number"),
        ({"lora_up.weight": torch.tensor(1.0)}, r"up is of shape \[\]; a factor has two sides"),
        ({"alpha": torch.ones(0)}, r"alpha of shape \[0\]"),
        ({"lora_down.scale_weight": torch.ones(3)}, "must be one number, or one a row"),
        ({"diff_b": torch.ones(3)}, "a bias of 3, for 64 outputs"),
    ]
    for changes, words in cases:
        with pytest.raises(InputError, match=words):
            read(saved(tmp_path / "a.safetensors", {LINEAR: halves | changes}), sd)
    ones = {"lora_down.weight": torch.ones(2, 32), "lora_up.weight": torch.ones(32, 2)}
    path = saved(tmp_path / "a.safetensors", {NORM: ones})
    with pytest.raises(InputError, match="is a norm, which only a difference"):
        read(path, sd)


def test_alpha_zero_is_warned_of_once(sd: Pipeline, tmp_path: Path) -> None:
    halves, _ = low(weight_of(sd, LINEAR), alpha=0.0)
    other, _ = low(weight_of(sd, CONV))
    path = saved(tmp_path / "a.safetensors", {LINEAR: halves, CONV: other})
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        sd.generate("a cat", seed=1, steps=1, size=64, lora=path)
    (note,) = [str(one.message) for one in said if "alpha" in str(one.message)]
    assert "alpha is 0 in 1 modules, which therefore change nothing: lora_unet_down_blocks_1" in note


def test_a_fused_layer_with_magnitudes_of_its_inputs_is_refused() -> None:
    with pytest.raises(InputError, match="magnitudes of the inputs of a fused layer"):
        rows(Dora(FullDelta(torch.ones(6, 4)), torch.ones(4), 1), 0, 2, 6)
