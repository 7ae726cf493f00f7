"""A sweep that was drawn: its axes, its samples, and the sheet that shows them as a table."""

from dataclasses import dataclass

from PIL import Image

from unnoise.generation.axes import Axis, places
from unnoise.generation.media.contact_sheet import table_sheet
from unnoise.generation.media.files import preview
from unnoise.generation.sample import Sample


@dataclass(frozen=True, slots=True, eq=False)
class Sweep:
    """The samples of every combination, the last axis fastest.

    Args:
        axes: the options that differ.
        samples: as many as there are combinations.
    """

    axes: tuple[Axis, ...]
    samples: tuple[Sample, ...]

    def sheet(self) -> Image.Image:
        """Lay the samples out as a table: the last axis from left to right, the others from top to bottom."""
        *down, across = self.axes
        columns = [across.label(k) for k in range(len(across.values))]
        rows = [", ".join(axis.label(k) for axis, k in zip(down, place, strict=True)) for place in places(down)]
        first = self.samples[0].metadata
        differing = {axis.name for axis in self.axes}
        facts = [] if "prompt" in differing else [first.prompt or "(empty prompt)"]
        facts += [first.model, *([] if "steps" in differing else [f"{first.steps} steps"])]
        facts += [] if "guidance_scale" in differing else [f"guidance scale {first.guidance_scale:g}"]
        facts += [] if "seed" in differing else [f"seed {first.seed}"]
        return table_sheet([preview(sample.media) for sample in self.samples], rows, columns, " · ".join(facts))
