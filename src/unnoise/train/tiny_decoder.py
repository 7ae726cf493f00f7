"""Train the small decoder of a model: it imitates what the autoencoder makes of encoded images, and the images."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import cast

import torch
from PIL import Image
from torch import Tensor, nn

from unnoise import model_file
from unnoise.card import Part, has_card
from unnoise.components import Components
from unnoise.data.dataset import ImageDataset
from unnoise.data.split import split_validation
from unnoise.data.view import View, random_view
from unnoise.embedded import find
from unnoise.errors import InputError
from unnoise.generation.decode import to_images
from unnoise.generation.media.contact_sheet import contact_sheet
from unnoise.nets.tiny_decoder import TinyDecoder
from unnoise.spaces.latent import Latent
from unnoise.train.autoencoder import COLUMNS, SHOWN, edge_error, nth_views, view_pixels
from unnoise.train.fit_options import check_compiler
from unnoise.train.loop import train
from unnoise.train.processes import run_facts, world
from unnoise.train.run_folder import bytes_of_run, claimed_folder
from unnoise.train.task import sheet_title
from unnoise.train.tiny_decoder_recipe import TinyDecoderRecipe
from unnoise.train.train_recipe import TrainingReport
from unnoise.train.validation import make_monitor, row_images
from unnoise.train.weights import temporary_weights

ROLE = "preview"  # of the network in a model file


class TinyDecoderTask:
    """Train on augmented images, with L1 on pixels and on edges.

    The error against the autoencoder's decodes and that against the images are weighed by `preview.real`: the first has
    no detail that x0 lacks, the second is not bounded by the autoencoder's own errors.
    """

    name = ROLE

    def __init__(
        self, recipe: TinyDecoderRecipe, space: Latent, dataset: ImageDataset, held_out: ImageDataset | None = None
    ) -> None:
        self.recipe, self.options, self.space, self.dataset = recipe, recipe.preview, space, dataset
        self.device = next(cast(nn.Module, space.autoencoder).parameters()).device
        torch.manual_seed(recipe.seed)
        self.net = TinyDecoder(**part_of(recipe, space).args).to(self.device)
        self.networks = nn.ModuleDict({ROLE: self.net})
        self.learning_rate_multiples: dict[str, float] = {}
        self.held_out, images = held_out, 0 if held_out is None else len(held_out)
        self.monitor = make_monitor(self.validation_loss, images, recipe.fit, recipe.checkpoints)

    def views(self, ns: range) -> list[View]:
        """Return the views of the n-th images."""
        return nth_views(self.dataset, self.recipe.seed, self.options.augment, ns)

    def loss(self, step: int, rows: range) -> Tensor:
        """Return the loss of some rows of a batch, see `Task`."""
        first = step * self.recipe.fit.batch
        return self._losses(self.dataset, self.views(range(first + rows.start, first + rows.stop)))

    def validation_loss(self, rows: range) -> Tensor:
        """Return the loss of held-out rows, see `Validation`."""
        held_out, seed, augment = self.held_out, self.recipe.seed, self.options.augment
        assert held_out is not None
        images = row_images(rows, len(held_out))
        return self._losses(held_out, [random_view(held_out, i, 0, seed, augment) for i in images])

    def _losses(self, dataset: ImageDataset, views: Sequence[View]) -> Tensor:
        data, decoded, x0 = self._targets(dataset, views)
        small, real = self.net(x0).float(), self.options.real
        return (1 - real) * self._distance(small - decoded) + real * self._distance(small - data)

    def _distance(self, error: Tensor) -> Tensor:
        return error.abs().flatten(1).mean(1) + self.options.edges * edge_error(error)

    @torch.no_grad()
    def _targets(self, dataset: ImageDataset, views: Sequence[View]) -> tuple[Tensor, Tensor, Tensor]:
        """Return images, what the autoencoder makes of them, and their x0."""
        data = view_pixels(dataset, views, self.space.channels).to(self.device)
        with torch.autocast(self.device.type, enabled=False):  # as the decoder of a model runs
            x0 = self.space.encode(data)
            return data, self.space.decode(x0), x0

    @torch.no_grad()
    def sheet(self, step: int) -> Image.Image:
        """Draw what the autoencoder makes of images, each beside what the small decoder makes of it."""
        views = self.views(range(min(SHOWN, self.recipe.fit.batch)))
        _, decoded, x0 = self._targets(self.dataset, views)
        columns = [to_images(part) for part in (decoded, self.net(x0).clamp(-1, 1))]
        captions = chain.from_iterable((view.caption, "small decoder") for view in views)
        title = sheet_title(self.recipe.name, self.name, step, self.recipe.checkpoints.ema_lengths[0])
        return contact_sheet([*chain.from_iterable(zip(*columns, strict=True))], [*captions], title, COLUMNS)


def part_of(recipe: TinyDecoderRecipe, space: Latent) -> Part:
    """Return the part of the card that the small decoder of a space is built from."""
    return Part("TinyDecoder", recipe.preview.args(space.affine.channels, space.channels, space.factor))


def train_tiny_decoder(
    recipe: TinyDecoderRecipe, folder: Path, device: torch.device, resume: bool, report: TrainingReport
) -> Path:
    """Train the small decoder of a model, and return the path of the model with it, `folder/NAME.safetensors`.

    Args, Raises: as for `train_recipe`.
    """
    path = find(recipe.preview.model)
    base = _loaded(recipe, path, device)
    dataset, held_out = split_validation(recipe.data.open(), recipe.data.validation)
    check_compiler(recipe.fit)
    task = TinyDecoderTask(recipe, cast(Latent, base.space), dataset, held_out)
    count = sum(parameter.numel() for parameter in task.net.parameters())
    needed = bytes_of_run(count, recipe.fit, recipe.checkpoints) + path.stat().st_size
    with claimed_folder(recipe, folder, resume, needed, partial(run_facts, dataset, device)):
        report.opened(dataset)
        report.stage(ROLE, recipe.fit.steps)
        averaged = train(task, recipe.fit, recipe.checkpoints, folder / ROLE, report.step, monitor=task.monitor)
        with temporary_weights(task.networks, averaged):
            written = folder / f"{recipe.name}.safetensors"
            world().once(lambda: model_file.save(written, _with(base, task), model_file.stored_dtype(path)))
        return written


def _loaded(recipe: TinyDecoderRecipe, path: Path, device: torch.device) -> Components:
    """Load the model that gets the small decoder. Raises InputError for one that can have none."""
    where = f"preview.model {recipe.preview.model!r}"
    if not has_card(path):
        raise InputError(f"{where}: not a model of this program; a small decoder is stored in its file")
    base = model_file.load(path, device)
    if not isinstance(base.space, Latent):
        raise InputError(f"{where}: works on pixels, and has no decoder")
    if recipe.data.size % base.space.factor:
        raise InputError(f"data.size {recipe.data.size}: a multiple of {base.space.factor}, for {base.card.name!r}")
    return base


def _with(base: Components, task: TinyDecoderTask) -> Components:
    """Return the model with its small decoder; how that was trained is a fact of the training on the card."""
    recipe, fit = task.recipe, task.recipe.fit
    facts = {"data": task.dataset.name, "steps": fit.steps, "batch": fit.batch, "seed": recipe.seed}
    training = base.card.training | {ROLE: facts}
    card = replace(base.card, name=recipe.name, preview=part_of(recipe, task.space), training=training)
    return replace(base, card=card, small_decoder=task.net)
