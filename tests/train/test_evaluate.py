"""The figures of a perfect model, and of one that generates noise."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from unnoise.data.dataset import ImageDataset
from unnoise.data.open import open_source
from unnoise.data.view import BACKGROUNDS, View, render_views
from unnoise.generation.media.contact_sheet import contact_sheet
from unnoise.train import evaluate as figures

SOURCE = open_source("emoji", 64)
WHOLE = {names[0]: i for i, names in enumerate(SOURCE.captions)}


def small(count: int) -> ImageDataset:
    """The first images of the data set."""
    return ImageDataset("few", SOURCE.captions[:count], SOURCE.concepts[:count], SOURCE.read)


def sample(pixels: torch.Tensor) -> SimpleNamespace:
    cells = ((pixels + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()
    return SimpleNamespace(image=Image.fromarray(np.ascontiguousarray(cells)))


class Perfect:
    """Generate exactly the named image, on the named background."""

    def generate(self, prompts: list[str], **_: object) -> list[SimpleNamespace]:
        views = []
        for prompt in prompts:
            name, _, background = prompt.partition(" on a ")
            views.append(View(WHOLE[name], "", background.removesuffix(" background") or "white"))
        return [sample(one) for one in render_views(SOURCE, views)]


class Noise:
    """Generate noise for every prompt."""

    def generate(self, prompts: list[str], **_: object) -> list[SimpleNamespace]:
        torch.manual_seed(0)
        return [sample(torch.rand(3, 64, 64) * 2 - 1) for _ in prompts]


def generator(model: object) -> figures.ImageGenerator:
    return figures.image_generator(model, 0, lambda share: None)


@pytest.mark.parametrize(("model", "share"), [(Perfect(), 1.0), (Noise(), 0.0)])
def test_names(model: object, share: float) -> None:
    dataset = small(120)
    progress: list[float] = []
    generate = figures.image_generator(model, 0, progress.append)
    found = figures.evaluate_names(generate, dataset, figures.choose_images(dataset, 20, 0, "picture"))
    assert found.share == pytest.approx(share, abs=0.1)
    assert progress[-1] == 1
    blank = [Image.new("RGB", (64, 64))] * 60
    assert found.sheet.size == contact_sheet(blank, [""] * 60, "", figures.COLUMNS).size


def test_a_copy_has_ratio_zero_and_noise_has_ratio_one() -> None:
    dataset = small(120)
    indices = figures.choose_images(dataset, 20, 0, "picture")
    assert figures.evaluate_names(generator(Perfect()), dataset, indices).ratio < 0.1
    assert figures.evaluate_names(generator(Noise()), dataset, indices).ratio > 0.9


@pytest.mark.parametrize(("model", "low", "high"), [(Perfect(), 1.0, 1.0), (Noise(), 0.0, 0.3)])
def test_backgrounds(model: object, low: float, high: float) -> None:
    assert low <= figures.evaluate_backgrounds(generator(model), small(60), 24, 0).share <= high


def test_every_background_is_its_own_nearest() -> None:
    views = [View(0, "", colour) for colour in BACKGROUNDS]
    table = torch.tensor(list(BACKGROUNDS.values())).float() / 127.5 - 1
    assert torch.cdist(figures.border_colour(render_views(SOURCE, views)), table).argmin(1).tolist() == list(
        range(len(views))
    )


def test_images_are_chosen_without_repetition_and_by_concept_evenly() -> None:
    by_picture = figures.choose_images(SOURCE, 128, 0, "picture")
    by_concept = figures.choose_images(SOURCE, 128, 0, "concept")
    assert len(set(by_picture)) == len({SOURCE.concepts[i] for i in by_concept}) == 128
