"""Paint back the hidden half of 64 pictures of the embedded data set: ways on one net, of the same seeds and steps.

`keep` is what `unnoise edit --mask` does. `image to image` begins with the picture whose hidden half is white, at some
strengths; at 1 nothing of it is left, and it is text to image. `blend latents` is what diffusers does for networks that
see no mask: after every step the kept cells are put back with fresh noise of their level
(pipeline_stable_diffusion_inpaint.py). The error is the root of the mean square over the hidden pixels, in units of the
range from black to white, before anything is pasted back. Without captions only the other half says what is hidden.

    python bench/editing.py [--sheet FILE]
"""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import interpolate

import unnoise
from unnoise.data.dataset import ImageDataset
from unnoise.data.open import open_source
from unnoise.data.view import View, render_views
from unnoise.diffusion.denoiser import Denoise
from unnoise.diffusion.inpainting import blend, cells, filled, keep
from unnoise.diffusion.loop import levels, run
from unnoise.diffusion.noise import START, draw
from unnoise.diffusion.prediction import mix
from unnoise.generation.media.contact_sheet import contact_sheet
from unnoise.generation.options import Request
from unnoise.generation.resolve import Plan
from unnoise.generation.sample import pictures as to_images
from unnoise.pipeline import Pipeline
from unnoise.sampling.samplers.restart import RePaint, repaints
from unnoise.sampling.state import State, start

COUNT, BATCH, SIDE, STEPS, SHOWN = 64, 16, 64, 20, 12
STRENGTHS = (0.4, 0.6, 0.8, 0.9, 1.0)
REPEATS = 3  # of RePaint


@dataclass(frozen=True, slots=True, eq=False)
class Task:
    """Pictures (B, 3, H, W) in [-1, 1] with their captions and seeds; mask: (1, 1, H, W), 1 = keep."""

    pipeline: Pipeline
    pictures: Tensor
    captions: Sequence[str]
    seeds: Sequence[int]
    mask: Tensor

    @property
    def shown(self) -> Tensor:
        """The pictures with their hidden part white."""
        return torch.where(self.mask == 1, self.pictures, torch.ones_like(self.pictures))

    def plan(self, strength: float = 1.0, **more: Any) -> Plan:
        """Plan to draw as the card advises, from a level."""
        return self.pipeline.plan(Request(("",), steps=STEPS, size=(SIDE, SIDE), strength=strength, **more))

    def denoise(self, plan: Plan) -> Denoise:
        """Ask the net for these captions, guided."""
        text = self.pipeline.text_encoder
        assert text is not None
        return self.pipeline.denoise(plan, text(self.captions), text.negative(""))

    def noise(self) -> Tensor:
        """Draw the starting noise."""
        return draw(self.seeds, START, torch.empty(len(self.seeds), *self.pipeline.space.shape(SIDE, SIDE)))


def by_keep(task: Task) -> Tensor:
    """Replace x0 where it is known."""
    plan = task.plan()
    known = task.pipeline.space.encode(filled(task.shown, task.mask))
    denoise = keep(task.denoise(plan), known, cells(task.mask, task.pipeline.space.factor))
    return run(plan.sampler, denoise, start(task.noise(), plan.grid), draw, task.seeds)


def by_repaint(task: Task) -> Tensor:
    """Replace x0 where it is known, and take each tenth of the steps three times."""
    plan = task.plan()
    known = task.pipeline.space.encode(filled(task.shown, task.mask))
    denoise = keep(task.denoise(plan), known, cells(task.mask, task.pipeline.space.factor))
    grid = repaints(plan.grid, STEPS // 10, REPEATS)
    return run(RePaint(), denoise, start(task.noise(), grid), draw, task.seeds)


def from_image(strength: float) -> Callable[[Task], Tensor]:
    """Begin with the shown picture at a strength."""

    def drawn(task: Task) -> Tensor:
        plan = task.plan(strength)
        begun = task.pipeline.space.encode(task.shown)
        x = mix(begun, task.noise(), torch.full((len(begun),), plan.grid[0]))
        return run(plan.sampler, task.denoise(plan), start(x, plan.grid), draw, task.seeds)

    return drawn


def by_blended_latents(task: Task) -> Tensor:
    """Put the kept cells back after every step, with noise of their level."""
    plan = task.plan()
    known, noise = task.pipeline.space.encode(task.shown), task.noise()
    mask = interpolate(task.mask, scale_factor=1 / task.pipeline.space.factor, mode="nearest")
    denoise = task.denoise(plan)
    state: State[Tensor] = start(noise, plan.grid)
    while not state.done:
        after = plan.sampler.advance(state, denoise(state.x, levels(state)))
        if not after.stage:
            level = torch.full((len(known),), after.grid[after.i])
            after = replace(after, x=blend(after.x, mix(known, noise, level), mask))
        state = after
    return state.x


WAYS: dict[str, Callable[[Task], Tensor]] = {
    "keep": by_keep,
    "keep, RePaint x 3": by_repaint,
    "blend latents": by_blended_latents,
    **{f"image to image {strength:g}": from_image(strength) for strength in STRENGTHS},
}


def tasks(pipeline: Pipeline, source: ImageDataset, captioned: bool) -> list[Task]:
    """Take every thirtieth concept; in turn the right and the lower half is hidden. captioned: say what it shows."""
    firsts = [members[0] for members in source.members]
    chosen = firsts[:: len(firsts) // COUNT][:COUNT]
    right = torch.ones(1, 1, SIDE, SIDE)
    right[..., SIDE // 2 :] = 0
    found = []
    for k, at in enumerate(range(0, COUNT, BATCH)):
        part = chosen[at : at + BATCH]
        pictures = render_views(source, [View(i, "") for i in part])
        mask = right if k % 2 == 0 else right.transpose(2, 3)
        captions = [source.captions[i][0] if captioned else "" for i in part]
        found.append(Task(pipeline, pictures, captions, part, mask))
    return found


@torch.no_grad()
def main() -> None:
    """Print the table, and write the sheet that is asked for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--sheet")
    sheet = parser.parse_args().sheet
    pipeline, source = unnoise.load("emoji"), open_source("emoji", SIDE)
    columns, rows = [], []
    for captioned in (True, False):
        errors: dict[str, list[float]] = {name: [] for name in WAYS}
        for k, task in enumerate(tasks(pipeline, source, captioned)):
            pictures = [task.pictures, task.shown] if captioned else []
            for name, way in WAYS.items():
                made = pipeline.space.decode(way(task))
                pictures.append(blend(made, task.pictures, task.mask))
                gap = ((made - task.pictures) / 2).square()[(task.mask == 0).expand_as(made)]
                errors[name] += gap.reshape(len(made), -1).mean(1).sqrt().tolist()
            if k == 0:
                rows += [part[:SHOWN] for part in pictures]
        columns.append([sum(found) / len(found) for found in errors.values()])
    print(f"{COUNT} pictures, the right or the lower half hidden, {STEPS} steps, guidance as the card advises")
    print(f"{'':24}{'with captions':>14}{'/ keep':>8}{'without':>14}{'/ keep':>8}")
    for name, *means in zip(WAYS, *columns, strict=True):
        print(
            f"{name:24}"
            + "".join(f"{one:14.4f}{one / column[0]:8.2f}" for one, column in zip(means, columns, strict=True))
        )
    if sheet:
        labels = ["original", "known", *WAYS]
        captions = [label for label in labels for _ in range(SHOWN)]
        images = to_images(torch.cat(rows).clamp(-1, 1))
        contact_sheet(images, captions, "Inpainting of a half", SHOWN).save(sheet)


if __name__ == "__main__":
    main()
