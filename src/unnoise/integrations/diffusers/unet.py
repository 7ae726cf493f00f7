"""diffusers' UNet2DConditionModel as a net of this program: the network of Stable Diffusion 1, 2, XL and their kin."""

from math import log
from typing import Any

import torch
from torch import Tensor, nn

from unnoise.diffusion.conditioning import Conditioning
from unnoise.errors import InputError
from unnoise.integrations.diffusers.components import weights_dtype

CELL = 8  # pixels of one latent of these families


class ConditionUNet(nn.Module):
    """Call the U-Net with what it wants beside x: text, sizes and pooled text (XL), a weight (LCM), an image (inpaint).

    The last of `vector` behind the pooled text, if any, is the aesthetic score of the refiner. control: a ControlNet,
    which reads cond.hint; what it adds counts cond.hint_weight times, row by row.
    """

    def __init__(self, unet: Any, control: Any = None) -> None:
        super().__init__()
        self.unet, self.control = unet, control
        self.sized = unet.config.addition_embed_type == "text_time"
        self.weighs = unet.config.time_cond_proj_dim

    def forward(self, x: Tensor, time: Tensor, cond: Conditioning) -> Tensor:
        """Ask it. x: (B, c, h, w) in the native frame; time: (B,)."""
        dtype = weights_dtype(self.unet)
        if cond.tokens is None:
            raise InputError("cond: this network needs text")
        inner = x if cond.image is None else torch.cat([x, cond.image.to(x)], 1)
        if inner.shape[1] != self.unet.config.in_channels:
            raise InputError(f"cond: this network sees {self.unet.config.in_channels} channels, not {inner.shape[1]}")
        told: dict[str, Any] = {
            "added_cond_kwargs": self._sizes(x, cond, dtype) if self.sized else None,
            "timestep_cond": None
            if cond.distilled_guidance is None
            else waves(cond.distilled_guidance, self.weighs).to(dtype),
            "return_dict": False,
        }
        asked = inner.to(dtype), time, cond.tokens.to(dtype)
        added = self._followed(asked, cond, told)
        out: Tensor = self.unet(*asked, encoder_attention_mask=cond.mask, **told, **added)[0]
        return out.to(x.dtype)

    def _followed(
        self, asked: tuple[Tensor, Tensor, Tensor], cond: Conditioning, told: dict[str, Any]
    ) -> dict[str, Any]:
        """Give what the control adds, as the U-Net takes it."""
        if (cond.control_image is None or cond.control_scale is None) != (self.control is None):
            raise InputError("cond: a hint is read by a control, and one of them is missing")
        if self.control is None or cond.control_image is None or cond.control_scale is None:
            return {}
        down, middle = self.control(*asked, controlnet_cond=cond.control_image.to(asked[0].dtype), **told)
        weight = cond.control_scale.to(middle.dtype)[:, None, None, None]
        return {
            "down_block_additional_residuals": tuple(weight * part for part in down),
            "mid_block_additional_residual": weight * middle,
        }

    def _sizes(self, x: Tensor, cond: Conditioning, dtype: torch.dtype) -> dict[str, Tensor]:
        """Say the size of the picture before and after cropping, as Stable Diffusion XL was trained with.

        Source: Podell et al. 2023 (SDXL), section 2.2.
        """
        if cond.vector is None:
            raise InputError("cond: this network needs the pooled vector of a text")
        height, width = x.shape[-2] * CELL, x.shape[-1] * CELL
        pooled = self.unet.config.projection_class_embeddings_input_dim
        ids = x.new_tensor([[height, width, 0, 0]]).expand(len(x), -1)
        wide = self.unet.config.addition_time_embed_dim
        behind = cond.vector.shape[1] - (pooled - 5 * wide)
        if behind == 1:  # the refiner
            vector, score = cond.vector.split([cond.vector.shape[1] - 1, 1], 1)
            ids = torch.cat([ids, score.to(ids)], 1)
        else:
            vector, ids = cond.vector, torch.cat([ids, ids[:, :2]], 1)
        return {"text_embeds": vector.to(dtype), "time_ids": ids.to(dtype)}


def waves(weight: Tensor, width: int) -> Tensor:
    """Write a weight as sines and cosines, as LCM reads it, which counts from 0 = off. weight: (B,) -> (B, width).

    Source: Luo et al. 2023 (LCM), section 4.2; diffusers, pipeline_latent_consistency_text2img.py.
    """
    half = width // 2
    rates = torch.exp(torch.arange(half, device=weight.device, dtype=torch.float32) * (-log(10_000.0) / (half - 1)))
    angles = 1000.0 * (weight.float() - 1)[:, None] * rates[None]
    found = torch.cat([angles.sin(), angles.cos()], 1)
    return nn.functional.pad(found, (0, width % 2))
