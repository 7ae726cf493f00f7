"""Read a preset or a saved configuration of the kohya_ss GUI: JSON of what it passes to sd-scripts.

Source: bmaltais/kohya_ss, kohya_gui/lora_gui.py, train_model, config_toml_data and run_cmd; presets/.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from unnoise.check.read.dataset import datasets_of
from unnoise.check.read.flat import Settings
from unnoise.check.read.shell.arguments import number_or_text
from unnoise.check.read.trainers.common import base_of
from unnoise.check.read.trainers.describe import value_of
from unnoise.check.subject import Located, Location, Subject, Training
from unnoise.families.identity import Identity

KEYS = 2000  # that are read
# Keys that only the GUI has; a configuration has at least three.
OWN = {
    "LoRA_type", "max_resolution", "lr_warmup", "num_cpu_threads_per_process", "stop_text_encoder_training",
    "stop_text_encoder_training_pct", "sdxl_no_half_vae", "additional_parameters", "train_on_input", "model_list",
    "sdxl_cache_text_encoder_outputs",
}  # fmt: skip
NAMES: Mapping[str, str] = {"max_resolution": "resolution", "optimizer": "optimizer_type"}
# Switches that select the family.
FAMILIES: Mapping[str, str] = {
    "flux1_checkbox": "flux1", "sd3_checkbox": "sd3", "lumina_checkbox": "lumina2", "anima_checkbox": "anima",
    "hunyuan_image_checkbox": "hunyuan-image", "sdxl": "sdxl", "sdxl_checkbox": "sdxl", "v2": "sd2",
}  # fmt: skip
# Settings that are passed only if they are not zero.
NONZERO = {
    "min_snr_gamma", "noise_offset", "adaptive_noise_scale", "ip_noise_gamma", "max_train_epochs", "max_train_steps",
    "seed", "unet_lr", "text_encoder_lr", "clip_skip", "multires_noise_iterations", "v_pred_like_loss",
}  # fmt: skip
OF_FLUX = {"guidance_scale", "timestep_sampling", "discrete_flow_shift", "model_prediction_type", "model_type"}
UNUSED = {"lr_warmup", "sdxl_no_half_vae", "model_list"}  # under a name of their own, or in another unit
NETWORKS: Mapping[str, str] = {
    "Standard": "networks.lora", "Kohya LoCon": "networks.lora", "LoRA-FA": "networks.lora_fa",
    "Kohya DyLoRA": "networks.dylora", "Flux1": "networks.lora_flux", "Flux1 OFT": "networks.oft_flux",
    "Lumina": "networks.lora_lumina", "HunyuanImage-2.1": "networks.lora_hunyuan_image", "Anima": "networks.lora_anima",
}  # fmt: skip


def is_config(content: Mapping[str, Any]) -> bool:
    """Return whether a JSON object is a configuration of the GUI."""
    return len(OWN & content.keys()) > 2 and "learning_rate" in content


def read_config(content: Mapping[str, Any], text: str, path: str) -> Subject:
    """Read a configuration as the settings that the GUI passes to sd-scripts."""
    given = {
        key: Located(number_or_text(value) if isinstance(value, str) else value, Location(path, (key,)))
        for key, value in list(content.items())[:KEYS]
        if isinstance(value, bool | int | float | str) and value != ""
    }
    family = next((FAMILIES[key] for key in FAMILIES if key in given and given[key].value is True), "sd1")
    if family == "flux1" and value_of(given, "model_type") == "chroma":
        family = "chroma"
    settings = _passed(given, family)
    training = Training(Location(path), "kohya", settings)
    switch = next((key for key in FAMILIES if key in given and given[key].value is True), "")
    named = given.get("pretrained_model_name_or_path") or given.get(switch)
    base = base_of(named, family, f"{switch} in the GUI" if switch else "--v2 off in the GUI")
    if base is not None and named is not None and named.value is True:
        base = replace(base, identity=Identity(family, known_by=f"trained with {switch} in the GUI"))
    training = replace(training, base=base)
    found = tuple(datasets_of([training], path))
    return Subject(path=path, tool="kohya", trainings=(training,), datasets=found, texts={path: text})


def _passed(given: Settings, family: str) -> Settings:
    """Return what sd-scripts is passed, under its names."""
    settings: Settings = {}
    for key, setting in given.items():
        unset = key in NONZERO and setting.value == 0
        if key in UNUSED or unset or (key in OF_FLUX and family not in ("flux1", "chroma")):
            continue
        settings[NAMES.get(key, key)] = setting
    half = given.get("sdxl_no_half_vae")
    if half is not None and family == "sdxl":
        settings["no_half_vae"] = half
    kind = given.get("LoRA_type")
    if kind is not None and isinstance(kind.value, str):
        network = "networks.lora_sd3" if family == "sd3" and kind.value == "Standard" else NETWORKS.get(kind.value)
        settings["network_module"] = Located(network or "lycoris.kohya", kind.place)
    return settings
