"""The training scripts of sd-scripts and of diffusers, each with the family that it trains."""

import re
from collections.abc import Mapping

# The family of each script of sd-scripts; "" where --v2 selects Stable Diffusion 1 or 2.
SD_SCRIPTS: Mapping[str, str] = {
    "train_network.py": "", "train_db.py": "", "fine_tune.py": "", "train_textual_inversion.py": "",
    "train_textual_inversion_XTI.py": "", "train_control_net.py": "",
    "sdxl_train.py": "sdxl", "sdxl_train_network.py": "sdxl", "sdxl_train_textual_inversion.py": "sdxl",
    "sdxl_train_control_net.py": "sdxl", "sdxl_train_control_net_lllite.py": "sdxl",
    "sd3_train.py": "sd3", "sd3_train_network.py": "sd3",
    "flux_train.py": "flux1", "flux_train_network.py": "flux1", "flux_train_control_net.py": "flux1",
    "lumina_train.py": "lumina2", "lumina_train_network.py": "lumina2",
    "hunyuan_image_train_network.py": "hunyuan-image", "anima_train.py": "anima", "anima_train_network.py": "anima",
}  # fmt: skip
# The family of each example script of diffusers; "" where the base decides.   Source: huggingface/diffusers, examples/
EXAMPLES: Mapping[str, str] = {
    "train_text_to_image.py": "", "train_text_to_image_lora.py": "", "train_text_to_image_sdxl.py": "sdxl",
    "train_text_to_image_lora_sdxl.py": "sdxl", "train_text_to_image_flax.py": "", "train_text_to_image_xla.py": "",
    "train_text_to_image_decoder.py": "kandinsky", "train_text_to_image_lora_decoder.py": "kandinsky",
    "train_text_to_image_prior.py": "", "train_text_to_image_lora_prior.py": "",  # of Kandinsky and Wuerstchen
    "train_dreambooth.py": "", "train_dreambooth_lora.py": "", "train_dreambooth_flax.py": "",
    "train_dreambooth_inpaint.py": "", "train_dreambooth_inpaint_lora.py": "", "train_dreambooth_colossalai.py": "",
    "train_dreambooth_lora_sdxl.py": "sdxl", "train_dreambooth_lora_sdxl_advanced.py": "sdxl",
    "train_dreambooth_lora_sd15_advanced.py": "sd1", "train_dreambooth_sd3.py": "sd3",
    "train_dreambooth_lora_sd3.py": "sd3", "train_dreambooth_lora_sd3_miniature.py": "sd3",
    "train_dreambooth_flux.py": "flux1", "train_dreambooth_lora_flux.py": "flux1",
    "train_dreambooth_lora_flux_advanced.py": "flux1", "train_dreambooth_lora_flux_kontext.py": "flux1",
    "train_dreambooth_lora_flux_miniature.py": "flux1", "train_dreambooth_lora_flux2.py": "flux2",
    "train_dreambooth_lora_flux2_img2img.py": "flux2", "train_dreambooth_lora_flux2_klein.py": "flux2",
    "train_dreambooth_lora_flux2_klein_img2img.py": "flux2", "train_dreambooth_lora_lumina2.py": "lumina2",
    "train_dreambooth_lora_sana.py": "sana", "train_dreambooth_lora_hidream.py": "hidream",
    "train_dreambooth_lora_qwen_image.py": "qwen-image", "train_dreambooth_lora_z_image.py": "z-image",
    "train_dreambooth_lora_ideogram4.py": "", "train_dreambooth_lora_krea2.py": "",
    "train_cogvideox_lora.py": "cogvideox", "train_cogvideox_image_to_video_lora.py": "cogvideox",
    "train_cosmos_predict25_lora.py": "",
    "train_controlnet.py": "", "train_controlnet_flax.py": "", "train_controlnet_webdataset.py": "sdxl",
    "train_controlnet_sdxl.py": "sdxl", "train_controlnet_sd3.py": "sd3", "train_controlnet_flux.py": "flux1",
    "train_control_flux.py": "flux1", "train_control_lora_flux.py": "flux1", "train_control_cogview4.py": "cogview4",
    "train_pixart_controlnet_hf.py": "pixart", "train_t2i_adapter_sdxl.py": "sdxl",
    "textual_inversion.py": "", "textual_inversion_flax.py": "", "textual_inversion_bf16.py": "",
    "textual_inversion_sdxl.py": "sdxl", "train_instruct_pix2pix.py": "", "train_instruct_pix2pix_lora.py": "",
    "train_instruct_pix2pix_sdxl.py": "sdxl", "train_custom_diffusion.py": "", "train_unconditional.py": "",
    "train_lcm_distill_sd_wds.py": "", "train_lcm_distill_lora_sd_wds.py": "",
    "train_lcm_distill_sdxl_wds.py": "sdxl", "train_lcm_distill_lora_sdxl.py": "sdxl",
    "train_lcm_distill_lora_sdxl_wds.py": "sdxl", "train_sana_sprint_diffusers.py": "sana",
    "train_diffusion_dpo.py": "", "train_diffusion_dpo_sdxl.py": "sdxl",
    "train_diffusion_orpo_sdxl_lora.py": "sdxl", "train_diffusion_orpo_sdxl_lora_wds.py": "sdxl",
    "train_multi_subject_dreambooth.py": "", "train_multi_subject_dreambooth_inpainting.py": "",
    "train_amused.py": "", "train_autoencoderkl.py": "", "train_cm_ct_unconditional.py": "",
    "train_realfill.py": "", "train_sdxl_lpl.py": "sdxl", "train_gligen_text.py": "",
}  # fmt: skip
# Copies of these under names of their own, such as train_dreambooth_lora_sd35.py.
COPY = re.compile(
    r"train_(?:text_to_image|dreambooth|multi_subject_dreambooth|controlnet|control|instruct_pix2pix"
    r"|t2i_adapter|lcm_distill)_[\w-]{1,60}\.py"
)
WORDS: tuple[tuple[str, str], ...] = (  # of such a name, and their family
    ("flux2", "flux2"), ("flux", "flux1"), ("sd3", "sd3"), ("sd35", "sd3"), ("sdxl", "sdxl"), ("xl", "sdxl"),
    ("sana", "sana"), ("lumina2", "lumina2"), ("hidream", "hidream"), ("qwen", "qwen-image"), ("z_image", "z-image"),
    ("zimage", "z-image"), ("pixart", "pixart"), ("cogview4", "cogview4"), ("kolors", "kolors"), ("chroma", "chroma"),
)  # fmt: skip
NETWORKS: Mapping[str, str] = {
    "networks.lora_flux": "flux1", "networks.oft_flux": "flux1", "networks.lora_sd3": "sd3",
    "networks.lora_lumina": "lumina2", "networks.lora_anima": "anima", "networks.lora_hunyuan_image": "hunyuan-image",
}  # fmt: skip


def is_script(name: str) -> bool:
    """Return whether a file name is that of a training script of sd-scripts or diffusers, or of a copy of one."""
    return name in SD_SCRIPTS or name in EXAMPLES or COPY.fullmatch(name) is not None


def family_of(script: str) -> str:
    """Return the family that a script trains; "" where its arguments decide."""
    if script in SD_SCRIPTS or script in EXAMPLES:
        return SD_SCRIPTS.get(script) or EXAMPLES.get(script, "")
    stem = f"_{script.removesuffix('.py').replace('-', '_')}_"
    return next((family for word, family in WORDS if f"_{word}_" in stem), "")
