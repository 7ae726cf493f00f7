"""Nodes of extensions that sample with the model, the prompts and the latent linked to them.

Extensions: x-flux-comfyui, Inspire Pack, Efficiency Nodes, RES4LYF, Ultimate SD Upscale, AnimateDiff Evolved, LanPaint,
tiled_ksampler, WanVideoKsampler, and the nodes that SwarmUI installs.
"""

from collections.abc import Mapping

from unnoise.check.read.comfy.custom_node import CustomNode

XLABS = "XLabs-AI/x-flux-comfyui, nodes.py"
INSPIRE = "ltdrdata/ComfyUI-Inspire-Pack, inspire/"
EFFICIENT = "jags111/efficiency-nodes-comfyui, efficiency_nodes.py"
RES4LYF = "ClownsharkBatwing/RES4LYF, "
EVOLVED = "Kosinkadink/ComfyUI-AnimateDiff-Evolved, animatediff/"
UPSCALE = "ssitu/ComfyUI_UltimateSDUpscale, usdu_nodes.py"
LANPAINT = "scraed/LanPaint, src/LanPaint/nodes.py"
TILED = "FlyingFireCo/tiled_ksampler, tilingSampler.py"
SWARM = "mcmonkeyprojects/SwarmUI, src/BuiltinExtensions/ComfyUIBackend/ExtraNodes/SwarmComfyCommon/"
_SET = "seed steps cfg sampler_name scheduler denoise"
_ADVANCED = "noise_seed steps cfg sampler_name scheduler"
_TILES = f"{_SET} mode_type tile_width tile_height"
_CIRCULAR = "seed tiling steps cfg sampler_name scheduler denoise"
_CLOWN = f"{RES4LYF}beta/samplers.py"
_CLOWN_OLD = f"{RES4LYF}legacy/samplers.py"
_MOTION = "model_name beta_schedule"
_MODULE = {"model_name": "motion_name"}

SAMPLERS: Mapping[str, CustomNode] = {
    "XlabsSampler": CustomNode(
        source=XLABS, samples=True, family="flux1",
        widgets="noise_seed steps timestep_to_start_cfg true_gs image_to_image_strength denoise_strength",
        moves={"conditioning": "positive", "neg_conditioning": "negative", "true_gs": "cfg",
               "denoise_strength": "denoise"},
    ),
    "FluxLoraLoader": CustomNode(source=XLABS, widgets="lora_name strength_model"),
    "KSampler //Inspire": CustomNode(source=f"{INSPIRE}a1111_compat.py", samples=True, widgets=_SET),
    "KSamplerAdvanced //Inspire": CustomNode(
        source=f"{INSPIRE}a1111_compat.py", samples=True, widgets=f"add_noise {_ADVANCED} start_at_step end_at_step"
    ),
    "KSamplerPipe //Inspire": CustomNode(
        source=f"{INSPIRE}a1111_compat.py", samples=True, widgets=_SET, bundle="basic_pipe", outputs="latent_image vae",
        makes="latent_image",
    ),
    "KSamplerAdvancedPipe //Inspire": CustomNode(
        source=f"{INSPIRE}a1111_compat.py", samples=True, widgets=f"add_noise {_ADVANCED} start_at_step end_at_step",
        bundle="basic_pipe", outputs="latent_image vae", makes="latent_image",
    ),
    "KSamplerProgress //Inspire": CustomNode(source=f"{INSPIRE}sampler_nodes.py", samples=True, widgets=_SET),
    "KSamplerAdvancedProgress //Inspire": CustomNode(
        source=f"{INSPIRE}sampler_nodes.py", samples=True, widgets=f"add_noise {_ADVANCED} start_at_step end_at_step"
    ),
    "KSampler (Efficient)": CustomNode(
        source=EFFICIENT, samples=True, widgets=_SET, makes="latent_image",
        outputs="model positive negative latent_image vae image",
    ),
    "KSampler Adv. (Efficient)": CustomNode(
        source=EFFICIENT, samples=True, widgets=f"add_noise {_ADVANCED} start_at_step end_at_step",
        makes="latent_image", outputs="model positive negative latent_image vae image",
    ),
    "KSampler SDXL (Eff.)": CustomNode(
        source=EFFICIENT, samples=True, widgets=f"{_ADVANCED} start_at_step refine_at_step", bundle="sdxl_tuple",
        makes="latent_image", outputs="sdxl_tuple latent_image vae image", family="sdxl",
    ),
    "ClownsharKSampler_Beta": CustomNode(
        source=_CLOWN, samples=True,
        widgets="eta sampler_name scheduler steps steps_to_run denoise cfg seed sampler_mode bongmath",
    ),
    "ClownsharkChainsampler_Beta": CustomNode(
        source=_CLOWN, samples=True, task="image", bundle="latent_image",
        widgets="eta sampler_name steps_to_run cfg sampler_mode",
    ),
    "SharkSampler_Beta": CustomNode(
        source=_CLOWN, samples=True, widgets="scheduler steps steps_to_run denoise cfg seed sampler_mode"
    ),
    "SharkChainsampler_Beta": CustomNode(
        source=_CLOWN, samples=True, task="image", bundle="latent_image", widgets="steps_to_run cfg sampler_mode"
    ),
    "ClownSampler_Beta": CustomNode(source=_CLOWN, widgets="eta sampler_name seed bongmath"),
    "BongSampler": CustomNode(source=_CLOWN, samples=True, widgets=_SET),
    "ClownSampler": CustomNode(
        source=_CLOWN_OLD, widgets="noise_type_sde noise_mode_sde eta s_noise d_noise noise_seed_sde sampler_name"
    ),
    "ClownsharKSampler": CustomNode(
        source=_CLOWN_OLD, samples=True, widgets="noise_type_init noise_type_sde noise_mode_sde eta noise_seed"
        " sampler_mode sampler_name implicit_sampler_name scheduler steps implicit_steps denoise denoise_alt cfg",
    ),
    "ClownModelLoader": CustomNode(
        source=f"{RES4LYF}loaders.py", moves={"clip_type": "type"}, outputs="model clip vae", makes="model clip vae",
        widgets="model_name weight_dtype clip_name1_opt clip_name2_opt clip_name3_opt clip_name4_opt clip_type"
        " vae_name",
    ),
    "FluxLoader": CustomNode(
        source=f"{RES4LYF}loaders.py", outputs="model clip vae", makes="model clip vae",
        widgets="model_name weight_dtype clip_name1 clip_name2_opt vae_name",
    ),
    "SD35Loader": CustomNode(
        source=f"{RES4LYF}loaders.py", outputs="model clip vae", makes="model clip vae",
        widgets="model_name weight_dtype clip_name1 clip_name2_opt clip_name3_opt vae_name",
    ),
    "UltimateSDUpscale": CustomNode(source=UPSCALE, samples=True, task="image", widgets=f"upscale_by {_TILES}"),
    "UltimateSDUpscaleNoUpscale": CustomNode(source=UPSCALE, samples=True, task="image", widgets=_TILES),
    "UltimateSDUpscaleCustomSample": CustomNode(
        source=UPSCALE, samples=True, task="image", widgets=f"upscale_by {_TILES}"
    ),
    "LanPaint_KSampler": CustomNode(source=LANPAINT, samples=True, task="inpaint", widgets=_SET),
    "LanPaint_KSamplerAdvanced": CustomNode(
        source=LANPAINT, samples=True, task="inpaint", widgets=f"add_noise {_ADVANCED} start_at_step end_at_step"
    ),
    "Tiled KSampler": CustomNode(source=TILED, samples=True, widgets=_CIRCULAR),
    "Asymmetric Tiled KSampler": CustomNode(
        source=TILED, samples=True, widgets=_CIRCULAR.replace("tiling", "tileX tileY")
    ),
    "WanVideoKsampler": CustomNode(
        source="ShmuelRonen/ComfyUI-WanVideoKsampler, nodes.py", samples=True, family="wan", widgets=_SET,
        moves={"video_latents": "latent_image"},
    ),
    "SwarmKSampler": CustomNode(
        source=f"{SWARM}SwarmKSampler.py", samples=True, widgets=f"{_ADVANCED} start_at_step end_at_step"
    ),
    "SwarmClipTextEncodeAdvanced": CustomNode(
        source=f"{SWARM}SwarmTextHandling.py", widgets="steps prompt width height target_width target_height guidance"
    ),
    "ADE_AnimateDiffLoaderGen1": CustomNode(source=f"{EVOLVED}nodes_gen1.py", widgets=_MOTION, moves=_MODULE),
    "ADE_AnimateDiffLoaderWithContext": CustomNode(
        source=f"{EVOLVED}nodes_deprecated.py", widgets=_MOTION, moves=_MODULE
    ),
    "AnimateDiffLoaderV1": CustomNode(
        source=f"{EVOLVED}nodes_deprecated.py", widgets="model_name unlimited_area_hack beta_schedule", moves=_MODULE
    ),
    "ADE_LoadAnimateDiffModel": CustomNode(
        source=f"{EVOLVED}nodes_gen2.py", widgets="model_name", moves=_MODULE
    ),
    "CheckpointLoaderSimpleWithNoiseSelect": CustomNode(
        source=f"{EVOLVED}nodes_extras.py", widgets="ckpt_name beta_schedule"
    ),
    "DiffusionModelLoaderKJ": CustomNode(
        source="kijai/ComfyUI-KJNodes, nodes/model_optimization_nodes.py", widgets="model_name weight_dtype"
    ),
    "ADE_UseEvolvedSampling": CustomNode(source=f"{EVOLVED}nodes_gen2.py", widgets="beta_schedule"),
}  # fmt: skip
