"""Read a configuration of SimpleTuner: JSON whose keys are its options, with or without "--".

Its defaults depend on the model, such as a training adapter for FLUX.1 schnell, so that no setting is known by default.
Source: bghira/SimpleTuner, documentation/OPTIONS.md; simpletuner/helpers/models/flux/model.py, ASSISTANT_LORA_FLAVOURS;
config/*/config.json.
"""

from collections.abc import Mapping
from typing import Any

from unnoise.check.coerce import number
from unnoise.check.read.flat import flat
from unnoise.check.read.trainers.common import base_of, subject_of, with_common_names
from unnoise.check.subject import Subject

NAMES: Mapping[str, str] = {
    "learning_rate": "learning_rate", "train_batch_size": "train_batch_size",
    "gradient_accumulation_steps": "gradient_accumulation_steps", "max_train_steps": "max_train_steps",
    "optimizer": "optimizer_type", "lr_scheduler": "lr_scheduler", "mixed_precision": "mixed_precision",
    "snr_gamma": "min_snr_gamma", "text_encoder_lr": "text_encoder_lr", "noise_offset": "noise_offset",
    "caption_dropout_probability": "caption_dropout_rate",
}  # fmt: skip
RANKS: Mapping[str, str] = {"lora_rank": "network_dim", "lora_alpha": "network_alpha"}
SIZE: Mapping[str, str] = {"resolution": "resolution"}
SMALLEST = 64  # pixels; less is an area in megapixels
# The family of each model_family; "legacy" is that of Stable Diffusion 1 and 2.
FAMILIES: Mapping[str, str] = {
    "flux": "flux1", "flux2": "flux2", "sd1x": "sd1", "sd2x": "sd2", "sdxl": "sdxl", "sd3": "sd3", "kolors": "kolors",
    "pixart_sigma": "pixart", "sana": "sana", "lumina2": "lumina2", "auraflow": "auraflow", "hidream": "hidream",
    "chroma": "chroma", "qwen_image": "qwen-image",
}  # fmt: skip


def is_config(content: Mapping[str, Any]) -> bool:
    """Return whether a JSON object is a configuration of SimpleTuner."""
    keys = {str(key).removeprefix("--") for key in list(content)[:1000]}
    return {"model_family", "model_type"} <= keys and bool(keys & {"data_backend_config", "learning_rate"})


def read_config(content: Mapping[str, Any], text: str, path: str) -> Subject:
    """Read a configuration."""
    settings = {key.removeprefix("--"): setting for key, setting in flat(content, path).items()}
    kind, lora, stated = (settings.get(key) for key in ("model_type", "lora_type", "model_family"))
    is_lora = kind is not None and kind.value == "lora" and (lora is None or lora.value == "standard")
    size = number(settings.get("resolution"))
    names = {**NAMES, **(RANKS if is_lora else {}), **(SIZE if size is not None and size.value >= SMALLEST else {})}
    if size is not None and size.value < SMALLEST:
        settings["resolution.megapixels"] = settings.pop("resolution")
    family = FAMILIES.get(stated.value, "") if stated is not None and isinstance(stated.value, str) else ""
    base = base_of(settings.get("pretrained_model_name_or_path", stated), family, "model_family")
    return subject_of("simpletuner", with_common_names(settings, names), base, text, complete=False)
