"""A single file is exported as a folder, from which diffusers generates what we generate from the file."""

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DiffusionPipeline

import unnoise
from integrations import (
    maker_names,
    peers,
    test_foreign_flux,
    test_foreign_sd,
    test_foreign_sdxl,
    test_foreign_single_sd as single,
)
from unnoise.cli.main import main
from unnoise.errors import InputError
from unnoise.integrations.diffusers.export import export

SIZE = 64


@pytest.mark.parametrize("case", ["sd1", "sd2", "sdxl"])
def test_diffusers_generates_from_the_folder_what_we_generate_from_the_file(tmp_path: Path, case: str) -> None:
    make, name, more = single.CASES[case]
    pipe = make(tmp_path)
    folder = peers.saved(pipe, tmp_path / "model")
    file = single.written(name(pipe), tmp_path / "model.safetensors")
    export(file, tmp_path / "out", folder, more.get("prediction_type"))
    ours, again = unnoise.load(file, components=folder, **more), unnoise.load(tmp_path / "out")
    assert again.card.fingerprint == ours.card.fingerprint
    assert (again.denoiser.process, again.denoiser.kind) == (ours.denoiser.process, ours.denoiser.kind)
    peer = DiffusionPipeline.from_pretrained(tmp_path / "out")
    peer.set_progress_bar_config(disable=True)
    noise = torch.randn(1, 4, SIZE // 8, SIZE // 8, generator=torch.Generator().manual_seed(3))
    how: dict[str, Any] = {"height": SIZE, "width": SIZE, "latents": noise, "num_inference_steps": 4}
    theirs = peer("a cat", negative_prompt="a dog", guidance_scale=3.0, **how).images
    grid = test_foreign_sd.levels(peer)
    mine = ours.generate(
        "a cat", negative_prompt="a dog", guidance_scale=3.0, sampler="ddim", schedule=grid, noise=noise, size=SIZE
    )
    peers.assert_same_images([mine[0].image], theirs)


def test_flux_is_exported_with_dynamic_shifting(tmp_path: Path) -> None:
    pipe = test_foreign_flux.pipe(tmp_path)
    folder = peers.saved(pipe, tmp_path / "model")
    state = maker_names.flux(pipe.transformer.state_dict())
    file = single.written(state, tmp_path / "flux.safetensors")
    export(file, tmp_path / "out", folder)
    peer = DiffusionPipeline.from_pretrained(tmp_path / "out")
    assert type(peer).__name__ == "FluxPipeline"
    assert peer.scheduler.config.use_dynamic_shifting
    own = pipe.transformer.state_dict()
    assert all(torch.equal(value, own[name]) for name, value in peer.transformer.state_dict().items())


def test_the_refiner_keeps_its_score(tmp_path: Path) -> None:
    folder = peers.saved(test_foreign_sdxl.pipe(tmp_path, refiner=True), tmp_path / "model")
    export(folder, tmp_path / "out")
    assert DiffusionPipeline.from_pretrained(tmp_path / "out").config.requires_aesthetics_score


def test_a_model_of_this_program_is_refused_with_reasons(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "emoji", str(tmp_path / "out")]) == 2
    err = capsys.readouterr().err
    assert "'emoji' has no counterpart in diffusers: UNet adds positions to x" in err
    assert "Autoencoder folds pixels" in err
    assert not (tmp_path / "out").exists()


def test_an_existing_folder_is_not_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = peers.saved(test_foreign_sd.pipe(tmp_path), tmp_path / "model")
    with pytest.raises(InputError, match="already exists; an export needs a new folder"):
        export(folder, folder)
    assert main(["export", str(folder), str(tmp_path / "out")]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "out")
