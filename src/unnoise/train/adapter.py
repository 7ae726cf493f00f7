"""What training a LoRA and training a control share: examples with text features, and the loss of a step."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn

from unnoise.data.dataset import ImageDataset
from unnoise.data.shuffle import SAMPLE, picture
from unnoise.diffusion.conditioning import Conditioning, collate
from unnoise.diffusion.loss import loss, sigma_lognormal, sigma_uniform
from unnoise.diffusion.noise import numbers
from unnoise.errors import InputError
from unnoise.formats.strict_json import dump
from unnoise.generation.images import image_tensor
from unnoise.pipeline import Pipeline
from unnoise.text.encode import TextConditioner
from unnoise.train.adapter_recipe import AdapterRecipe, PriorOptions
from unnoise.train.checkpoint import read_facts, write_tensors
from unnoise.train.sheet import grid_of

SHEET_SEED = 0


@dataclass(frozen=True, slots=True, eq=False)
class PriorImages:
    """Pictures that the base drew, as x0 (N, *d), and their prompts."""

    x0: Tensor
    prompts: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Examples:
    """What is learned.

    x0: (N, V, *d) float16; captions: of each view, those of a picture together; hints: (N, V, 1, H, W) uint8, what a
    control follows.
    """

    source: ImageDataset
    x0: Tensor
    captions: Sequence[str]
    prior: PriorImages | None = None
    control_images: Tensor | None = None


class AdapterTask:
    """Train an adapter on latents and text features; where it changes the text networks, captions are read anew."""

    name = "adapter"

    def __init__(
        self,
        recipe: AdapterRecipe,
        pipeline: Pipeline,
        examples: Examples,
        learned: nn.Module,
        folder: Path,
        reads: bool,
    ) -> None:
        self.recipe, self.pipeline, self.examples, self.learned = recipe, pipeline, examples, learned
        self.parts = nn.ModuleDict({"adapter": learned})
        self.rates: dict[str, float] = {}
        self.device = pipeline.device
        self.text = pipeline.text_encoder
        self.reads = reads
        if not reads:
            prompts = examples.prior.prompts if examples.prior else ()
            every = ["", *dict.fromkeys([*examples.captions, *prompts])]
            self.rows = {caption: k for k, caption in enumerate(every)}
            self.features = features(self.text, every, folder / "features.safetensors", pipeline.card.fingerprint)

    def loss(self, step: int) -> Tensor:
        recipe, batch = self.recipe, self.recipe.fit.batch
        views = self.examples.x0.shape[1]
        noise = np.empty((batch, *self.examples.x0.shape[2:]), np.float32)
        u, x0, captions, control_images = torch.empty(batch), [], [], []
        for row, n in enumerate(range(step * batch, (step + 1) * batch)):
            stream = numbers(recipe.seed, SAMPLE, n)
            clean, caption, control_image = self._example(n, row, views, stream)
            captions.append("" if stream.random() < recipe.dropout else caption)
            u[row] = stream.random()
            stream.standard_normal(dtype=np.float32, out=noise[row])
            x0.append(clean)
            control_images.append(control_image)
        sigma = self._levels(u).to(self.device)
        clean, noisy = torch.stack(x0).float().to(self.device), torch.from_numpy(noise).to(self.device)
        weighting = recipe.weighting or self.pipeline.denoiser.kind
        with torch.autocast(self.device.type, torch.bfloat16, enabled=recipe.fit.bf16):
            return loss(
                self.pipeline.denoiser, clean, noisy, sigma, self._cond(captions, control_images), weighting
            ).mean()

    def _example(self, n: int, row: int, views: int, stream: np.random.Generator) -> tuple[Tensor, str, Tensor | None]:
        kept = self.examples.prior
        if kept is not None and self.recipe.prior is not None and row < self.recipe.prior.share * self.recipe.fit.batch:
            at = int(stream.integers(len(kept.x0)))
            return kept.x0[at], kept.prompts[at], None
        chosen, view = picture(self.examples.source, self.recipe.seed, n), int(stream.integers(views))
        control_image = None if self.examples.control_images is None else self.examples.control_images[chosen, view]
        return self.examples.x0[chosen, view], self.examples.captions[chosen * views + view], control_image

    def _levels(self, u: Tensor) -> Tensor:
        if self.recipe.level_mean is None or self.recipe.level_std is None:
            return sigma_uniform(u.double(), self.pipeline.denoiser.process).float()
        return sigma_lognormal(u, self.recipe.level_mean, self.recipe.level_std)

    def _cond(self, captions: Sequence[str], control_images: Sequence[Tensor | None]) -> Conditioning:
        if self.reads:
            return collate([_read(self.text, caption) for caption in captions])
        cond = self.features.rows([self.rows[caption] for caption in captions]).to(self.device)
        given = [control_image for control_image in control_images if control_image is not None]
        if len(given) < len(captions):
            return cond
        shown = (torch.stack(given).float() / 255).expand(-1, 3, -1, -1).to(self.device)
        return replace(cond, control_image=shown, control_scale=torch.ones(len(given), device=self.device))

    @torch.no_grad()
    def sheet(self) -> Image.Image:
        """Show what the recipe's prompts give; below, if there is a trigger, without it, or what a control follows."""
        recipe, count = self.recipe, len(self.recipe.prompts) or 8
        prompts = recipe.prompts or tuple(names[0] for names in self.examples.source.captions[:count])
        asked = [triggered(recipe.trigger, prompt) for prompt in prompts]
        self.learned.eval()
        if self.examples.control_images is None:
            rows = [*self._drawn(asked), *(self._drawn(prompts) if recipe.trigger else ())]
        else:
            followed = [_picture(self.examples.control_images[self._shown(prompt), 0]) for prompt in prompts]
            rows = [
                self._drawn([one], control_image)[0] for one, control_image in zip(asked, followed, strict=True)
            ] + followed
        self.learned.train()
        return grid_of(torch.cat([image_tensor(row) for row in rows]), count)

    def _drawn(self, prompts: Sequence[str], control_image: Image.Image | None = None) -> list[Image.Image]:
        samples = self.pipeline.generate(
            prompts, seed=SHEET_SEED, size=self.recipe.data.size, control_image=control_image
        )
        return [sample.image for sample in samples]

    def _shown(self, prompt: str) -> int:
        """Find a picture that is called so, else the first."""
        return next((i for i, names in enumerate(self.examples.source.captions) if prompt in names), 0)


def _picture(control_image: Tensor) -> Image.Image:
    return Image.fromarray(control_image[0].numpy()).convert("RGB")


def triggered(trigger: str, caption: str) -> str:
    """Put the trigger in front of a caption."""
    return f"{trigger} {caption}".strip() if trigger else caption


def _read(text: TextConditioner | None, caption: str) -> Conditioning:
    """Read a caption; the empty one as the unconditional model does."""
    if text is None:
        raise InputError("this model reads no captions")
    return text([caption], "literal")[0] if caption else text.negative("")


@torch.no_grad()
def features(text: TextConditioner | None, captions: Sequence[str], path: Path, base: str) -> Conditioning:
    """Read every caption once, from `path` if it holds these captions as this base reads them."""
    key = hashlib.sha256("\n".join([base, *captions]).encode()).hexdigest()
    if path.exists() and read_facts(path).get("key") == key:
        return Conditioning(**load_file(path))
    every = collate([_read(text, caption) for caption in captions]).to("cpu")
    write_tensors(path, every.given(), {"key": key})
    return every


def latents_key(recipe: AdapterRecipe, source: ImageDataset, pipeline: Pipeline) -> str:
    """Name what decides the encoded views: every picture, how they are varied, their size, and the base's weights."""
    digest = hashlib.sha256(f"{dump(recipe.data)}\n{recipe.seed}\n{pipeline.card.fingerprint}\n".encode())
    for i in range(len(source)):
        digest.update(source.read(i).tobytes())
    return digest.hexdigest()


def drawn_prior(
    prior: PriorOptions | None, pipeline: Pipeline, recipe: AdapterRecipe, folder: Path
) -> PriorImages | None:
    """Let the base draw what it is to keep, once."""
    if prior is None:
        return None
    path = folder / "prior.safetensors"
    prompts = tuple(prior.prompts[k % len(prior.prompts)] for k in range(prior.count))
    if not path.exists():
        size = recipe.data.size
        made = [pipeline.generate(prompt, seed=recipe.seed + k, size=size)[0] for k, prompt in enumerate(prompts)]
        write_tensors(path, {"x0": torch.stack([sample.x0 for sample in made]).half().cpu()}, {})
    return PriorImages(load_file(path)["x0"], prompts)
