"""Paint the hidden half of 64 images of the embedded data set: methods on one network, with the same seeds and steps.

`inpaint` is what `unnoise edit --mask` does. `img2img` starts from the image whose hidden half is white, at several
strengths; at strength 1 nothing of the image is left, and it is text to image. `blend latents` is what diffusers does
for networks without mask channels: after every step the kept cells are put back with noise of the next level
(pipeline_stable_diffusion_inpaint.py). The error is the root of the mean square over the hidden pixels, in units of the
range from black to white, before anything is pasted back. Without captions only the other half says what is hidden.

    python bench/editing.py [--count N] [--sheet FILE]
"""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.functional import interpolate

import unnoise
from unnoise.data.dataset import ImageDataset
from unnoise.data.noto import open_noto
from unnoise.data.view import View, render_views
from unnoise.diffusion.conditioning import collate
from unnoise.diffusion.denoiser import Denoise
from unnoise.diffusion.guidance import cfg
from unnoise.diffusion.inpainting import composite, fill, inpaint, to_cells
from unnoise.diffusion.loop import levels, run
from unnoise.diffusion.noise import START, draw
from unnoise.diffusion.prediction import mix
from unnoise.generation.decode import to_images
from unnoise.generation.job import Job
from unnoise.generation.media.contact_sheet import contact_sheet
from unnoise.pipeline import Pipeline
from unnoise.sampling.samplers.restart import RePaint, repaints
from unnoise.sampling.state import State, start

COUNT, BATCH, SIDE, STEPS, SHOWN = 64, 16, 64, 20, 12
STRENGTHS = (0.4, 0.6, 0.8, 0.9, 1.0)
REPEATS = 3  # of RePaint


@dataclass(frozen=True, slots=True, eq=False)
class Task:
    """Images (B, 3, H, W) in [-1, 1] with their captions and seeds; mask: (1, 1, H, W), 1 = painted."""

    pipeline: Pipeline
    images: Tensor
    captions: Sequence[str]
    seeds: Sequence[int]
    mask: Tensor

    @property
    def visible(self) -> Tensor:
        """The images with their hidden part white."""
        return torch.where(self.mask == 0, self.images, torch.ones_like(self.images))

    def job(self, strength: float = 1.0) -> Job:
        """Resolve a request with the card's defaults, from a strength."""
        return self.pipeline.plan("", steps=STEPS, size=SIDE, strength=strength)

    def denoise(self, job: Job) -> Denoise:
        """Bind the network to these captions, with guidance."""
        text, settings = self.pipeline.text_encoder, job.settings
        assert text is not None
        cond, null = collate(text(self.captions)), text.negative("")
        return cfg(self.pipeline.denoiser, cond, null, settings.guidance_scale, settings.interval)

    def noise(self) -> Tensor:
        """Draw the starting noise."""
        return draw(self.seeds, START, torch.empty(len(self.seeds), *self.pipeline.space.shape(SIDE, SIDE)))

    def known(self) -> Tensor:
        """Encode the visible image, its hidden part filled smoothly."""
        return self.pipeline.space.encode(fill(self.visible, self.mask))

    def inpainted(self, job: Job) -> Denoise:
        """Bind the network, and replace x0 where the image is kept."""
        return inpaint(self.denoise(job), self.known(), to_cells(self.mask, self.pipeline.space.factor))


def by_inpaint(task: Task) -> Tensor:
    """Replace x0 where the image is kept."""
    job = task.job()
    return run(job.sampler, task.inpainted(job), start(task.noise(), job.settings.grid), draw, task.seeds)


def by_repaint(task: Task) -> Tensor:
    """Replace x0 where the image is kept, and take each tenth of the steps three times."""
    job = task.job()
    grid = repaints(job.settings.grid, STEPS // 10, REPEATS)
    return run(RePaint(), task.inpainted(job), start(task.noise(), grid), draw, task.seeds)


def from_image(strength: float) -> Callable[[Task], Tensor]:
    """Start from the visible image at a strength."""

    def drawn(task: Task) -> Tensor:
        job = task.job(strength)
        begin, grid = task.pipeline.space.encode(task.visible), job.settings.grid
        x = mix(begin, task.noise(), torch.full((len(begin),), grid[0]))
        return run(job.sampler, task.denoise(job), start(x, grid), draw, task.seeds)

    return drawn


def by_blended_latents(task: Task) -> Tensor:
    """Put the kept cells back after every step, with noise of the next level."""
    job = task.job()
    known, noise = task.known(), task.noise()
    mask = interpolate(task.mask, scale_factor=1 / task.pipeline.space.factor, mode="nearest")
    denoise = task.denoise(job)
    state: State[Tensor] = start(noise, job.settings.grid)
    while not state.done:
        after = job.sampler.advance(state, denoise(state.x, levels(state)))
        if not after.stage:
            level = torch.full((len(known),), after.grid[after.i])
            after = replace(after, x=composite(after.x, mix(known, noise, level), mask))
        state = after
    return state.x


METHODS: dict[str, Callable[[Task], Tensor]] = {
    "inpaint": by_inpaint,
    "inpaint, RePaint x 3": by_repaint,
    "blend latents": by_blended_latents,
    **{f"img2img {strength:g}": from_image(strength) for strength in STRENGTHS},
}


def tasks(pipeline: Pipeline, source: ImageDataset, count: int, captioned: bool) -> list[Task]:
    """Take concepts at equal distances; the right and the lower half are hidden in turn."""
    firsts = [members[0] for members in source.members]
    chosen = firsts[:: len(firsts) // COUNT][:count]
    right = torch.zeros(1, 1, SIDE, SIDE)
    right[..., SIDE // 2 :] = 1
    found = []
    for k, at in enumerate(range(0, count, BATCH)):
        part = chosen[at : at + BATCH]
        images = render_views(source, [View(i, "") for i in part])
        mask = right if k % 2 == 0 else right.transpose(2, 3)
        captions = [source.captions[i][0] if captioned else "" for i in part]
        found.append(Task(pipeline, images, captions, part, mask))
    return found


@torch.no_grad()
def main() -> None:
    """Print the table, and write the sheet."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=COUNT, help=f"images, at most {COUNT}")
    parser.add_argument("--sheet")
    asked = parser.parse_args()
    pipeline, source = unnoise.load("emoji"), open_noto()
    columns, rows, labels = [], [], []
    for captioned in (True, False):
        errors: dict[str, list[float]] = {name: [] for name in METHODS}
        for k, task in enumerate(tasks(pipeline, source, asked.count, captioned)):
            shown = [task.images, task.visible] if captioned else []
            for name, method in METHODS.items():
                made = pipeline.space.decode(method(task))
                shown.append(composite(made, task.images, task.mask))
                gap = ((made - task.images) / 2).square()[(task.mask == 1).expand_as(made)]
                errors[name] += gap.reshape(len(made), -1).mean(1).sqrt().tolist()
            if k == 0:
                rows += [part[:SHOWN] for part in shown]
                names = [*METHODS] if not captioned else ["original", "visible", *METHODS]
                ending = "" if captioned else ", no caption"
                labels += [f"{name}{ending}" for name in names for _ in task.captions[:SHOWN]]
        columns.append([sum(found) / len(found) for found in errors.values()])
    print(f"{asked.count} images, the right or the lower half hidden, {STEPS} steps, guidance of the card")
    print(f"{'':24}{'with captions':>14}{'/ first':>9}{'without':>14}{'/ first':>9}")
    for name, *means in zip(METHODS, *columns, strict=True):
        print(
            f"{name:24}"
            + "".join(f"{one:14.4f}{one / column[0]:9.2f}" for one, column in zip(means, columns, strict=True))
        )
    if asked.sheet:
        images = to_images(torch.cat(rows).clamp(-1, 1))
        contact_sheet(images, labels, "Inpainting of a half", min(SHOWN, asked.count)).save(asked.sheet)


if __name__ == "__main__":
    main()
