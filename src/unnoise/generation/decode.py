"""From x0 to what people look at or listen to. Spaces refuse infinity before they clamp a value."""

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from unnoise.components import Components
from unnoise.errors import InputError
from unnoise.generation.images import PreparedImages
from unnoise.generation.media.types import Audio, Media, Video
from unnoise.generation.metadata import Settings
from unnoise.spaces.space import finite


@torch.no_grad()
def decode(components: Components, settings: Settings, x0: Tensor, images: PreparedImages) -> Sequence[Media]:
    """Decode samples, and put the kept pixels of an edited image back.

    Args:
        components: the model.
        settings: of all these samples.
        x0: (B, *d).
        images: the inputs of the samples.

    Raises:
        NonFiniteError: the decoder returned NaN or infinity.
    """
    data = finite(components.decode(x0, settings.decoder), "decoding")
    feather = components.space.factor // 2 if settings.feather is None else settings.feather
    data = images.restored(data, feather)
    if settings.seconds is not None:
        rate = int(getattr(components.space, "rate", 0))
        return [Audio(row[:, : round(settings.seconds * rate)].float().cpu(), rate) for row in data]
    if settings.frames is not None:
        return [Video(to_images(row.transpose(0, 1)), components.card.advice.fps) for row in data]
    return to_images(data)


@torch.no_grad()
def preview_images(components: Components, x0: Tensor) -> list[Image.Image]:
    """Decode x0 (B, *d) of images while they are drawn, by the small decoder where there is one.

    Raises:
        InputError: the model makes no images.
        NonFiniteError: the decoder returned NaN or infinity.
    """
    if components.card.modality != "image":
        raise InputError(f"preview: of images; {components.card.name!r} makes {components.card.modality}")
    return to_images(finite(components.decode(x0, "small"), "decoding"))


def to_images(data: Tensor) -> list[Image.Image]:
    """Turn data (B, 1, 3 or 4, H, W) in [-1, 1] into images of 8 bits."""
    whole = ((data.float() + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
    return [Image.fromarray(np.ascontiguousarray(one.squeeze(2) if one.shape[2] == 1 else one)) for one in whole]
