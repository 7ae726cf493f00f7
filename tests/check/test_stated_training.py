"""A scheduler of EDM and the `.yaml` of a checkpoint count in `check`, as files that state how a model was trained."""

import json
from pathlib import Path
from typing import Any

import pytest

from unnoise.check.read.stated_training import trained_as, with_stated
from unnoise.check.references import load_subjects
from unnoise.check.rules.model import v_prediction_run_as_eps
from unnoise.families.identity import Identity

SCRIPT = """
from diffusers import StableDiffusionPipeline
pipe = StableDiffusionPipeline.from_single_file("model.safetensors")
pipe("a cat")
"""
YAML = "model:\n  target: ldm.models.diffusion.ddpm.LatentDiffusion\n  params:\n    parameterization: {}\n"


@pytest.mark.parametrize(
    ("found", "settings", "expected"),
    [
        (("sdxl", "base"), {"_class_name": "EDMEulerScheduler"}, ("playground-2.5", "")),
        (("sdxl", ""), {"_class_name": "EDMEulerScheduler", "prediction_type": "v_prediction"}, ("cosxl", "v")),
        (("sdxl", "inpaint"), {"_class_name": "EDMEulerScheduler"}, ("inpaint", "")),
        (("sdxl", "base"), {"_class_name": "DDIMScheduler", "prediction_type": "v_prediction"}, ("base", "v")),
        (("sd1", ""), {"prediction_type": ["v_prediction"], "rescale_betas_zero_snr": 1}, ("", "")),
    ],
)
def test_settings_of_a_scheduler(found: tuple[str, str], settings: dict[str, Any], expected: tuple[str, str]) -> None:
    read = trained_as(Identity(*found), settings)
    assert (read.variant, read.prediction, read.zero_snr) == (*expected, False)


@pytest.mark.parametrize(("stated", "count"), [('"v"', 1), ("eps", 0), ("nonsense", 0)])
def test_a_script_that_runs_a_v_file_as_eps(tmp_path: Path, stated: str, count: int) -> None:
    (tmp_path / "s.py").write_text(SCRIPT)
    (tmp_path / "model.yaml").write_text(YAML.format(stated))
    (subject,) = load_subjects([tmp_path / "s.py"])
    assert len(list(v_prediction_run_as_eps.check(subject))) == count


def test_a_yaml_adds_to_what_the_tensors_show_and_never_changes_it(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(YAML.format("v"))
    file = tmp_path / "a.safetensors"
    assert with_stated(Identity("sdxl", "base"), file).prediction == "v"
    assert with_stated(Identity("sd2", prediction="eps"), file).prediction == "eps"
    assert with_stated(Identity(), file).family == "sd1"
    assert with_stated(Identity(), tmp_path / "b.safetensors") == Identity()


def test_a_folder_of_edm_is_known(tmp_path: Path) -> None:
    unet = {"_class_name": "UNet2DConditionModel", "cross_attention_dim": 2048, "addition_embed_type": "text_time"}
    schedule = {"_class_name": "EDMDPMSolverMultistepScheduler", "prediction_type": "epsilon"}
    index = {
        "_class_name": "StableDiffusionXLPipeline", "unet": ["diffusers", "UNet2DConditionModel"],
        "scheduler": ["diffusers", "EDMDPMSolverMultistepScheduler"],
    }  # fmt: skip
    for name, content in (("unet/config", unet), ("scheduler/scheduler_config", schedule), ("model_index", index)):
        (tmp_path / f"{name}.json").parent.mkdir(exist_ok=True)
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    (subject,) = load_subjects([tmp_path])
    (model,) = subject.models
    assert (model.identity.family, model.identity.variant) == ("sdxl", "playground-2.5")
    assert model.facts is not None
    assert model.facts.process == "edm"
