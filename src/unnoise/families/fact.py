"""The facts of a family: the numbers that files are checked against, with their source."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

TrainedSteps = tuple[int, str, Mapping[str, Any], tuple[float, ...]]  # steps, class and arguments of a sampler, levels


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Describe a family or a variant. None is unknown, or does not apply.

    Args:
        title, source: its published name, and where the facts are from.
        process, prediction, modality: of the network.
        distilled: "guidance" takes the guidance scale as an input; "steps" also needs few steps and no guidance.
        guidance: lowest and highest guidance scale in published examples; 1 is off.
        embedded: the same for a guidance scale that is an input of the network, without an adapter.
        steps: fewest and most steps.
        trained: the numbers of steps that a student of `unnoise distill` was trained for, each with its sampler and
            its levels after the noisiest.
        betas: schedule, first and last beta.
        channels, scale, shift: of x0 = (latent - shift)*scale.
        per_channel: latents are normalised by a mean and a standard deviation for each channel.
        size: native (width, height) in pixels.
        area: smallest and largest area in published examples, as a ratio to that of `size`.
        multiple: of width and height in pixels.
        stride: frames are stride*k + 1.
        flow_shift: of the noise levels.
        context: width of the input of cross-attention.
        tokens: the most tokens of a prompt.
    """

    title: str
    process: Literal["ddpm", "flow", "edm"]
    prediction: Literal["eps", "v", "flow", "x0"]
    modality: Literal["image", "video", "audio", "shape"] = "image"
    distilled: Literal["", "guidance", "steps"] = ""
    guidance: tuple[float, float] | None = None
    embedded: tuple[float, float] | None = None
    steps: tuple[int, int] | None = None
    trained: tuple[TrainedSteps, ...] = ()
    betas: tuple[str, float, float] | None = None
    channels: int | None = None
    scale: float | None = None
    shift: float = 0.0
    per_channel: bool = False
    size: tuple[int, int] | None = None
    area: tuple[float, float] = (0.25, 2.0)
    multiple: int = 8
    stride: int | None = None
    flow_shift: float | None = None
    context: int | None = None
    tokens: int | None = None
    source: str = ""
