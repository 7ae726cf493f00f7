"""From data to media: whole levels of 8 bits, frames in order, seconds of audio, nothing that is not finite."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from torch import Tensor

from unnoise.generation.decode import decode, to_images
from unnoise.generation.images import PreparedImages
from unnoise.generation.media.types import Audio, Video
from unnoise.generation.request import request_of
from unnoise.generation.resolve import settle

SETTINGS = settle(request_of("a", size=16), tiny.pipeline(), (16, 16), has_image=False)[1]


def decoded(data: Tensor, images: PreparedImages | None = None, **settings: Any) -> Any:
    """Decode x0 of a space whose data it is, with cells of four pixels and eight samples of audio a second."""
    space = SimpleNamespace(decode=lambda x0: x0, factor=4, rate=8)
    card = SimpleNamespace(advice=SimpleNamespace(fps=12.5))
    components: Any = SimpleNamespace(space=space, card=card, decode=lambda x0, decoder: x0)
    return decode(components, replace(SETTINGS, **settings), data, images or PreparedImages())


def test_every_level_of_8_bits_comes_back() -> None:
    levels = torch.arange(256.0).reshape(1, 1, 16, 16)
    for data in (levels / 127.5 - 1, (levels + 0.49).clamp(max=255) / 127.5 - 1, (levels - 0.49).clamp(0) / 127.5 - 1):
        (grey,), (colour,) = to_images(data), to_images(data.expand(1, 3, 16, 16))
        assert (grey.mode, colour.mode, grey.size) == ("L", "RGB", (16, 16))
        assert np.array_equal(np.asarray(grey), levels[0, 0].numpy())
        assert np.array_equal(np.asarray(colour)[..., 2], levels[0, 0].numpy())


def test_a_video_has_its_frames_in_order() -> None:
    data = torch.stack([torch.full((3, 2, 4), value) for value in (-1.0, 0.2, 1.0)], dim=1)[None]
    (video,) = decoded(data, frames=3)
    assert isinstance(video, Video)
    assert video.fps == 12.5
    assert [frame.getpixel((3, 1))[0] for frame in video.frames] == [0, 153, 255]


@pytest.mark.parametrize(("seconds", "samples"), [(1.0, 8), (1.3, 10), (0.06, 0), (2.0, 16)])
def test_audio_ends_at_its_seconds(seconds: float, samples: int) -> None:
    data = torch.linspace(-1, 1, 32).reshape(1, 2, 16)
    (audio,) = decoded(data, seconds=seconds)
    assert isinstance(audio, Audio)
    assert audio.rate == 8
    assert torch.equal(audio.waves, data[0, :, :samples])


@pytest.mark.parametrize(("feather", "seam"), [(None, 2), (0, 0), (3, 3)])
def test_the_seam_is_half_a_cell_unless_given(feather: int | None, seam: int) -> None:
    mask = torch.zeros(1, 1, 16, 16)
    mask[..., 4:] = 1
    images = PreparedImages(torch.full((1, 3, 16, 16), -1.0), mask)
    (image,) = decoded(torch.ones(1, 3, 16, 16), images, feather=feather)
    ramp = [min(1.0, k / (seam + 1)) for k in range(1, 13)]
    assert np.asarray(image)[8, :, 0].tolist() == pytest.approx([0.0] * 4 + [255 * share for share in ramp], abs=1)
