"""The outlines of an image, white lines on black: the input of a ControlNet.

Source: Sobel & Feldman 1968, a 3 x 3 isotropic gradient operator.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

LOW, HIGH = 0.35, 1.4  # colour gradients, per pixel and in [-1, 1], that become black and white


def outlines(images: Tensor) -> Tensor:
    """Compute the outlines of images: (B, 3, H, W) in [-1, 1] -> (B, 1, H, W) in [0, 1], 1 is a line."""
    across = torch.tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]], device=images.device) / 4
    kernels = torch.stack([across, across.T])[:, None].to(images.dtype)
    single = F.pad(images.flatten(0, 1)[:, None], (1, 1, 1, 1), mode="replicate")
    steep = F.conv2d(single, kernels).norm(dim=1).unflatten(0, images.shape[:2])
    return ((steep.amax(1, keepdim=True) - LOW) / (HIGH - LOW)).clamp(0, 1)
