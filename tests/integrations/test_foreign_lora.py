"""A LoRA that was trained here on another maker's model opens in diffusers, and gives there what it gives here."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from adapters.test_lora_interchange import changes
from PIL import Image

import unnoise
from integrations import peers, test_foreign_flux, test_foreign_sd, test_foreign_sdxl
from unnoise.adapters.lora.inject import injected
from unnoise.adapters.lora.read import Adapter, layers_of, read
from unnoise.adapters.lora.targets import select_layers
from unnoise.adapters.lora.trainable import TrainableLora
from unnoise.data.dataset import ImageDataset
from unnoise.integrations.diffusers import onednn as packed
from unnoise.integrations.diffusers.flux import FluxNet
from unnoise.integrations.diffusers.onednn import pack
from unnoise.train.adapter_recipe import AdapterRecipe, LoraOptions
from unnoise.train.checkpoint_options import CheckpointOptions
from unnoise.train.fit_options import FitOptions
from unnoise.train.lora import train_lora
from unnoise.train.recipe import DataOptions
from unnoise.train.task import Progress


class Quiet:
    """Report nothing."""

    def opened(self, source: ImageDataset) -> None:
        pass

    def stage(self, name: str, total: int) -> None:
        pass

    def step(self, progress: Progress) -> None:
        pass

    def encoded(self, done: int, total: int) -> None:
        pass


@pytest.mark.filterwarnings("ignore:.*weight_norm. is deprecated:FutureWarning")
@pytest.mark.parametrize("gradient_checkpointing", [False, True])
@pytest.mark.parametrize("kind", [test_foreign_sd, test_foreign_sdxl])
def test_what_is_trained_opens_in_diffusers(tmp_path: Path, kind: Any, gradient_checkpointing: bool) -> None:
    torch.manual_seed(0)
    peer = kind.pipe(tmp_path)
    model = peers.saved(peer, tmp_path / "model")
    (tmp_path / "data").mkdir()
    for name in ("red", "green", "blue"):
        Image.new("RGB", (32, 32), name).save(tmp_path / f"data/{name}.png")
        (tmp_path / f"data/{name}.txt").write_text(peers.PROMPT)
    recipe = AdapterRecipe(
        "style", DataOptions(str(tmp_path / "data"), 32, 1), FitOptions(3, 2, 1e-2, 1), str(model),
        lora=LoraOptions(4, 2.0, ("attention", "text")), gradient_checkpointing=gradient_checkpointing,
        prompts=(peers.PROMPT,), checkpoints=CheckpointOptions(ema_every=1),
    )  # fmt: skip
    path = train_lora(recipe, tmp_path / "run", torch.device("cpu"), False, Quiet())
    pipeline = unnoise.load(model)
    adapter = read(path, pipeline)
    held = layers_of(pipeline, adapter.deltas)
    adapted = [root for root in ("unet", "text_encoder", "text_encoder_2") if getattr(peer, root, None) is not None]
    peer.load_lora_weights(str(path.parent), weight_name=path.name)
    found = {f"{root}.{name}": change for root in adapted for name, change in changes(getattr(peer, root)).items()}
    assert found.keys() == adapter.deltas.keys()
    for name, change in found.items():
        assert torch.allclose(adapter.deltas[name].change(held[name].weight), change, atol=1e-5)
    for root in adapted:
        assert max(float(change.abs().max()) for name, change in found.items() if name.startswith(root)) > 1e-4, root


def recipe_of(folder: Path, model: Path, **more: Any) -> AdapterRecipe:
    """A recipe of four steps on one image."""
    (folder / "data").mkdir()
    Image.effect_noise((32, 32), 60).convert("RGB").save(folder / "data/0.png")
    (folder / "data/0.txt").write_text(peers.PROMPT)
    settings = {"lora": LoraOptions(4, 2.0), "checkpoints": CheckpointOptions(ema_every=1), **more}
    return AdapterRecipe(
        "style", DataOptions(str(folder / "data"), 32, 1), FitOptions(4, 2, 1e-2, 1), str(model), **settings
    )


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_a_narrow_base_is_trained_on(tmp_path: Path, dtype: str) -> None:
    """What is learned from it is close to what is learned from the base in float32."""
    torch.manual_seed(0)
    model = peers.saved(test_foreign_sd.pipe(tmp_path), tmp_path / "model")
    options = LoraOptions(4, 2.0, ("attention", "convolution", "text"), dora=dtype == "float16")
    recipe = recipe_of(tmp_path, model, lora=options, prompts=(peers.PROMPT,))
    found = []
    for kind in ("float32", dtype):
        path = train_lora(replace(recipe, dtype=kind), tmp_path / kind, torch.device("cpu"), False, Quiet())
        assert len(list((tmp_path / kind / "adapter").glob("sheet-*.png"))) == 1
        pipeline = unnoise.load(model)
        adapter = read(path, pipeline)
        held = layers_of(pipeline, adapter.deltas)
        parts = [delta.change(held[name].weight).flatten() for name, delta in adapter.deltas.items()]
        found.append(torch.cat(parts))
    assert float(torch.nn.functional.cosine_similarity(*found, dim=0)) > 0.8
    assert float(found[0].norm()) > 1e-3


@pytest.mark.parametrize("guidance", [None, 3.5])
def test_a_network_that_takes_its_guidance_as_an_input_is_given_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, guidance: float | None
) -> None:
    torch.manual_seed(0)
    model = peers.saved(test_foreign_flux.pipe(tmp_path), tmp_path / "model")
    seen: list[Any] = []
    run = FluxNet.forward

    def noted(self: FluxNet, x: torch.Tensor, time: torch.Tensor, cond: Any) -> torch.Tensor:
        seen.append((x.requires_grad or torch.is_grad_enabled(), cond.distilled_guidance))
        return run(self, x, time, cond)

    monkeypatch.setattr(FluxNet, "forward", noted)
    recipe = recipe_of(tmp_path, model, prompts=("a",), distilled_guidance=guidance)
    train_lora(recipe, tmp_path / "run", torch.device("cpu"), False, Quiet())
    trained = [value.tolist() for grad, value in seen if grad]
    assert trained == [[guidance or 1.0] * 2] * 4


def test_a_layer_that_keeps_its_answer_keeps_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What layers keep of the text from step to step is not what adapters write to: worn is injected, base is base."""
    monkeypatch.setattr(packed, "LEAST", 1)  # tiny layers keep their answers too
    pipeline = unnoise.load(peers.saved(test_foreign_sd.pipe(tmp_path), tmp_path / "model"))
    pack(pipeline.adaptable()["unet"])
    torch.manual_seed(0)
    learned = TrainableLora(pipeline.adaptable(), select_layers(pipeline.adaptable(), ("attention",)), 4, 4.0)
    for up in learned.up:
        torch.nn.init.normal_(up, std=0.1)
    adapter = Adapter("random", learned.deltas())

    def drawn(**how: Any) -> torch.Tensor:
        return pipeline.generate(peers.PROMPT, seed=1, steps=4, guidance_scale=3.0, size=32, **how)[0].x0

    before, worn, after = drawn(), drawn(lora=adapter), drawn()
    with injected(pipeline, [(adapter, 1.0)]):
        merged = drawn()
    assert torch.equal(before, after)
    peers.assert_close(worn, merged)
    assert not torch.allclose(worn, before, atol=1e-2)
