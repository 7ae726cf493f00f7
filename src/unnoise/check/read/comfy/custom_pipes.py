"""Nodes of extensions that pass a model, prompts and settings on as one bundle, and those that sample from it.

Extensions: Impact Pack, Easy Use, Efficiency Nodes and rgthree's nodes.
"""

from collections.abc import Mapping

from unnoise.check.read.comfy.custom_node import CustomNode

IMPACT = "ltdrdata/ComfyUI-Impact-Pack, modules/impact/"
EASY = "yolain/ComfyUI-Easy-Use, py/nodes/"
EFFICIENT = "jags111/efficiency-nodes-comfyui, efficiency_nodes.py"
RGTHREE = "rgthree/rgthree-comfy, py/"
_SET = "seed steps cfg sampler_name scheduler denoise"
_ADVANCED = "noise_seed steps cfg sampler_name scheduler"
_DETAIL = f"guide_size guide_size_for max_size {_SET}"
_SIZES = {"empty_latent_width": "width", "empty_latent_height": "height"}
_LOADER = {
    **_SIZES, "lora_model_strength": "strength_model", "model_override": "model", "vae_override": "vae",
    "optional_lora_stack": "lora_stack",
}  # fmt: skip
_PIPE = "model clip vae positive negative"
_MAKES = "model vae clip positive negative latent_image"
_SHARED = {"latent": "latent_image", "pos": "positive", "neg": "negative", "image_to_latent": "latent_image"}
_LORAS = "lora_name lora_model_strength lora_clip_strength"
_AREA = "resolution empty_latent_width empty_latent_height"
_EASY_OUT = "pipe model vae"
_CONTEXT = "context model clip vae positive negative latent_image images seed"
_CONTEXT_BIG = f"{_CONTEXT} steps step_refiner cfg ckpt_name sampler_name scheduler"
_CONTEXT_MOVES = {"latent": "latent_image", "sampler": "sampler_name"}
_CONTEXTS = "base_ctx ctx_01 ctx_02 ctx_03 ctx_04 ctx_05"
_TUPLE = {"base_model": "model", "base_clip": "clip", "base_positive": "positive", "base_negative": "negative"}

PIPES: Mapping[str, CustomNode] = {
    "ToBasicPipe": CustomNode(source=f"{IMPACT}pipe.py"),
    "FromBasicPipe": CustomNode(source=f"{IMPACT}pipe.py", bundle="basic_pipe", outputs=_PIPE),
    "FromBasicPipe_v2": CustomNode(source=f"{IMPACT}pipe.py", bundle="basic_pipe", outputs=f"basic_pipe {_PIPE}"),
    "EditBasicPipe": CustomNode(source=f"{IMPACT}pipe.py", bundle="basic_pipe"),
    "ToDetailerPipe": CustomNode(source=f"{IMPACT}pipe.py"),
    "ToDetailerPipeSDXL": CustomNode(source=f"{IMPACT}pipe.py"),
    "FromDetailerPipe": CustomNode(source=f"{IMPACT}pipe.py", bundle="detailer_pipe", outputs=_PIPE),
    "FromDetailerPipe_v2": CustomNode(
        source=f"{IMPACT}pipe.py", bundle="detailer_pipe", outputs=f"detailer_pipe {_PIPE}"
    ),
    "FromDetailerPipeSDXL": CustomNode(
        source=f"{IMPACT}pipe.py", bundle="detailer_pipe", outputs=f"detailer_pipe {_PIPE}"
    ),
    "EditDetailerPipe": CustomNode(source=f"{IMPACT}pipe.py", bundle="detailer_pipe"),
    "EditDetailerPipeSDXL": CustomNode(source=f"{IMPACT}pipe.py", bundle="detailer_pipe"),
    "BasicPipeToDetailerPipe": CustomNode(source=f"{IMPACT}pipe.py", bundle="basic_pipe"),
    "BasicPipeToDetailerPipeSDXL": CustomNode(source=f"{IMPACT}pipe.py", bundle="base_basic_pipe"),
    "DetailerPipeToBasicPipe": CustomNode(source=f"{IMPACT}pipe.py", bundle="detailer_pipe"),
    "ImpactWildcardEncode": CustomNode(
        source=f"{IMPACT}impact_pack.py", outputs="model clip positive populated_text", makes="positive",
        widgets="wildcard_text populated_text", moves={"populated_text": "text"},
    ),
    "ImpactKSamplerBasicPipe": CustomNode(
        source=f"{IMPACT}special_samplers.py", samples=True, widgets=_SET, bundle="basic_pipe", makes="latent_image",
        outputs="basic_pipe latent_image vae",
    ),
    "ImpactKSamplerAdvancedBasicPipe": CustomNode(
        source=f"{IMPACT}special_samplers.py", samples=True, bundle="basic_pipe", makes="latent_image",
        widgets=f"add_noise {_ADVANCED} start_at_step end_at_step", outputs="basic_pipe latent_image vae",
    ),
    "KSamplerProvider": CustomNode(
        source=f"{IMPACT}special_samplers.py", samples=True, task="image", widgets=_SET, bundle="basic_pipe"
    ),
    "TiledKSamplerProvider": CustomNode(
        source=f"{IMPACT}special_samplers.py", samples=True, task="image", widgets=_SET, bundle="basic_pipe"
    ),
    "PixelKSampleUpscalerProvider": CustomNode(
        source=f"{IMPACT}impact_pack.py", samples=True, task="image", widgets=f"scale_method {_SET}"
    ),
    "PixelKSampleUpscalerProviderPipe": CustomNode(
        source=f"{IMPACT}impact_pack.py", samples=True, task="image", widgets=f"scale_method {_SET}",
        bundle="basic_pipe",
    ),
    "FaceDetailer": CustomNode(source=f"{IMPACT}impact_pack.py", samples=True, task="inpaint", widgets=_DETAIL),
    "FaceDetailerPipe": CustomNode(
        source=f"{IMPACT}impact_pack.py", samples=True, task="inpaint", widgets=_DETAIL, bundle="detailer_pipe"
    ),
    "DetailerForEach": CustomNode(source=f"{IMPACT}impact_pack.py", samples=True, task="inpaint", widgets=_DETAIL),
    "DetailerForEachDebug": CustomNode(
        source=f"{IMPACT}impact_pack.py", samples=True, task="inpaint", widgets=_DETAIL
    ),
    "DetailerForEachPipe": CustomNode(
        source=f"{IMPACT}impact_pack.py", samples=True, task="inpaint", widgets=_DETAIL, bundle="basic_pipe"
    ),
    "DetailerForEachDebugPipe": CustomNode(
        source=f"{IMPACT}impact_pack.py", samples=True, task="inpaint", widgets=_DETAIL, bundle="basic_pipe"
    ),
    "DetailerForEachPipeForAnimateDiff": CustomNode(
        source=f"{IMPACT}animatediff_nodes.py", samples=True, task="inpaint", widgets=_DETAIL, bundle="basic_pipe"
    ),
    "MaskDetailerPipe": CustomNode(
        source=f"{IMPACT}impact_pack.py", samples=True, task="inpaint", bundle="basic_pipe",
        widgets=f"guide_size guide_size_for max_size mask_mode {_SET}",
    ),
    "SEGSDetailer": CustomNode(
        source=f"{IMPACT}segs_nodes.py", samples=True, task="inpaint", widgets=_DETAIL, bundle="basic_pipe"
    ),
    "Efficient Loader": CustomNode(
        source=EFFICIENT, moves=_LOADER, texts="positive negative",
        makes="model positive negative latent_image vae clip",
        outputs="model positive negative latent_image vae clip",
        widgets="ckpt_name vae_name clip_skip lora_name lora_model_strength lora_clip_strength positive negative"
        " token_normalization weight_interpretation empty_latent_width empty_latent_height batch_size",
    ),
    "Eff. Loader SDXL": CustomNode(
        source=EFFICIENT, moves={**_SIZES, "base_ckpt_name": "ckpt_name"}, texts="positive negative", family="sdxl",
        makes="model clip positive negative latent_image vae", outputs="sdxl_tuple latent_image vae",
        widgets="base_ckpt_name base_clip_skip refiner_ckpt_name refiner_clip_skip positive_ascore negative_ascore"
        " vae_name positive negative token_normalization weight_interpretation empty_latent_width empty_latent_height"
        " batch_size",
    ),
    "Pack SDXL Tuple": CustomNode(source=EFFICIENT, moves=_TUPLE),
    "Unpack SDXL Tuple": CustomNode(
        source=EFFICIENT, bundle="sdxl_tuple", outputs="model clip positive negative refiner_model"
    ),
    "Context (rgthree)": CustomNode(
        source=f"{RGTHREE}context_utils.py", bundle="base_ctx", outputs=_CONTEXT, moves=_CONTEXT_MOVES
    ),
    "Context Big (rgthree)": CustomNode(
        source=f"{RGTHREE}context_utils.py", bundle="base_ctx", outputs=_CONTEXT_BIG, moves=_CONTEXT_MOVES
    ),
    "Context Switch (rgthree)": CustomNode(
        source=f"{RGTHREE}context_switch.py", bundle=_CONTEXTS, outputs=_CONTEXT
    ),
    "Context Switch Big (rgthree)": CustomNode(
        source=f"{RGTHREE}context_switch_big.py", bundle=_CONTEXTS, outputs=_CONTEXT_BIG
    ),
    "KSampler Config (rgthree)": CustomNode(
        source=f"{RGTHREE}ksampler_config.py", widgets="steps_total refiner_step cfg sampler_name scheduler",
        outputs="steps_total refiner_step cfg sampler_name scheduler",
    ),
    "easy fullLoader": CustomNode(
        source=f"{EASY}loaders.py", moves=_LOADER, makes=_MAKES, texts="positive negative",
        outputs=f"{_EASY_OUT} clip positive negative latent_image",
        widgets=f"ckpt_name config_name vae_name clip_skip {_LORAS} {_AREA} positive positive_token_normalization"
        " positive_weight_interpretation negative negative_token_normalization negative_weight_interpretation"
        " batch_size",
    ),
    "easy a1111Loader": CustomNode(
        source=f"{EASY}loaders.py", moves=_LOADER, makes=_MAKES, texts="positive negative", outputs=_EASY_OUT,
        widgets=f"ckpt_name vae_name clip_skip {_LORAS} {_AREA} positive negative batch_size",
    ),
    "easy comfyLoader": CustomNode(
        source=f"{EASY}loaders.py", moves=_LOADER, makes=_MAKES, texts="positive negative", outputs=_EASY_OUT,
        widgets=f"ckpt_name vae_name clip_skip {_LORAS} {_AREA} positive negative batch_size",
    ),
    "easy fluxLoader": CustomNode(
        source=f"{EASY}loaders.py", moves=_LOADER, makes=_MAKES, texts="positive negative", outputs=_EASY_OUT,
        widgets=f"ckpt_name vae_name {_LORAS} {_AREA} positive batch_size", family="flux1",
    ),
    "easy kolorsLoader": CustomNode(
        source=f"{EASY}loaders.py", moves=_LOADER, makes=_MAKES, texts="positive negative", outputs=_EASY_OUT,
        widgets=f"unet_name vae_name chatglm3_name {_LORAS} {_AREA} positive negative batch_size", family="kolors",
    ),
    "easy hunyuanDiTLoader": CustomNode(
        source=f"{EASY}loaders.py", moves=_LOADER, makes=_MAKES, texts="positive negative", outputs=_EASY_OUT,
        widgets=f"ckpt_name vae_name {_LORAS} {_AREA} positive negative batch_size", family="hunyuan-dit",
    ),
    "easy pipeIn": CustomNode(source=f"{EASY}pipe.py", bundle="pipe", moves=_SHARED),
    "easy pipeEdit": CustomNode(
        source=f"{EASY}pipe.py", bundle="pipe", moves=_SHARED,
        outputs="pipe model positive negative latent_image vae clip image",
    ),
    "easy pipeOut": CustomNode(
        source=f"{EASY}pipe.py", bundle="pipe", outputs="pipe model positive negative latent_image vae clip image seed"
    ),
    "easy preSampling": CustomNode(
        source=f"{EASY}preSampling.py", bundle="pipe", moves=_SHARED,
        widgets="steps cfg sampler_name scheduler denoise seed",
    ),
    "easy preSamplingAdvanced": CustomNode(
        source=f"{EASY}preSampling.py", bundle="pipe", moves=_SHARED,
        widgets="steps cfg sampler_name scheduler start_at_step end_at_step add_noise seed",
    ),
    "easy preSamplingNoiseIn": CustomNode(
        source=f"{EASY}preSampling.py", bundle="pipe", moves={"optional_latent": "latent_image"},
        widgets="factor steps cfg sampler_name scheduler denoise seed",
    ),
    "easy preSamplingDynamicCFG": CustomNode(
        source=f"{EASY}preSampling.py", bundle="pipe", moves=_SHARED,
        widgets="steps cfg cfg_mode cfg_scale_min sampler_name scheduler denoise seed",
    ),
    "easy kSampler": CustomNode(
        source=f"{EASY}samplers.py", samples=True, bundle="pipe", outputs="pipe image", makes="latent_image"
    ),
    "easy kSamplerTiled": CustomNode(
        source=f"{EASY}samplers.py", samples=True, bundle="pipe", outputs="pipe image", makes="latent_image"
    ),
    "easy kSamplerInpainting": CustomNode(
        source=f"{EASY}samplers.py", samples=True, bundle="pipe", outputs="pipe image vae", makes="latent_image",
        task="inpaint",
    ),
    "easy fullkSampler": CustomNode(
        source=f"{EASY}samplers.py", samples=True, bundle="pipe", moves=_SHARED, makes="latent_image",
        outputs="pipe image model positive negative latent_image vae clip seed",
        widgets="steps cfg sampler_name scheduler denoise image_output link_id save_prefix seed",
    ),
    "easy seed": CustomNode(source=f"{EASY}seed.py", widgets="seed", outputs="seed"),
    "easy positive": CustomNode(source=f"{EASY}prompt.py", widgets="positive", outputs="positive"),
    "easy negative": CustomNode(source=f"{EASY}prompt.py", widgets="negative", outputs="negative"),
    "easy int": CustomNode(source=f"{EASY}logic.py", widgets="value", outputs="value"),
    "easy float": CustomNode(source=f"{EASY}logic.py", widgets="value", outputs="value"),
    "easy string": CustomNode(source=f"{EASY}logic.py", widgets="value", outputs="value"),
}  # fmt: skip
