"""What the tasks of the three methods share: the trained network, the draws of a step, and the contact sheet."""

from functools import cached_property
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from unnoise.distill.plain_student import trained_part
from unnoise.distill.recipe import STUDENT, DistillRecipe
from unnoise.distill.rows import RowSource
from unnoise.distill.teacher import Teacher
from unnoise.generation.media.contact_sheet import table_sheet
from unnoise.pipeline import Pipeline
from unnoise.train.task import sheet_title
from unnoise.train.validation import LevelLosses

SHEET_SEED = 0


class DistillTask:
    """Train a student, see `train.task.Task`; a method adds its loss, and networks that it trains beside the student.

    Args:
        recipe: of the run.
        teacher: frozen.
        student: its network is trained.
        rows: draws the rows of a step.
        prompts: of the contact sheets.
    """

    name = STUDENT

    def __init__(
        self, recipe: DistillRecipe, teacher: Teacher, student: Pipeline, rows: RowSource, prompts: list[str]
    ) -> None:
        self.recipe, self.teacher, self.student, self.rows, self.prompts = recipe, teacher, student, rows, prompts
        self.denoiser = student.denoiser
        self.networks = nn.ModuleDict({"net": trained_part(student.denoiser.net)})
        self.frozen = (teacher.denoiser.net,)  # which is laid out and compiled as the student is
        self.learning_rate_multiples: dict[str, float] = {}
        self.levels: LevelLosses | None = None

    @property
    def teacher_scale(self) -> float:
        """The guidance scale of the teacher whose samples are compared with those of the student."""
        return self.student.card.advice.distilled_guidance or self.recipe.guidance[0]

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels of the samples that are drawn during the run: what is trained."""
        return self.teacher.trained_size(self.recipe.data)

    def loss(self, step: int, rows: range) -> Tensor:
        """Return the loss of some rows of a batch, see `Task`."""
        raise NotImplementedError

    @torch.no_grad()
    def sheet(self, step: int) -> Image.Image:
        """Draw the samples of the student beside those of the teacher, at equal calls and from equal noise."""
        columns = [f"{who}, {count_calls(steps)}" for steps in self.recipe.steps for who in ("student", "teacher")]
        by_steps = [
            images
            for steps in self.recipe.steps
            for images in (draw_images(self.student, self.prompts, steps, size=self.size), self._teacher_images[steps])
        ]
        images = [column[row] for row in range(len(self.prompts)) for column in by_steps]
        title = sheet_title(self.recipe.name, self.name, step, self.recipe.checkpoints.ema_lengths[0])
        labels = [prompt or f"seed {SHEET_SEED + row}" for row, prompt in enumerate(self.prompts)]
        return table_sheet(images, labels, columns, title)

    @cached_property
    def _teacher_images(self) -> dict[int, list[Image.Image]]:
        pipeline, how = self.teacher.pipeline, {"guidance_scale": self.teacher_scale, "size": self.size}
        return {steps: draw_images(pipeline, self.prompts, steps, **how) for steps in self.recipe.steps}


def count_calls(steps: int) -> str:
    """Return a number of calls in words."""
    return f"{steps} call" if steps == 1 else f"{steps} calls"


def draw_images(pipeline: Pipeline, prompts: list[str], steps: int, **options: Any) -> list[Image.Image]:
    """Draw an image of each prompt, row r with the seed SHEET_SEED + r. options: of `generate`."""
    how: dict[str, Any] = {"steps": steps, "progress": False, "prompt_weighting": "literal"} | options
    return [pipeline.generate(prompt, seed=SHEET_SEED + row, **how)[0].image for row, prompt in enumerate(prompts)]
