"""Families are told by tensors, names and classes; what is known of them agrees with diffusers; the rest is unknown."""

import time
from dataclasses import fields
from functools import cache
from typing import Any

import diffusers
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from unnoise.check.smallest import SMALLEST
from unnoise.check.tables import embeds
from unnoise.check.tables.pipelines import PIPELINES
from unnoise.files.families.facts import Facts, facts
from unnoise.files.families.identity import Identity
from unnoise.files.families.names import by_class, by_name
from unnoise.files.families.patterns import CLASSES, DISTILLED, PATTERNS
from unnoise.files.families.table import FAMILIES, VARIANTS
from unnoise.files.families.tensors import SAME_TENSORS, ema, recognise, refined
from unnoise.files.families.unets import CHANNELS, DEPTHS
from unnoise.files.header import Entry

Shapes = dict[str, tuple[int, ...]]
UNET = "UNet2DConditionModel"
XL: dict[str, Any] = {
    "cross_attention_dim": 2048,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
    "block_out_channels": (320, 640, 1280),
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "transformer_layers_per_block": (1, 2, 10),
    "attention_head_dim": (5, 10, 20),
    "use_linear_projection": True,
}
REFINER = XL | {
    "cross_attention_dim": 1280,
    "projection_class_embeddings_input_dim": 2560,
    "block_out_channels": (384, 768, 1536, 1536),
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "transformer_layers_per_block": 4,
    "attention_head_dim": (6, 12, 24, 24),
}
SIMPLE = {
    "down_block_types": ("ResnetDownsampleBlock2D", *["SimpleCrossAttnDownBlock2D"] * 3),
    "up_block_types": (*["SimpleCrossAttnUpBlock2D"] * 3, "ResnetUpsampleBlock2D"),
    "mid_block_type": "UNetMidBlock2DSimpleCrossAttn",
    "resnet_time_scale_shift": "scale_shift",
    "attention_head_dim": 64,
}
KANDINSKY = SIMPLE | {
    "addition_embed_type": "image",
    "block_out_channels": (384, 768, 1152, 1536),
    "cross_attention_dim": 768,
    "encoder_hid_dim": 1280,
    "encoder_hid_dim_type": "image_proj",
    "out_channels": 8,
    "layers_per_block": 3,
}
FLOYD = SIMPLE | {
    "in_channels": 3,
    "out_channels": 6,
    "block_out_channels": (704, 1408, 2112, 2816),
    "cross_attention_dim": 2816,
    "encoder_hid_dim": 4096,
    "layers_per_block": 3,
}
SD3: dict[str, Any] = {"num_layers": 24, "num_attention_heads": 24, "caption_projection_dim": 1536}
WIDE_SD3 = SD3 | {"num_layers": 38, "num_attention_heads": 38, "caption_projection_dim": 2432}
HIDREAM = {"patch_size": 2, "in_channels": 16, "caption_channels": [4096, 4096], "llama_layers": [0, 1]}
PIXART_512 = {"sample_size": 64, "use_additional_conditions": False}
KLEIN: dict[str, Any] = {"guidance_embeds": False, "num_layers": 5, "num_single_layers": 20}
# Networks of diffusers as they are published, with what is different from the defaults of their classes.
NETS: list[tuple[str, dict[str, Any], str]] = [
    (UNET, {"cross_attention_dim": 768}, "sd1"),
    (UNET, {"cross_attention_dim": 768, "in_channels": 9}, "sd1 inpaint"),
    (UNET, {"cross_attention_dim": 768, "in_channels": 8}, "sd1 pix2pix"),
    (UNET, {"cross_attention_dim": 768, "time_cond_proj_dim": 256}, "sd1 lcm"),
    ("UNetMotionModel", {"cross_attention_dim": 768}, "sd1"),
    (UNET, {"cross_attention_dim": 1024, "use_linear_projection": True}, "sd2"),
    (UNET, {"cross_attention_dim": 1024, "in_channels": 5}, "sd2 depth"),
    (
        UNET,
        {"cross_attention_dim": 1024, "class_embed_type": "projection", "projection_class_embeddings_input_dim": 2048},
        "sd2 unclip",
    ),
    (UNET, XL, "sdxl"),
    (UNET, XL | {"in_channels": 9}, "sdxl inpaint"),
    (UNET, XL | {"time_cond_proj_dim": 256}, "sdxl lcm"),
    (UNET, XL | {"transformer_layers_per_block": (1, 2, 4)}, "sdxl ssd-1b"),
    (UNET, XL | {"transformer_layers_per_block": (1, 1, 2)}, "sdxl vega"),
    (UNET, REFINER, "sdxl refiner"),
    (
        UNET,
        XL | {"projection_class_embeddings_input_dim": 5632, "encoder_hid_dim": 4096, "encoder_hid_dim_type": "text_proj"},
        "kolors",
    ),
    (UNET, KANDINSKY, "kandinsky"),
    (UNET, FLOYD, "deepfloyd"),
    ("UNetSpatioTemporalConditionModel", {}, "svd"),
    ("SD3Transformer2DModel", SD3 | {"pos_embed_max_size": 192}, "sd3 medium"),
    (
        "SD3Transformer2DModel",
        SD3 | {"pos_embed_max_size": 384, "dual_attention_layers": tuple(range(13)), "qk_norm": "rms_norm"},
        "sd3 3.5-medium",
    ),
    ("SD3Transformer2DModel", WIDE_SD3 | {"qk_norm": "rms_norm"}, "sd3 3.5-large"),
    ("FluxTransformer2DModel", {}, "flux1 schnell"),
    ("FluxTransformer2DModel", {"guidance_embeds": True}, "flux1 dev"),
    ("FluxTransformer2DModel", {"guidance_embeds": True, "in_channels": 384, "out_channels": 64}, "flux1 fill"),
    ("FluxTransformer2DModel", {"guidance_embeds": True, "in_channels": 128, "out_channels": 64}, "flux1 control"),
    ("Flux2Transformer2DModel", {}, "flux2 dev"),
    ("Flux2Transformer2DModel", KLEIN | {"num_attention_heads": 24, "joint_attention_dim": 7680}, "flux2 4b"),
    ("Flux2Transformer2DModel", KLEIN | {"num_attention_heads": 32, "joint_attention_dim": 12288}, "flux2 9b"),
    ("ChromaTransformer2DModel", {}, "chroma"),
    ("PixArtTransformer2DModel", {"sample_size": 128}, "pixart alpha"),
    ("PixArtTransformer2DModel", PIXART_512, "pixart"),
    ("SanaTransformer2DModel", {}, "sana"),
    ("SanaTransformer2DModel", {"guidance_embeds": True, "qk_norm": "rms_norm_across_heads"}, "sana sprint"),
    ("Lumina2Transformer2DModel", {}, "lumina2"),
    ("ZImageTransformer2DModel", {}, "z-image"),
    ("AuraFlowTransformer2DModel", {}, "auraflow"),
    ("QwenImageTransformer2DModel", {}, "qwen-image"),
    ("HiDreamImageTransformer2DModel", HIDREAM, "hidream"),
    ("HunyuanDiT2DModel", {"in_channels": 4, "patch_size": 2}, "hunyuan-dit"),
    ("HunyuanImageTransformer2DModel", {"guidance_embeds": False}, "hunyuan-image base"),
    ("HunyuanImageTransformer2DModel", {"guidance_embeds": True, "use_meanflow": True}, "hunyuan-image distilled"),
    ("CogView4Transformer2DModel", {"num_attention_heads": 32, "attention_head_dim": 128}, "cogview4"),
    ("StableCascadeUNet", {}, "cascade"),
    ("WanTransformer3DModel", {}, "wan 14b"),
    ("WanTransformer3DModel", {"in_channels": 36, "image_dim": 1280, "added_kv_proj_dim": 5120}, "wan 14b"),
    ("WanTransformer3DModel", {"in_channels": 36}, "wan a14b"),
    ("WanTransformer3DModel", {"num_attention_heads": 12, "num_layers": 30, "ffn_dim": 8960}, "wan 1.3b"),
    (
        "WanTransformer3DModel",
        {"num_attention_heads": 24, "num_layers": 30, "in_channels": 48, "out_channels": 48, "ffn_dim": 14336},
        "wan 5b",
    ),
    ("WanVACETransformer3DModel", {}, "wan vace"),
    ("HunyuanVideoTransformer3DModel", {}, "hunyuan-video"),
    ("HunyuanVideoTransformer3DModel", {"in_channels": 33}, "hunyuan-video i2v"),
    ("LTXVideoTransformer3DModel", {}, "ltx"),
    ("MochiTransformer3DModel", {}, "mochi"),
    ("CogVideoXTransformer3DModel", {}, "cogvideox"),
    ("CosmosTransformer3DModel", {}, "cosmos"),
    ("StableAudioDiTModel", {}, "stable-audio"),
    ("AutoencoderKLFlux2", {}, "flux2"),
    ("AutoencoderKLCogVideoX", {}, "cogvideox"),
    ("AutoencoderKLHunyuanVideo", {}, "hunyuan-video"),
    ("AutoencoderKLLTXVideo", {}, "ltx"),
    ("AutoencoderKLMochi", {}, "mochi"),
    ("AutoencoderKLCosmos", {}, "cosmos 1"),
    ("AutoencoderDC", {}, "sana"),
    ("AutoencoderKLTemporalDecoder", {"block_out_channels": (128, 256, 512, 512), "layers_per_block": 2}, "svd"),
]
# Networks that are close to these families, and are none of them, or are of several.
STRANGERS = [
    *("BriaTransformer2DModel", "BriaFiboTransformer2DModel", "LongCatImageTransformer2DModel"),
    *("OvisImageTransformer2DModel", "HunyuanVideo15Transformer3DModel", "MotifVideoTransformer3DModel"),
    *("LTX2VideoTransformer3DModel", "SanaVideoTransformer3DModel", "SanaWMTransformer3DModel", "I2VGenXLUNet"),
    *("UNet3DConditionModel", "CogView3PlusTransformer2DModel", "HeliosTransformer3DModel", "Krea2Transformer2DModel"),
    *("AnyFlowTransformer3DModel", "Flux3Transformer2DModel", "QwenImage21Transformer2DModel", "PriorTransformer"),
    *("UNet2DModel", "Kandinsky3UNet", "Kandinsky5Transformer3DModel", "StableAudio3DiTModel", "AutoencoderKL"),
    *("AutoencoderKLWan", "AutoencoderKLQwenImage", "AutoencoderKLAllegro", "AutoencoderKLMagvit", "AutoencoderKLKVAE"),
    *("AutoencoderKLLTX2Video", "AutoencoderTiny", "AutoencoderOobleck", "AutoencoderKLHunyuanVideo15"),
]
KL = {"block_out_channels": (128, 256, 512, 512), "layers_per_block": 2}


@cache
def _shapes(name: str, made: tuple[tuple[str, Any], ...]) -> Shapes:
    with torch.device("meta"):
        net = getattr(diffusers, name)(**dict(made))
    return {key: tuple(tensor.shape) for key, tensor in net.state_dict().items()}


def shapes(name: str, made: dict[str, Any]) -> Shapes:
    """Give the tensors of a network of diffusers."""
    frozen = {key: tuple(value) if isinstance(value, list) else value for key, value in made.items()}
    return _shapes(name, tuple(frozen.items()))


def told(tensors: Shapes, prefix: str = "", **metadata: str) -> Identity:
    entries = {prefix + name: Entry("F16", shape, 0, 0) for name, shape in tensors.items()}
    return recognise(entries, {key.replace("__", "."): value for key, value in metadata.items()})


@pytest.mark.parametrize(("name", "made", "expected"), NETS, ids=[f"{row[0]}-{row[2]}" for row in NETS])
def test_networks_of_diffusers_are_told(name: str, made: dict[str, Any], expected: str) -> None:
    found = told(shapes(name, made))
    assert str(found) == expected
    assert found.known_by.startswith("tensor ")
    if found.variant:
        assert found.variant in VARIANTS[found.family]
    of_class = by_class(name)
    assert not of_class.known or of_class.family == found.family


@pytest.mark.parametrize("name", STRANGERS)
def test_other_networks_are_unknown(name: str) -> None:
    assert not told(shapes(name, {})).known


def test_an_autoencoder_of_several_families_says_which() -> None:
    four, sixteen = (shapes("AutoencoderKL", KL | {"latent_channels": channels}) for channels in (4, 16))
    plain = {name: shape for name, shape in sixteen.items() if "quant_conv" not in name}
    for tensors, families in ((four, "Stable Diffusion 1, 2 and XL"), (plain, "Stable Diffusion 3 and FLUX.1")):
        for prefix in ("", "first_stage_model.", "vae."):
            found = told(tensors, prefix)
            assert not found.known
            assert found.known_by.endswith(f"which {families} have")
