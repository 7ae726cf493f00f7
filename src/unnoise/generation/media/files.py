"""Samples as files: pictures, films and sounds, each with its recipe; and a picture of what they look like."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from PIL import Image, ImageDraw

from unnoise.generation.media import audio as sound, image as picture, video as film
from unnoise.generation.metadata import Metadata

if TYPE_CHECKING:
    from unnoise.generation.sample import Audio, Sample

Modality = Literal["image", "video", "audio"]
SUFFIXES = {"image": (".png",), "video": film.SUFFIXES, "audio": sound.SUFFIXES}
WIDE, HIGH, INK, PAPER = 480, 160, "#2b5c8a", "white"  # of the picture of a sound


def suffixes(modality: Modality) -> tuple[str, ...]:
    """Give the endings that files of a modality may have, the one that is taken unasked first."""
    if modality == "video" and film.has_pyav():
        return (".mp4", *(suffix for suffix in film.SUFFIXES if suffix != ".mp4"))
    return SUFFIXES[modality]


def write_sample(path: str | os.PathLike[str], sample: "Sample") -> None:
    """Write what a sample is, with its recipe, atomically. Raises InputError where it cannot be written."""
    from unnoise.generation.sample import Audio, Video

    if isinstance(sample.made, Video):
        film.write_film(path, sample.made.frames, sample.made.fps, sample.recipe)
    elif isinstance(sample.made, Audio):
        sound.write_sound(path, sample.made.waves, sample.made.rate, sample.recipe)
    else:
        picture.write_picture(path, sample.made, sample.recipe)


def read_recipe(path: str | os.PathLike[str]) -> Metadata:
    """Read the recipe of a file that `write_sample` wrote. Raises InputError where it has none that is sound."""
    suffix = Path(path).suffix.lower()
    if suffix in sound.SUFFIXES:
        return sound.read_sound_recipe(path)
    return film.read_film_recipe(path) if suffix in (".webp", ".mp4") else picture.read_recipe(path)


def look(sample: "Sample") -> Image.Image:
    """Give a picture of a sample: itself, a film's first, middle and last frame, the waves of a sound."""
    from unnoise.generation.sample import Audio, Video

    if isinstance(sample.made, Video):
        frames = sample.made.frames
        return _beside([frames[0], frames[len(frames) // 2], frames[-1]])
    return _waves(sample.made) if isinstance(sample.made, Audio) else sample.made


def _beside(frames: list[Image.Image]) -> Image.Image:
    width, height = frames[0].size
    strip = Image.new("RGB", (width * len(frames), height))
    for number, frame in enumerate(frames):
        strip.paste(frame, (number * width, 0))
    return strip


def _waves(made: "Audio") -> Image.Image:
    """Draw the range of the waves over time, a column for each stretch of it, a band for each channel."""
    channels, length = made.waves.shape
    page = Image.new("RGB", (WIDE, HIGH), PAPER)
    pen = ImageDraw.Draw(page)
    band = HIGH / channels
    for channel in range(channels):
        middle = (channel + 0.5) * band
        for column in range(WIDE):
            part = made.waves[channel, column * length // WIDE : (column + 1) * length // WIDE + 2]
            if part.numel():
                high, low = float(part.max()), float(part.min())
                ends = (middle - high * band * 0.47, middle - low * band * 0.47)
                pen.line((column, ends[0], column, ends[1] + 1), fill=INK)
    return page
