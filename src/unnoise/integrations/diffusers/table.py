"""The closed tables: the classes of foreign models, and the module that adapts each family."""

from collections.abc import Mapping

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
