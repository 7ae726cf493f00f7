"""Recognise denoisers by their tensors, in the original layout and in that of diffusers.

Source: huggingface/diffusers, loaders/single_file_utils.py and models/transformers; ComfyUI, comfy/model_detection.py.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from unnoise.families.identity import Identity

Need = str | tuple[str, int, int]  # a tensor or a prefix of names; with an axis and its length


@dataclass(frozen=True, slots=True)
class Net:
    """Hold the shapes of a network by name, and the first one, two and three parts of the names."""

    shapes: Mapping[str, tuple[int, ...]]
    starts: frozenset[str]

    def side(self, name: str, axis: int) -> int | None:
        """Return the length of a tensor along an axis; None if there is no such tensor or axis."""
        shape = self.shapes.get(name)
        return shape[axis] if shape is not None and len(shape) > axis else None

    def __contains__(self, name: str) -> bool:
        return name in self.shapes or name in self.starts

    def identity(self, family: str, variant: str, name: str) -> Identity:
        """Return an identity with a tensor as its evidence."""
        shape = self.shapes.get(name)
        return Identity(family, variant, known_by=f"tensor {name}" + (f" of {list(shape)}" if shape else ""))


@dataclass(frozen=True, slots=True)
class Sign:
    """Identify a model by tensors that it has, the last of which is the evidence, and by tensors that it lacks."""

    family: str
    variant: str
    needs: tuple[Need, ...]
    lacks: tuple[str, ...] = ()

    def fits(self, net: Net) -> bool:
        """Return whether a network has all needed tensors and none of the others."""
        return all(_has(net, need) for need in self.needs) and not any(name in net for name in self.lacks)


def make_net(tensors: Mapping[str, tuple[int, ...]], prefix: str = "") -> Net:
    """Build a `Net` of the tensors whose names start with a prefix, without the prefix."""
    cut = len(prefix)
    shapes = {name[cut:]: shape for name, shape in tensors.items() if name.startswith(prefix)}
    starts: set[str] = set()
    for name in shapes:
        first, _, rest = name.partition(".")
        second, _, rest = rest.partition(".")
        third = rest.partition(".")[0]
        starts.update((first, f"{first}.{second}", f"{first}.{second}.{third}"))
    return Net(shapes, frozenset(starts))


def first_that_fits(net: Net, signs: Sequence[Sign]) -> Identity | None:
    """Return the identity of the first sign that fits a network."""
    for sign in signs:
        if sign.fits(net):
            last = sign.needs[-1]
            return net.identity(sign.family, sign.variant, last if isinstance(last, str) else last[0])
    return None


def _has(net: Net, need: Need) -> bool:
    return need in net if isinstance(need, str) else net.side(need[0], need[1]) == need[2]


FLUX = ("double_blocks.0.img_attn", "vector_in.in_layer")
FLUX_DIFFUSERS = ("single_transformer_blocks.0", "time_text_embed.text_embedder", ("context_embedder.bias", 0, 3072))
GUIDED, GUIDED_DIFFUSERS = "guidance_in.in_layer", "time_text_embed.guidance_embedder"
FLUX2, FLUX2_DIFFUSERS = "single_stream_modulation.lin.weight", "single_stream_modulation.linear.weight"
HUNYUAN, HUNYUAN_DIFFUSERS = "txt_in.individual_token_refiner", "context_embedder.token_refiner"
SD3 = ("joint_blocks.0.context_block", "context_embedder", ("x_embedder.proj.weight", 1, 16))
SD3_DIFFUSERS = ("transformer_blocks.0.norm1_context", "time_text_embed", ("pos_embed.proj.weight", 1, 16))
WAN, WAN_DIFFUSERS = ("head.modulation",), ("condition_embedder.text_embedder",)
# Tensors of families that are derived from Wan.
NOT_WAN = ("patch_short", "far_patch_embedding", "condition_embedder.delta_embedder")
NOT_STABLE_AUDIO = ("transformer.global_cond_embedder",)
NOT_HUNYUAN = ("byt5_in", "vision_in", "context_embedder_2", "image_projection", "clean_x_embedder")
PIXART = ("t_block.1", "y_embedder.y_proj", ("x_embedder.proj.weight", 0, 1152), ("x_embedder.proj.weight", 1, 4))
PIXART_DIFFUSERS = ("adaln_single.linear", ("pos_embed.proj.weight", 1, 4), ("pos_embed.proj.weight", 0, 1152))
SANA_DIFFUSERS = (("patch_embed.proj.weight", 1, 32), "transformer_blocks.0.ff.conv_depth.weight")
COSMOS_DIFFUSERS = ("time_embed.t_embedder", "transformer_blocks.0.norm3")
AUDIO = ("down_blocks.1.attentions", ("conv_in.weight", 1, 8), ("conv_in.weight", 0, 128))
COGS: Need = ("patch_embed.text_proj.weight", 1, 4096)


def _wan(variant: str, width: int, *more: Need, lacks: tuple[str, ...] = ()) -> list[Sign]:
    needs = (*more, ("patch_embedding.weight", 0, width))
    return [Sign("wan", variant, (*start, *needs), (*NOT_WAN, *lacks)) for start in (WAN, WAN_DIFFUSERS)]


SIGNS: tuple[Sign, ...] = (
    Sign("flux2", "dev", ((FLUX2, 1, 6144),)),
    Sign("flux2", "9b", ((FLUX2, 1, 4096),)),
    Sign("flux2", "4b", ((FLUX2, 1, 3072),)),
    Sign("flux2", "dev", ((FLUX2_DIFFUSERS, 1, 6144),)),
    Sign("flux2", "9b", ((FLUX2_DIFFUSERS, 1, 4096),)),
    Sign("flux2", "4b", ((FLUX2_DIFFUSERS, 1, 3072),)),
    Sign("chroma", "", ("distilled_guidance_layer.in_proj",), ("nerf_blocks",)),
    Sign("hunyuan-image", "distilled", (HUNYUAN, ("img_in.proj.weight", 0, 3584), "time_r_in"), ("vision_in",)),
    Sign("hunyuan-image", "base", (HUNYUAN, ("img_in.proj.weight", 0, 3584)), ("vision_in",)),
    Sign(
        "hunyuan-image",
        "distilled",
        (HUNYUAN_DIFFUSERS, ("x_embedder.proj.weight", 0, 3584), "time_guidance_embed.timestep_embedder_r"),
    ),
    Sign(
        "hunyuan-image",
        "base",
        (HUNYUAN_DIFFUSERS, "time_guidance_embed.timestep_embedder", ("x_embedder.proj.weight", 0, 3584)),
    ),
    Sign("hunyuan-video", "i2v", (HUNYUAN, "vector_in", ("img_in.proj.weight", 1, 33)), NOT_HUNYUAN),
    Sign("hunyuan-video", "", ("vector_in", HUNYUAN), NOT_HUNYUAN),
    Sign("hunyuan-video", "i2v", (HUNYUAN_DIFFUSERS, ("x_embedder.proj.weight", 1, 33)), NOT_HUNYUAN),
    Sign("hunyuan-video", "", ("time_text_embed.text_embedder", HUNYUAN_DIFFUSERS), NOT_HUNYUAN),
    Sign("flux1", "fill", (*FLUX, ("img_in.weight", 1, 384))),
    Sign("flux1", "control", (*FLUX, ("img_in.weight", 1, 128))),
    Sign("flux1", "dev", (*FLUX, ("img_in.weight", 1, 64), GUIDED)),
    Sign("flux1", "schnell", (*FLUX, ("img_in.weight", 1, 64)), (GUIDED,)),
    Sign("flux1", "", FLUX, (HUNYUAN,)),
    Sign("flux1", "fill", (*FLUX_DIFFUSERS, ("x_embedder.weight", 1, 384))),
    Sign("flux1", "control", (*FLUX_DIFFUSERS, ("x_embedder.weight", 1, 128))),
    Sign("flux1", "dev", (*FLUX_DIFFUSERS, ("x_embedder.weight", 1, 64), GUIDED_DIFFUSERS)),
    Sign("flux1", "schnell", (*FLUX_DIFFUSERS, ("x_embedder.weight", 1, 64)), (GUIDED_DIFFUSERS,)),
    Sign("flux1", "", FLUX_DIFFUSERS, (HUNYUAN_DIFFUSERS,)),
    Sign("sd3", "3.5-large", (*SD3, "joint_blocks.37")),
    Sign("sd3", "3.5-medium", (*SD3, ("pos_embed", 1, 147456))),
    Sign("sd3", "3.5-medium", (*SD3, "joint_blocks.0.x_block.attn2.qkv.weight")),
    Sign("sd3", "medium", (*SD3, ("joint_blocks.0.context_block.adaLN_modulation.1.bias", 0, 9216))),
    Sign("sd3", "", SD3),
    Sign("sd3", "3.5-large", (*SD3_DIFFUSERS, ("pos_embed.proj.weight", 0, 2432))),
    Sign("sd3", "3.5-medium", (*SD3_DIFFUSERS, ("pos_embed.proj.weight", 0, 1536), "transformer_blocks.0.attn2")),
    Sign("sd3", "medium", (*SD3_DIFFUSERS, ("pos_embed.proj.weight", 0, 1536))),
    Sign("sd3", "", SD3_DIFFUSERS),
    *_wan("vace", 1536, "vace_blocks"),
    *_wan("vace", 5120, "vace_blocks"),
    *_wan("1.3b", 1536),
    *_wan("5b", 3072, ("patch_embedding.weight", 1, 48)),
    # Wan 2.2 has no image features in cross-attention.
    *_wan("a14b", 5120, ("patch_embedding.weight", 1, 36), lacks=("img_emb", "condition_embedder.image_embedder")),
    *_wan("14b", 5120),
    Sign("sana", "", (("x_embedder.proj.weight", 1, 32), "blocks.0.mlp.depth_conv.conv.weight")),
    Sign("sana", "sprint", (*SANA_DIFFUSERS, "time_embed.guidance_embedder")),
    Sign("sana", "", SANA_DIFFUSERS),
    Sign("pixart", "alpha", (*PIXART, "ar_embedder.mlp.0.weight")),
    Sign("pixart", "alpha", (*PIXART, ("y_embedder.y_embedding", 0, 120))),
    Sign("pixart", "sigma", (*PIXART, ("y_embedder.y_embedding", 0, 300))),
    Sign("pixart", "", PIXART),
    Sign("pixart", "alpha", (*PIXART_DIFFUSERS, "adaln_single.emb.resolution_embedder")),
    Sign("pixart", "", PIXART_DIFFUSERS),
    Sign("z-image", "", (("cap_embedder.1.weight", 0, 3840), "cap_pad_token"), ("dec_net", "siglip_embedder")),
    Sign("lumina2", "", ("noise_refiner.0", ("cap_embedder.1.weight", 0, 2304)), ("clip_text_pooled_proj",)),
    Sign("lumina2", "", (("time_caption_embed.caption_embedder.1.weight", 0, 2304),)),
    Sign("auraflow", "", ("double_layers.0.attn.w1q.weight",)),
    Sign("auraflow", "", ("joint_transformer_blocks.0.ff.linear_1.weight",)),
    Sign("ltx", "", (("patchify_proj.weight", 1, 128),), ("audio_patchify_proj", "audio_adaln_single")),
    Sign("ltx", "", ("caption_projection.linear_1", "time_embed.emb", ("proj_in.weight", 1, 128)), ("audio_proj_in",)),
    Sign("mochi", "", ("t5_yproj.weight",)),
    Sign("mochi", "", ("time_embed.pooler.to_kv.weight",)),
    Sign("qwen-image", "", ("txt_norm.weight", ("transformer_blocks.0.img_mod.1.weight", 1, 3072))),
    Sign("hidream", "", ("double_stream_blocks.0", "caption_projection.0.linear.weight")),
    Sign("hunyuan-dit", "", ("mlp_t5.0.weight",)),
    Sign("hunyuan-dit", "", ("text_embedder.linear_1", "text_embedding_padding")),
    Sign("cascade", "decoder", ("clf.1.weight", "effnet_mapper.0.weight")),
    Sign("cascade", "prior", ("clf.1.weight", "clip_txt_mapper.weight")),
    Sign("cascade", "", ("clf.1.weight", "clip_txt_pooled_mapper.weight")),
    Sign("cogview4", "", (COGS, "time_condition_embed.condition_embedder", ("patch_embed.proj.weight", 0, 4096))),
    Sign("cogvideox", "", ("time_embedding.linear_1", "transformer_blocks.0.norm1", COGS), ("local_facial_extractor",)),
    Sign("cogvideox", "", ("blocks.0.norm1.linear.weight", COGS)),
    Sign("stable-audio", "", ("transformer.rotary_pos_emb", "to_timestep_embed.0.weight"), NOT_STABLE_AUDIO),
    Sign("stable-audio", "", ("preprocess_conv.weight", "cross_attention_proj.0.weight")),
    Sign("cosmos", "1", ("blocks.block0.blocks.0.block.attn.to_q.0.weight",)),
    Sign("cosmos", "predict2", ("x_embedder.proj.1.weight", "blocks.0.mlp.layer1.weight"), ("llm_adapter",)),
    Sign("anima", "", ("x_embedder.proj.1.weight", "blocks.0.mlp.layer1.weight", "llm_adapter")),
    Sign("cosmos", "", (*COSMOS_DIFFUSERS, ("patch_embed.proj.weight", 1, 68))),
    Sign("cosmos", "", (*COSMOS_DIFFUSERS, ("patch_embed.proj.weight", 1, 72))),
    Sign("kandinsky", "", (("conv_in.weight", 0, 384), "add_embedding.image_proj.weight")),
    Sign("deepfloyd", "", (("conv_in.weight", 1, 3), ("encoder_hid_proj.weight", 1, 4096))),
    Sign("audioldm2", "", (*AUDIO, "down_blocks.1.attentions.5.norm.weight"), ("class_embedding",)),
)  # fmt: skip
