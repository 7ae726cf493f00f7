"""The task of training a LoRA or a ControlNet: examples with text features, and the loss of a step."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn

from unnoise.components import Components
from unnoise.data.dataset import ImageDataset
from unnoise.data.shuffle import DROPOUT, SAMPLE, nth_image
from unnoise.devices import autocast
from unnoise.diffusion.conditioning import Conditioning, collate
from unnoise.diffusion.loss import loss, sigma_lognormal, sigma_uniform
from unnoise.diffusion.noise import numbers
from unnoise.errors import InputError
from unnoise.formats.strict_json import dump
from unnoise.generation.media.contact_sheet import contact_sheet
from unnoise.pipeline import Pipeline
from unnoise.text.encode import TextConditioner
from unnoise.train.adapter_recipe import AdapterRecipe, PriorOptions
from unnoise.train.checkpoint import read_facts, write_tensors

SHEET_SEED = 0
SHOWN = 8  # prompts of a sheet, where the recipe has none


@dataclass(frozen=True, slots=True, eq=False)
class PriorImages:
    """Images of the base for prior preservation, as x0 (N, *d), and their prompts."""

    x0: Tensor
    prompts: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Examples:
    """The training data of an adapter.

    Args:
        x0: (N, V, *d) float16, V views of each image.
        captions: of each view, grouped by image.
        control_images: (N, V, 1, H, W) uint8, for a ControlNet.
    """

    dataset: ImageDataset
    x0: Tensor
    captions: Sequence[str]
    prior: PriorImages | None = None
    control_images: Tensor | None = None


class AdapterTask:
    """Train an adapter on latents and text features. Captions are encoded anew in each step if the adapter changes the
    text networks (trains_text), and once, cached in `folder`, if it does not."""

    name = "adapter"

    def __init__(
        self,
        recipe: AdapterRecipe,
        pipeline: Pipeline,
        examples: Examples,
        adapter: nn.Module,
        folder: Path,
        trains_text: bool,
    ) -> None:
        self.recipe, self.pipeline, self.examples, self.adapter = recipe, pipeline, examples, adapter
        self.networks = nn.ModuleDict({"adapter": adapter})
        self.learning_rate_multiples: dict[str, float] = {}
        self.device = pipeline.device
        self.text_encoder = pipeline.text_encoder
        self.trains_text = trains_text
        if not trains_text:
            prompts = examples.prior.prompts if examples.prior else ()
            captions = ["", *dict.fromkeys([*examples.captions, *prompts])]
            self.rows = {caption: k for k, caption in enumerate(captions)}
            path = folder / "features.safetensors"
            self.features = cached_features(self.text_encoder, captions, path, pipeline.card.fingerprint)

    def loss(self, step: int) -> Tensor:
        recipe, batch = self.recipe, self.recipe.fit.batch
        torch.manual_seed(int(numbers(recipe.seed, DROPOUT, step).integers(2**63)))
        views = self.examples.x0.shape[1]
        noise = np.empty((batch, *self.examples.x0.shape[2:]), np.float32)
        u, x0, captions, control_images = torch.empty(batch), [], [], []
        for row, n in enumerate(range(step * batch, (step + 1) * batch)):
            stream = numbers(recipe.seed, SAMPLE, n)
            latent, caption, control_image = self._example(n, row, views, stream)
            captions.append("" if stream.random() < recipe.caption_dropout else caption)
            u[row] = stream.random()
            stream.standard_normal(dtype=np.float32, out=noise[row])
            x0.append(latent)
            control_images.append(control_image)
        sigma = self._levels(u).to(self.device)
        clean, gaussian = torch.stack(x0).float().to(self.device), torch.from_numpy(noise).to(self.device)
        denoiser = self.pipeline.denoiser
        with autocast(self.device, recipe.fit.bf16):
            cond = self._conditioning(captions, control_images)
            return loss(denoiser, clean, gaussian, sigma, cond, recipe.weighting or denoiser.kind).mean()

    def _example(self, n: int, row: int, views: int, stream: np.random.Generator) -> tuple[Tensor, str, Tensor | None]:
        prior = self.examples.prior
        if (
            prior is not None
            and self.recipe.prior is not None
            and row < self.recipe.prior.share * self.recipe.fit.batch
        ):
            k = int(stream.integers(len(prior.x0)))
            return prior.x0[k], prior.prompts[k], None
        i, view = nth_image(self.examples.dataset, self.recipe.seed, n), int(stream.integers(views))
        control_image = None if self.examples.control_images is None else self.examples.control_images[i, view]
        return self.examples.x0[i, view], self.examples.captions[i * views + view], control_image

    def _levels(self, u: Tensor) -> Tensor:
        if self.recipe.level_mean is None or self.recipe.level_std is None:
            return sigma_uniform(u.double(), self.pipeline.denoiser.process).float()
        return sigma_lognormal(u, self.recipe.level_mean, self.recipe.level_std)

    def _conditioning(self, captions: Sequence[str], control_images: Sequence[Tensor | None]) -> Conditioning:
        if self.trains_text:
            return collate([_encode_caption(self.text_encoder, caption) for caption in captions])
        cond = self.features.rows([self.rows[caption] for caption in captions]).to(self.device)
        outlines = [control_image for control_image in control_images if control_image is not None]
        if len(outlines) < len(captions):
            return cond
        control_image = (torch.stack(outlines).float() / 255).expand(-1, 3, -1, -1).to(self.device)
        return replace(cond, control_image=control_image, control_scale=torch.ones(len(outlines), device=self.device))

    @torch.no_grad()
    def sheet(self, step: int) -> Image.Image:
        """Generate an image of each prompt; below, the same without the trigger, or the control images."""
        recipe = self.recipe
        prompts = recipe.prompts or tuple(names[0] for names in self.examples.dataset.captions[:SHOWN])
        triggered = [with_trigger(recipe.trigger, prompt) for prompt in prompts]
        self.adapter.eval()
        if self.examples.control_images is not None:
            control_images = [self._control_image(self.examples.control_images, prompt) for prompt in prompts]
            pairs = zip(triggered, control_images, strict=True)
            images = [self._generate([prompt], control_image)[0] for prompt, control_image in pairs] + control_images
            captions = [*triggered, *["control image"] * len(prompts)]
        else:
            captions = [*triggered, *(prompts if recipe.trigger else ())]
            images = self._generate(captions)
        self.adapter.train()
        return contact_sheet(images, captions, f"{recipe.name}: adapter after {step} steps", len(prompts))

    def _generate(self, prompts: Sequence[str], control_image: Image.Image | None = None) -> list[Image.Image]:
        size = self.recipe.data.size
        samples = self.pipeline.generate(
            prompts, seed=SHEET_SEED, size=size, control_image=control_image, prompt_weighting="literal", progress=False
        )
        return [sample.image for sample in samples]

    def _control_image(self, control_images: Tensor, prompt: str) -> Image.Image:
        """Return the control image of an image with this caption, or of the first image."""
        captions = self.examples.dataset.captions
        i = next((i for i, names in enumerate(captions) if prompt in names), 0)
        return Image.fromarray(control_images[i, 0, 0].numpy()).convert("RGB")


def with_trigger(trigger: str, caption: str) -> str:
    """Put the trigger in front of a caption."""
    return f"{trigger} {caption}".strip() if trigger else caption


def _encode_caption(text_encoder: TextConditioner | None, caption: str) -> Conditioning:
    """Encode a caption; the empty one as the unconditional model does."""
    if text_encoder is None:
        raise InputError("base: has no text encoder; training on captions needs one")
    return text_encoder([caption], "literal")[0] if caption else text_encoder.negative("")


@torch.no_grad()
def cached_features(
    text_encoder: TextConditioner | None, captions: Sequence[str], path: Path, fingerprint: str
) -> Conditioning:
    """Encode every caption, or read the features from `path` if it has those of these captions and this base."""
    key = hashlib.sha256("\n".join([fingerprint, *captions]).encode()).hexdigest()
    if path.exists() and read_facts(path).get("key") == key:
        return Conditioning(**load_file(path))
    features = collate([_encode_caption(text_encoder, caption).to("cpu") for caption in captions])
    write_tensors(path, features.given(), {"key": key})
    return features


def latents_key(recipe: AdapterRecipe, dataset: ImageDataset, base: Components) -> str:
    """Hash everything that decides the latents: images, size, augmentation, and the weights of the base."""
    digest = hashlib.sha256(f"{dump(recipe.data)}\n{recipe.seed}\n{base.card.fingerprint}\n".encode())
    for i in range(len(dataset)):
        digest.update(dataset.read(i).tobytes())
    return digest.hexdigest()


def prior_images(
    prior: PriorOptions | None, pipeline: Pipeline, recipe: AdapterRecipe, folder: Path
) -> PriorImages | None:
    """Generate the images for prior preservation with the base, or read them from the folder."""
    if prior is None:
        return None
    path = folder / "prior.safetensors"
    prompts = tuple(prior.prompts[k % len(prior.prompts)] for k in range(prior.count))
    if not path.exists():
        draw = partial(pipeline.generate, size=recipe.data.size, progress=False)
        samples = [draw(prompt, seed=recipe.seed + k)[0] for k, prompt in enumerate(prompts)]
        write_tensors(path, {"x0": torch.stack([sample.x0 for sample in samples]).half().cpu()}, {})
    return PriorImages(load_file(path)["x0"], prompts)
