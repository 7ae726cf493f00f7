"""The outlines of a picture: where its colours change, as white lines on black, what a control follows.

Source: Sobel & Feldman 1968, a 3 x 3 isotropic gradient operator.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

LOW, HIGH = 0.35, 1.4  # gradients of a colour in [-1, 1], a pixel, between which a line goes from black to white


def outlines(pictures: Tensor) -> Tensor:
    """Draw the outlines of pictures: (B, 3, H, W) in [-1, 1] -> (B, 1, H, W) in [0, 1], 1 = a line."""
    across = torch.tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]], device=pictures.device) / 4
    kernels = torch.stack([across, across.T])[:, None].to(pictures.dtype)
    single = F.pad(pictures.flatten(0, 1)[:, None], (1, 1, 1, 1), mode="replicate")
    steep = F.conv2d(single, kernels).norm(dim=1).unflatten(0, pictures.shape[:2])
    return ((steep.amax(1, keepdim=True) - LOW) / (HIGH - LOW)).clamp(0, 1)
