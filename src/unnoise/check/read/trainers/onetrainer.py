"""Read a preset or a saved configuration of OneTrainer: JSON with `training_method`, `model_type`, `learning_rate`.

Source: Nerogar/OneTrainer, modules/util/config/TrainConfig.py, modules/util/enum/ModelType.py, training_presets/.
"""

from collections.abc import Mapping
from typing import Any

from unnoise.check.read.flat import flat
from unnoise.check.read.trainers.common import base_of, subject_of, with_common_names
from unnoise.check.subject import Subject

NAMES: Mapping[str, str] = {
    "learning_rate": "learning_rate", "unet.learning_rate": "unet_lr", "transformer.learning_rate": "unet_lr",
    "prior.learning_rate": "unet_lr", "unet_learning_rate": "unet_lr",
    "text_encoder.learning_rate": "text_encoder_lr", "text_encoder_learning_rate": "text_encoder_lr",
    "batch_size": "train_batch_size", "gradient_accumulation_steps": "gradient_accumulation_steps",
    "epochs": "max_train_epochs", "optimizer.optimizer": "optimizer_type", "optimizer": "optimizer_type",
    "learning_rate_scheduler": "lr_scheduler", "resolution": "resolution",
}  # fmt: skip
RANKS: Mapping[str, str] = {"lora_rank": "network_dim", "lora_alpha": "network_alpha"}
# The family of each model_type.
TYPES: Mapping[str, str] = {
    "STABLE_DIFFUSION_15": "sd1", "STABLE_DIFFUSION_15_INPAINTING": "sd1", "STABLE_DIFFUSION_20": "sd2",
    "STABLE_DIFFUSION_20_BASE": "sd2", "STABLE_DIFFUSION_20_INPAINTING": "sd2", "STABLE_DIFFUSION_20_DEPTH": "sd2",
    "STABLE_DIFFUSION_21": "sd2", "STABLE_DIFFUSION_21_BASE": "sd2", "STABLE_DIFFUSION_3": "sd3",
    "STABLE_DIFFUSION_35": "sd3", "STABLE_DIFFUSION_XL_10_BASE": "sdxl",
    "STABLE_DIFFUSION_XL_10_BASE_INPAINTING": "sdxl", "WUERSTCHEN_2": "cascade", "STABLE_CASCADE_1": "cascade",
    "PIXART_ALPHA": "pixart", "PIXART_SIGMA": "pixart", "FLUX_DEV_1": "flux1", "FLUX_FILL_DEV_1": "flux1",
    "FLUX_2": "flux2", "SANA": "sana", "HUNYUAN_VIDEO": "hunyuan-video", "HI_DREAM_FULL": "hidream",
    "CHROMA_1": "chroma", "QWEN": "qwen-image", "Z_IMAGE": "z-image",
}  # fmt: skip


def is_config(content: Mapping[str, Any]) -> bool:
    """Return whether a JSON object is a configuration of OneTrainer."""
    return all(isinstance(content.get(key), str) for key in ("training_method", "model_type"))


def read_config(content: Mapping[str, Any], text: str, path: str) -> Subject:
    """Read a configuration."""
    settings = flat(content, path)
    method, kind = settings["training_method"].value, settings["model_type"]
    ranks = RANKS if method == "LORA" else {}
    base = base_of(settings.get("base_model_name", kind), TYPES.get(kind.value, ""), f"model_type {kind.value}"[:60])
    return subject_of("onetrainer", with_common_names(settings, {**NAMES, **ranks}), base, text)
