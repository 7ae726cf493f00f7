import json
from pathlib import Path
from typing import Any

import diffusers
import pytest
from safetensors.torch import save_file
from torch import zeros

from unnoise.check.read.folder import read_folder
from unnoise.check.read.tree import open_folder
from unnoise.check.subject import Subject

INDEX: dict[str, Any] = {
    "_class_name": "StableDiffusionXLPipeline",
    "_diffusers_version": "0.42.1",
    "unet": ["diffusers", "UNet2DConditionModel"],
    "scheduler": ["diffusers", "EulerDiscreteScheduler"],
    "image_encoder": [None, None],
}
UNET = {"_class_name": "UNet2DConditionModel", "cross_attention_dim": 2048, "addition_embed_type": "text_time"}
GRID = {"_class_name": "EulerDiscreteScheduler", "prediction_type": "v_prediction", "rescale_betas_zero_snr": True}


def folder(others: tuple[str, ...] = (), **files: Any) -> Subject:
    names = {"index": "model_index.json", "unet": "unet/config.json", "scheduler": "scheduler/scheduler_config.json"}
    texts = {names.get(name, name): json.dumps(content) for name, content in files.items()}
    return read_folder("model", texts, {}, others)


def kinds(subject: Subject) -> list[tuple[str, str]]:
    return [(fault.kind, fault.place.path) for fault in subject.faults]


def test_a_folder_says_what_it_is() -> None:
    subject = folder(index=INDEX, unet=UNET, scheduler=GRID)
    (model,) = subject.models
    assert (model.identity.family, model.identity.prediction, model.identity.zero_snr) == ("sdxl", "v", True)
    assert model.identity.known_by == "unet/config.json: cross_attention_dim 2048"
    assert set(model.configs) == {"unet", "scheduler"}
    setting = model.configs["scheduler"].settings["prediction_type"]
    assert (setting.value, setting.place.path, setting.place.keys) == (
        "v_prediction",
        "model/scheduler/scheduler_config.json",
        ("prediction_type",),
    )
    assert not subject.faults
    assert set(subject.texts) == {
        "model/model_index.json",
        "model/unet/config.json",
        "model/scheduler/scheduler_config.json",
    }


@pytest.mark.parametrize(
    ("settings", "identity"),
    [
        ({"cross_attention_dim": 768, "in_channels": 9}, ("sd1", "inpaint")),
        ({"cross_attention_dim": [768, 768]}, ("sd1", "")),
        ({"cross_attention_dim": 768, "time_cond_proj_dim": 256}, ("sd1", "lcm")),
        ({"cross_attention_dim": 1024, "sample_size": 96}, ("sd2", "768-v")),
        ({"cross_attention_dim": 1280, "addition_embed_type": "text_time"}, ("sdxl", "refiner")),
        ({"cross_attention_dim": 555}, ("unknown", "")),
        ({"cross_attention_dim": True}, ("unknown", "")),
    ],
)
def test_a_unet_is_known_by_its_settings(settings: dict[str, Any], identity: tuple[str, str]) -> None:
    index = {**INDEX, "_class_name": "MyPipeline"}
    (model,) = folder(index=index, unet={"_class_name": "UNet2DConditionModel", **settings}).models
    assert (model.identity.family, model.identity.variant) == identity


def test_a_component_alone_is_its_settings(tmp_path: Path) -> None:
    subject = read_folder("scheduler", {"scheduler_config.json": json.dumps(GRID)}, {}, ())
    assert subject.path == "scheduler/scheduler_config.json"
    assert [(config.role, config.class_) for config in subject.configs] == [("scheduler", "EulerDiscreteScheduler")]
    assert subject.models == ()


def test_what_is_missing_or_a_pickle_is_said() -> None:
    subject = folder(("vae/diffusion_pytorch_model.bin",), index=INDEX, scheduler=GRID)
    assert kinds(subject) == [
        ("pickle", "model/vae/diffusion_pytorch_model.bin"),
        ("missing", "model/model_index.json"),
    ]
    assert subject.faults[1].place.keys == ("unet",)


def test_shards_must_be_in_their_folder() -> None:
    name = "unet/diffusion_pytorch_model.safetensors.index.json"
    table = {"weight_map": {"a": "../../etc/passwd", "b": "x-00001-of-00002.safetensors", "c": 7}}
    found = folder((), **{name: table}, index=INDEX)
    assert [fault.kind for fault in found.faults] == ["broken", "missing"]
    assert kinds(folder((), **{name: {}}, index=INDEX)) == [("broken", f"model/{name}")]


@pytest.mark.parametrize(
    "text", ["", "[1]", "{", "[" * 100_000, '{"a": ' * 900 + "1" + "}" * 900, '{"a": NaN}', "7" * 9_999]
)
def test_hostile_settings_are_read_or_refused(text: str) -> None:
    for name in ("model_index.json", "unet/config.json", "scheduler_config.json", "a.safetensors.index.json"):
        assert read_folder("m", {name: text, "x/config.json": text}, {}, ()).path == "m"
        assert not read_folder("m", {name: text}, {}, ()).weights


@pytest.mark.parametrize("value", [None, 7, "x", [], {}, [[]], {"_class_name": {}}, True, 1e400])
def test_any_value_may_stand_anywhere(value: Any) -> None:
    index = {**INDEX, "unet": value, "_class_name": value, "vae": [value, value]}
    unet = dict.fromkeys(
        ["_class_name", "cross_attention_dim", "addition_embed_type", "architectures", "in_channels"], value
    )
    assert folder(("vae/x.safetensors",), index=index, unet=unet, scheduler=unet).tool == "diffusers"


def test_what_diffusers_writes_is_read(tmp_path: Path) -> None:
    unet = diffusers.UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(32, 32),
        layers_per_block=1,
        norm_num_groups=8,
        cross_attention_dim=768,
        down_block_types=("DownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "UpBlock2D"),
    )
    unet.save_pretrained(tmp_path / "unet")
    diffusers.PNDMScheduler(beta_start=0.00085, steps_offset=1).save_pretrained(tmp_path / "scheduler")
    index = {**INDEX, "_class_name": "StableDiffusionPipeline", "scheduler": ["diffusers", "PNDMScheduler"]}
    (tmp_path / "model_index.json").write_text(json.dumps(index))
    (tmp_path / "vae").mkdir()
    save_file({"x": zeros(1)}, tmp_path / "vae/diffusion_pytorch_model.safetensors")
    subject = open_folder(tmp_path)
    (model,) = subject.models
    assert model.identity.family == "sd1"
    assert model.configs["scheduler"].settings["steps_offset"].value == 1
    assert len(subject.weights) == 2
    assert not subject.faults
