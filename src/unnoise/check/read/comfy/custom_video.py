"""Nodes of the extensions that run video models: WanVideoWrapper, HunyuanVideoWrapper and CogVideoXWrapper."""

from collections.abc import Mapping

from unnoise.check.read.comfy.custom_node import CustomNode

WAN = "kijai/ComfyUI-WanVideoWrapper, "
HUNYUAN = "kijai/ComfyUI-HunyuanVideoWrapper, nodes.py"
COG = "kijai/ComfyUI-CogVideoXWrapper, "
_PROMPTS = {"positive_prompt": "positive", "negative_prompt": "negative"}
_VIDEO = {"samples": "first_latent", "denoise_strength": "denoise", "scheduler": "sampler_name"}
_FILE = {"model": "unet_name"}
_LORA = {"lora": "lora_name", "strength": "strength_model"}
_VAE = {"model_name": "vae_name"}

VIDEO: Mapping[str, CustomNode] = {
    "WanVideoSampler": CustomNode(
        source=f"{WAN}nodes_sampler.py", samples=True, family="wan",
        widgets="steps cfg shift seed force_offload scheduler riflex_freq_index denoise_strength",
        moves={**_VIDEO, "image_embeds": "latent_image", "text_embeds": "positive"},
    ),
    "WanVideoModelLoader": CustomNode(
        source=f"{WAN}nodes_model_loading.py", widgets="model base_precision quantization", moves=_FILE, family="wan"
    ),
    "WanVideoLoraSelect": CustomNode(
        source=f"{WAN}nodes_model_loading.py", widgets="lora strength", moves=_LORA
    ),
    "WanVideoLoraSelectMulti": CustomNode(
        source=f"{WAN}nodes_model_loading.py",
        widgets="lora_0 strength_0 lora_1 strength_1 lora_2 strength_2 lora_3 strength_3 lora_4 strength_4",
    ),
    "WanVideoVAELoader": CustomNode(
        source=f"{WAN}nodes_model_loading.py", widgets="model_name precision", moves=_VAE
    ),
    "WanVideoTextEncode": CustomNode(
        source=f"{WAN}nodes.py", widgets="positive_prompt negative_prompt", moves=_PROMPTS, texts="positive negative"
    ),
    "WanVideoTextEncodeCached": CustomNode(
        source=f"{WAN}nodes.py", widgets="model_name precision positive_prompt negative_prompt", moves=_PROMPTS,
        texts="positive negative",
    ),
    "WanVideoEmptyEmbeds": CustomNode(source=f"{WAN}nodes.py", widgets="width height num_frames"),
    "WanVideoImageToVideoEncode": CustomNode(source=f"{WAN}nodes.py", widgets="width height num_frames"),
    "WanVideoVACEEncode": CustomNode(source=f"{WAN}nodes.py", widgets="width height num_frames"),
    "WanVideoImageClipEncode": CustomNode(
        source=f"{WAN}nodes.py", widgets="generation_width generation_height num_frames",
        moves={"generation_width": "width", "generation_height": "height"},
    ),
    "HyVideoSampler": CustomNode(
        source=HUNYUAN, samples=True, family="hunyuan-video",
        widgets="width height num_frames steps embedded_guidance_scale flow_shift seed force_offload denoise_strength"
        " scheduler",
        moves={**_VIDEO, "hyvid_embeds": "positive", "embedded_guidance_scale": "guidance", "flow_shift": "shift"},
    ),
    "HyVideoModelLoader": CustomNode(
        source=HUNYUAN, widgets="model base_precision quantization", moves=_FILE, family="hunyuan-video"
    ),
    "HyVideoLoraSelect": CustomNode(source=HUNYUAN, widgets="lora strength", moves=_LORA),
    "HyVideoVAELoader": CustomNode(source=HUNYUAN, widgets="model_name precision", moves=_VAE),
    "HyVideoTextEncode": CustomNode(source=HUNYUAN, widgets="prompt"),
    "CogVideoSampler": CustomNode(
        source=f"{COG}nodes.py", samples=True, family="cogvideox",
        moves={**_VIDEO, "image_cond_latents": "start_image"},
        widgets="num_frames steps cfg seed scheduler denoise_strength",
    ),
    "CogVideoXModelLoader": CustomNode(
        source=f"{COG}model_loading.py", widgets="model base_precision quantization", moves=_FILE, family="cogvideox"
    ),
    "DownloadAndLoadCogVideoModel": CustomNode(
        source=f"{COG}model_loading.py", widgets="model precision quantization", moves=_FILE, family="cogvideox"
    ),
    "DownloadAndLoadCogVideoGGUFModel": CustomNode(
        source=f"{COG}model_loading.py", widgets="model vae_precision", moves=_FILE, family="cogvideox"
    ),
    "CogVideoLoraSelect": CustomNode(source=f"{COG}model_loading.py", widgets="lora strength", moves=_LORA),
    "CogVideoTextEncode": CustomNode(source=f"{COG}nodes.py", widgets="prompt strength"),
}  # fmt: skip
