"""Stop a distillation whose samples collapse: how they are spread, beside those of the teacher.

Every `checkpoints.validate_every` steps, samples of fixed noise are drawn with averaged weights, by each number of
calls, and the log gets the mean and the deviation of their x0 and the saturation of their colours, the last two as
shares of the teacher's: of its samples of the same noise and prompts by its default steps, with guidance. A student
whose modes merge loses its deviation; one whose targets run away gains some, and its colours saturate first.

One call of the untrained student is a mean of many pictures, of a small deviation, from which a sound training rises.
So the bounds are shares of the best so far: the deviation may not fall below LOW of the highest that it had, of which
no more than the teacher's counts, nor rise above HIGH of the lowest, of which no less than the teacher's counts. Once a
student has had the teacher's deviation, these are LOW and HIGH of the teacher's.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from PIL import Image

from unnoise.distill.task import DistillTask, count_calls
from unnoise.errors import CollapseError
from unnoise.pipeline import Pipeline
from unnoise.train.weights import evaluation_mode

LOW, HIGH = 0.7, 1.4  # of the highest deviation so far, and of the lowest
SAMPLES: Final = 16  # of each number of calls, at least
SEED: Final = 1000
LEAST_SATURATION: Final = 0.01  # of the teacher's samples, below which they are grey


@dataclass(frozen=True, slots=True)
class SampleFigures:
    """Figures of samples: mean and standard deviation of x0; the mean over pixels of max - min of red, green, blue."""

    mean: float
    deviation: float
    saturation: float


def sample_figures(pipeline: Pipeline, prompts: Sequence[str], **options: Any) -> SampleFigures:
    """Measure samples of fixed noise, several of each prompt where there are few. options: of `generate`."""
    shown = prompts[:SAMPLES]
    how: dict[str, Any] = {"n": -(-SAMPLES // len(shown)), "seed": SEED, "progress": False} | options
    samples = pipeline.generate(shown, prompt_weighting="literal", **how)
    x0 = torch.stack([sample.x0.float() for sample in samples])
    saturations = [_saturation(sample.image) for sample in samples]
    return SampleFigures(x0.mean().item(), x0.std().item(), sum(saturations) / len(saturations))


def _saturation(image: Image.Image) -> float:
    pixels = np.asarray(image.convert("RGB"), np.float32) / 255
    return float((pixels.max(2) - pixels.min(2)).mean())


class CollapseWatch:
    """Measures samples of a student and raises CollapseError where they collapse; the `samples` of a Monitor.

    Args:
        task: its student is drawn from, whose weights are those that the run begins with.
        earlier: lines of the log before, of a run that is resumed.
    """

    def __init__(self, task: DistillTask, earlier: Iterable[Mapping[str, Any]] = ()) -> None:
        self.task = task
        how = {"guidance_scale": task.teacher_scale, "size": task.size}
        self.teacher = sample_figures(task.teacher.pipeline, task.prompts, **how)
        with evaluation_mode(task.networks), torch.no_grad():
            begun = self._deviations(self._figures())
        self.bounds = {steps: (share, share) for steps, share in begun.items()}  # the lowest and the highest so far
        for line in earlier:
            self._extend(self._deviations(line.get("figures", {})))

    def __call__(self, step: int) -> dict[str, float]:
        """Return the figures of each number of calls, by name. Raises CollapseError."""
        figures = self._figures()
        shares = self._deviations(figures)
        for steps, share in shares.items():
            lowest, highest = self.bounds[steps]
            low, high = LOW * min(1.0, highest), HIGH * max(1.0, lowest)
            if not low <= share <= high:
                raise CollapseError(
                    f"{self.task.name}: samples of {count_calls(steps)} have {share:.2f} of the teacher's deviation "
                    f"after {step} steps, {low:.2f} to {high:.2f} are allowed: they collapse"
                )
        self._extend(shares)
        return figures

    def _figures(self) -> dict[str, float]:
        found: dict[str, float] = {}
        for steps in self.task.recipe.steps:
            one = sample_figures(self.task.student, self.task.prompts, steps=steps, size=self.task.size)
            found |= {f"mean_{steps}": one.mean, f"deviation_{steps}": one.deviation / self.teacher.deviation}
            if self.teacher.saturation > LEAST_SATURATION:
                found[f"saturation_{steps}"] = one.saturation / self.teacher.saturation
        return found

    def _deviations(self, figures: Mapping[str, float]) -> dict[int, float]:
        named = {steps: f"deviation_{steps}" for steps in self.task.recipe.steps}
        return {steps: figures[name] for steps, name in named.items() if name in figures}

    def _extend(self, shares: Mapping[int, float]) -> None:
        for steps, share in shares.items():
            lowest, highest = self.bounds[steps]
            self.bounds[steps] = min(lowest, share), max(highest, share)
