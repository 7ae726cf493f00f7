"""Recognise autoencoders by tensors that only one family has."""

from unnoise.families.detection import Need, Net, Sign, first_that_fits
from unnoise.families.identity import Identity

# First parts of the names in a file of an autoencoder alone.
PARTS = {"encoder", "decoder", "quant_conv", "post_quant_conv", "bn", "quantize", "conv1", "conv2"}
PARTS |= {"latents_mean", "latents_std", "per_channel_statistics"}
PARTS |= {"in_block", "down_blocks", "up_blocks", "out_block", "vquantizer"}
NORM = "decoder.mid_block.resnets.0.norm1"
RESIDUAL, RESIDUAL_MAKERS = f"{NORM}.gamma", "decoder.middle.0.residual.0.gamma"
WIDE: Need = ("decoder.conv_in.weight", 0, 512)
# Source: huggingface/diffusers, models/autoencoders; loaders/single_file_utils.py
SIGNS = (
    Sign("flux2", "", (("decoder.conv_in.weight", 1, 32), ("bn.running_mean", 0, 128))),
    Sign("svd", "", ("decoder.time_conv_out.weight",)),
    Sign("svd", "", ("decoder.conv_out.time_mix_conv.weight",)),
    Sign("wan", "5b", (RESIDUAL, ("post_quant_conv.weight", 0, 48))),
    Sign("wan", "5b", (RESIDUAL_MAKERS, ("conv2.weight", 0, 48))),
    Sign("cogvideox", "", (("decoder.conv_in.conv.weight", 1, 16), f"{NORM}.conv_y.conv.weight")),
    Sign("hunyuan-video", "", (("quant_conv.weight", 0, 32), ("decoder.conv_in.conv.weight", 1, 16))),
    Sign("ltx", "", (("encoder.conv_out.conv.weight", 0, 129), ("encoder.conv_out.conv.weight", 1, 512))),
    Sign("mochi", "", ("encoder.proj_in.weight", ("decoder.conv_in.weight", 1, 12))),
    Sign(
        "sana",
        "",
        (("encoder.conv_out.weight", 0, 32), ("encoder.conv_out.weight", 1, 1024), ("decoder.conv_in.weight", 1, 32)),
        ("encoder.mid_block", "quant_conv"),
    ),
    Sign("cosmos", "1", (("decoder.conv_in.conv_s.weight", 1, 16), "encoder.conv_in.conv_s.weight")),
    Sign("cascade", "", ("in_block.1.weight", ("vquantizer.codebook.weight", 1, 4))),
    Sign("cascade", "", ("in_block.1.weight", ("vquantizer.embedding.weight", 1, 4))),
    Sign("kandinsky", "", ("quantize.embedding.weight", f"{NORM}.conv_y.weight")),
)  # fmt: skip
TEMPORAL = ("encoder.temp_conv_in",)
# Autoencoders of several families: tensors of the same names and shapes, with other values.
SHARED = (
    Sign("Stable Diffusion 1, 2 and XL", "", ("quant_conv", WIDE, ("decoder.conv_in.weight", 1, 4)), TEMPORAL),
    Sign("Stable Diffusion 3 and FLUX.1", "", (WIDE, ("decoder.conv_in.weight", 1, 16)), ("quant_conv",)),
    Sign("Wan and Qwen-Image", "", (RESIDUAL, ("post_quant_conv.weight", 0, 16))),
    Sign("Wan and Qwen-Image", "", (RESIDUAL_MAKERS, ("conv2.weight", 0, 16))),
    Sign("LTX-Video and LTX-2", "", (("encoder.conv_out.conv.weight", 0, 129),)),
    Sign("AudioLDM and AudioLDM 2", "", (("encoder.conv_in.weight", 1, 1), ("decoder.conv_in.weight", 1, 8))),
)


def find_autoencoder(net: Net) -> Identity | None:
    """Recognise the family of an autoencoder. Where several families have these shapes, `known_by` names them."""
    if not net.shapes or not all(name.partition(".")[0] in PARTS for name in net.shapes):
        return None
    found = first_that_fits(net, SIGNS)
    if found is not None:
        return found
    shared = first_that_fits(net, SHARED)
    return Identity(known_by=f"{shared.known_by}, which {shared.family} have") if shared is not None else None
