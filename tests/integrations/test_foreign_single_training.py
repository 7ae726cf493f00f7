"""What a single file, its metadata and the `.yaml` beside it state about the training of its network."""

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import EDMDPMSolverMultistepScheduler, EDMEulerScheduler
from safetensors.torch import save_file

import unnoise
from integrations import peers, test_foreign_single_sd, test_foreign_trained
from unnoise.diffusion.process import EDM, VP, Flow
from unnoise.errors import InputError, InputWarning
from unnoise.integrations.diffusers.export import export
from unnoise.integrations.diffusers.single.training import stated_resolution
from unnoise.loading import meta

V = 'model:\n  target: ldm.models.diffusion.ddpm.LatentDiffusion\n  params:\n    parameterization: "v"\n'
SGM = """
model:
  params:
    denoiser_config:
      target: sgm.modules.diffusionmodules.denoiser.{denoiser}
      params:
        scaling_config:
          target: sgm.modules.diffusionmodules.denoiser_scaling.{scaling}
          params: {{}}
        discretization_config:
          target: sgm.modules.diffusionmodules.discretizer.LegacyDDPMDiscretization
    sampler_config:
      params:
        discretization_config:
          params:
            sigma_min: 0.002
            sigma_max: 700.0
"""


def file_of(pipe: Any, path: Path, metadata: dict[str, str] | None = None, yaml: str = "", **markers: Any) -> Path:
    tensors = (test_foreign_single_sd.sdxl if hasattr(pipe, "text_encoder_2") else test_foreign_single_sd.sd1)(pipe)
    tensors |= {name.replace("__", "."): torch.tensor(value) for name, value in markers.items()}
    save_file({name: value.contiguous().clone() for name, value in tensors.items()}, path, metadata)
    if yaml:
        path.with_suffix(".yaml").write_text(yaml)
    return path


def edm_file(folder: Path, family: str = "sdxl", **how: Any) -> Path:
    return file_of(test_foreign_trained.edm_pipe(family), folder / "model.safetensors", **how)


@pytest.mark.parametrize("variant", ["playground-2.5", "cosxl"])
def test_a_file_with_markers_of_edm_equals_the_folder(tmp_path: Path, variant: str) -> None:
    vae = test_foreign_trained.PLAYGROUND if variant == "playground-2.5" else {"scaling_factor": 0.13025}
    pipe = test_foreign_trained.edm_pipe("sdxl", **vae)
    if variant == "cosxl":
        peer: Any = EDMEulerScheduler(sigma_data=1.0, sigma_max=100.0, sigma_min=0.01, prediction_type="v_prediction")
        markers: dict[str, Any] = {"edm_vpred__sigma_max": 100.0, "edm_vpred__sigma_min": 0.01}
    else:
        peer = EDMDPMSolverMultistepScheduler()
        each = {"edm_mean": vae["latents_mean"], "edm_std": vae["latents_std"]}
        markers = {marker: [[[[value]] for value in values]] for marker, values in each.items()}
    folder = test_foreign_trained.saved(pipe, peer, tmp_path / "model")
    file = file_of(pipe, tmp_path / "model.safetensors", **markers)
    one, whole = unnoise.load(file, components=folder), unnoise.load(folder)
    assert one.card.variant == variant
    assert one.card.kind == "v"
    assert one.denoiser.process.sigma_max == pytest.approx(whole.denoiser.process.sigma_max)
    how = {"seed": 1, "steps": 3, "size": 64, "schedule": [50.0, 5.0, 0.5, 0.0]}
    drawn = [pipeline.generate(peers.PROMPT, **how)[0] for pipeline in (one, whole)]
    peers.assert_close(drawn[0].x0, drawn[1].x0)
    peers.assert_same_images([drawn[0].image], [drawn[1].image])
    assert torch.equal(one.replay(drawn[0].metadata).x0, drawn[0].x0)
    assert meta(file, components=folder).card.process == one.card.process
    if variant == "cosxl":
        export(file, tmp_path / "out", components=folder)
        assert meta(tmp_path / "out").card.process == one.card.process


def test_statistics_of_channels_are_those_of_the_file_not_of_the_folder(tmp_path: Path) -> None:
    pipe = test_foreign_trained.edm_pipe("sdxl", scaling_factor=0.13025)
    plain = peers.saved(pipe, tmp_path / "plain")
    other = peers.saved(test_foreign_trained.edm_pipe("sdxl", **test_foreign_trained.PLAYGROUND), tmp_path / "other")
    channels = [[[[2.0]]] * 4]
    file = file_of(pipe, tmp_path / "file.safetensors", edm_mean=channels, edm_std=channels)
    space = meta(file, components=plain).card.space
    assert space.args == {"shift": [2.0] * 4, "scale": [2.0 / 0.5] * 4}
    file = file_of(pipe, tmp_path / "without.safetensors")
    space = meta(file, components=other).card.space
    assert space.args == {"shift": [0.0], "scale": [1 / 0.13025]}


def test_a_yaml_beside_the_file_says_what_it_predicts(tmp_path: Path) -> None:
    ours = meta(edm_file(tmp_path, "sd1", yaml=V + "    linear_start: 0.001\n    linear_end: 0.013\n    zsnr: True\n"))
    assert ours.denoiser.kind == "v"
    assert ours.denoiser.process == VP("scaled-linear", 1000, 0.001, 0.013, zero_snr=True)


@pytest.mark.parametrize(
    ("denoiser", "scaling", "process", "kind"),
    [
        ("DiscreteDenoiser", "EpsScaling", VP("scaled-linear", 1000, 0.00085, 0.012), "eps"),
        ("DiscreteDenoiser", "VScaling", VP("scaled-linear", 1000, 0.00085, 0.012), "v"),
        ("Denoiser", "VScalingWithEDMcNoise", EDM(1.0, 0.002, 700.0), "v"),
        ("Denoiser", "EDMScaling", EDM(0.5, 0.002, 700.0, 0.5), "v"),
    ],
)
def test_a_yaml_of_sgm_says_the_process(tmp_path: Path, denoiser: str, scaling: str, process: Any, kind: str) -> None:
    ours = meta(edm_file(tmp_path, yaml=SGM.format(denoiser=denoiser, scaling=scaling)))
    assert (ours.denoiser.process, ours.denoiser.kind) == (process, kind)


@pytest.mark.parametrize(
    ("yaml", "message"),
    [
        (SGM.format(denoiser="RFDenoiser", scaling="X"), r"model\.yaml: denoiser 'RFDenoiser'"),
        (SGM.format(denoiser="Denoiser", scaling="RFScaling"), r"model\.yaml: scaling 'RFScaling'"),
        (SGM.format(denoiser="DiscreteDenoiser", scaling="EDMScaling"), r"model\.yaml: scaling 'EDMScaling'"),
        (V.replace('"v"', "w"), r"model\.yaml: parameterization 'w'"),
        (V + "    linear_start: many\n", r"model\.yaml: linear_start 'many': a number above 0"),
        (V + "    zsnr: 1\n", "zsnr: one of true and false"),
        ("a: &x 1", r"model\.yaml:1: '&' is not supported.*; if this file is not the config of the model, rename it"),
    ],
)
def test_a_yaml_with_an_unknown_statement_is_refused(tmp_path: Path, yaml: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        meta(edm_file(tmp_path, yaml=yaml))


def test_statements_that_contradict_each_other_are_refused_or_decided(tmp_path: Path) -> None:
    file = edm_file(tmp_path, "sd1", metadata={"modelspec.prediction_type": "epsilon"}, yaml=V)
    with pytest.raises(InputError, match=r"model\.yaml states prediction_type v_prediction, and its metadata"):
        meta(file)
    assert meta(file, prediction_type="v").denoiser.kind == "v"
    with pytest.warns(InputWarning, match="prediction_type eps: .* states v_prediction; eps is used"):
        assert meta(file, prediction_type="eps").denoiser.kind == "eps"
    edm = edm_file(tmp_path, "sdxl", yaml=SGM.format(denoiser="DiscreteDenoiser", scaling="EpsScaling"), v_pred=1.0)
    with pytest.raises(InputError, match="its tensors states prediction_type v_prediction, and"):
        meta(edm)


@pytest.mark.parametrize(
    ("metadata", "kind", "zero"),
    [
        ({"modelspec.prediction_type": "v"}, "v", False),
        ({"modelspec.prediction_type": "Epsilon"}, "eps", False),
        ({"modelspec.prediction_type": "v", "ss_zero_terminal_snr": "True"}, "v", True),
        ({"modelspec.prediction_type": "flow"}, "flow", None),
    ],
)
def test_metadata_says_what_it_predicts(tmp_path: Path, metadata: dict[str, str], kind: str, zero: bool | None) -> None:
    ours = meta(edm_file(tmp_path, metadata=metadata))
    assert ours.denoiser.kind == kind
    if zero is None:
        assert ours.denoiser.process == Flow()
    else:
        assert ours.denoiser.process.zero_snr is zero


def test_metadata_that_is_unknown_or_of_another_model_is_refused_or_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"modelspec\.prediction_type 'w'"):
        meta(edm_file(tmp_path, metadata={"modelspec.prediction_type": "w"}))
    with pytest.warns(InputWarning, match=r"modelspec\.architecture 'flux-1-dev' is flux1, and its tensors are sdxl"):
        meta(edm_file(tmp_path, metadata={"modelspec.architecture": "flux-1-dev"}))
    with pytest.warns(InputWarning, match=r"modelspec\.encoder_layer '2': trained on an earlier layer"):
        meta(edm_file(tmp_path, "sd1", metadata={"modelspec.encoder_layer": "2"}))


def test_the_resolution_of_the_metadata_is_the_default_size(tmp_path: Path) -> None:
    assert meta(edm_file(tmp_path, metadata={"modelspec.resolution": "96x128"})).card.advice.sizes == ((96, 128),)
    for stated in ("1x1", "100x100", "big", "99999x8"):
        with pytest.warns(InputWarning, match=rf"modelspec\.resolution '{stated}': not used"):
            assert stated_resolution(Path("model"), {"modelspec.resolution": stated}) == {}


def test_the_size_of_an_edm_marker(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"tensor edm_vpred.sigma_max of \[2\]: one number is expected"):
        meta(edm_file(tmp_path, edm_vpred__sigma_max=[1.0, 2.0]))
