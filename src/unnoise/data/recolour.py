"""Change the colour of what an image shows: its dominant hue moves to another one, with its shades."""

from typing import Final

import numpy as np
from PIL import Image

from unnoise.data.dataset import PixelArray

# Of each colour: hue in degrees (None: grey), share of the saturation, and the range of the lightness.
COLOURS: Final[dict[str, tuple[float | None, float, tuple[float, float]]]] = {
    "red": (358.0, 1.0, (0.0, 1.0)),
    "orange": (28.0, 1.0, (0.0, 1.0)),
    "yellow": (50.0, 1.0, (0.1, 1.0)),
    "green": (125.0, 0.9, (0.0, 0.95)),
    "blue": (217.0, 1.0, (0.0, 1.0)),
    "purple": (280.0, 0.9, (0.0, 0.95)),
    "pink": (335.0, 0.6, (0.3, 1.0)),
    "brown": (24.0, 0.7, (0.0, 0.65)),
    "gray": (None, 0.0, (0.1, 0.9)),
    "black": (None, 0.0, (0.0, 0.35)),
    "white": (None, 0.0, (0.65, 1.0)),
}
OPAQUE = 128  # alpha of a pixel that counts
GREY = 40  # saturation of 255 below which a pixel has no hue
WIDTH = 28  # of 256: pixels this near to the dominant hue change with it
LEAST_SHARE = 0.45  # of the opaque pixels have the dominant hue in an image that can be recoloured


def dominant_hue(pixels: PixelArray) -> int | None:
    """Return the hue, 0 to 255, of most opaque pixels; None where no hue has enough of them. pixels: (H, W, 4)."""
    opaque = pixels[..., 3] >= OPAQUE
    hue, saturation, _ = _hsv(pixels)
    coloured = opaque & (saturation >= GREY)
    if not opaque.any() or not coloured.any():
        return None
    counts = np.bincount(hue[coloured], minlength=256).astype(float)
    window = np.ones(2 * WIDTH + 1)
    near = np.convolve(np.tile(counts, 3), window, "same")[256:512]
    best = int(near.argmax())
    return best if near[best] >= LEAST_SHARE * opaque.sum() else None


def recoloured(pixels: PixelArray, colour: str) -> PixelArray:
    """Return an image whose dominant hue is a colour of COLOURS. pixels: (H, W, 4) with a dominant hue."""
    found = dominant_hue(pixels)
    if found is None:
        return pixels
    hue, saturation, value = (band.astype(np.float32) for band in _hsv(pixels))
    distance = np.abs((hue - found + 128) % 256 - 128)
    changed = (distance <= WIDTH) & (saturation >= GREY)
    target, share, (low, high) = COLOURS[colour]
    offset = (hue - found + 128) % 256 - 128
    new_hue = hue if target is None else (target / 360 * 256 + 0.4 * offset) % 256
    lightness = value / 255
    if target is None:  # a saturated colour is darker than its value
        lightness = lightness * (1 - 0.35 * saturation / 255)
    new_value = 255 * (low + (high - low) * lightness)
    pairs = ((new_hue, hue), (share * saturation, saturation), (new_value, value))
    new = [np.where(changed, after, before) for after, before in pairs]
    bands = [Image.fromarray(np.clip(np.rint(band), 0, 255).astype(np.uint8)) for band in new]
    rgb = np.asarray(Image.merge("HSV", bands).convert("RGB"))
    return np.concatenate([np.where(changed[..., None], rgb, pixels[..., :3]), pixels[..., 3:]], axis=2)


def _hsv(pixels: PixelArray) -> tuple[PixelArray, PixelArray, PixelArray]:
    hue, saturation, value = Image.fromarray(np.ascontiguousarray(pixels[..., :3])).convert("HSV").split()
    return np.asarray(hue), np.asarray(saturation), np.asarray(value)
