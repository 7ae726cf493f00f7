"""Keywords of other tools, and of unnoise before 0.2, with the option that takes their place."""

from typing import Final

OTHER_NAMES: Final = {
    "num_inference_steps": "steps", "num_steps": "steps", "sampling_steps": "steps", "ddim_steps": "steps",
    "cfg_scale": "guidance_scale", "cfg": "guidance_scale", "guidance": "guidance_scale", "scale": "guidance_scale",
    "weight": "guidance_scale", "true_cfg_scale": "guidance_scale", "image_guidance_scale": "image_guidance",
    "image_weight": "image_guidance", "embedded": "distilled_guidance", "guidance_embed": "distilled_guidance",
    "denoising_strength": "strength", "denoise": "strength", "num_images_per_prompt": "n", "n_iter": "n",
    "num_images": "n", "batch_count": "n", "batch_size": "batch", "generator": "seed", "width": "size",
    "height": "size", "negative": "negative_prompt", "mask_image": "mask", "init_image": "image",
    "sampler_name": "sampler", "scheduler": "schedule", "grid": "schedule", "sigmas": "schedule",
    "timesteps": "schedule", "between": "guidance_interval", "rescale": "guidance_rescale",
    "emphasis": "prompt_weighting", "expand": "outpaint", "repaint": "resample", "soft": "mask_mode",
    "origin": "source_prompt", "toward": "blend_prompt", "toward_share": "blend_share", "hint": "control_image",
    "hint_weight": "control_scale", "controlnet_conditioning_scale": "control_scale", "look": "ip_adapter_image",
    "look_weight": "ip_adapter_scale", "num_frames": "frames", "audio_end_in_s": "seconds", "latents": "noise",
    "watch": "callback", "callback_on_step_end": "callback", "loras": "lora", "keep_outside": "invert_mask",
    "crops_coords_top_left": "crop_top_left", "negative_crops_coords_top_left": "negative_crop_top_left",
}  # fmt: skip
