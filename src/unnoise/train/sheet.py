"""A plain grid of pictures, for the samples that training shows."""

import numpy as np
from PIL import Image
from torch import Tensor


def grid_of(pictures: Tensor, columns: int) -> Image.Image:
    """Lay pictures (B, 3, H, W) in [-1, 1] side by side, `columns` in a row."""
    rows = -(-len(pictures) // columns)
    side = pictures.shape[-1]
    sheet = Image.new("RGB", (columns * side, rows * side), "white")
    cells = ((pictures.float().clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).cpu().numpy()
    for i, cell in enumerate(cells):
        sheet.paste(Image.fromarray(np.ascontiguousarray(cell)), (i % columns * side, i // columns * side))
    return sheet
