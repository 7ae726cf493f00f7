"""The mean of the samples that a prompt stands for, predicted from its vector and read by a denoiser beside x.

Without it a denoiser finds E[x0 | prompt] anew at every high noise level, by a pass of the whole network. As channels
of x it is given, and what is left is to say which of these samples it is. What predicts it can be trained alone, at
a small part of the cost: see train/captions.py.
Source: Popov et al. 2021 (Grad-TTS), section 3, which gives a denoiser of spectrograms the mean of those of a text.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unnoise.errors import InputError
from unnoise.nets.checks import check_least

HIDDEN = 4  # features, as a multiple of those of the vector
RESIZE = {1: "linear", 2: "bilinear", 3: "trilinear"}


class MeanSample(nn.Module):
    """Predict the mean of x0 from the vector of a prompt: (B, width) -> (B, channels, *sizes).

    Args:
        width: features of the vector.
        channels: of x0.
        sizes: of x0, one number a dimension, each at least 1.
    """

    def __init__(self, width: int, channels: int, sizes: Sequence[int]) -> None:
        super().__init__()
        check_least(1, **{f"mean[{i}]": size for i, size in enumerate(sizes)})
        self.shape = (channels, *sizes)
        self.enter = nn.Linear(width, HIDDEN * width)
        self.leave = nn.Linear(HIDDEN * width, torch.Size(self.shape).numel())

    def forward(self, vector: Tensor) -> Tensor:
        return self.leave(F.gelu(self.enter(vector))).unflatten(1, self.shape)

    def beside(self, x: Tensor, vector: Tensor | None) -> Tensor:
        """Return x with the mean as more channels: (B, 2 * channels, *d). At other sizes the mean is interpolated.

        Raises InputError without a vector.
        """
        if vector is None:
            raise InputError("cond without vector: this network predicts the mean of x0 from it")
        mean = self(vector)
        if mean.shape[2:] != x.shape[2:]:
            mean = F.interpolate(mean, x.shape[2:], mode=RESIZE[x.ndim - 2])
        return torch.cat([x, mean.to(x.dtype)], dim=1)
