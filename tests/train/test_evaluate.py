"""The figures of a model: what a perfect one and a blind one get."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from unnoise.data.dataset import ImageDataset, open_source
from unnoise.data.view import BACKGROUNDS, View, pixels_of
from unnoise.train import evaluate as figures

SOURCE = open_source("emoji", 64)
WHOLE = {names[0]: i for i, names in enumerate(SOURCE.captions)}


def small(count: int) -> ImageDataset:
    """The first pictures of the set, which are enough to tell right from wrong."""
    return ImageDataset("few", SOURCE.captions[:count], SOURCE.concepts[:count], SOURCE.read)


def sample(pixels: torch.Tensor) -> SimpleNamespace:
    cells = ((pixels + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()
    return SimpleNamespace(image=Image.fromarray(np.ascontiguousarray(cells)))


class Perfect:
    """Draw exactly what is named, on the background that is named."""

    def generate(self, prompts: list[str], **_: object) -> list[SimpleNamespace]:
        views = []
        for prompt in prompts:
            name, _, behind = prompt.partition(" on a ")
            views.append(View(WHOLE[name], "", behind.removesuffix(" background") or "white"))
        return [sample(one) for one in pixels_of(SOURCE, views)]


class Blind:
    """Draw grey noise, whatever is asked."""

    def generate(self, prompts: list[str], **_: object) -> list[SimpleNamespace]:
        torch.manual_seed(0)
        return [sample(torch.rand(3, 64, 64) * 2 - 1) for _ in prompts]


def drawn_by(model: object) -> figures.Drawer:
    return figures.drawer(model, 0, lambda share: None)


@pytest.mark.parametrize(("model", "share"), [(Perfect(), 1.0), (Blind(), 0.0)])
def test_names(model: object, share: float) -> None:
    source = small(120)
    seen: list[float] = []
    draw = figures.drawer(model, 0, seen.append)
    found = figures.names(draw, source, figures.chosen_pictures(source, 20, 0, "picture"))
    assert found.share == pytest.approx(share, abs=0.1)
    assert seen[-1] == 1
    assert found.sheet.size == (16 * 64, 6 * 64)


def test_a_copy_has_ratio_zero_and_noise_has_ratio_one() -> None:
    source = small(120)
    picked = figures.chosen_pictures(source, 20, 0, "picture")
    assert figures.names(drawn_by(Perfect()), source, picked).ratio < 0.1
    assert figures.names(drawn_by(Blind()), source, picked).ratio > 0.9


@pytest.mark.parametrize(("model", "low", "high"), [(Perfect(), 1.0, 1.0), (Blind(), 0.0, 0.3)])
def test_backgrounds(model: object, low: float, high: float) -> None:
    assert low <= figures.backgrounds(drawn_by(model), small(60), 24, 0).share <= high


def test_every_background_is_its_own_nearest() -> None:
    views = [View(0, "", colour) for colour in BACKGROUNDS]
    table = torch.tensor(list(BACKGROUNDS.values())).float() / 127.5 - 1
    assert torch.cdist(figures.border(pixels_of(SOURCE, views)), table).argmin(1).tolist() == list(range(len(views)))


def test_pictures_are_chosen_without_repetition_and_by_concept_evenly() -> None:
    by_picture = figures.chosen_pictures(SOURCE, 128, 0, "picture")
    by_concept = figures.chosen_pictures(SOURCE, 128, 0, "concept")
    assert len(set(by_picture)) == len({SOURCE.concepts[i] for i in by_concept}) == 128
