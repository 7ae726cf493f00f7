"""The fewest tensors that identify a file of each family, for examples: real names with real shapes."""

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
SSD_1B = _unet(4, 2048, deep=True) | {
    f"{UNET}label_emb.0.0.weight": (1280, 2816),
    f"{UNET}input_blocks.4.1.transformer_blocks.1.attn2.to_k.weight": (640, 2048),
    f"{UNET}input_blocks.7.1.transformer_blocks.3.attn2.to_k.weight": (1280, 2048),
}
REFINER = {
    f"{UNET}input_blocks.0.0.weight": (384, 4, 3, 3),
    f"{UNET}label_emb.0.0.weight": (1536, 2560),
    f"{UNET}input_blocks.4.1.transformer_blocks.0.attn2.to_k.weight": (768, 1280),
    "conditioner.embedders.0.model.transformer.resblocks.9.mlp.c_proj.bias": (1280,),
}
SVD = _unet(8, 1024) | {
    f"{UNET}label_emb.0.0.weight": (1280, 768),
    f"{UNET}input_blocks.1.1.time_stack.0.attn1.to_q.weight": (320, 320),
}
# Of the published files of one denoiser: in the layout of their makers, but for CogVideoX and Kolors.
KOLORS = {
    "conv_in.weight": (320, 4, 3, 3),
    "down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k.weight": (640, 2048),
    "add_embedding.linear_1.weight": (1280, 5632),
    "encoder_hid_proj.weight": (2048, 4096),
}
FLUX2 = {
    "single_stream_modulation.lin.weight": (18432, 6144),
    "double_stream_modulation_img.lin.weight": (36864, 6144),
    "img_in.weight": (6144, 128),
}
CHROMA = {
    "distilled_guidance_layer.in_proj.weight": (5120, 64),
    "double_blocks.0.img_attn.qkv.weight": (9216, 3072),
    "img_in.weight": (3072, 64),
}
QWEN = {
    "txt_norm.weight": (3584,),
    "txt_in.weight": (3072, 3584),
    "img_in.weight": (3072, 64),
    "transformer_blocks.0.img_mod.1.weight": (18432, 3072),
}
Z_IMAGE = {
    "cap_embedder.1.weight": (3840, 2560),
    "cap_pad_token": (1, 3840),
    "layers.0.adaLN_modulation.0.weight": (15360, 256),
    "layers.0.attention.qkv.weight": (11520, 3840),
    "noise_refiner.0.attention.qkv.weight": (11520, 3840),
}
LUMINA2 = {
    "cap_embedder.1.weight": (2304, 2304),
    "layers.0.attention.qkv.weight": (3840, 2304),
    "noise_refiner.0.attention.qkv.weight": (3840, 2304),
}
AURAFLOW = {
    "double_layers.0.attn.w1q.weight": (3072, 3072),
    "double_layers.0.attn.w2q.weight": (3072, 3072),
    "cond_seq_linear.weight": (3072, 2048),
}
HIDREAM = {
    "double_stream_blocks.0.block.adaLN_modulation.1.bias": (30720,),
    "caption_projection.0.linear.weight": (2560, 4096),
    "x_embedder.proj.weight": (2560, 64),
}
HUNYUAN_DIT = {"mlp_t5.0.weight": (8192, 2048), "text_embedding_padding": (333, 1024)}
PIXART = {
    "t_block.1.weight": (6912, 1152),
    "x_embedder.proj.weight": (1152, 4, 2, 2),
    "y_embedder.y_proj.fc1.weight": (1152, 4096),
}
SANA = {
    "x_embedder.proj.weight": (2240, 32, 1, 1),
    "blocks.0.cross_attn.q_linear.weight": (2240, 2240),
    "blocks.0.mlp.depth_conv.conv.weight": (11200, 1, 3, 3),
}
HUNYUAN = {
    "txt_in.individual_token_refiner.blocks.0.adaLN_modulation.1.bias": (6144,),
    "vector_in.in_layer.weight": (3072, 768),
    "guidance_in.mlp.0.weight": (3072, 256),
    "img_in.proj.weight": (3072, 16, 1, 2, 2),
    "double_blocks.0.img_attn_qkv.weight": (9216, 3072),
}
LTX = {
    f"{UNET}patchify_proj.weight": (2048, 128),
    f"{UNET}transformer_blocks.27.scale_shift_table": (6, 2048),
    "vae.encoder.conv_out.conv.weight": (129, 512, 3, 3, 3),
}
MOCHI = {
    "t5_yproj.weight": (1536, 4096),
    "x_embedder.proj.weight": (3072, 12, 2, 2),
    "blocks.0.attn.qkv_x.weight": (9216, 3072),
}
COSMOS = {
    "net.x_embedder.proj.1.weight": (4096, 68),
    "net.blocks.block0.blocks.0.block.attn.to_q.0.weight": (4096, 4096),
}
PREDICT2 = {
    "net.x_embedder.proj.1.weight": (2048, 68),
    "net.blocks.0.self_attn.q_proj.weight": (2048, 2048),
    "net.blocks.0.mlp.layer1.weight": (8192, 2048),
}
COGVIDEOX = {
    "patch_embed.text_proj.weight": (1920, 4096),
    "time_embedding.linear_1.weight": (512, 1920),
    "transformer_blocks.0.norm1.linear.weight": (11520, 512),
}


def _wan(width: int, feed: int, channels: int = 16) -> dict[str, tuple[int, ...]]:
    return {
        "patch_embedding.weight": (width, channels, 1, 2, 2),
        "text_embedding.0.weight": (width, 4096),
        "blocks.0.self_attn.q.weight": (width, width),
        "blocks.0.ffn.0.weight": (feed, width),
        "head.modulation": (1, 2, width),
    }


SAMPLE_HEADERS: Mapping[tuple[str, str], Tensors] = {
    ("sd1", ""): _half(_unet(4, 768) | SD1_TEXT | _autoencoder(4)),
    ("sd1", "inpaint"): _half(_unet(9, 768) | SD1_TEXT | _autoencoder(4)),
    ("sd1", "pix2pix"): _half(_unet(8, 768) | SD1_TEXT | _autoencoder(4)),
    ("sd2", ""): _half(_unet(4, 1024) | SD2_TEXT | _autoencoder(4)),
    ("sd2", "inpaint"): _half(_unet(9, 1024) | SD2_TEXT | _autoencoder(4)),
    ("sd2", "depth"): _half(_unet(5, 1024) | SD2_TEXT | _autoencoder(4)),
    ("sdxl", ""): _half(SDXL),
    ("sdxl", "v-pred"): _half(SDXL | {"v_pred": (0,)}),
    ("sdxl", "inpaint"): _half(SDXL | {f"{UNET}input_blocks.0.0.weight": (320, 9, 3, 3)}),
    ("sdxl", "cosxl"): _half(SDXL | {"edm_vpred.sigma_max": (), "edm_vpred.sigma_min": ()}),
    ("sdxl", "playground-2.5"): _half(SDXL | {"edm_mean": (1, 4, 1, 1), "edm_std": (1, 4, 1, 1)}),
    ("sdxl", "ssd-1b"): _half(SSD_1B | SDXL_TEXT | _autoencoder(4)),
    ("sdxl", "refiner"): _half(REFINER | _autoencoder(4)),
    ("svd", ""): _half(SVD),
    ("kolors", ""): _half(KOLORS),
    ("sd3", "medium"): _half(SD3),
    ("sd3", "3.5-medium"): _half(SD3 | {f"{UNET}pos_embed": (1, 147456, 1536)}),
    ("flux1", "dev"): _half(FLUX | {"guidance_in.in_layer.bias": (3072,), "guidance_in.in_layer.weight": (3072, 256)}),
    ("flux1", "schnell"): _half(FLUX),
    ("flux1", "fill"): _half(FLUX | {"guidance_in.in_layer.weight": (3072, 256), "img_in.weight": (3072, 384)}),
    ("flux2", "dev"): _half(FLUX2),
    ("chroma", ""): _half(CHROMA),
    ("qwen-image", ""): _half(QWEN),
    ("z-image", ""): _half(Z_IMAGE),
    ("lumina2", ""): _half(LUMINA2),
    ("auraflow", ""): _half(AURAFLOW),
    ("hidream", ""): _half(HIDREAM),
    ("hunyuan-dit", ""): _half(HUNYUAN_DIT),
    ("pixart", "alpha"): _half(PIXART | {"y_embedder.y_embedding": (120, 4096)}),
    ("pixart", "sigma"): _half(PIXART | {"y_embedder.y_embedding": (300, 4096)}),
    ("sana", ""): _half(SANA),
    ("wan", "1.3b"): _half(_wan(1536, 8960)),
    ("wan", "14b"): _half(_wan(5120, 13824)),
    ("wan", "5b"): _half(_wan(3072, 14336, 48)),
    ("wan", "vace"): _half(_wan(1536, 8960) | {"vace_blocks.0.after_proj.bias": (1536,)}),
    ("hunyuan-video", ""): _half(HUNYUAN),
    ("ltx", ""): _half(LTX),
    ("mochi", ""): _half(MOCHI),
    ("cosmos", "1"): _half(COSMOS),
    ("cosmos", "predict2"): _half(PREDICT2),
    ("cogvideox", ""): _half(COGVIDEOX),
}
