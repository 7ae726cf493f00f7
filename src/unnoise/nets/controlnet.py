"""A control: a small network that reads a picture of shapes and the level, and adds to a U-Net what it is to follow.

It is read beside the U-Net, which stays as it is, and joins it behind every stage on the way down and in the middle
through layers that begin at zero.   Source: Zhang et al. 2023 (ControlNet), section 3.1; Mou et al. 2023 (T2I-Adapter),
section 3.3, for an encoder of the picture alone in place of a copy of the U-Net's.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from unnoise.diffusion.conditioning import Conditioning
from unnoise.errors import InputError
from unnoise.nets.blocks import Embed, ResBlock, zeroed
from unnoise.nets.unet import UNet


class Control(nn.Module):
    """Read a hint (B, 3, H, W) in [0, 1] at a native time (B,): features (B, widths[i], h/2^i, w/2^i) of each level.

    factor: pixels of a cell, so that h = H/factor; width: channels at the finest level, twice as many below.
    """

    def __init__(self, widths: list[int], factor: int, width: int) -> None:
        super().__init__()
        self.factor = factor
        emb = 4 * width
        own = [min(width * 2**level, 4 * width) for level in range(len(widths))]
        self.embed = Embed(width, emb, None, None)
        self.enter = nn.Conv2d(3 * factor**2, own[0], 3, padding=1)
        self.blocks = nn.ModuleList(
            nn.ModuleList([ResBlock(2, entry, here, emb, groups=8), ResBlock(2, here, here, emb, groups=8)])
            for entry, here in zip([own[0], *own[:-1]], own, strict=True)
        )
        self.leave = nn.ModuleList(zeroed(nn.Conv2d(here, width, 1)) for here, width in zip(own, widths, strict=True))

    def forward(self, control_image: Tensor, time: Tensor) -> list[Tensor]:
        """Give the features, finest first."""
        emb = self.embed(time, Conditioning())
        h = self.enter(F.pixel_unshuffle(control_image, self.factor))
        found = []
        for level, (pair, leave) in enumerate(zip(self.blocks, self.leave, strict=True)):
            h = h if level == 0 else F.avg_pool2d(h, 2)
            for block in pair:  # type: ignore[attr-defined]
                h = block(h, emb)
            found.append(leave(h))
        return found


class Controlled(nn.Module):
    """A U-Net that follows what a control reads in cond.hint, cond.hint_weight times, row by row."""

    def __init__(self, net: UNet, control: Control) -> None:
        super().__init__()
        self.net, self.control = net, control
        self.factor = net.factor

    def forward(self, x: Tensor, time: Tensor, cond: Conditioning) -> Tensor:
        """Ask it. x: (B, c, h, w); time: (B,). Raises InputError where there is no hint."""
        if cond.control_image is None or cond.control_scale is None:
            raise InputError("cond: this network follows a hint, and none is given")
        scale = cond.control_scale.to(x.dtype)[:, None, None, None]
        out: Tensor = self.net(
            x, time, cond, [scale * part for part in self.control(cond.control_image.to(x.dtype), time)]
        )
        return out
