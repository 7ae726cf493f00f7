"""Families are recognised by tensors, names and classes; their facts agree with diffusers; the rest is unknown."""

import inspect
from functools import cache
from typing import Any

import diffusers
import pytest
import torch
from clock import within
from hypothesis import given, settings, strategies as st

from unnoise.check.sample_headers import SAMPLE_HEADERS
from unnoise.families.identity import Identity
from unnoise.families.names import by_class, by_name
from unnoise.families.table import FAMILIES, VARIANTS
from unnoise.families.tensors import SAME_TENSORS, ema, recognise, refined
from unnoise.formats.header import Entry

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
}
FLOYD = SIMPLE | {
    "in_channels": 3,
    "out_channels": 6,
    "block_out_channels": (704, 1408, 2112, 2816),
    "cross_attention_dim": 2816,
    "encoder_hid_dim": 4096,
}
SD3: dict[str, Any] = {"num_attention_heads": 24, "caption_projection_dim": 1536}
WIDE_SD3 = SD3 | {"num_attention_heads": 38, "caption_projection_dim": 2432}
HIDREAM = {"patch_size": 2, "in_channels": 16, "caption_channels": [4096, 4096], "llama_layers": [0, 1]}
PIXART_512 = {"sample_size": 64, "use_additional_conditions": False}
KLEIN: dict[str, Any] = {"guidance_embeds": False}
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
    (UNET, XL | {"transformer_layers_per_block": (1, 2, 5)}, "sdxl koala"),
    (UNET, REFINER, "sdxl refiner"),
    (
        UNET,
        XL
        | {"projection_class_embeddings_input_dim": 5632, "encoder_hid_dim": 4096, "encoder_hid_dim_type": "text_proj"},
        "kolors",
    ),
    (UNET, KANDINSKY, "kandinsky"),
    (UNET, FLOYD, "deepfloyd"),
    ("UNetSpatioTemporalConditionModel", {}, "svd"),
    ("SD3Transformer2DModel", SD3 | {"pos_embed_max_size": 192}, "sd3 medium"),
    (
        "SD3Transformer2DModel",
        SD3 | {"pos_embed_max_size": 384, "dual_attention_layers": (0, 1), "qk_norm": "rms_norm"},
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
    ("WanTransformer3DModel", {"num_attention_heads": 12, "ffn_dim": 8960}, "wan 1.3b"),
    (
        "WanTransformer3DModel",
        {"num_attention_heads": 24, "in_channels": 48, "out_channels": 48, "ffn_dim": 14336},
        "wan 5b",
    ),
    ("WanVACETransformer3DModel", {"vace_layers": (0, 1)}, "wan vace"),
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
OLD = pytest.mark.filterwarnings("ignore:.*deprecated:FutureWarning")  # of diffusers' own modules
FEW = {"num_layers": 2, "num_single_layers": 2, "num_double_layers": 2}
KL = {"block_out_channels": (128, 256, 512, 512), "layers_per_block": 2}


@cache
def _shapes(name: str, made: tuple[tuple[str, Any], ...]) -> Shapes:
    with torch.device("meta"):
        net = getattr(diffusers, name)(**dict(made))
    return {key: tuple(tensor.shape) for key, tensor in net.state_dict().items()}


def shapes(name: str, made: dict[str, Any]) -> Shapes:
    """Give the tensors of a network of diffusers, as wide as it is published, but two blocks deep where that can be."""
    taken = inspect.signature(getattr(diffusers, name)).parameters
    few = {"num_layers": 2, "num_single_layers": 2, "num_double_layers": 2} | (
        {"layers_per_block": 1} if "UNet" in name else {}
    )
    short = {key: value for key, value in few.items() if key in taken}
    frozen = {key: tuple(value) if isinstance(value, list) else value for key, value in (short | made).items()}
    return _shapes(name, tuple(frozen.items()))


def told(tensors: Shapes, prefix: str = "", **metadata: str) -> Identity:
    entries = {prefix + name: Entry("F16", shape, 0, 0) for name, shape in tensors.items()}
    return recognise(entries, {key.replace("__", "."): value for key, value in metadata.items()})


@OLD
@pytest.mark.parametrize(("name", "made", "expected"), NETS, ids=[f"{row[0]}-{row[2]}" for row in NETS])
def test_networks_of_diffusers_are_recognised(name: str, made: dict[str, Any], expected: str) -> None:
    found = told(shapes(name, made))
    assert str(found) == expected
    assert found.known_by.startswith("tensor ")
    if name.startswith("Autoencoder"):
        assert {str(told(shapes(name, made), prefix)) for prefix in ("first_stage_model.", "vae.")} == {expected}
    if found.variant:
        assert found.variant in VARIANTS[found.family]
    of_class = by_class(name)
    assert not of_class.known or of_class.family == found.family


@OLD
@pytest.mark.parametrize("name", STRANGERS)
def test_other_networks_are_unknown(name: str) -> None:
    assert not told(shapes(name, {})).known


def test_an_autoencoder_of_several_families_names_them() -> None:
    four, sixteen = (shapes("AutoencoderKL", KL | {"latent_channels": channels}) for channels in (4, 16))
    plain = {name: shape for name, shape in sixteen.items() if "quant_conv" not in name}
    for tensors, families in ((four, "Stable Diffusion 1, 2 and XL"), (plain, "Stable Diffusion 3 and FLUX.1")):
        for prefix in ("", "first_stage_model.", "vae."):
            found = told(tensors, prefix)
            assert not found.known
            assert found.known_by.endswith(f"which {families} have")


def one(**tensors: tuple[int, ...]) -> Shapes:
    return {name.replace("__", "."): shape for name, shape in tensors.items()}


FLUX = {name: shape for name, (_, shape) in SAMPLE_HEADERS["flux1", "dev"].items()}
CHROMA = {name: shape for name, (_, shape) in SAMPLE_HEADERS["chroma", ""].items()}
SD3_NET = {
    name.removeprefix("model.diffusion_model."): shape for name, (_, shape) in SAMPLE_HEADERS["sd3", "medium"].items()
}
SD1_NET = {name: shape for name, (_, shape) in SAMPLE_HEADERS["sd1", ""].items()}
SD2_NET = {name: shape for name, (_, shape) in SAMPLE_HEADERS["sd2", ""].items()}
XL_NET = {name: shape for name, (_, shape) in SAMPLE_HEADERS["sdxl", ""].items()}
PIXART = one(
    t_block__1__weight=(6912, 1152),
    y_embedder__y_proj__fc1__weight=(1152, 4096),
    x_embedder__proj__weight=(1152, 4, 2, 2),
)
WAN = one(head__modulation=(1, 2, 5120), patch_embedding__weight=(5120, 16, 1, 2, 2))
HUNYUAN = one(
    txt_in__individual_token_refiner__blocks__0__norm1__weight=(3072,),
    img_in__proj__weight=(3072, 16, 1, 2, 2),
    vector_in__in_layer__weight=(3072, 768),
)
WIDE_HUNYUAN = HUNYUAN | one(img_in__proj__weight=(3584, 64, 1, 1), byt5_in__fc1__weight=(2048, 1472))
COSMOS = one(x_embedder__proj__1__weight=(2048, 68), blocks__0__mlp__layer1__weight=(8192, 2048))
CASCADE = one(clf__1__weight=(16, 2048, 1, 1), clip_txt_mapper__weight=(2048, 1280))
# Networks in the layout of their makers: characteristic tensors of published files.
ORIGINALS: list[tuple[Shapes, str]] = [
    (FLUX | {"img_in.weight": (3072, 384)}, "flux1 fill"),
    (FLUX | {"img_in.weight": (3072, 128)}, "flux1 control"),
    (FLUX | {"img_in.weight": (98304, 1)}, "flux1"),  # four bits a number, packed
    (one(single_stream_modulation__lin__weight=(18432, 6144)), "flux2 dev"),
    (one(single_stream_modulation__lin__weight=(9216, 3072)), "flux2 4b"),
    (CHROMA, "chroma"),
    (SD3_NET | {"pos_embed": (1, 147456, 1536)}, "sd3 3.5-medium"),
    (SD3_NET | one(joint_blocks__37__x_block__mlp__fc1__weight=(9728, 2432)), "sd3 3.5-large"),
    (PIXART | one(ar_embedder__mlp__0__weight=(384, 256)), "pixart alpha"),
    (PIXART | one(y_embedder__y_embedding=(120, 4096)), "pixart alpha"),
    (PIXART | one(y_embedder__y_embedding=(300, 4096)), "pixart sigma"),
    (PIXART | one(x_embedder__proj__weight=(2240, 32, 1, 1), blocks__0__mlp__depth_conv__conv__weight=(1, 1)), "sana"),
    (one(cap_embedder__1__weight=(2304, 2304), noise_refiner__0__attention__qkv__weight=(1, 1)), "lumina2"),
    (one(cap_embedder__1__weight=(3840, 2560), cap_pad_token=(1, 3840)), "z-image"),
    (one(double_layers__0__attn__w1q__weight=(3072, 3072)), "auraflow"),
    (one(mlp_t5__0__weight=(8192, 2048)), "hunyuan-dit"),
    (HUNYUAN, "hunyuan-video"),
    (HUNYUAN | one(img_in__proj__weight=(3072, 33, 1, 2, 2)), "hunyuan-video i2v"),
    (WIDE_HUNYUAN, "hunyuan-image base"),
    (WIDE_HUNYUAN | one(time_r_in__in_layer__weight=(3584, 256)), "hunyuan-image distilled"),
    (WAN, "wan 14b"),
    (WAN | one(patch_embedding__weight=(5120, 36, 1, 2, 2)), "wan a14b"),
    (WAN | one(patch_embedding__weight=(5120, 36, 1, 2, 2), img_emb__proj__0__weight=(1280,)), "wan 14b"),
    (WAN | one(patch_embedding__weight=(1536, 16, 1, 2, 2)), "wan 1.3b"),
    (WAN | one(patch_embedding__weight=(3072, 48, 1, 2, 2)), "wan 5b"),
    (WAN | one(vace_blocks__0__after_proj__bias=(5120,)), "wan vace"),
    (one(patchify_proj__weight=(2048, 128)), "ltx"),
    (one(t5_yproj__weight=(1536, 4096)), "mochi"),
    (one(blocks__block0__blocks__0__block__attn__to_q__0__weight=(4096, 4096)), "cosmos 1"),
    (COSMOS, "cosmos predict2"),
    (CASCADE, "cascade prior"),
    (CASCADE | one(effnet_mapper__0__weight=(1280, 16, 1, 1)), "cascade decoder"),
    (one(transformer__rotary_pos_emb__inv_freq=(16,), to_timestep_embed__0__weight=(1536, 256)), "stable-audio"),
    (one(in_block__1__weight=(192, 12, 1, 1), vquantizer__codebook__weight=(8192, 4)), "cascade"),
    (one(in_block__1__weight=(192, 12, 1, 1), vquantizer__embedding__weight=(8192, 4)), "cascade"),
    (one(decoder__middle__0__residual__0__gamma=(1024, 1, 1, 1), conv2__weight=(48, 48, 1, 1, 1)), "wan 5b"),
    # Their relatives, which are none of them.
    (CHROMA | one(nerf_blocks__0__norm__scale=(64,)), "unknown"),
    (HUNYUAN | one(vision_in__proj__0__weight=(1152,), img_in__proj__weight=(2048, 65, 1, 1, 1)), "unknown"),
    (COSMOS | one(llm_adapter__blocks__0__cross_attn__q_proj__weight=(1024, 1024)), "anima"),
    (one(patchify_proj__weight=(4096, 128), audio_patchify_proj__weight=(2048, 128)), "unknown"),
    (SD1_NET | {"cc_projection.weight": (768, 772)}, "sd1"),
    (one(encoder__conv_in__weight=(128, 3, 3, 3), decoder__conv_in__weight=()), "unknown"),
    ({}, "unknown"),
]


@pytest.mark.parametrize(("tensors", "expected"), ORIGINALS, ids=[row[1] for row in ORIGINALS])
def test_networks_of_the_original_layouts_are_recognised(tensors: Shapes, expected: str) -> None:
    assert str(told(tensors)) == expected
    if not any(name.startswith(("model.", "decoder.", "in_block.")) for name in tensors):
        assert all(str(told(tensors, prefix)) == expected for prefix in ("model.diffusion_model.", "net.", "unet."))


@pytest.mark.parametrize(("family", "variant"), SAMPLE_HEADERS)
def test_the_smallest_of_the_examples_are_recognised(family: str, variant: str) -> None:
    found = told({name: shape for name, (_, shape) in SAMPLE_HEADERS[family, variant].items()})
    assert (found.family, found.variant) == (family, variant)


def test_markers_and_metadata_add_what_shapes_cannot_show() -> None:
    assert told(XL_NET | {"v_pred": (0,)}).prediction == "v"
    assert not told(XL_NET | {"v_pred": (0,)}).zero_snr
    assert told(XL_NET | {"v_pred": (0,), "ztsnr": (0,)}).zero_snr
    assert str(told(XL_NET | {"edm_vpred.sigma_max": ()})) == "sdxl cosxl"
    assert str(told(XL_NET | {"edm_mean": (1, 4, 1, 1), "edm_std": (1, 4, 1, 1)})) == "sdxl playground-2.5"
    assert told(XL_NET, modelspec__prediction_type="v").prediction == "v"
    base = told(SD2_NET, modelspec__architecture="stable-diffusion-v2-512")
    assert (str(base), base.prediction) == ("sd2 base", "eps")
    assert told(SD2_NET, modelspec__architecture="stable-diffusion-v2-768-v").prediction == "v"
    assert str(told(XL_NET, modelspec__title="sd_xl_turbo 1.0")) == "sdxl turbo"
    assert str(told(FLUX, modelspec__title="FLUX.1-Kontext-dev")) == "flux1 kontext"
    assert str(told(FLUX, modelspec__title="sdxl-lightning")) == "flux1 dev"
    assert not told({}, modelspec__title="sdxl-turbo").known
    assert str(told({"net.weight": (1, 1)}, unnoise="{}")) == "unnoise"


def test_a_name_adds_the_variant_that_tensors_leave_open() -> None:
    dev, xl = Identity("flux1", "dev", known_by="tensor a"), Identity("sdxl", known_by="tensor b")
    assert str(refined(dev, by_name("flux1-kontext-dev.safetensors"))) == "flux1 kontext"
    assert refined(dev, by_name("flux1-schnell.safetensors")) == dev
    assert refined(dev, by_name("sdxl_lightning_4step.safetensors")) == dev
    assert str(refined(xl, by_name("sdxl_lightning_4step.safetensors"))) == "sdxl lightning"
    assert "the name sdxl_lightning" in refined(xl, by_name("sdxl_lightning_4step.safetensors")).known_by
    for (family, variant), others in SAME_TENSORS.items():
        assert {variant, *others} <= VARIANTS[family].keys()


def test_a_controlnet_shows_its_family_but_no_variant() -> None:
    assert str(told(FLUX | {"controlnet_x_embedder.weight": (3072, 64)})) == "flux1"


def test_ema_tensors_are_counted() -> None:
    names = ("model_ema.decay", "model_ema.diffusion_modelout", "model.diffusion_model.out")
    assert ema({name: Entry("F32", (), 0, 4) for name in names}) == 2


REAL = sorted({name for tensors in (FLUX, SD3_NET, XL_NET, WAN, HUNYUAN, PIXART, CASCADE) for name in tensors})
REAL += [
    "conv_in.weight",
    "add_embedding.linear_1.weight",
    "v_pred",
    "encoder.conv_in.weight",
    "decoder.conv_in.weight",
]
SIDES = st.sampled_from([0, 1, 2, 4, 9, 16, 64, 320, 768, 1152, 2048, 3072, 2**62])
ANY = st.dictionaries(st.sampled_from(REAL) | st.text(max_size=40), st.lists(SIDES, max_size=6).map(tuple), max_size=20)
WORDS = st.dictionaries(
    st.sampled_from(["modelspec.title", "modelspec.architecture", "modelspec.prediction_type"]), st.text()
)


@settings(max_examples=100, deadline=None)
@given(ANY, WORDS)
def test_any_tensors_are_recognised_or_unknown(tensors: Shapes, metadata: dict[str, str]) -> None:
    found = recognise({name: Entry("F16", shape, 0, 0) for name, shape in tensors.items()}, metadata)
    assert not found.known or found.family in FAMILIES
    assert not found.variant or found.variant in VARIANTS[found.family]


def test_recognition_is_fast() -> None:
    many = {f"blocks.{i}.attn.{'x' * (i % 50)}.weight": Entry("F16", (1, 2), 0, 0) for i in range(100_000)}
    with within(120):
        assert not recognise(many, {}).known
