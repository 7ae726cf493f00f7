"""A ControlNet: a small network whose inputs are a control image and the time, and whose features are added to a U-Net.

The U-Net is frozen. The features are added after every stage of its down path and after the middle, through layers
that start at zero.
Source: Zhang et al. 2023 (ControlNet), section 3.1; Mou et al. 2023 (T2I-Adapter), section 3.3, for an encoder of the
control image alone in place of a copy of the U-Net's encoder.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from unnoise.diffusion.conditioning import Conditioning, same_inputs
from unnoise.errors import InputError
from unnoise.nets.blocks import GlobalEmbedding, ResBlock, zeroed
from unnoise.nets.unet import UNet


class ControlNet(nn.Module):
    """Compute features from a control image (B, 3, H, W) in [0, 1] at the time (B,) of the U-Net.

    Args:
        widths: channels of the U-Net at each resolution, finest first.
        factor: pixels of a side of a position of the U-Net's finest resolution, so that h = H/factor.
        width: channels of its own at the finest resolution, doubled at each coarser one, up to 4 times.
    """

    def __init__(self, widths: list[int], factor: int, width: int) -> None:
        super().__init__()
        self.factor = factor
        emb = 4 * width
        own = [min(width * 2**level, 4 * width) for level in range(len(widths))]
        self.embed = GlobalEmbedding(width, emb, None, None)
        self.enter = nn.Conv2d(3 * factor**2, own[0], 3, padding=1)
        self.blocks = nn.ModuleList(
            nn.ModuleList([ResBlock(2, entry, here, emb, groups=8), ResBlock(2, here, here, emb, groups=8)])
            for entry, here in zip([own[0], *own[:-1]], own, strict=True)
        )
        self.leave = nn.ModuleList(zeroed(nn.Conv2d(here, width, 1)) for here, width in zip(own, widths, strict=True))

    def forward(self, control_image: Tensor, time: Tensor) -> list[Tensor]:
        """Return the features (B, widths[i], h/2^i, w/2^i), finest first."""
        emb = self.embed(time, Conditioning())
        h = self.enter(F.pixel_unshuffle(control_image, self.factor))
        found = []
        for level, (pair, leave) in enumerate(zip(self.blocks, self.leave, strict=True)):
            h = h if level == 0 else F.avg_pool2d(h, 2)
            for block in pair:  # type: ignore[attr-defined]
                h = block(h, emb)
            found.append(leave(h))
        return found


class ControlledUNet(nn.Module):
    """A U-Net plus cond.control_scale times the features of a ControlNet on cond.control_image, row by row."""

    def __init__(self, net: UNet, control: ControlNet) -> None:
        super().__init__()
        self.net, self.control = net, control
        self.factor = net.factor
        same_inputs(self, net)

    def forward(self, x: Tensor, time: Tensor, cond: Conditioning) -> Tensor:
        """Run the net. x: (B, c, h, w); time: (B,). Raises InputError without control_image or control_scale."""
        if cond.control_image is None or cond.control_scale is None:
            raise InputError("cond without control_image or control_scale: this network needs both")
        scale = cond.control_scale.to(x.dtype)[:, None, None, None]
        features = self.control(cond.control_image.to(x.dtype), time)
        out: Tensor = self.net(x, time, cond, [scale * part for part in features])
        return out
