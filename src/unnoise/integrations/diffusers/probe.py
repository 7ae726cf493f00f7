"""Ask a network of Stable Diffusion 2 itself what it predicts, where neither file nor folder says it.

Shown pure noise at the noisiest level, a network of eps answers with that noise: the two correlate almost fully. One of
v answers with its guess of the picture, which has little to do with the noise; but so does one that is no good, so that
a low correlation proves nothing.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from unnoise.diffusion.noise import START, draw
from unnoise.integrations.diffusers.components import weights_dtype

SURE = 0.9  # of the correlation of answer and noise
SIDE, SEEDS = 32, (0, 1)  # latents, and the noises that are shown


@torch.no_grad()
def predicts_eps(unet: Any, steps: int = 1000) -> bool:
    """Say whether a U-Net surely predicts eps. steps: of its table, the last of which is the noisiest."""
    device, dtype = next(unet.parameters()).device, weights_dtype(unet)
    noise = draw(SEEDS, START, torch.empty(len(SEEDS), unet.config.in_channels, SIDE, SIDE, device=device))
    text = torch.zeros(len(SEEDS), 1, unet.config.cross_attention_dim, device=device, dtype=dtype)
    time = torch.full((len(SEEDS),), float(steps - 1), device=device)
    answer = unet(noise.to(dtype), time, text, return_dict=False)[0].float()
    seen = noise[:, : answer.shape[1]]
    pairs = torch.stack([answer.flatten(), seen.flatten()])
    return float(torch.corrcoef(pairs)[0, 1]) > SURE


def asked(family: str, prediction: str, told: Any, nets: Mapping[str, nn.Module]) -> str:
    """Give what a model predicts, by a probe where that is open and can be answered; "" where it stays open."""
    if family != "sd2" or prediction or told is not None:
        return prediction
    return "eps" if predicts_eps(nets["unet"]) else ""
