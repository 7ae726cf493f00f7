"""Training with foreign models: their autoencoder, frozen, in a model of ours; their whole denoiser, fine-tuned."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL, AutoencoderTiny
from PIL import Image

import unnoise
from integrations import peers, test_foreign_flux, test_foreign_sd
from unnoise.card import Part
from unnoise.cli.main import main
from unnoise.errors import InputError
from unnoise.formats.header import read_header
from unnoise.integrations.diffusers import table
from unnoise.train import finetune
from unnoise.train.fit_options import FitOptions
from unnoise.train.other_models import frozen_autoencoder
from unnoise.train.recipe import AutoencoderOptions, DataOptions, DenoiserOptions, TrainingRecipe
from unnoise.train.train_recipe import train_recipe


class Nothing:
    """A report of nothing."""

    def __getattr__(self, name: str) -> object:
        return lambda *arguments: None


def pictures(folder: Path, captions: bool) -> Path:
    folder.mkdir()
    for name in ("red", "green", "blue"):
        Image.effect_noise((32, 32), 60).convert("RGB").save(folder / f"{name}.png")
        if captions:
            (folder / f"{name}.txt").write_text(peers.PROMPT)
    return folder


def kl(**more: Any) -> Any:
    torch.manual_seed(0)
    return peers.spread(
        AutoencoderKL(
            block_out_channels=[16, 16], down_block_types=["DownEncoderBlock2D"] * 2, latent_channels=4,
            up_block_types=["UpDecoderBlock2D"] * 2, norm_num_groups=8, scaling_factor=0.5, **more,
        )
    )  # fmt: skip


def tiny() -> Any:
    torch.manual_seed(0)
    return AutoencoderTiny(
        encoder_block_out_channels=(16, 16), decoder_block_out_channels=(16, 16), num_encoder_blocks=(1, 1),
        num_decoder_blocks=(1, 1),
    )  # fmt: skip


def recipe_of(data: Path, source: Path) -> TrainingRecipe:
    net = Part("UNet", {"channels": 4, "widths": [32, 32], "depths": [1, 1], "heads": [0, 0]})
    return TrainingRecipe(
        "latents",
        DataOptions(str(data), 32, 1, captions="none", validation=0.0),
        DenoiserOptions(FitOptions(4, 2, warmup=1), net, Part("Flow")),
        AutoencoderOptions(source=str(source)),
    )


@pytest.mark.parametrize("make", [lambda: kl(shift_factor=0.1), tiny], ids=["kl", "tiny"])
def test_one_file_holds_a_frozen_autoencoder(tmp_path: Path, make: Any) -> None:
    vae = make()
    vae.save_pretrained(tmp_path / "vae")
    recipe = recipe_of(pictures(tmp_path / "data", False), tmp_path / "vae")
    path = train_recipe(recipe, tmp_path / "run", torch.device("cpu"), False, Nothing())  # type: ignore[arg-type]
    pipeline = unnoise.load(path)
    assert pipeline.card.autoencoder is not None
    assert pipeline.card.autoencoder.class_ == type(vae).__name__
    assert pipeline.card.training["autoencoder"] == "vae"
    held: Any = pipeline.networks()["autoencoder"]
    for name, value in vae.state_dict().items():
        assert torch.equal(held.vae.state_dict()[name], value.half().float()), name
    sample = pipeline.generate(steps=2, seed=1, progress=False)[0]
    sample.save(tmp_path / "a.png")
    assert torch.equal(pipeline.replay(tmp_path / "a.png").x0, sample.x0)
    again = frozen_autoencoder(str(path))
    assert (again.own, again.part) == (True, pipeline.card.autoencoder)
    assert not [name for name in read_header(path).tensors if not name.startswith(("net.", "autoencoder."))]


def test_an_autoencoder_is_found_in_a_model_in_a_folder_and_in_a_file(tmp_path: Path) -> None:
    model = peers.saved(test_foreign_sd.pipe(tmp_path), tmp_path / "model")
    for path in (model, model / "vae"):
        assert frozen_autoencoder(str(path)).part.class_ == "AutoencoderKL"
    (tmp_path / "empty").mkdir()
    for path, message in (
        (tmp_path / "empty", "has neither model_index.json nor config.json"),
        (model / "unet", "its autoencoder is a UNet2DConditionModel; images need one of AutoencoderKL"),
        (model / "vae/diffusion_pytorch_model.safetensors", "an autoencoder without its config; name the folder"),
        (model / "unet/diffusion_pytorch_model.safetensors", "has no autoencoder|not recognised"),
    ):
        with pytest.raises(InputError, match=message):
            frozen_autoencoder(str(path))


def test_without_diffusers_it_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kl().save_pretrained(tmp_path / "vae")
    monkeypatch.setattr(table, "import_module", lambda name: (_ for _ in ()).throw(ImportError(f"No module {name}")))
    with pytest.raises(InputError, match=r"install them: pip install 'unnoise\[diffusers\]'"):
        frozen_autoencoder(str(tmp_path / "vae")).load(torch.device("cpu"))


CASE = Path(__file__).resolve().parents[2] / "recipes/cases/finetune.toml"


def fine_tuning(data: Path, model: Path, recompute: str) -> str:
    """Return the recipe of the case, made small."""
    text = CASE.read_text()
    for old, new in (
        ('"pictures"', f'"{data}"'), ('"stable-diffusion-v1-5"', f'"{model}"'), ("512", "32"),
        ("steps = 1000", "steps = 3"), ("warmup = 100", "warmup = 1"), ("1e-5", "1e-2"),
        ("checkpointing = true", f"checkpointing = {recompute}"),
        ('name = "finetune"', f'name = "tuned"\nprompts = ["{peers.PROMPT}"]\ncheckpoints = {{ ema_every = 1 }}'),
    ):  # fmt: skip
        assert old in text
        text = text.replace(old, new)
    return text


@pytest.mark.parametrize(("kind", "recompute"), [(test_foreign_sd, "true"), (test_foreign_flux, "false")])
def test_a_whole_denoiser_is_fine_tuned(
    tmp_path: Path, kind: Any, recompute: str, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.manual_seed(0)
    model, recipe = peers.saved(kind.pipe(tmp_path), tmp_path / "model"), tmp_path / "tuned.toml"
    data = pictures(tmp_path / "data", True)
    recipe.write_text(fine_tuning(data, model, recompute))
    assert main(["train", str(recipe), "--out", str(tmp_path / "run")]) == 0
    said = capsys.readouterr()
    assert "gradients" in said.err
    assert str(tmp_path / "run/tuned") in said.out
    base, tuned = unnoise.load(model), unnoise.load(tmp_path / "run/tuned")
    assert (tuned.card.family, tuned.denoiser.kind) == (base.card.family, base.denoiser.kind)
    assert tuned.denoiser.process == base.denoiser.process
    for name, net in base.diffusers_networks.items():
        pairs = zip(net.state_dict().values(), tuned.diffusers_networks[name].state_dict().values(), strict=True)
        most = max(float((one - other).abs().max()) for one, other in pairs)
        assert (most > 1e-3) == (name in ("unet", "transformer")), name
    assert tuned.generate(peers.PROMPT, steps=2, size=32, progress=False)[0].image.size == (32, 32)
    assert '"base": "model ' in (tmp_path / "run/tuned/training.json").read_text()


def test_a_fine_tuning_is_refused_before_it_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model, recipe = peers.saved(test_foreign_sd.pipe(tmp_path), tmp_path / "model"), tmp_path / "tuned.toml"
    text = fine_tuning(pictures(tmp_path / "data", True), model, "false")
    for old, new, message in (
        ("[denoiser]", '[denoiser]\nkind = "v"', r"denoiser.kind: denoiser.init .* is a model of another program"),
        ("[denoiser]", "[autoencoder]\n[denoiser]", r"autoencoder: denoiser.init .* has its own; leave this table out"),
        ("size = 32", "size = 32\nchannels = 1", r"data.channels 1: the autoencoder of denoiser.init decodes colour"),
        ("size = 32", "size = 33", r"data.size 33: a multiple of"),
    ):
        recipe.write_text(text.replace(old, new, 1))
        assert main(["train", str(recipe), "--out", str(tmp_path / "run")]) == 2, new
        error = capsys.readouterr().err.strip().splitlines()[-1]
        assert re.search(message, error), error
    recipe.write_text(text)
    monkeypatch.setattr(finetune, "available", lambda device: 10_000_000)
    assert main(["train", str(recipe), "--out", str(tmp_path / "run")]) == 2
    error = capsys.readouterr().err
    assert "its training needs" in error
    assert "10 MB are free on cpu; use gradient_checkpointing = true" in error
    assert not (tmp_path / "run").exists()


def test_the_estimate_counts_each_part(tmp_path: Path) -> None:
    from unnoise.train.finetune_recipe import FineTuneOptions, FineTuneRecipe

    pipe = test_foreign_sd.pipe(tmp_path)
    model = peers.saved(pipe, tmp_path / "model")
    options = FineTuneOptions(str(model), FitOptions(4, 2))
    recipe = FineTuneRecipe("tuned", DataOptions("emoji", 64), options)
    memory = finetune.finetune_memory(recipe)
    trained = 4 * sum(one.numel() for one in pipe.unet.parameters())
    assert (memory.gradients, memory.moments, memory.averages) == (trained, 2 * trained, 3 * trained)
    twice = replace(recipe, denoiser=replace(options, fit=FitOptions(4, 4)))
    assert finetune.finetune_memory(twice).activations == pytest.approx(2 * memory.activations, rel=0.05)
