"""What can be known of a family: the numbers that files are checked against, each with where it was published."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Describe a family or a variant of it; `None` is not known, or does not apply.

    prediction: what the net answers with; distilled: "guidance" takes the weight as an input, "steps" also needs few
    steps and no guidance; guidance: lowest and highest weight of null + weight*(cond - null) in published examples, 1
    being off; embedded: the same for a weight that the net takes as input, without an adapter, which brings its own;
    steps: fewest and most that it is meant for; betas: schedule, first and last; channels, scale, shift: of
    x0 = (latent - shift)*scale; per_channel: the latent is normalised by a mean and a deviation for each channel; size:
    native (width, height); area: least and greatest area in published examples, as a ratio to that of `size`; multiple:
    of width and height in pixels; stride: frames are stride*k + 1; flow_shift: of the levels; context: width of what
    cross-attention reads; tokens: most of a prompt.
    """

    title: str
    process: Literal["ddpm", "flow", "edm"]
    prediction: Literal["eps", "v", "flow", "x0"]
    modality: Literal["image", "video", "audio", "shape"] = "image"
    distilled: Literal["", "guidance", "steps"] = ""
    guidance: tuple[float, float] | None = None
    embedded: tuple[float, float] | None = None
    steps: tuple[int, int] | None = None
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
