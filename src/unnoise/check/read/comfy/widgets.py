"""Names of the widgets of ComfyUI's nodes, whose values its interface saves by position only.

Source: comfyanonymous/ComfyUI, nodes.py and comfy_extras/, INPUT_TYPES and define_schema in their order.
"""

import re
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from unnoise.check.read.comfy.custom_nodes import CUSTOM
from unnoise.check.read.comfy.graph import INPUTS, is_name
from unnoise.check.read.comfy.parts import Raw, slots

# The unnamed choice after a seed: how the seed changes after a run; True or False in older files.
CONTROLS = ("fixed", "increment", "decrement", "randomize")
SIZE = ("width", "height", "batch_size")
CLIP = ("width", "height", "length", "batch_size")
SAMPLED = ("steps", "cfg", "sampler_name", "scheduler")
# Loaders with further widgets for the devices at their end.   Source: pollockjj/ComfyUI-MultiGPU, __init__.py
MULTI = re.compile(r"(DisTorch2?)?MultiGPU$")
WIDGETS: Mapping[str, tuple[str, ...]] = {
    "KSampler": ("seed", *SAMPLED, "denoise"),
    "KSamplerAdvanced": (
        "add_noise", "noise_seed", *SAMPLED, "start_at_step", "end_at_step", "return_with_leftover_noise",
    ),
    "SamplerCustom": ("add_noise", "noise_seed", "cfg"),
    "RandomNoise": ("noise_seed",),
    "KSamplerSelect": ("sampler_name",),
    "SamplerEulerAncestral": ("eta", "s_noise"),
    "SamplerEulerAncestralCFGPP": ("eta", "s_noise"),
    "SamplerDPMPP_2M_SDE": ("solver_type", "eta", "s_noise", "noise_device"),
    "SamplerDPMPP_3M_SDE": ("eta", "s_noise", "noise_device"),
    "SamplerDPMPP_SDE": ("eta", "s_noise", "r", "noise_device"),
    "SamplerDPMPP_2S_Ancestral": ("eta", "s_noise"),
    "SamplerLMS": ("order",),
    "BasicScheduler": ("scheduler", "steps", "denoise"),
    "KarrasScheduler": ("steps", "sigma_max", "sigma_min", "rho"),
    "ExponentialScheduler": ("steps", "sigma_max", "sigma_min"),
    "PolyexponentialScheduler": ("steps", "sigma_max", "sigma_min", "rho"),
    "LaplaceScheduler": ("steps", "sigma_max", "sigma_min", "mu", "beta"),
    "VPScheduler": ("steps", "beta_d", "beta_min", "eps_s"),
    "BetaSamplingScheduler": ("steps", "alpha", "beta"),
    "SDTurboScheduler": ("steps", "denoise"),
    "AlignYourStepsScheduler": ("model_type", "steps", "denoise"),
    "GITSScheduler": ("coeff", "steps", "denoise"),
    "OptimalStepsScheduler": ("model_type", "steps", "denoise"),
    "LTXVScheduler": ("steps", "max_shift", "base_shift", "stretch", "terminal"),
    "Flux2Scheduler": ("steps", "width", "height"),
    "ManualSigmas": ("sigmas",),
    "SplitSigmas": ("step",),
    "SplitSigmasDenoise": ("denoise",),
    "SetFirstSigma": ("sigma",),
    "CFGGuider": ("cfg",),
    "DualCFGGuider": ("cfg_conds", "cfg_cond2_negative", "style"),
    "PerpNegGuider": ("cfg", "neg_scale"),
    "VideoLinearCFGGuidance": ("min_cfg",),
    "CheckpointLoaderSimple": ("ckpt_name",),
    "CheckpointLoader": ("config_name", "ckpt_name"),
    "unCLIPCheckpointLoader": ("ckpt_name",),
    "ImageOnlyCheckpointLoader": ("ckpt_name",),
    "UNETLoader": ("unet_name", "weight_dtype"),
    "UnetLoaderGGUF": ("unet_name",),
    "LoaderGGUF": ("gguf_name",),  # calcuis/gguf
    "DiffusersLoader": ("model_path",),
    "CLIPLoader": ("clip_name", "type", "device"),
    "CLIPLoaderGGUF": ("clip_name", "type"),
    "DualCLIPLoader": ("clip_name1", "clip_name2", "type", "device"),
    "DualCLIPLoaderGGUF": ("clip_name1", "clip_name2", "type"),
    "TripleCLIPLoader": ("clip_name1", "clip_name2", "clip_name3"),
    "QuadrupleCLIPLoader": ("clip_name1", "clip_name2", "clip_name3", "clip_name4"),
    "CLIPVisionLoader": ("clip_name",),
    "StyleModelLoader": ("style_model_name",),
    "VAELoader": ("vae_name",),
    "LoraLoader": ("lora_name", "strength_model", "strength_clip"),
    "LoraLoaderModelOnly": ("lora_name", "strength_model"),
    "ControlNetLoader": ("control_net_name",),
    "DiffControlNetLoader": ("control_net_name",),
    "SetUnionControlNetType": ("type",),
    "ControlNetApply": ("strength",),
    "ControlNetApplyAdvanced": ("strength", "start_percent", "end_percent"),
    "ControlNetApplySD3": ("strength", "start_percent", "end_percent"),
    "ControlNetInpaintingAliMamaApply": ("strength", "start_percent", "end_percent"),
    "IPAdapterModelLoader": ("ipadapter_file",),
    "CLIPTextEncode": ("text",),
    "CLIPTextEncodeSDXL": ("width", "height", "crop_w", "crop_h", "target_width", "target_height", "text_g", "text_l"),
    "CLIPTextEncodeSDXLRefiner": ("ascore", "width", "height", "text"),
    "CLIPTextEncodeFlux": ("clip_l", "t5xxl", "guidance"),
    "CLIPTextEncodeSD3": ("clip_l", "clip_g", "t5xxl", "empty_padding"),
    "CLIPTextEncodeHiDream": ("clip_l", "clip_g", "t5xxl", "llama"),
    "CLIPTextEncodeHunyuanDiT": ("bert", "mt5xl"),
    "CLIPTextEncodeLumina2": ("system_prompt", "user_prompt"),
    "TextEncodeQwenImageEdit": ("prompt",),
    "TextEncodeQwenImageEditPlus": ("prompt",),
    "TextEncodeHunyuanVideo_ImageToVideo": ("prompt", "image_interleave"),
    "CLIPSetLastLayer": ("stop_at_clip_layer",),
    "FluxGuidance": ("guidance",),
    "ModelSamplingDiscrete": ("sampling", "zsnr"),
    "ModelSamplingContinuousEDM": ("sampling", "sigma_max", "sigma_min"),
    "ModelSamplingContinuousV": ("sampling", "sigma_max", "sigma_min"),
    "ModelSamplingStableCascade": ("shift",),
    "ModelSamplingSD3": ("shift",),
    "ModelSamplingAuraFlow": ("shift",),
    "ModelSamplingFlux": ("max_shift", "base_shift", "width", "height"),
    "ModelSamplingLTXV": ("max_shift", "base_shift"),
    "RescaleCFG": ("multiplier",),
    "CFGNorm": ("strength",),
    "EmptyLatentImage": SIZE,
    "EmptySD3LatentImage": SIZE,
    "EmptyFlux2LatentImage": SIZE,
    "EmptyChromaRadianceLatentImage": SIZE,
    "EmptyHunyuanImageLatent": SIZE,
    "StableCascade_EmptyLatentImage": ("width", "height", "compression", "batch_size"),
    "EmptyHunyuanLatentVideo": CLIP,
    "EmptyHunyuanVideo15Latent": CLIP,
    "EmptyMochiLatentVideo": CLIP,
    "EmptyLTXVLatentVideo": CLIP,
    "EmptyCosmosLatentVideo": CLIP,
    "CosmosImageToVideoLatent": CLIP,
    "CosmosPredict2ImageToVideoLatent": CLIP,
    "WanImageToVideo": CLIP,
    "WanFunControlToVideo": CLIP,
    "WanFunInpaintToVideo": CLIP,
    "WanFirstLastFrameToVideo": CLIP,
    "WanCameraImageToVideo": CLIP,
    "Wan22ImageToVideoLatent": CLIP,
    "WanVaceToVideo": (*CLIP, "strength"),
    "HunyuanImageToVideo": (*CLIP, "guidance_type"),
    "LTXVImgToVideo": (*CLIP, "strength"),
    "LTXVConditioning": ("frame_rate",),
    "LTXVAddGuide": ("frame_idx", "strength"),
    "SVD_img2vid_Conditioning": ("width", "height", "video_frames", "motion_bucket_id", "fps", "augmentation_level"),
    "StableZero123_Conditioning": ("width", "height", "batch_size", "elevation", "azimuth"),
    "EmptyLatentAudio": ("seconds", "batch_size"),
    "LatentUpscale": ("upscale_method", "width", "height", "crop"),
    "LatentUpscaleBy": ("upscale_method", "scale_by"),
    "RepeatLatentBatch": ("amount",),
    "VAEEncode": (),
    "VAEDecode": (),
    "VAEEncodeForInpaint": ("grow_mask_by",),
    "InpaintModelConditioning": ("noise_mask",),
    "LoadImage": ("image", "upload"),
    "LoadImageMask": ("image", "channel", "upload"),
    "PrimitiveString": ("value",),
    "PrimitiveStringMultiline": ("value",),
    "PrimitiveInt": ("value",),
    "PrimitiveFloat": ("value",),
    "PrimitiveBoolean": ("value",),
    "ComfySwitchNode": ("switch",),
    "StringConcatenate": ("string_a", "string_b", "delimiter"),
}  # fmt: skip


def widgets(raw: Raw) -> Iterator[tuple[str, Any, str | int]]:
    """Name the values of a node's widgets, each with its key in widgets_values; nothing where names are not known."""
    values = raw.get("widgets_values")
    if isinstance(values, dict):
        yield from ((name, value, name) for name, value in islice(values.items(), INPUTS) if is_name(name))
        return
    if not isinstance(values, list):
        return
    yield from _named(raw, values)
    for at, value in enumerate(values[:INPUTS]):  # rgthree's loader of several LoRAs
        if isinstance(value, dict) and isinstance(value.get("lora"), str):
            yield f"lora_{at}", value, at


def _named(raw: Raw, values: list[Any]) -> Iterator[tuple[str, Any, int]]:
    known, custom = WIDGETS.get(MULTI.sub("", raw["type"])), CUSTOM.get(raw["type"])
    names = known if known is not None else _shown(raw)
    controls = CONTROLS if known is None else (*CONTROLS, True, False)
    found = list(aligned(names, values, controls))
    if known is None and (len(found) != len(names) or not found or len(values) - found[-1][1] > 2):
        found = list(aligned(tuple(custom.widgets.split()), values, (*CONTROLS, None))) if custom else []
    if custom is None or all(_fits(name, values[at]) for name, at in found):  # else of another version
        yield from ((name, values[at], at) for name, at in found)


def _fits(name: str, value: Any) -> bool:
    """Return whether a value can be that of a setting of a sampler."""
    if name in ("steps", "seed", "noise_seed"):
        return type(value) is int
    if name in ("cfg", "denoise", "denoise_strength", "strength"):
        return type(value) in (int, float)
    return isinstance(value, str) if name in ("sampler_name", "scheduler", "ckpt_name", "lora") else True


def _shown(raw: Raw) -> tuple[str, ...]:
    """Name widgets by their inputs, which newer versions save for every widget."""
    return tuple(str(one.get("name")) for one in slots(raw, "inputs") if isinstance(one.get("widget"), dict))


def aligned(
    names: tuple[str, ...], values: list[Any], controls: tuple[str | bool | None, ...]
) -> Iterator[tuple[str, int]]:
    """Pair names with positions, skipping the choice after a seed."""
    at = 0
    for name in names:
        if at >= len(values):
            return
        yield name, at
        follows = values[at + 1] if at + 1 < len(values) else None
        skips = at + 1 < len(values) and isinstance(follows, str | bool | None) and follows in controls
        at += 2 if "seed" in name and skips else 1
