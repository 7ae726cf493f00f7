"""The figures of a perfect model, and of one that generates noise."""

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import tiny
import torch
from PIL import Image

from unnoise.data.augment import BACKGROUNDS
from unnoise.data.dataset import ImageDataset
from unnoise.data.open import open_source
from unnoise.data.view import View, render_views
from unnoise.generation.media.contact_sheet import contact_sheet
from unnoise.generation.request import Request
from unnoise.train import evaluate as figures

SOURCE = open_source("emoji", 64)
WHOLE = {(names[0], style): i for i, (names, style) in enumerate(zip(SOURCE.captions, SOURCE.styles, strict=True))}


def small(count: int) -> ImageDataset:
    """The first images of the data set."""
    return SOURCE.subset(range(count))


def sample(pixels: torch.Tensor) -> SimpleNamespace:
    cells = ((pixels + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()
    return SimpleNamespace(image=Image.fromarray(np.ascontiguousarray(cells)))


class Drawing:
    """A model that draws requests by a function of their prompts."""

    def __init__(self, draw: Callable[[list[str]], list[SimpleNamespace]] | None = None) -> None:
        self.draw = draw or self.generate

    def generate(self, prompts: list[str]) -> list[SimpleNamespace]:
        raise NotImplementedError

    def run(self, *requests: Request) -> list[SimpleNamespace]:
        return self.draw([prompt for request in requests for prompt in request.prompts])


class Perfect(Drawing):
    """Generate exactly the named image, of the named style, on the named background."""

    def generate(self, prompts: list[str]) -> list[SimpleNamespace]:
        views = []
        for prompt in prompts:
            text, _, background = prompt.partition(" on a ")
            name, _, style = text.partition(", ")
            image = WHOLE[name, style.removesuffix(" style") or "noto"]
            views.append(View(image, "", background.removesuffix(" background") or "white"))
        return [sample(one) for one in render_views(SOURCE, views)]


class Blurred(Perfect):
    """Generate the named image as a blur of 4 x 4 colours."""

    def generate(self, prompts: list[str]) -> list[SimpleNamespace]:
        exact = super().generate(prompts)
        return [
            SimpleNamespace(image=one.image.reduce(16).resize((64, 64), Image.Resampling.BILINEAR)) for one in exact
        ]


class Noise(Drawing):
    """Generate noise for every prompt."""

    def generate(self, prompts: list[str]) -> list[SimpleNamespace]:
        torch.manual_seed(0)
        return [sample(torch.rand(3, 64, 64) * 2 - 1) for _ in prompts]


def generator(model: object) -> figures.ImageGenerator:
    return figures.image_generator(model, 0, lambda share: None)


def test_every_prompt_has_noise_of_its_own() -> None:
    model = tiny.pipeline()
    prompts = ["a", "a", "b"] * 12  # in two parts
    drawn = figures.draw_each(model, prompts, 5, lambda share: None, steps=1)
    assert [one.metadata.seed for one in drawn] == [*range(5, 41)]
    assert not torch.equal(drawn[0].x0, drawn[1].x0)
    torch.testing.assert_close(drawn[35].x0, model.generate("b", seed=40, steps=1)[0].x0)
    images = figures.image_generator(model, 5, lambda share: None, steps=1)(prompts[:2])
    assert images.shape == (2, 3, 16, 16)
    assert not torch.equal(images[0], images[1])


@pytest.mark.parametrize("by", ["picture", "concept"])
@pytest.mark.parametrize(("model", "share"), [(Perfect(), 1.0), (Noise(), 0.0)])
def test_names(model: object, share: float, by: figures.Choice) -> None:
    dataset = small(120)
    progress: list[float] = []
    generate = figures.image_generator(model, 0, progress.append)
    found = figures.evaluate_names(generate, dataset, figures.choose_images(dataset, 20, 0, by), by)
    assert found.share == pytest.approx(share, abs=0.1)
    assert progress[-1] == 1
    assert (found.styled is None) == (by == "concept")
    blank = [Image.new("RGB", (64, 64))] * 60
    assert found.sheet.size == contact_sheet(blank, [""] * 60, "", figures.COLUMNS).size


def test_a_prompt_with_a_style_is_right_only_in_that_style() -> None:
    dataset = small(120)
    one_style = Drawing(lambda prompts: Perfect().generate([p.partition(",")[0] for p in prompts]))
    indices = [i for i in range(120) if dataset.styles[i] != "noto"][:20]
    assert figures.evaluate_names(generator(one_style), dataset, indices, "concept").share == 1
    named = figures.evaluate_names(generator(one_style), dataset, indices, "picture")
    assert named.share == named.styled == 0


def test_a_data_set_without_styles_is_asked_for_by_name() -> None:
    dataset = replace(small(120), styles=())
    asked: list[str] = []
    model = Drawing(lambda prompts: asked.extend(prompts) or Perfect().generate(prompts))
    found = figures.evaluate_names(generator(model), dataset, [0, 6], "picture")
    assert asked == ["grinning face", dataset.captions[6][0]]
    assert (found.share, found.styled) == (1, None)


def test_the_nearest_are_the_nearest_and_in_order() -> None:
    dataset = small(40)
    views = [View(i, "") for i in range(40)]
    x = render_views(dataset, views[7:10])
    far, found = figures.nearest(x, dataset, views, 3)
    every = torch.cdist(figures.compared(x), figures.compared(render_views(dataset, views)))
    assert found[:, 0].tolist() == [7, 8, 9]
    torch.testing.assert_close(far, every.topk(3, largest=False).values)
    assert figures.compared(torch.zeros(1, 3, 256, 128)).shape == (1, 3 * 64 * 64)
    assert figures.compared(torch.zeros(1, 3, 8, 8)).shape == (1, 3 * 64)


def test_a_copy_has_ratio_zero_and_noise_has_ratio_one() -> None:
    dataset = small(120)
    indices = figures.choose_images(dataset, 20, 0, "picture")
    perfect, blurred, noise = (
        figures.evaluate_names(generator(model), dataset, indices).ratio for model in (Perfect(), Blurred(), Noise())
    )
    assert perfect < 0.1 < 0.5 < blurred
    assert noise > 0.9


@pytest.mark.parametrize(("model", "low", "high"), [(Perfect(), 1.0, 1.0), (Noise(), 0.0, 0.3)])
def test_backgrounds(model: object, low: float, high: float) -> None:
    assert low <= figures.evaluate_backgrounds(generator(model), small(60), 24, 0).share <= high


def test_every_background_is_its_own_nearest() -> None:
    views = [View(0, "", colour) for colour in BACKGROUNDS]
    assert figures.border_names(render_views(SOURCE, views)) == [*BACKGROUNDS]


def test_images_are_chosen_without_repetition_and_by_concept_evenly() -> None:
    by_picture = figures.choose_images(SOURCE, 128, 0, "picture")
    by_concept = figures.choose_images(SOURCE, 128, 0, "concept")
    assert len(set(by_picture)) == len({SOURCE.concepts[i] for i in by_concept}) == 128
