"""The task of training a LoRA or a ControlNet: text features, and the loss of a step."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from safetensors.torch import load_file
from torch import Tensor, nn

from unnoise.adapters.lora.trainable import TrainableLora
from unnoise.data.buckets import nth_batch
from unnoise.data.dataset import ImageDataset
from unnoise.data.shuffle import DROPOUT, SAMPLE, nth_image
from unnoise.diffusion.conditioning import Conditioning, collate
from unnoise.diffusion.loss import loss, sigma_lognormal, sigma_uniform
from unnoise.diffusion.noise import numbers
from unnoise.errors import InputError
from unnoise.generation.media.contact_sheet import contact_sheet
from unnoise.pipeline import Pipeline
from unnoise.text.encode import TextConditioner
from unnoise.train.adapter_recipe import AdapterRecipe
from unnoise.train.checkpoint import read_facts, write_tensors
from unnoise.train.examples import Examples, with_trigger
from unnoise.train.fit_options import FitOptions
from unnoise.train.machine import lay_out
from unnoise.train.task import sheet_title
from unnoise.train.validation import LevelLosses, level_edges, make_monitor, row_images, row_noise, row_quantiles

SHEET_SEED = 0
SHOWN = 8  # prompts of a sheet, where the recipe has none


class AdapterTask:
    """Train an adapter on latents and text features. Captions are encoded anew in each step if the adapter changes the
    text networks (trains_text), and once, cached in `folder`, if it does not."""

    name = "adapter"

    def __init__(
        self,
        recipe: AdapterRecipe,
        pipeline: Pipeline,
        examples: Sequence[Examples],
        adapter: nn.Module,
        folder: Path,
        trains_text: bool,
        held_out: Sequence[Examples] = (),
    ) -> None:
        self.recipe, self.pipeline, self.examples, self.adapter = recipe, pipeline, examples, adapter
        self.networks = nn.ModuleDict({"adapter": adapter})
        self.learning_rate_multiples: dict[str, float] = {}
        self.device = pipeline.device
        self.text_encoder = pipeline.text_encoder
        self.trains_text = trains_text
        self.levels = LevelLosses(level_edges(self._levels))
        self.held_out = [(examples, i) for examples in held_out for i in examples.x0.readable]
        self.monitor = make_monitor(
            self.validation_loss, len(self.held_out), recipe.fit, recipe.checkpoints, self.levels
        )
        lay_out(pipeline.denoiser.net, recipe.fit.channels_last is True)
        self.counts = tuple(len(bucket.dataset.members) for bucket in examples)
        priors = [prompt for bucket in examples if bucket.prior for prompt in bucket.prior.prompts]
        own = [caption for bucket in (*examples, *held_out) for caption in bucket.captions]
        captions = ["", *dict.fromkeys([*own, *priors])]
        if trains_text:
            check_texts(self.text_encoder, captions)
        else:
            self.rows = {caption: k for k, caption in enumerate(captions)}
            path = folder / "features.safetensors"
            self.features = cached_features(self.text_encoder, captions, path, pipeline.card.fingerprint)

    def loss(self, step: int, rows: range) -> Tensor:
        """Return the loss of some rows of a batch, see `Task`."""
        recipe, batch = self.recipe, self.recipe.fit.batch
        k, number = nth_batch(self.counts, recipe.seed, step)
        examples = self.examples[k]
        noise = np.empty((len(rows), *examples.x0.shape[2:]), np.float32)
        u, x0, captions, control_images = torch.empty(len(rows)), [], [], []
        for place, row in enumerate(rows):
            stream = numbers(recipe.seed, SAMPLE, step * batch + row)
            latent, caption, control_image = self._example(examples, number * batch + row, row, stream)
            captions.append("" if stream.random() < recipe.caption_dropout else caption)
            u[place] = stream.random()
            stream.standard_normal(dtype=np.float32, out=noise[place])
            x0.append(latent)
            control_images.append(control_image)
        keys = self._dropout_keys(step, rows)
        cond = self._conditioning(captions, control_images, keys)
        self._drop_by(keys)
        losses = self._losses(torch.stack(x0), torch.from_numpy(noise), u, cond)
        self.levels.add(u, losses)
        return losses

    def validation_loss(self, rows: range) -> Tensor:
        """Return the loss of held-out rows with their captions, see `Validation`; each size is computed by itself."""
        losses = torch.zeros(len(rows), device=self.device)
        chosen = [self.held_out[i] for i in row_images(rows, len(self.held_out))]
        u = row_quantiles(self.monitor.rows)[rows.start : rows.stop]
        for examples in dict.fromkeys(examples for examples, _ in chosen):
            places = [place for place, (own, _) in enumerate(chosen) if own is examples]
            images = [chosen[place][1] for place in places]
            controls = examples.control_images
            shown = [None if controls is None else controls[i, 0] for i in images]
            keys = torch.zeros(len(places), dtype=torch.int32, device=self.device)
            cond = self._conditioning([examples.captions[i] for i in images], shown, keys)
            x0 = examples.x0[images, [0] * len(images)]
            noise = torch.cat([row_noise(range(rows[k], rows[k] + 1), x0.shape[1:]) for k in places])
            losses[places] = self._losses(x0, noise, u[places], cond).to(losses.dtype)
        return losses

    def _losses(self, x0: Tensor, noise: Tensor, u: Tensor, cond: Conditioning) -> Tensor:
        """Return the losses of rows, whose levels are quantiles u of the training distribution."""
        denoiser, weighting = self.pipeline.denoiser, self.recipe.weighting
        clean, gaussian, sigma = (part.to(self.device) for part in (x0.float(), noise, self._levels(u)))
        return loss(denoiser, clean, gaussian, sigma, cond, weighting or denoiser.kind)

    def _encoded(self, captions: Sequence[str], keys: Tensor) -> Iterator[Conditioning]:
        """Encode captions one by one, with the dropout of their rows."""
        for row, caption in enumerate(captions):
            self._drop_by(keys[row : row + 1])
            yield _encode_caption(self.text_encoder, caption)

    def _drop_by(self, keys: Tensor) -> None:
        """Compute rows with these keys from here on, also where gradient checkpointing computes them again."""
        if isinstance(self.adapter, TrainableLora):
            self.adapter.row_keys = keys

    def _example(
        self, examples: Examples, n: int, row: int, stream: np.random.Generator
    ) -> tuple[Tensor, str, Tensor | None]:
        """Return the n-th image of a bucket, or a prior image in the first rows of a batch."""
        prior, options = examples.prior, self.recipe.prior_options
        if prior is not None and options is not None and row < options.share * self.recipe.fit.batch:
            k = int(stream.integers(len(prior.x0)))
            return prior.x0[k], prior.prompts[k], None
        views = examples.x0.shape[1]
        i, view = nth_image(examples.dataset, self.recipe.seed, n), int(stream.integers(views))
        control_image = None if examples.control_images is None else examples.control_images[i, view]
        return examples.x0[i, view], examples.captions[i * views + view], control_image

    def _levels(self, u: Tensor) -> Tensor:
        if self.recipe.level_mean is None or self.recipe.level_std is None:
            return sigma_uniform(u.double(), self.pipeline.denoiser.process).float()
        return sigma_lognormal(u, self.recipe.level_mean, self.recipe.level_std)

    def _dropout_keys(self, step: int, rows: range) -> Tensor:
        """Return the keys of the dropout of rows: (len(rows),) int32."""
        ns = (step * self.recipe.fit.batch + row for row in rows)
        keys = [numbers(self.recipe.seed, DROPOUT, n).integers(1 << 31) for n in ns]
        return torch.tensor(keys, dtype=torch.int32, device=self.device)

    def _conditioning(
        self, captions: Sequence[str], control_images: Sequence[Tensor | None], keys: Tensor
    ) -> Conditioning:
        if self.trains_text:
            cond = collate([*self._encoded(captions, keys)])
        else:
            cond = self.features.rows([self.rows[caption] for caption in captions]).to(self.device)
        if self.pipeline.card.advice.distilled_guidance is not None:
            guidance = torch.full((len(captions),), self.recipe.distilled_guidance or 1.0, device=self.device)
            cond = replace(cond, distilled_guidance=guidance)
        outlines = [control_image for control_image in control_images if control_image is not None]
        if len(outlines) < len(captions):
            return cond
        control_image = (torch.stack(outlines).float() / 255).expand(-1, 3, -1, -1).to(self.device)
        return replace(cond, control_image=control_image, control_scale=torch.ones(len(outlines), device=self.device))

    @torch.no_grad()
    def sheet(self, step: int) -> Image.Image:
        """Generate an image of each prompt; below, the same without the trigger, or the control images."""
        recipe = self.recipe
        prompts = sheet_prompts(recipe, [examples.dataset for examples in self.examples])
        triggered = [with_trigger(recipe.trigger, prompt) for prompt in prompts]
        self.adapter.eval()
        try:
            if recipe.control is not None:
                control_images = [self._control_image(prompt) for prompt in prompts]
                pairs = zip(triggered, control_images, strict=True)
                images = [self._generate([prompt], shown)[0] for prompt, shown in pairs] + control_images
                captions = [*triggered, *["control image"] * len(prompts)]
            else:
                captions = [*triggered, *(prompts if recipe.trigger else ())]
                images = self._generate(captions)
        finally:
            self.adapter.train()
        title = sheet_title(recipe.name, self.name, step, recipe.checkpoints.ema_lengths[0])
        return contact_sheet(images, captions, title, len(prompts))

    def _generate(self, prompts: Sequence[str], control_image: Image.Image | None = None) -> list[Image.Image]:
        size = self.recipe.data.size
        samples = self.pipeline.generate(
            prompts, seed=SHEET_SEED, size=size, control_image=control_image, prompt_weighting="literal", progress=False
        )
        return [sample.image for sample in samples]

    def _control_image(self, prompt: str) -> Image.Image:
        """Return the control image of an image with this caption, or of the first image."""
        every = [
            (names, examples.control_images[i, 0, 0])
            for examples in self.examples
            if examples.control_images is not None
            for i, names in enumerate(examples.dataset.captions)
        ]
        lines = next((found for names, found in every if prompt in names), every[0][1])
        side = self.recipe.data.size
        return ImageOps.fit(Image.fromarray(lines.numpy()).convert("RGB"), (side, side))


def adapter_fit(recipe: AdapterRecipe, base: Pipeline) -> FitOptions:
    """Return the options of the loop: a narrow base computes in its own dtype, and hooks are not compiled."""
    fit = replace(recipe.fit, compile=False, channels_last=recipe.fit.channels_last is True)
    return fit if base.dtype == "float32" else replace(fit, precision="float32")


def sheet_prompts(recipe: AdapterRecipe, datasets: Sequence[ImageDataset]) -> tuple[str, ...]:
    """Return the prompts of contact sheets: those of the recipe, or captions."""
    captions = [names[0] for dataset in datasets for names in dataset.captions]
    return recipe.prompts or tuple(captions[:SHOWN])


def _encode_caption(text_encoder: TextConditioner | None, caption: str) -> Conditioning:
    """Encode a caption; the empty one as the unconditional model does."""
    if text_encoder is None:
        raise InputError("base: has no text encoder; training on captions needs one")
    return text_encoder([caption], "literal")[0] if caption else text_encoder.negative("")


@torch.no_grad()
def check_texts(text_encoder: TextConditioner | None, captions: Sequence[str]) -> None:
    """Raise InputError for a text that cannot be encoded, before the first step."""
    for caption in captions:
        _encode_caption(text_encoder, caption)


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
