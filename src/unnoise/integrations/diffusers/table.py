"""The closed tables: the classes of foreign models, and the module that adapts each family.

Files name classes. A class outside the tables is refused, so a file cannot bring code.
"""

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from unnoise.errors import InputError, nearest

STABLE_AUDIO = "diffusers.pipelines.stable_audio"
NETWORKS: Mapping[str, str] = {
    "UNet2DConditionModel": "diffusers",
    "SD3Transformer2DModel": "diffusers",
    "FluxTransformer2DModel": "diffusers",
    "PixArtTransformer2DModel": "diffusers",
    "Transformer2DModel": "diffusers",
    "SanaTransformer2DModel": "diffusers",
    "WanTransformer3DModel": "diffusers",
    "LTXVideoTransformer3DModel": "diffusers",
    "StableAudioDiTModel": "diffusers",
    "ControlNetModel": "diffusers",
    "AutoencoderKL": "diffusers",
    "AutoencoderTiny": "diffusers",
    "AutoencoderDC": "diffusers",
    "AutoencoderKLWan": "diffusers",
    "AutoencoderKLLTXVideo": "diffusers",
    "AutoencoderOobleck": "diffusers",
    "StableAudioProjectionModel": STABLE_AUDIO,
    "CLIPTextModel": "transformers",
    "CLIPTextModelWithProjection": "transformers",
    "CLIPVisionModelWithProjection": "transformers",
    "T5EncoderModel": "transformers",
    "UMT5EncoderModel": "transformers",
    "Gemma2Model": "transformers",
}
TOKENIZERS: Mapping[str, str] = {
    "CLIPTokenizer": "transformers",
    "CLIPTokenizerFast": "transformers",
    "T5Tokenizer": "transformers",
    "T5TokenizerFast": "transformers",
    "GemmaTokenizer": "transformers",
    "GemmaTokenizerFast": "transformers",
}
# family -> module of this folder that has `adapt`
ADAPTERS: Mapping[str, str] = {
    "sd1": "sd",
    "sd2": "sd",
    "sdxl": "sdxl",
    "sd3": "sd3",
    "flux1": "flux",
    "pixart": "pixart",
    "sana": "sana",
    "wan": "wan",
    "ltx": "ltx",
    "stable-audio": "stable_audio",
}
# family -> module of `single` that has `split`
SPLITTERS: Mapping[str, str] = {
    "sd1": "sd",
    "sd2": "sd",
    "sdxl": "sdxl",
    "sd3": "sd3",
    "flux1": "flux",
    "pixart": "pixart",
    "sana": "sana",
    "wan": "wan",
    "ltx": "ltx",
}
DENOISERS = ("unet", "transformer")  # every model has one of these components
PIP = "pip install 'unnoise[diffusers]'"


def class_of(name: str, table: Mapping[str, str] = NETWORKS) -> type[Any]:
    """Return a class of a table. Raises InputError for another class, and if its library is not installed."""
    if name not in table:
        raise InputError(f"class {name!r}: {nearest(name, table)}")
    try:
        found: type[Any] = getattr(import_module(table[name]), name)
    except ImportError as error:
        raise InputError(f"foreign models need more packages ({error}); install them: {PIP}") from None
    return found
