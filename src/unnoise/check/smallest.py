"""The smallest tensors by which each family's file is told, for examples: real names with real shapes."""

from collections.abc import Mapping

Tensors = Mapping[str, tuple[str, tuple[int, ...]]]  # dtype and shape by name
UNET = "model.diffusion_model."
VAE = "first_stage_model."


def _half(shapes: Mapping[str, tuple[int, ...]]) -> Tensors:
    return {name: ("F16", shape) for name, shape in shapes.items()}


def _autoencoder(channels: int) -> dict[str, tuple[int, ...]]:
    return {
        f"{VAE}encoder.conv_in.weight": (128, 3, 3, 3),
        f"{VAE}encoder.conv_out.weight": (2 * channels, 512, 3, 3),
        f"{VAE}decoder.conv_in.weight": (512, channels, 3, 3),
        f"{VAE}decoder.conv_out.weight": (3, 128, 3, 3),
    }


def _unet(channels: int, context: int, deep: bool = False) -> dict[str, tuple[int, ...]]:
    block = "input_blocks.4.1" if deep else "input_blocks.1.1"
    width = 640 if deep else 320
    shapes: dict[str, tuple[int, ...]] = {
        f"{UNET}time_embed.0.weight": (1280, 320),
        f"{UNET}input_blocks.0.0.weight": (320, channels, 3, 3),
        f"{UNET}{block}.transformer_blocks.0.attn2.to_k.weight": (width, context),
        f"{UNET}middle_block.1.transformer_blocks.0.attn2.to_k.weight": (1280, context),
        f"{UNET}out.2.weight": (4, 320, 3, 3),
    }
    if not deep:
        shapes[f"{UNET}input_blocks.2.1.transformer_blocks.0.attn2.to_k.weight"] = (320, context)
    return shapes


CLIP_L = "cond_stage_model.transformer.text_model."
SD1_TEXT = {
    f"{CLIP_L}embeddings.token_embedding.weight": (49408, 768),
    f"{CLIP_L}encoder.layers.11.mlp.fc1.weight": (3072, 768),
}
SD2_TEXT = {
    "cond_stage_model.model.token_embedding.weight": (49408, 1024),
    "cond_stage_model.model.transformer.resblocks.22.mlp.c_proj.bias": (1024,),
}
SDXL_TEXT = {
    "conditioner.embedders.0.transformer.text_model.embeddings.token_embedding.weight": (49408, 768),
    "conditioner.embedders.1.model.token_embedding.weight": (49408, 1280),
    "conditioner.embedders.1.model.transformer.resblocks.9.mlp.c_proj.bias": (1280,),
}
SDXL_DEPTH = {
    f"{UNET}label_emb.0.0.weight": (1280, 2816),
    f"{UNET}input_blocks.4.1.transformer_blocks.1.attn2.to_k.weight": (640, 2048),
    f"{UNET}input_blocks.7.1.transformer_blocks.9.attn2.to_k.weight": (1280, 2048),
    f"{UNET}middle_block.1.transformer_blocks.9.attn2.to_k.weight": (1280, 2048),
}
FLUX = {
    "double_blocks.0.img_attn.norm.key_norm.scale": (128,),
    "double_blocks.0.img_attn.qkv.weight": (9216, 3072),
    "double_blocks.18.img_attn.qkv.weight": (9216, 3072),
    "single_blocks.37.linear1.weight": (21504, 3072),
    "txt_in.weight": (3072, 4096),
    "vector_in.in_layer.weight": (3072, 768),
    "img_in.weight": (3072, 64),
    "final_layer.linear.weight": (64, 3072),
}
SD3 = {
    f"{UNET}joint_blocks.0.context_block.adaLN_modulation.1.bias": (9216,),
    f"{UNET}joint_blocks.0.x_block.attn.qkv.weight": (4608, 1536),
    f"{UNET}pos_embed": (1, 36864, 1536),
    f"{UNET}x_embedder.proj.weight": (1536, 16, 2, 2),
    f"{UNET}context_embedder.weight": (1536, 4096),
}
SDXL = _unet(4, 2048, deep=True) | SDXL_DEPTH | SDXL_TEXT | _autoencoder(4)

SMALLEST: Mapping[tuple[str, str], Tensors] = {
    ("sd1", ""): _half(_unet(4, 768) | SD1_TEXT | _autoencoder(4)),
    ("sd1", "inpaint"): _half(_unet(9, 768) | SD1_TEXT | _autoencoder(4)),
    ("sd1", "pix2pix"): _half(_unet(8, 768) | SD1_TEXT | _autoencoder(4)),
    ("sd2", ""): _half(_unet(4, 1024) | SD2_TEXT | _autoencoder(4)),
    ("sdxl", ""): _half(SDXL),
    ("sdxl", "v-pred"): _half(SDXL | {"v_pred": (0,)}),
    ("sdxl", "inpaint"): _half(SDXL | {f"{UNET}input_blocks.0.0.weight": (320, 9, 3, 3)}),
    ("sd3", "medium"): _half(SD3),
    ("flux1", "dev"): _half(FLUX | {"guidance_in.in_layer.bias": (3072,), "guidance_in.in_layer.weight": (3072, 256)}),
    ("flux1", "schnell"): _half(FLUX),
}
