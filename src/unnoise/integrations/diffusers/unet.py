"""diffusers' UNet2DConditionModel as a net of this program: the network of Stable Diffusion 1, 2, XL and their kin."""

from collections.abc import Callable
from math import log
from typing import Any

import torch
from torch import Tensor, nn

from unnoise.diffusion.conditioning import Conditioning
from unnoise.errors import InputError
from unnoise.integrations.diffusers.components import weights_dtype

CELL = 8  # pixels of one latent of these families
After = Callable[[Tensor, Tensor, Tensor], Tensor]


class ConditionUNet(nn.Module):
    """Run the U-Net with text, and with sizes and pooled text (XL), a guidance scale (LCM) or an image (inpainting).

    A last number of cond.vector after the pooled text is the aesthetic score of the refiner, where cond.sizes has none.

    Args:
        unet: the U-Net.
        control: a ControlNet of cond.control_image; its outputs are multiplied with cond.control_scale in each row.
        clock: the U-Net's time in units of the process's time.
        after: (output, x, time) -> prediction; None for an output that is the prediction.
    """

    def __init__(self, unet: Any, control: Any = None, clock: float = 1.0, after: After | None = None) -> None:
        super().__init__()
        self.unet, self.control, self.clock, self.after = unet, control, clock, after
        self.sized = unet.config.addition_embed_type == "text_time"
        self.guidance_width = unet.config.time_cond_proj_dim

    def controlled(self, control: Any) -> "ConditionUNet":
        """Return the same network with a ControlNet."""
        return ConditionUNet(self.unet, control, self.clock, self.after)

    def forward(self, x: Tensor, time: Tensor, cond: Conditioning) -> Tensor:
        """Run the network. x: (B, c, h, w) in the native frame; time: (B,)."""
        dtype = weights_dtype(self.unet)
        if cond.tokens is None:
            raise InputError("conditioning: this network needs text")
        inner = x if cond.image is None else torch.cat([x, cond.image.to(x)], 1)
        if inner.shape[1] != self.unet.config.in_channels:
            raise InputError(
                f"conditioning: this network has {self.unet.config.in_channels} input channels, given {inner.shape[1]}"
            )
        options: dict[str, Any] = {
            "added_cond_kwargs": self._sizes(x, cond, dtype) if self.sized else None,
            "timestep_cond": None
            if cond.distilled_guidance is None
            else guidance_embedding(cond.distilled_guidance, self.guidance_width).to(dtype),
            "return_dict": False,
        }
        inputs = inner.to(dtype), time * self.clock, cond.tokens.to(dtype)
        residuals = self._residuals(inputs, cond, options)
        out: Tensor = self.unet(*inputs, encoder_attention_mask=cond.mask, **options, **residuals)[0]
        return out.to(x.dtype) if self.after is None else self.after(out.to(x.dtype), x, time)

    def _residuals(
        self, inputs: tuple[Tensor, Tensor, Tensor], cond: Conditioning, options: dict[str, Any]
    ) -> dict[str, Any]:
        """Return the outputs of the control as arguments of the U-Net."""
        if (cond.control_image is None or cond.control_scale is None) != (self.control is None):
            raise InputError(
                "conditioning: control_image and control_scale need a ControlNet, and a ControlNet needs both"
            )
        if self.control is None or cond.control_image is None or cond.control_scale is None:
            return {}
        down, middle = self.control(*inputs, controlnet_cond=cond.control_image.to(inputs[0].dtype), **options)
        scale = cond.control_scale.to(middle.dtype)[:, None, None, None]
        return {
            "down_block_additional_residuals": tuple(scale * part for part in down),
            "mid_block_additional_residual": scale * middle,
        }

    def _sizes(self, x: Tensor, cond: Conditioning, dtype: torch.dtype) -> dict[str, Tensor]:
        """Return the pooled text and the sizes, inputs of Stable Diffusion XL.

        Without cond.sizes they are those of an image that was neither resized nor cropped.
        Source: Podell et al. 2023 (SDXL), section 2.2.
        """
        if cond.vector is None:
            raise InputError("conditioning: this network needs the pooled vector of a text")
        added, wide = self.unet.config.projection_class_embeddings_input_dim, self.unet.config.addition_time_embed_dim
        scored = cond.vector.shape[1] - (added - 5 * wide) == 1  # the refiner
        vector, score = cond.vector.tensor_split([cond.vector.shape[1] - scored], 1)
        if cond.sizes is not None:
            ids = cond.sizes.to(x)
        else:
            height, width = x.shape[-2] * CELL, x.shape[-1] * CELL
            ids = x.new_tensor([[height, width, 0, 0]]).expand(len(x), -1)
            ids = torch.cat([ids, score.to(ids) if scored else ids[:, :2]], 1)
        return {"text_embeds": vector.to(dtype), "time_ids": ids.to(dtype)}


def guidance_embedding(scale: Tensor, width: int) -> Tensor:
    """Return the sines and cosines of a guidance scale for LCM, for which 0 is off. scale: (B,) -> (B, width).

    Source: Luo et al. 2023 (LCM), section 4.2; diffusers, pipeline_latent_consistency_text2img.py.
    """
    half = width // 2
    rates = torch.exp(torch.arange(half, device=scale.device, dtype=torch.float32) * (-log(10_000.0) / (half - 1)))
    angles = 1000.0 * (scale.float() - 1)[:, None] * rates[None]
    found = torch.cat([angles.sin(), angles.cos()], 1)
    return nn.functional.pad(found, (0, width % 2))
