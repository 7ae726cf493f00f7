"""What is generated: an image, a video or audio, with its x0 and the metadata that reproduces it."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO

from PIL import Image
from torch import Tensor

from unnoise.errors import checked_path
from unnoise.generation.media.files import preview, write_media
from unnoise.generation.media.types import Audio, Media, Video
from unnoise.generation.metadata import Metadata

Callback = Callable[[int, Tensor], bool | None]  # (network calls so far, x0 (B, *d) of the last); False cancels


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Sample:
    """One generated sample.

    Args:
        media: an image, a video or audio.
        x0: (*d), in the coordinates of the model's space.
        metadata: everything that reproduces it.
    """

    media: Media
    x0: Tensor
    metadata: Metadata

    def __repr__(self) -> str:
        width, height = self.metadata.size
        what = f"{width}x{height} " if width else ""
        return (
            f"Sample({what}{type(self.media).__name__.lower()}, prompt={self.metadata.prompt!r}, "
            f"seed={self.metadata.seed}, model={self.metadata.model!r})"
        )

    @property
    def image(self) -> Image.Image:
        """The image. Raises AttributeError where the sample is something else."""
        if not isinstance(self.media, Image.Image):
            raise AttributeError(
                f"image: this sample is {_named(self.media)}; use .{type(self.media).__name__.lower()}"
            )
        return self.media

    @property
    def video(self) -> Video:
        """The video. Raises AttributeError where the sample is something else."""
        if not isinstance(self.media, Video):
            raise AttributeError(f"video: this sample is {_named(self.media)}")
        return self.media

    @property
    def audio(self) -> Audio:
        """The audio. Raises AttributeError where the sample is something else."""
        if not isinstance(self.media, Audio):
            raise AttributeError(f"audio: this sample is {_named(self.media)}")
        return self.media

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the sample with its metadata, atomically; `unnoise replay` draws it again from the file.

        Args:
            path: ends in .png, .webp or .jpg for an image, .webp, .png or .mp4 for a video, .wav for audio.

        Raises:
            InputError: the ending is another, or the file cannot be written.
        """
        write_media(checked_path("save", path), self.media, self.metadata)

    def _repr_png_(self) -> bytes:
        """Show the sample in a notebook."""
        out = BytesIO()
        preview(self.media).save(out, "PNG")
        return out.getvalue()


def _named(media: Media) -> str:
    return "an image" if isinstance(media, Image.Image) else "a video" if isinstance(media, Video) else "audio"
