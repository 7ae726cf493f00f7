"""The recipe of the small decoder of a model: that of `unnoise train` with a table `preview`."""

from dataclasses import dataclass, field
from typing import Any, Final

from unnoise.data.augment import Augment
from unnoise.errors import InputError, check_number, check_whole
from unnoise.formats.strict_json import Strict
from unnoise.train.checkpoint_options import CheckpointOptions
from unnoise.train.fit_options import FitOptions
from unnoise.train.recipe import DataOptions, check_file_name

UNUSED: Final = {  # fields of the data that do nothing, each with what decides instead
    "augment": "preview.augment varies its images",
    "views": "every image is varied anew",
    "cache": "nothing is cached",
    "buckets": "all images are cropped to the square",
    "channels": "it has the channels of its model",
    "labels": "it reads no prompts",
}


@dataclass(frozen=True, slots=True)
class TinyDecoderOptions(Strict):
    """The small decoder, and what it imitates.

    Args:
        model: name or file of the model of this program whose small decoder it becomes.
        width: features, 1 to 4096.
        blocks: residual blocks, 1 to 64.
        augment: variations of the images.
        edges: weight of the loss on differences between neighbouring pixels, at least 0.
        real: share of the loss against the images themselves, 0 to 1; the rest is against what the autoencoder makes of
            them.
    """

    model: str
    width: int = 64
    blocks: int = 3
    augment: Augment = field(default_factory=Augment)
    edges: float = 1.0
    real: float = 0.5

    def __post_init__(self) -> None:
        check_whole("preview.width", self.width, 1, 4096)
        check_whole("preview.blocks", self.blocks, 1, 64)
        check_number("preview.edges", self.edges, 0, 1e6)
        check_number("preview.real", self.real, 0, 1)
        self.augment.check_pixels("preview.augment")

    def args(self, latents: int, channels: int, factor: int) -> dict[str, Any]:
        """Return the arguments of the network, for the space of a model."""
        return {
            "latents": latents, "channels": channels, "factor": factor, "width": self.width, "blocks": self.blocks,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class TinyDecoderRecipe(Strict):
    """Everything that decides the training of a small decoder.

    Args:
        name: of the model with it, and of its file.
        data: the data set.
        preview: the small decoder.
        fit: the optimizer.
        checkpoints: what the run saves.
        seed: of weights, order and augmentation.
    """

    name: str
    data: DataOptions
    preview: TinyDecoderOptions
    fit: FitOptions
    checkpoints: CheckpointOptions = field(default_factory=CheckpointOptions)
    seed: int = 1

    def __post_init__(self) -> None:
        check_file_name(self.name)
        check_whole("seed", self.seed, 0, 2**63 - 1)
        self.checkpoints.check(self.fit)
        unset = DataOptions(self.data.source)
        for name in UNUSED:
            if getattr(self.data, name) != getattr(unset, name):
                raise InputError(f"data.{name}: has no effect on a small decoder; leave it out ({UNUSED[name]})")
        if self.fit.shard:
            raise InputError("fit.shard true: only a denoiser can be split; leave it out")

    def fits(self) -> dict[str, tuple[str, FitOptions]]:
        """Return the place and the optimizer of the only task."""
        return {"preview": ("fit", self.fit)}
