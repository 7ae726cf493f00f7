"""Configurations of training programs: kohya_ss GUI, ai-toolkit, OneTrainer, SimpleTuner, and scripts of diffusers."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st

from unnoise.check.engine import judge
from unnoise.check.examples import command
from unnoise.check.locate import locate
from unnoise.check.read.dispatch import read_text
from unnoise.check.read.trainers.scripts import COPY, EXAMPLES, SD_SCRIPTS, family_of, is_script
from unnoise.check.read.yaml_settings import yaml_settings
from unnoise.check.rule import WARN
from unnoise.check.subject import Subject, Training


def read_json(content: dict[str, Any]) -> Subject:
    return read_text(json.dumps(content, indent=2), Path("config.json"))


def only(subject: Subject) -> Training:
    assert not subject.faults
    (training,) = subject.trainings
    return training


def values(training: Training, *keys: str) -> list[object]:
    return [setting.value if (setting := training.get(key)) else None for key in keys]


def family(training: Training) -> str:
    return training.base.identity.family if training.base else ""


def warnings(subject: Subject) -> list[str]:
    return [one.rule.id for one in judge(subject) if one.grade >= WARN]


def shown(subject: Subject, training: Training, key: str) -> str:
    """Return the text at the place of a setting."""
    text = subject.texts[subject.path]
    place = locate(training.settings[key].place, text)
    assert place.line is not None
    return text.splitlines()[place.line - 1][place.column : place.end_column]


GUI: dict[str, Any] = {
    "LoRA_type": "Standard",
    "pretrained_model_name_or_path": "D:/models/mine.safetensors",
    "max_resolution": "1024,1024",
    "learning_rate": "0.0001",
    "text_encoder_lr": 0.0,
    "unet_lr": 5e-05,
    "network_dim": 32,
    "network_alpha": "16",
    "optimizer": "AdamW8bit",
    "lr_warmup": 10,
    "min_snr_gamma": 0,
    "mixed_precision": "bf16",
    "num_cpu_threads_per_process": 2,
    "caption_dropout_rate": 0.1,
    "guidance_scale": 3.5,
    "timestep_sampling": "sigma",
    "sdxl": True,
    "sdxl_no_half_vae": True,
    "seed": "",
}


def test_the_gui_of_kohya() -> None:
    subject = read_json(GUI)
    training = only(subject)
    assert (training.tool, family(training)) == ("kohya", "sdxl")
    keys = ("resolution", "learning_rate", "unet_lr", "network_dim", "network_alpha", "optimizer_type", "no_half_vae")
    assert values(training, *keys) == ["1024,1024", 1e-4, 5e-5, 32, 16, "AdamW8bit", True]
    assert not {"text_encoder_lr", "min_snr_gamma", "lr_warmup", "guidance_scale", "timestep_sampling", "seed"} & set(
        training.settings
    )
    assert shown(subject, training, "resolution") == '"1024,1024"'
    assert not warnings(subject)


def test_script_of_diffusers_by_its_options() -> None:
    line = "accelerate launch train_textual_inversion.py --pretrained_model_name_or_path a --train_data_dir b "
    assert only(command(f"{line} --placeholder_token me --initializer_token girl")).tool == "diffusers"
    assert only(command(f"{line} --token_string me --init_word girl")).tool == "kohya"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"sdxl": False}, "sd1"),
        ({"sdxl": False, "v2": True}, "sd2"),
        ({"sdxl": False, "flux1_checkbox": True, "LoRA_type": "Flux1"}, "flux1"),
        ({"sdxl": False, "flux1_checkbox": True, "model_type": "chroma"}, "chroma"),
        ({"pretrained_model_name_or_path": "stabilityai/stable-diffusion-xl-base-1.0"}, "sdxl"),
        ({"pretrained_model_name_or_path": ""}, "sdxl"),
        ({"pretrained_model_name_or_path": "dreamshaper_8.safetensors", "sdxl": False}, "sd1"),
    ],
)
def test_the_family_in_the_gui(changes: dict[str, Any], expected: str) -> None:
    assert family(only(read_json({**GUI, **changes}))) == expected


def test_faults_of_a_configuration_of_the_gui() -> None:
    changes = {"sdxl": False, "flux1_checkbox": True, "LoRA_type": "Flux1", "min_snr_gamma": 5}
    changes |= {"pretrained_model_name_or_path": "flux1-dev.safetensors"}
    subject = read_json({**GUI, **changes})
    assert sorted(warnings(subject)) == ["UN503", "UN514"]
    fixed = read_json({**GUI, **changes, "min_snr_gamma": 0, "guidance_scale": 1})
    assert not warnings(fixed)


JOB = """---
job: extension
config:
  # the name of the folder
  name: "ink_v1"
  process:
    - type: 'sd_trainer'
      device: cuda:0  # or cpu
#      trigger_word: "ink"
      network:
        type: "lora"
        linear: 16
        linear_alpha: 8
      datasets:
        - folder_path: "/data/it's here"
          caption_dropout_rate: 0.05
          resolution: [ 512, 768, 1024 ]  # several
        - folder_path: 'more ''ink'''
      train:
        batch_size: 2
        lr: 1e-4
        steps: 2000
        optimizer: "adamw8bit"
        ema_config:
          use_ema: true
      model:
        name_or_path: "black-forest-labs/FLUX.1-{}"
        is_flux: true
        {}
      sample:
        prompts:
          - "a cat, \\"ink\\" style"
          - a dog
        long: |
          job: other
          train:
            lr: 5
        neg: ""
meta:
  version: '1.0'
"""


def job(model: str = "dev", more: str = "quantize: true") -> Subject:
    return read_text(JOB.format(model, more), Path("train.yaml"))


def test_ai_toolkit() -> None:
    subject = job()
    training = only(subject)
    assert (training.tool, family(training)) == ("ai-toolkit", "flux1")
    keys = ("network_dim", "network_alpha", "learning_rate", "train_batch_size", "max_train_steps", "resolution")
    assert values(training, *keys) == [16, 8, 1e-4, 2, 2000, 1024]
    assert values(training, "train.lr", "datasets.1.folder_path", "train.ema_config.use_ema") == [
        1e-4,
        "more 'ink'",
        True,
    ]
    places = [shown(subject, training, key) for key in ("network_dim", "learning_rate", "resolution", "type")]
    assert places == ["16", "1e-4", "[ 512, 768, 1024 ]", "'sd_trainer'"]
    assert values(training, "sample.prompts") == [['a cat, "ink" style', "a dog"]]
    assert not warnings(subject)


def test_sizes_in_a_list() -> None:
    text = JOB.format("dev", "").replace(
        "resolution: [ 512, 768, 1024 ]", "resolution:\n            - 512\n            - 768"
    )
    training = only(read_text(text, Path("train.yml")))
    assert values(training, "resolution", "datasets.0.resolution") == [768, [512, 768]]
    place = training.settings["resolution"].place
    assert (place.line, place.column, place.end_line, place.end_column) == (18, 14, 19, 17)


def test_a_step_distilled_base_needs_an_adapter() -> None:
    assert warnings(job("schnell")) == ["UN516"]
    assert warnings(job("schnell", "assistant_lora_path: ostris/FLUX.1-schnell-training-adapter")) == []


@pytest.mark.parametrize(
    ("arch", "expected"), [("sdxl", "sdxl"), ("wan22_14b:t2v", "wan"), ("zimage", "z-image"), ("flex1", "unknown")]
)
def test_the_family_of_a_job(arch: str, expected: str) -> None:
    process = {"type": "sd_trainer", "train": {"lr": 1e-4}, "model": {"name_or_path": "/models/own", "arch": arch}}
    assert family(only(read_json({"job": "extension", "config": {"process": [process]}}))) == expected


def test_a_job_that_draws_is_no_training() -> None:
    text = "job: generate\nconfig:\n  process:\n    - type: to_folder\n      model:\n        name_or_path: x\n"
    assert [one.kind for one in read_text(text, Path("a.yaml")).faults] == ["unknown"]


ONE: dict[str, Any] = {
    "training_method": "LORA",
    "model_type": "STABLE_DIFFUSION_XL_10_BASE",
    "base_model_name": "models/own.safetensors",
    "learning_rate": 0.0003,
    "lora_rank": 16,
    "lora_alpha": 1.0,
    "batch_size": 4,
    "resolution": "512,1024",
    "unet": {"train": True, "learning_rate": 1e-4},
    "text_encoder": {"train": False, "learning_rate": None},
    "optimizer": {"optimizer": "ADAMW"},
}


def test_onetrainer() -> None:
    subject = read_json(ONE)
    training = only(subject)
    assert (training.tool, family(training)) == ("onetrainer", "sdxl")
    keys = (
        "network_dim",
        "network_alpha",
        "learning_rate",
        "unet_lr",
        "text_encoder_lr",
        "resolution",
        "optimizer_type",
    )
    assert values(training, *keys) == [16, 1.0, 3e-4, 1e-4, None, 1024, "ADAMW"]
    assert shown(subject, training, "unet_lr") == "0.0001"
    whole = only(read_json({**ONE, "training_method": "FINE_TUNE", "model_type": "FLUX_DEV_1"}))
    assert values(whole, "network_dim", "lora_rank") == [None, 16]
    assert family(whole) == "flux1"


SIMPLE: dict[str, Any] = {
    "--model_type": "lora",
    "--model_family": "sd3",
    "--pretrained_model_name_or_path": "stabilityai/stable-diffusion-3.5-large",
    "--data_backend_config": "config/data.json",
    "--learning_rate": 1e-4,
    "--lora_rank": 64,
    "--lora_alpha": 64,
    "--resolution": 1024,
    "--train_batch_size": 6,
}


@pytest.mark.parametrize("dashes", ["--", ""])
def test_simpletuner(dashes: str) -> None:
    subject = read_json({key.replace("--", dashes): value for key, value in SIMPLE.items()})
    training = only(subject)
    assert (training.tool, family(training)) == ("simpletuner", "sd3")
    assert values(training, "network_dim", "learning_rate", "resolution", "train_batch_size") == [64, 1e-4, 1024, 6]
    assert shown(subject, training, "network_dim") == "64"


def test_simpletuner_by_family_and_area() -> None:
    content = {"model_family": "flux", "model_type": "lora", "learning_rate": 1e-4, "resolution": 1.0}
    training = only(read_json({**content, "lora_type": "lycoris", "lora_rank": 16}))
    assert family(training) == "flux1"
    assert values(training, "resolution", "network_dim", "resolution.megapixels") == [None, None, 1.0]
    schnell = {**content, "pretrained_model_name_or_path": "black-forest-labs/FLUX.1-schnell"}
    assert not warnings(read_json(schnell))  # it loads a training adapter by itself


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("train_controlnet_flux.py", "flux1"),
        ("train_dreambooth_lora_sd3.py", "sd3"),
        ("train_dreambooth_lora_sana.py", "sana"),
        ("train_dreambooth_lora_flux2_klein.py", "flux2"),
        ("train_control_cogview4.py", "cogview4"),
        ("train_cogvideox_lora.py", "cogvideox"),
        ("train_text_to_image_lora_sdxl.py", "sdxl"),
        ("train_text_to_image_lora_flux.py", "flux1"),
        ("train_dreambooth_lora_sd35.py", "sd3"),
        ("train_controlnet_sdxl_own.py", "sdxl"),
        ("train_dreambooth_b-lora_sdxl.py", "sdxl"),
        ("train_dreambooth_own.py", "unknown"),
        ("train_text_to_image_xla.py", "unknown"),
    ],
)
def test_scripts_of_diffusers(script: str, expected: str) -> None:
    training = only(command(f"accelerate launch {script} --pretrained_model_name_or_path=./own --rank=4"))
    assert (training.tool, training.script, family(training)) == ("diffusers", script, expected)


def test_the_base_of_kandinsky() -> None:
    line = "python train_text_to_image_prior.py --pretrained_prior_model_name_or_path=warp-ai/wuerstchen-prior"
    assert family(only(command(line))) == "cascade"


@pytest.mark.parametrize(
    "name", ["train.py", "train_flux.py", "train_gpt2.py", "test_dreambooth_lora.py", "dreambooth.py"]
)
def test_other_scripts(name: str) -> None:
    assert not is_script(name)


def test_the_teacher_of_a_distillation() -> None:
    line = "accelerate launch train_sana_sprint_diffusers.py --pretrained_model_name_or_path=out/SANA_Sprint_{}1.6B"
    assert not warnings(command(line.format("teacher_")))
    assert warnings(command(line.format(""))) == ["UN516"]


def test_a_fine_tune_is_a_base() -> None:
    line = "python train_text_to_image_lora.py --pretrained_model_name_or_path Lykon/dreamshaper-8"
    assert family(only(command(line))) == "sd1"
    line = "python {} --pretrained_model_name_or_path realisticVisionV51_v51VAE.safetensors"
    assert family(only(command(line.format("train_text_to_image_lora.py")))) == "sd1"
    # a script that trains one family is stronger evidence than a name of the table
    assert family(only(command(line.format("sdxl_train_network.py")))) == "sdxl"


def test_names_of_copies_do_not_hide_known_scripts() -> None:
    for script, known in {**SD_SCRIPTS, **EXAMPLES}.items():
        assert family_of(script) == known
        if COPY.fullmatch(script) and known:
            assert family_of(script.replace(".py", "_own.py")) in (known, "")


YAML = {
    "a: 1": {"a": 1},
    "a:\n  b: x  # y\n  c:\n    - 1\n    - two": {"a.b": "x", "a.c": [1, "two"]},
    "a:\n- b: 1\n  c: 2\n- b: 3": {"a.0.b": 1, "a.0.c": 2, "a.1.b": 3},
    "- a: 1\n- - 2\n  - 3": {"0.a": 1, "1": [2, 3]},
    "a: >-\n  b: 1\n\n  c: 2\nd: ~": {"d": None},
    "a: {b: 1}\nc: &x 2\nd: *x": {"a": "{b: 1}", "c": "&x 2", "d": "*x"},
    "a: 'it''s' # b\nb: \"x # y\"": {"a": "it's", "b": "x # y"},
    "a: [1, 'b, c', []]": {"a": [1, "b, c", []]},
    'a: yes\nb: http://x/y:z\n"c d": 1e-4': {"a": True, "b": "http://x/y:z", "c d": 1e-4},
    "not yaml at all\nb: 1": {"b": 1},
    "": {},
}


@pytest.mark.parametrize("text", YAML)
def test_settings_of_yaml(text: str) -> None:
    assert {key: setting.value for key, setting in yaml_settings(text, "a.yaml").items()} == YAML[text]


PIECES = ["a: ", "- ", "\n", "  ", "[", "'", '"', "#", "|", ":", "1", "b:\n", "{", ",", "\t"]


@given(st.lists(st.sampled_from(PIECES) | st.text(max_size=3), max_size=40).map("".join))
def test_any_yaml_is_read(text: str) -> None:
    lines = text.splitlines()
    for setting in yaml_settings(text, "a.yaml").values():
        place = setting.place
        assert place.line is not None
        assert place.end_line is not None
        assert place.end_column is not None
        assert place.end_column <= len(lines[place.end_line - 1])


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["unet", "process", "train", "a"]), inner)
    ),
    max_leaves=8,
)


@pytest.mark.parametrize("config", [GUI, ONE, SIMPLE], ids=["gui", "onetrainer", "simpletuner"])
@given(data=st.data())
def test_any_values_are_read(config: dict[str, Any], data: st.DataObject) -> None:
    changes = data.draw(st.dictionaries(st.sampled_from(sorted(config)), JUNK, max_size=4))
    subject = read_json({**config, **changes})
    assert not [one for one in judge(subject) if one.rule.id == "UN904"]
