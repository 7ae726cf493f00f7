"""A LoRA that was trained here on another maker's model opens in diffusers, and gives there what it gives here."""

from pathlib import Path
from typing import Any

import pytest
import torch
from adapters.test_lora_interchange import changes
from PIL import Image

import unnoise
from integrations import peers, test_foreign_sd, test_foreign_sdxl
from unnoise.adapters.lora.inject import injected
from unnoise.adapters.lora.read import Adapter, layers_of, read
from unnoise.adapters.lora.targets import select_layers
from unnoise.adapters.lora.trainable import TrainableLora
from unnoise.data.dataset import ImageDataset
from unnoise.data.view import Augment
from unnoise.integrations.diffusers import onednn as packed
from unnoise.integrations.diffusers.onednn import pack
from unnoise.train.adapter_recipe import AdapterRecipe, LoraOptions
from unnoise.train.loop import Progress
from unnoise.train.lora import train_lora
from unnoise.train.recipe import CheckpointOptions, DataOptions, OptimizerOptions


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
    still = Augment(background=0.0, move=0.0, shift=0.0, scale=0.0, hue=0.0)
    recipe = AdapterRecipe(
        "style", DataOptions(str(tmp_path / "data"), 32, 1, augment=still), OptimizerOptions(3, 2, 1e-2, 1), str(model),
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
