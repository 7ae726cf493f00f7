"""Read a job of ai-toolkit: YAML or JSON with `config: {process: [{type: sd_trainer, network, train, model}]}`.

Source: ostris/ai-toolkit, toolkit/config_modules.py, NetworkConfig, TrainConfig, ModelConfig and DatasetConfig;
config/examples/*.yaml.
"""

import re
from collections.abc import Mapping
from dataclasses import replace

from unnoise.check.read.flat import Settings
from unnoise.check.read.trainers.common import base_of, with_common_names
from unnoise.check.subject import Location, Subject, Training

MOST = 20  # processes of one job
NAMES: Mapping[str, str] = {
    "train.lr": "learning_rate", "train.unet_lr": "unet_lr", "train.text_encoder_lr": "text_encoder_lr",
    "train.batch_size": "train_batch_size", "train.gradient_accumulation_steps": "gradient_accumulation_steps",
    "train.gradient_accumulation": "gradient_accumulation_steps", "train.steps": "max_train_steps",
    "train.optimizer": "optimizer_type", "train.lr_scheduler": "lr_scheduler", "train.dtype": "mixed_precision",
    "train.min_snr_gamma": "min_snr_gamma", "train.noise_offset": "noise_offset",
    "datasets.0.resolution": "resolution", "datasets.0.caption_ext": "caption_extension",
    "datasets.0.caption_dropout_rate": "caption_dropout_rate", "model.assistant_lora_path": "assistant_lora_path",
}  # fmt: skip
RANKS: Mapping[str, str] = {
    "network.rank": "network_dim", "network.linear": "network_dim", "network.linear_alpha": "network_alpha",
    "network.alpha": "network_alpha",
}  # fmt: skip
# The family of each model.arch, and of each older switch such as model.is_flux.   Flex is not FLUX.1.
ARCHS: Mapping[str, str] = {
    "sd1": "sd1", "sd2": "sd2", "sdxl": "sdxl", "sd3": "sd3", "pixart": "pixart", "pixart_sigma": "pixart",
    "auraflow": "auraflow", "flux": "flux1", "flux_kontext": "flux1", "lumina2": "lumina2", "chroma": "chroma",
    "hidream": "hidream", "hidream_e1": "hidream", "flux2": "flux2", "flux2_klein_4b": "flux2",
    "flux2_klein_9b": "flux2", "qwen_image": "qwen-image", "qwen_image_edit": "qwen-image",
    "qwen_image_edit_plus": "qwen-image", "zimage": "z-image",
}  # fmt: skip
SWITCHES: Mapping[str, str] = {
    "model.is_flux": "flux1", "model.is_xl": "sdxl", "model.is_v3": "sd3", "model.is_v2": "sd2",
    "model.is_pixart": "pixart", "model.is_pixart_sigma": "pixart", "model.is_auraflow": "auraflow",
    "model.is_lumina2": "lumina2",
}  # fmt: skip
PROCESS = re.compile(r"config\.process\.(\d{1,3})\.(\w{1,40})\.")


def is_job(settings: Settings) -> bool:
    """Return whether flattened settings are those of a job that trains."""
    return "job" in settings and bool(_numbers(settings))


def read_job(settings: Settings, text: str, path: str) -> Subject:
    """Read a job.

    Args:
        settings: of the file, flattened
        text: of the file
        path: of the file

    Returns:
        a training for each of its processes
    """
    found = [_training(settings, f"config.process.{number}.", path) for number in _numbers(settings)[:MOST]]
    return Subject(path=path, tool="ai-toolkit", trainings=tuple(found), texts={path: text})


def _numbers(settings: Settings) -> list[str]:
    """List the processes that train, and not those that draw or convert."""
    return list(dict.fromkeys(match[1] for key in settings if (match := PROCESS.match(key)) and match[2] == "train"))


def _training(settings: Settings, start: str, path: str) -> Training:
    own = {key.removeprefix(start): setting for key, setting in settings.items() if key.startswith(start)}
    # the rank of a LoKr is that of the whole matrix, whatever is stated
    kind = own.get("network.type")
    ranks = RANKS if kind is None or kind.value in ("lora", "locon") else {}
    named = own.get("model.name_or_path")
    family, trainer = _family(own)
    base = base_of(named, family, trainer)
    if base is not None and named is not None:
        base = replace(base, place=named.place)
    return Training(Location(path), "ai-toolkit", with_common_names(own, {**NAMES, **ranks}), base)


def _family(own: Settings) -> tuple[str, str]:
    arch = own.get("model.arch")
    if arch is not None and isinstance(arch.value, str):
        name = arch.value.partition(":")[0]
        return ("wan" if name.startswith(("wan21", "wan22")) else ARCHS.get(name, "")), f"arch {name}"
    on = next((key for key in SWITCHES if key in own and own[key].value is True), "")
    return SWITCHES.get(on, ""), on
