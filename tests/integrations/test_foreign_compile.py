"""Compiled blocks give what plain ones give: with adapters, without them again, and with other weights."""

import warnings
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import torch
from diffusers import ControlNetModel
from torch import Tensor

import unnoise
from integrations import peers, test_foreign_ip_adapter, test_foreign_sd
from integrations.test_foreign_dtypes import made
from integrations.test_foreign_ip_adapter import picture
from unnoise.adapters.lora.delta import Dora, LowRank
from unnoise.adapters.lora.hooks import ActiveAdapters
from unnoise.adapters.lora.inject import injected
from unnoise.adapters.lora.read import Adapter, layers_of
from unnoise.adapters.lora.targets import select_layers
from unnoise.errors import InputError, InputWarning
from unnoise.integrations.diffusers.compiled import compile_blocks
from unnoise.integrations.diffusers.controlnet import with_control
from unnoise.integrations.diffusers.ip_adapter import with_ip_adapter
from unnoise.pipeline import Pipeline

HOW: dict[str, Any] = {"seed": 1, "steps": 2, "size": 32, "guidance_scale": 3.0}
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.script_method. is deprecated:DeprecationWarning")


pytestmark = pytest.mark.filterwarnings("ignore:compile. a request with a LoRA")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("compiled")
    return peers.saved(test_foreign_sd.pipe(place), place / "model")


def both(folder: Path, **how: Any) -> tuple[Pipeline, Pipeline]:
    plain, compiled = unnoise.load(folder, **how), unnoise.load(folder, **how)
    compile_blocks(compiled.diffusers_networks["unet"], backend="eager")
    return plain, compiled


def lora(pipeline: Pipeline, dora: bool, seed: int = 0) -> Adapter:
    torch.manual_seed(seed)
    names = select_layers(pipeline.adaptable(), ("attention",))
    deltas: dict[str, Any] = {}
    for name, layer in layers_of(pipeline, names).items():
        low = LowRank(torch.randn(4, layer.weight.shape[1]) * 0.3, torch.randn(len(layer.weight), 4) * 0.3)
        deltas[name] = Dora(low, layer.weight.flatten(1).norm(dim=1) * 1.5) if dora else low
    return Adapter(f"random{seed}{dora}", deltas)


def drawn(pipeline: Pipeline, **how: Any) -> Tensor:
    return pipeline.generate(peers.PROMPT, **HOW, **how)[0].x0


@pytest.mark.parametrize("dora", [False, True])
def test_an_adapter_after_a_plain_call_is_applied_and_removed(folder: Path, dora: bool) -> None:
    plain, compiled = both(folder)
    first, second = lora(plain, dora), lora(plain, dora, seed=1)
    bare = drawn(compiled)
    peers.assert_close(bare, drawn(plain))
    for loras in (first, {second: 0.5}, (first, second)):
        adapted = drawn(compiled, lora=loras)
        peers.assert_close(adapted, drawn(plain, lora=loras))
        assert not torch.allclose(adapted, bare, atol=1e-2)
    assert torch.equal(drawn(compiled), bare)


def test_one_line_says_that_an_adapter_is_not_compiled(folder: Path) -> None:
    plain, compiled = both(folder)
    with pytest.warns(InputWarning, match="a request with a LoRA or an IP-Adapter runs uncompiled"):
        compiled.plan(peers.PROMPT, **HOW, lora=lora(plain, False))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        compiled.plan(peers.PROMPT, **HOW)
        plain.plan(peers.PROMPT, **HOW, lora=lora(plain, False))


def test_rows_with_scales_of_their_own_are_applied(folder: Path) -> None:
    plain, compiled = both(folder)
    adapter = lora(plain, False)
    found = []
    for pipeline in (plain, compiled):
        drawn(pipeline)
        jobs = [pipeline.plan(peers.PROMPT, **HOW), pipeline.plan(peers.PROMPT, **HOW, lora=adapter)]
        found.append([sample.x0 for sample in pipeline.draw(jobs)])
    for ours, peer in zip(*found, strict=True):
        peers.assert_close(ours, peer)
    assert not torch.allclose(*found[1], atol=1e-2)


def test_merged_and_restored_weights_are_used(folder: Path) -> None:
    plain, compiled = both(folder)
    bare = drawn(compiled)
    for pipeline in (plain, compiled):
        with injected(pipeline, [(lora(plain, True), 1.0)]):
            merged = drawn(pipeline)
        peers.assert_close(merged, drawn(plain, lora=lora(plain, True)))
        peers.assert_close(drawn(pipeline), bare)


def test_weights_that_change_in_place_are_used(folder: Path) -> None:
    plain, compiled = both(folder)
    bare = drawn(compiled)
    for pipeline in (plain, compiled):
        for parameter in pipeline.diffusers_networks["unet"].parameters():
            parameter.mul_(1.1)
    changed = drawn(compiled)
    peers.assert_close(changed, drawn(plain))
    assert not torch.allclose(changed, bare, atol=1e-2)


@pytest.mark.parametrize("what", ["ip_adapter", "control"])
def test_an_image_after_a_plain_call_is_followed(what: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    place = tmp_path_factory.mktemp(what)
    if what == "control":
        peer = test_foreign_sd.pipe(place)
        torch.manual_seed(5)
        peers.spread(ControlNetModel.from_unet(peer.unet), 0.1).save_pretrained(place / "control")
        plain, compiled = both(peers.saved(peer, place / "model"))
        guided = [with_control(pipeline, place / "control") for pipeline in (plain, compiled)]
        image = {"control_image": picture(HOW["size"])}
    else:
        test_foreign_ip_adapter.written(place)
        plain, compiled = both(place / "model")
        files = place / "plain.safetensors", place / "encoder"
        guided = [with_ip_adapter(pipeline, *files) for pipeline in (plain, compiled)]
        image = {"ip_adapter_image": picture(HOW["size"])}
    bare = drawn(compiled)
    ours, peer = (drawn(Pipeline.of(one), **image) for one in reversed(guided))
    peers.assert_close(ours, peer)
    assert not torch.allclose(ours, bare, atol=1e-2)
    assert torch.equal(drawn(compiled), bare)
    assert plain is not compiled


def test_the_metadata_says_how_it_was_drawn(folder: Path) -> None:
    plain, compiled = both(folder)
    samples = [pipeline.generate(peers.PROMPT, **HOW)[0] for pipeline in (plain, compiled)]
    found = [sample.metadata.environment for sample in samples]
    assert [one["compiled"] for one in found] == ["no", "yes"]
    assert [one["packed"] for one in found] == ["yes", "yes"]
    assert found[0]["threads"] == str(torch.get_num_threads())
    assert {"diffusers", "transformers"} < samples[0].metadata.versions.keys()
    with pytest.warns(InputWarning, match=r"^drawn with compiled no, here yes: bytes may differ$"):
        compiled.replay(samples[0])
    with warnings.catch_warnings(action="error"):
        plain.replay(samples[0])
        compiled.replay(samples[1])
    elsewhere = samples[0].metadata.environment | {"threads": "64"}
    with pytest.warns(InputWarning, match=r"^drawn with threads 64, here \d+: bytes may differ$"):
        plain.replay(replace(samples[0].metadata, environment=elsewhere))


@pytest.mark.parametrize("family", ["sd", "sd3", "pixart", "sana", "stable_audio", "flux", "wan", "ltx"])
def test_the_blocks_of_every_family_are_compiled(family: str, tmp_path: Path) -> None:
    peer = made(import_module(f"integrations.test_foreign_{family}").pipe, tmp_path)
    net = peer.unet if family == "sd" else peer.transformer
    compile_blocks(net, backend="eager")
    found = [type(module).__name__ for module in net.modules() if module._compiled_call_impl is not None]
    assert found
    assert all("Block" in name for name in found)


def test_without_a_compiler_it_is_refused_at_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(InputError, match=r"compile: needs one of g\+\+, clang\+\+, cl on a CPU"):
        unnoise.load(folder, compile=True)


def test_a_plain_call_in_another_thread_ends_first(folder: Path) -> None:
    """The adapter of one thread stays applied where another has begun and ended in between."""
    _, compiled = both(folder)
    adapter = lora(compiled, False)
    drawn(compiled)
    expected = drawn(compiled, lora=adapter)
    with ActiveAdapters(compiled, [(adapter, 1.0)]).on():
        thread = Thread(target=drawn, args=(compiled,), kwargs={"lora": lora(compiled, False, 1)})
        thread.start()
        thread.join()
        assert torch.equal(drawn(compiled), expected)
