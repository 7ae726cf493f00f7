"""Find the prediction type of a Stable Diffusion 2 network by a test call, where no file states it.

For pure noise at the noisiest level, the output of an eps network is that noise: their correlation is almost 1. The
output of a v network is an estimate of the image, with little correlation. So is that of a damaged network: a low
correlation proves nothing.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from unnoise.diffusion.noise import START, draw
from unnoise.integrations.diffusers.components import weights_dtype

SURE = 0.9  # least correlation of output and noise
SIDE, SEEDS = 32, (0, 1)  # side in latents, and seeds of the noise


@torch.no_grad()
def predicts_eps(unet: Any, steps: int = 1000) -> bool:
    """Return whether a U-Net certainly predicts eps. steps: of its table; the last is the noisiest."""
    device, dtype = next(unet.parameters()).device, weights_dtype(unet)
    noise = draw(SEEDS, START, torch.empty(len(SEEDS), unet.config.in_channels, SIDE, SIDE, device=device))
    text = torch.zeros(len(SEEDS), 1, unet.config.cross_attention_dim, device=device, dtype=dtype)
    time = torch.full((len(SEEDS),), float(steps - 1), device=device)
    output = unet(noise.to(dtype), time, text, return_dict=False)[0].float()
    pairs = torch.stack([output.flatten(), noise[:, : output.shape[1]].flatten()])
    return float(torch.corrcoef(pairs)[0, 1]) > SURE


def probe_prediction(family: str, prediction: str, stated: Any, nets: Mapping[str, nn.Module]) -> str:
    """Return the prediction type of a model, by a probe if no file states it; "" if the probe does not show it."""
    if family != "sd2" or prediction or stated is not None:
        return prediction
    return "eps" if predicts_eps(nets["unet"]) else ""
