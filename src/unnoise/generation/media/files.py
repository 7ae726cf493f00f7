"""Samples as files, by the ending of the name; and an image that shows any sample."""

import os
from pathlib import Path
from typing import Literal

from PIL import Image, ImageDraw, UnidentifiedImageError

from unnoise.errors import InputError
from unnoise.generation.media import audio, image, video
from unnoise.generation.media.types import Audio, Media, Video
from unnoise.generation.metadata import Metadata, from_json

Modality = Literal["image", "video", "audio"]
SUFFIXES = {"image": image.SUFFIXES, "video": video.SUFFIXES, "audio": audio.SUFFIXES}
WIDE, HIGH, INK, PAPER = 480, 160, "#2b5c8a", "white"  # of the image of a sound


def suffixes(modality: Modality) -> tuple[str, ...]:
    """Return the endings that files of a modality may have, the default first."""
    if modality == "video" and video.has_pyav():
        return (".mp4", *(suffix for suffix in video.SUFFIXES if suffix != ".mp4"))
    return SUFFIXES[modality]


def write_media(path: str | os.PathLike[str], media: Media, metadata: Metadata) -> None:
    """Write what a sample is with its metadata, atomically. Raises InputError where it cannot be written."""
    if isinstance(media, Video):
        video.write_video(path, media.frames, media.fps, metadata)
    elif isinstance(media, Audio):
        audio.write_audio(path, media.waves, media.rate, metadata)
    else:
        image.write_image(path, media, metadata)


def read_metadata(path: str | os.PathLike[str]) -> Metadata:
    """Read the metadata of a file that `write_media` wrote.

    Raises:
        InputError: the file cannot be read, has no metadata, or its metadata is not sound.
    """
    if Path(path).exists() and not Path(path).is_file():
        raise InputError(f"{path}: not a regular file")
    suffix = Path(path).suffix.lower()
    read = {".wav": audio.read_text, ".mp4": video.read_text}.get(suffix, image.read_text)
    try:
        text = read(path)
    except InputError:
        raise
    except UnidentifiedImageError:
        raise InputError(f"{path}: not a valid {suffix or 'image'} file") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from None
    except (ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise InputError(f"{path}: not a valid {suffix or 'image'} file: {error}") from None
    if not text:
        raise InputError(f"{path}: has no metadata: another program wrote it, or the metadata was stripped")
    if text.startswith("["):
        raise InputError(f"{path}: a sheet of several samples; replay the file of one sample")
    return from_json(text, f"{path}: metadata")


def preview(media: Media) -> Image.Image:
    """Return an image that shows any media: the first, middle and last frame of a video; the waves of audio."""
    if isinstance(media, Video):
        frames = media.frames
        return _side_by_side([frames[0], frames[len(frames) // 2], frames[-1]])
    return _waves(media) if isinstance(media, Audio) else media


def _side_by_side(frames: list[Image.Image]) -> Image.Image:
    width, height = frames[0].size
    strip = Image.new("RGB", (width * len(frames), height))
    for number, frame in enumerate(frames):
        strip.paste(frame, (number * width, 0))
    return strip


def _waves(audio: Audio) -> Image.Image:
    """Draw the range of the waves over time, one column for each stretch, one band for each channel."""
    channels, length = audio.waves.shape
    page = Image.new("RGB", (WIDE, HIGH), PAPER)
    pen = ImageDraw.Draw(page)
    band = HIGH / channels
    for channel in range(channels):
        middle = (channel + 0.5) * band
        for column in range(WIDE):
            part = audio.waves[channel, column * length // WIDE : (column + 1) * length // WIDE + 2]
            if part.numel():
                high, low = float(part.max()), float(part.min())
                ends = (middle - high * band * 0.47, middle - low * band * 0.47)
                pen.line((column, ends[0], column, ends[1] + 1), fill=INK)
    return page
