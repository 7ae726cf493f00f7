"""Rows of one network call apply adapters with scales of their own, on our networks and on foreign ones."""

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from adapters.test_lora_hooks import adapter
from integrations import (
    peers,
    test_foreign_flux,
    test_foreign_sd,
    test_foreign_sd3,
    test_foreign_sdxl,
    test_foreign_wan,
)
from torch import Tensor

import unnoise
from unnoise.adapters.lora.hooks import ActiveAdapters, PerSampleLora
from unnoise.adapters.lora.read import Adapter
from unnoise.adapters.lora.targets import layers
from unnoise.adapters.lora.trainable import TrainableLora
from unnoise.card import Part
from unnoise.components import Components
from unnoise.diffusion.conditioning import Conditioning, collate
from unnoise.diffusion.denoiser import Denoiser
from unnoise.diffusion.guidance import cfg
from unnoise.errors import InputError

DIT = Part("DiT", {"channels": 4, "width": 64, "depth": 1, "context": 16, "vector": 16})
SIGMA, SIDE = 0.7, 64
SCALES = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 0.5], [0.3, -0.7]])
OWN_SCALES = (0.8, 1.5)  # of the adapters themselves
MODELS: dict[str, Callable[[Path], Components]] = {
    "unet": lambda _: tiny.pipeline(),
    "dit": lambda _: tiny.pipeline(replace(tiny.CARD, net=DIT)),
    "sd1": lambda folder: unnoise.load(peers.saved(test_foreign_sd.pipe(folder), folder / "model")),
    "sdxl": lambda folder: unnoise.load(peers.saved(test_foreign_sdxl.pipe(folder), folder / "model")),
    "sd3": lambda folder: unnoise.load(peers.saved(test_foreign_sd3.pipe(folder), folder / "model")),
    "flux1": lambda folder: unnoise.load(peers.saved(test_foreign_flux.pipe(folder), folder / "model")),
    "wan": lambda folder: unnoise.load(peers.saved(test_foreign_wan.pipe(second=True), folder / "model")),
}


def low_rank(components: Components, seed: int) -> Adapter:
    """Make a LoRA with random weights of every layer of the denoisers."""
    torch.manual_seed(seed)
    roots = {name: net for name, net in components.adaptable().items() if not name.startswith("text")}
    names = [f"{root}.{path}" for root, net in roots.items() for path, _ in layers(net)]
    trained = TrainableLora(roots, names, rank=2, alpha=2.0)
    for up in trained.up:
        torch.nn.init.normal_(up, std=0.05)
    return Adapter(f"random-{seed}", trained.deltas())


def conditioning(components: Components, prompts: list[str]) -> Conditioning:
    assert components.text_encoder is not None
    with torch.no_grad():
        cond = collate(components.text_encoder(prompts))
    guided = components.card.advice.distilled_guidance is not None
    return replace(cond, distilled_guidance=torch.full((len(prompts),), 3.5)) if guided else cond


def noise(components: Components) -> Tensor:
    frames = (5,) if components.card.modality == "video" else ()
    shape = components.space.shape(SIDE, SIDE, *frames)
    return torch.randn(len(SCALES), *shape, generator=torch.Generator().manual_seed(1))


def per_sample(components: Components, active: ActiveAdapters) -> Denoiser:
    denoiser = components.denoiser
    return Denoiser(PerSampleLora(denoiser.net, active), denoiser.process, denoiser.kind)


@pytest.mark.filterwarnings("ignore:.*weight_norm. is deprecated:FutureWarning")
@pytest.mark.parametrize("name", MODELS)
def test_each_row_has_the_output_that_it_has_alone(tmp_path: Path, name: str) -> None:
    components = MODELS[name](tmp_path)
    adapters = [low_rank(components, 5), low_rank(components, 6)]
    active = ActiveAdapters(components, list(zip(adapters, OWN_SCALES, strict=True)))
    # Two chunks of CLIP, so that tokens have a mask: SD3 then runs row by row. Wan runs each half of the levels alone.
    long = "a cat " * 40 if name in ("sd1", "sdxl", "sd3") else "a cat in a hat"
    prompts = ["a cat", long, "", "a cat"]
    cond, x = conditioning(components, prompts), noise(components)
    sigma = torch.tensor([0.5, 9.0, 0.7, 20.0])
    with torch.no_grad():
        plain = components.denoiser(x, sigma, cond)
        rows = per_sample(components, active)(x, sigma, replace(cond, adapter_scales=SCALES))
        assert (rows[0] - plain[0]).abs().max() <= 1e-6 * max(1.0, float(plain.abs().max())), "scale 0 is the base"
        for row in range(1, len(SCALES)):
            scales = [own * scale for own, scale in zip(OWN_SCALES, SCALES[row].tolist(), strict=True)]
            with ActiveAdapters(components, list(zip(adapters, scales, strict=True))).on():
                alone = components.denoiser(x[row : row + 1], sigma[row : row + 1], cond.rows([row]))
            size = max(1.0, float(alone.abs().max()))
            assert (rows[row] - alone[0]).abs().max() <= 2e-5 * size
            assert (rows[row] - plain[row]).abs().max() > 1e-3 * size, "an adapter without effect tests nothing"


@pytest.mark.parametrize("name", ["unet", "sd1"])
def test_rows_keep_their_scales_under_guidance(tmp_path: Path, name: str) -> None:
    """A batch with guidance holds each row twice, with and without the prompt."""
    components = MODELS[name](tmp_path)
    active = ActiveAdapters(components, [(low_rank(components, 5), 1.0)])
    cond, null = conditioning(components, ["a cat"] * 4), conditioning(components, [""] * 4)
    x, sigma, scales = noise(components), torch.full((4,), SIGMA), torch.tensor([[0.0], [1.0], [0.5], [-1.0]])
    model = per_sample(components, active)
    with torch.no_grad():
        plain = cfg(components.denoiser, cond, null, 3.0)(x, sigma)
        pair = replace(cond, adapter_scales=scales), replace(null, adapter_scales=scales)
        rows = cfg(model, *pair, 3.0)(x, sigma)
        assert (rows[0] - plain[0]).abs().max() <= 1e-6 * max(1.0, float(plain.abs().max()))
        for row in range(1, 4):
            index = [row]
            alone = cfg(model, pair[0].rows(index), pair[1].rows(index), 3.0)(x[index], sigma[index])
            assert (rows[row] - alone[0]).abs().max() <= 2e-5 * max(1.0, float(alone.abs().max()))
            assert (rows[row] - plain[row]).abs().max() > 1e-3


def test_adapters_of_every_kind_are_off_at_scale_0() -> None:
    components = tiny.pipeline()
    kinds = ("low", "loha", "lokr", "full", "dora")
    active = ActiveAdapters(components, [(adapter(components, kind, k, ("net",)), 1.0) for k, kind in enumerate(kinds)])
    cond, x, sigma = conditioning(components, ["a cat"] * 4), noise(components), torch.full((4,), SIGMA)
    scales = torch.zeros(4, len(kinds))
    scales[3] = 0.5
    with torch.no_grad():
        plain = components.denoiser(x, sigma, cond)
        rows = per_sample(components, active)(x, sigma, replace(cond, adapter_scales=scales))
    assert (rows[:3] - plain[:3]).abs().max() <= 1e-6 * max(1.0, float(plain.abs().max()))
    assert (rows[3] - plain[3]).abs().max() > 1e-3


def test_one_set_of_adapters_serves_two_threads_at_once() -> None:
    """Both threads are inside `on()` together: a layer adds its branch once, not once for each thread."""
    components = tiny.pipeline()
    active = ActiveAdapters(components, [(low_rank(components, 5), 1.0)])
    cond, x, sigma = conditioning(components, ["a cat"] * 4), noise(components), torch.full((4,), SIGMA)
    with torch.no_grad(), active.on():
        expected = components.denoiser(x, sigma, cond)
    inside, results = threading.Barrier(2), []

    def run() -> None:
        with torch.no_grad(), active.on():
            inside.wait(10)
            results.append(components.denoiser(x, sigma, cond))
            inside.wait(10)

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 2
    assert all(torch.equal(result, expected) for result in results)
    assert not any(module._forward_hooks for module in components.denoiser.modules())


def test_hooks_are_registered_once_for_nested_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each network call enters `on()`; within an outer block that registers nothing."""
    components = tiny.pipeline()
    one = low_rank(components, 5)
    active = ActiveAdapters(components, [(one, 1.0)])
    count = 0
    register = torch.nn.Module.register_forward_hook

    def counted(module: torch.nn.Module, *args: Any, **more: Any) -> Any:
        nonlocal count
        count += 1
        return register(module, *args, **more)

    monkeypatch.setattr(torch.nn.Module, "register_forward_hook", counted)
    with active.on():
        for _ in range(3):
            with active.on(torch.ones(1, 1)):
                pass
    assert count == len(one.deltas)


@pytest.mark.parametrize("shape", [(4,), (4, 1), (4, 3), (4, 2, 1)])
def test_scales_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    components = tiny.pipeline()
    active = ActiveAdapters(components, [(low_rank(components, 5), 1.0), (low_rank(components, 6), 1.0)])
    cond = replace(conditioning(components, ["a cat"] * 4), adapter_scales=torch.ones(shape))
    with pytest.raises(InputError, match=r"adapter_scales \(4.*\): \(B, 2\), one for each row and adapter"):
        per_sample(components, active)(noise(components), torch.full((4,), SIGMA), cond)
