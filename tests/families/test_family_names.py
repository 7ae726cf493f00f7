"""Families are recognised by names and classes; their facts are sensible and agree with diffusers' defaults."""

from dataclasses import fields

import pytest
from clock import within
from hypothesis import given, settings, strategies as st

from unnoise.check.tables import embeds
from unnoise.check.tables.pipelines import PIPELINES
from unnoise.families.facts import Facts, facts
from unnoise.families.identity import Identity
from unnoise.families.names import by_class, by_name
from unnoise.families.patterns import CLASSES, DISTILLED, PATTERNS
from unnoise.families.table import FAMILIES, VARIANTS
from unnoise.families.unets import CHANNELS, DEPTHS

NAMED = {
    "sd1": "v1-5-pruned-emaonly.safetensors stable-diffusion-v1-5/stable-diffusion-v1-5"
    " CompVis/stable-diffusion-v1-4 stabilityai/sd-vae-ft-mse vae-ft-mse-840000-ema-pruned.safetensors"
    " lllyasviel/control_v11p_sd15_canny"
    " ip-adapter-plus_sd15.safetensors guoyww/animatediff-motion-adapter-v1-5-2 mm_sd_v15_v2.ckpt Lykon/dreamshaper-8",
    "sd1 inpaint": "sd-v1-5-inpainting.ckpt stable-diffusion-v1-5/stable-diffusion-inpainting",
    "sd1 pix2pix": "timbrooks/instruct-pix2pix",
    "sd1 lcm": "SimianLuo/LCM_Dreamshaper_v7 latent-consistency/lcm-lora-sdv1-5 AnimateLCM_sd15_t2v_lora.safetensors",
    "sd1 hyper": "Hyper-SD15-8steps-lora.safetensors",
    "sd2": "thibaud/controlnet-sd21-canny-diffusers",
    "sd2 768-v": "stabilityai/stable-diffusion-2-1 v2-1_768-ema-pruned.ckpt",
    "sd2 base": "stabilityai/stable-diffusion-2-1-base v2-1_512-ema-pruned.safetensors",
    "sd2 inpaint": "512-inpainting-ema.safetensors",
    "sd2 turbo": "stabilityai/sd-turbo",
    "sd2 unclip": "sd21-unclip-h.ckpt",
    "sdxl": "sd_xl_base_1.0.safetensors stabilityai/stable-diffusion-xl-base-1.0 sdxl_vae.safetensors"
    " diffusers/controlnet-canny-sdxl-1.0 TencentARC/t2i-adapter-canny-sdxl-1.0 ip-adapter_sdxl.safetensors"
    " guoyww/animatediff-motion-adapter-sdxl-beta juggernautXL_v9.safetensors animagine-xl-3.1.safetensors"
    " DreamShaperXL_Turbo_v2_1.safetensors",
    "sdxl refiner": "sd_xl_refiner_1.0.safetensors",
    "sdxl turbo": "stabilityai/sdxl-turbo sd_xl_turbo_1.0_fp16.safetensors",
    "sdxl lightning": "sdxl_lightning_4step.safetensors RealVisXL_V4.0_Lightning.safetensors",
    "sdxl hyper": "Hyper-SDXL-8steps-lora.safetensors",
    "sdxl lcm": "latent-consistency/lcm-lora-sdxl latent-consistency/lcm-sdxl segmind/Segmind-VegaRT",
    "sdxl dmd2": "dmd2_sdxl_4step_lora.safetensors",
    "sdxl vae-fp16-fix": "madebyollin/sdxl-vae-fp16-fix",
    "sdxl v-pred": "noobaiXLNAIXL_vPred10Version.safetensors",
    "sd3 medium": "sd3_medium_incl_clips_t5xxlfp8.safetensors",
    "sd3 3.5-large": "sd3.5_large.safetensors",
    "sd3 3.5-large-turbo": "stabilityai/stable-diffusion-3.5-large-turbo",
    "flux1 dev": "flux1-dev.safetensors flux1-dev-Q4_K_S.gguf InstantX/FLUX.1-dev-Controlnet-Canny",
    "flux1 schnell": "flux1-schnell-fp8.safetensors black-forest-labs/FLUX.1-schnell",
    "flux1 fill": "flux1-fill-dev.safetensors",
    "flux1 canny": "flux1-canny-dev.safetensors",
    "flux1 kontext": "flux1-dev-kontext_fp8_scaled.safetensors",
    "flux1 hyper": "Hyper-FLUX.1-dev-8steps-lora.safetensors",
    "flux2 dev": "flux2_dev_fp8mixed.safetensors",
    "flux2 klein-4b": "black-forest-labs/FLUX.2-klein-4B",
    "flux2 klein-base-9b": "black-forest-labs/FLUX.2-klein-base-9B",
    "chroma": "Chroma1-HD.safetensors chroma-unlocked-v47-detail-calibrated.safetensors",
    "pixart alpha": "PixArt-alpha/PixArt-XL-2-1024-MS",
    "pixart sigma": "PixArt-alpha/PixArt-Sigma-XL-2-1024-MS",
    "sana": "Efficient-Large-Model/Sana_1600M_1024px_diffusers",
    "wan": "wan_2.1_vae.safetensors",
    "wan 1.3b": "wan2.1_t2v_1.3B_fp16.safetensors",
    "wan 14b": "Wan-AI/Wan2.1-T2V-14B-Diffusers",
    "wan a14b": "wan2.2_t2v_low_noise_14B_fp8_scaled.safetensors",
    "wan 5b": "wan2.2_ti2v_5B_fp16.safetensors wan2.2_vae.safetensors",
    "wan lightning": "Wan21_T2V_14B_lightx2v_cfg_step_distill_lora_rank32.safetensors",
    "hunyuan-video": "hunyuan_video_t2v_720p_bf16.safetensors",
    "hunyuan-image": "hunyuanimage2.1.safetensors",
    "ltx distilled": "ltxv-13b-0.9.8-distilled.safetensors",
    "ltx2": "Lightricks/LTX-2 ltx-2.3-22b-dev-fp8.safetensors LTX2_video_vae_bf16.safetensors",
    "ltx2 distilled": "ltx-2-19b-distilled-lora-384.safetensors ltx-2.3-22b-distilled-fp8.safetensors",
    "cosmos predict2": "cosmos_predict2_2B_t2i.safetensors",
    "cascade decoder": "stable_cascade_stage_b.safetensors",
    "qwen-image": "qwen_image_fp8_e4m3fn.safetensors Qwen/Qwen-Image-2512",
    "lumina2": "lumina_2.safetensors lumina2-q4_0.gguf",
    "cogvideox 2b": "THUDM/CogVideoX-2b",
    "cogvideox 5b": "THUDM/CogVideoX-5b-I2V",
    "cosmos 1": "Cosmos-1_0-Diffusion-7B-Text2World.safetensors cosmos_cv8x8x8_1.0.safetensors",
    "mochi": "mochi_preview_bf16.safetensors mochi_vae.safetensors",
    "cascade prior": "stage_c_bf16.safetensors stabilityai/stable-cascade-prior",
    "hidream edit": "hidream_e1_1_bf16.safetensors",
    "hidream dev": "hidream_i1_dev_bf16.safetensors",
    "z-image turbo": "z_image_turbo_bf16.safetensors",
    "anima": "anima-base-v1.0.safetensors anima-preview3-base.safetensors circlestone-labs/Anima",
    "anima turbo": "anima-turbo-v1.0.safetensors",
    "svd": "svd_xt.safetensors",
    "shap-e": "openai/shap-e",
    "unknown": "realisticVision_v60.safetensors influx-dev.safetensors Qwen/Qwen-Image-2.1"
    " model.safetensors my-lightning-photos.safetensors tencent/HunyuanVideo-1.5 Cosmos-Predict2.5-2B turbo lcm",
}


@pytest.mark.parametrize(("expected", "names"), NAMED.items(), ids=list(NAMED))
def test_names_are_recognised(expected: str, names: str) -> None:
    for name in names.split():
        assert str(by_name(name)) == expected, name
        assert str(by_name("C:\\models\\" + name.upper())) == expected, name


def test_all_recognised_models_are_in_the_tables() -> None:
    told_ = {(family, variant) for _, family, variant in PATTERNS} | set(CLASSES.values())
    told_ |= {(family, variant) for (family, _), variant in CHANNELS.items()}
    told_ |= {("sdxl", variant) for variant in DEPTHS.values()}
    for family, variant in told_ - {("", "")}:
        assert family in FAMILIES
        assert not variant or variant in VARIANTS[family]
    assert {variant for _, variant in DISTILLED} <= set().union(*VARIANTS.values())


def test_every_variant_makes_facts_that_make_sense() -> None:
    known = {field.name for field in fields(Facts)}
    for family, variants in VARIANTS.items():
        for variant, changes in {"": {}, **variants}.items():
            assert changes.keys() <= known
            found = facts(Identity(family, variant))
            assert found is not None
            for span in (found.guidance, found.embedded, found.steps, found.area):
                assert span is None or span[0] < span[1]
            assert found.size is None or not any(side % found.multiple for side in found.size)
            assert found.source
    assert facts(Identity()) is None
    assert facts(Identity("sd2", "", prediction="eps")) == facts(Identity("sd2", "", "eps"))


RANGES = {"guidance_scale": "guidance", "true_cfg_scale": "guidance", "num_inference_steps": "steps"}


@pytest.mark.parametrize("name", [name for name in PIPELINES if by_class(name).known])
def test_the_defaults_of_a_pipeline_are_in_the_range_of_its_family(name: str) -> None:
    found = facts(by_class(name))
    assert found is not None
    for key, field in RANGES.items():
        value, span = PIPELINES[name].get(key), getattr(found, field)
        if key == "guidance_scale" and (embeds(name) or found.distilled == "guidance"):
            span = found.embedded
        if isinstance(value, int | float) and span is not None:
            assert span[0] <= value <= span[1], (key, value, span)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("StableDiffusionPipeline", "unknown"),
        ("StableDiffusionXLImg2ImgPipeline", "sdxl"),
        ("StableDiffusion3Pipeline", "sd3"),
        ("FluxPipeline", "flux1"),
        ("Flux2Pipeline", "flux2"),
        ("FluxTransformer2DModel", "flux1"),
        ("Flux3Transformer2DModel", "unknown"),
        ("AnimateDiffPipeline", "sd1"),
        ("AnimateDiffSDXLPipeline", "sdxl"),
        ("Kandinsky3Pipeline", "unknown"),
        ("Fluxion", "unknown"),
        ("", "unknown"),
    ],
)
def test_classes_are_recognised(name: str, expected: str) -> None:
    assert str(by_class(name)) == expected


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=400))
def test_any_name_is_recognised_or_unknown(name: str) -> None:
    for found in (by_name(name), by_class(name)):
        assert not found.known or found.family in FAMILIES


def test_recognition_is_fast() -> None:
    with within(60):
        for name in ("wan2" * 75, "flux1-" * 50, "-" * 100_000, "a-" * 150, "hyper" * 60):
            by_name(name)
