"""`unnoise train FOLDER`: what is found in a folder, the recipe that is chosen for the time, and what a step costs."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from unnoise.card import Part
from unnoise.errors import InputError
from unnoise.train.fit_options import FitOptions
from unnoise.train.recipe import AutoencoderOptions, TextOptions, TrainingRecipe, read_recipe
from unnoise.train.recipe_toml import WIDTH, recipe_toml
from unnoise.train.start import probe
from unnoise.train.start.choice import Start, choose, default_minutes, name_of
from unnoise.train.start.facts import SourceFacts, source_facts
from unnoise.train.start.probe import StepCost

WIDTHS = 64 + 128 + 192  # of the network whose step costs what `chosen` is given
FACTS = SourceFacts("some pictures", 40, 0, 128, (128, 128), 40, 9, "", 0, 0.0, False)


def picture(path: Path, size: tuple[int, int] = (20, 30), mode: str = "RGB") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(len(str(path)))
    noise = Image.fromarray(random.integers(0, 255, (size[1], size[0], 4), np.uint8), "RGBA")
    noise.convert(mode).save(path)


def chosen(
    facts: SourceFacts = FACTS, minutes: float | None = 5.0, autoencoder: float = 0.1, step: float = 0.15
) -> Start:
    """Choose a recipe where a step costs more for a wider network."""

    def cost(recipe: TrainingRecipe) -> StepCost:
        return StepCost(autoencoder, step * (sum(recipe.denoiser.net.args["widths"]) / WIDTHS) ** 3, 10**9)

    return choose(facts, "pictures", minutes, cost)


def net(start: Start) -> dict[str, Any]:
    return start.recipe.denoiser.net.args


def test_a_folder_of_captions(tmp_path: Path) -> None:
    for k in range(3):
        picture(tmp_path / f"{k}.png", (20 + k, 30), "RGBA")
    lines = [{"file_name": f"{k}.png", "text": f"a picture of {'many ' * k}dogs"} for k in range(3)]
    (tmp_path / "metadata.jsonl").write_text("\n".join(map(json.dumps, lines)))
    (tmp_path / "broken.png").write_bytes(b"no picture")
    found = source_facts(str(tmp_path))
    assert replace(found, tokens=0) == SourceFacts(str(tmp_path), 3, 1, 21, (20, 22), 3, 0, "", 0, 1.0, False)
    assert 6 <= found.tokens <= 9


def test_a_folder_of_folders_has_classes(tmp_path: Path) -> None:
    for name in ("red", "blue/deep", "green"):
        picture(tmp_path / name / "a.png", mode="L")
    found = source_facts(str(tmp_path))
    assert (found.labels, found.classes, found.captions, found.grey, found.transparent) == ("folders", 3, 0, True, 0.0)


def test_no_classes(tmp_path: Path) -> None:
    """One folder is no choice between classes, and neither are folders beside images."""
    picture(tmp_path / "red" / "a.png")
    assert source_facts(str(tmp_path)).labels == ""
    picture(tmp_path / "blue" / "a.png")
    assert source_facts(str(tmp_path)).labels == "folders"
    picture(tmp_path / "b.png")
    assert (source_facts(str(tmp_path)).labels, source_facts(str(tmp_path)).classes) == ("", 0)


@pytest.mark.parametrize(
    ("side", "size", "latent"),
    [
        (1, 8, False),
        (20, 20, False),
        (31, 28, False),
        (40, 40, False),
        (41, 32, True),
        (63, 48, True),
        (50, 48, True),
        (3000, 64, True),
    ],
)
def test_the_size_fits_the_images_and_the_network(side: int, size: int, latent: bool) -> None:
    start = chosen(replace(FACTS, side=side), step=0.25)
    assert start.recipe.data.size == size
    assert (start.recipe.autoencoder is not None) == latent
    factor = start.recipe.autoencoder.args["factor"] if start.recipe.autoencoder else 1
    assert size % (factor * 2 ** (len(net(start)["widths"]) - 1)) == 0


def test_steps_fill_the_time() -> None:
    for minutes in (2, 5, 30):
        start = choose(FACTS, "pictures", minutes, lambda recipe: StepCost(0.1, 0.5, 10**9))
        recipe = start.recipe
        spent = sum(
            fit.steps * {"denoiser.fit": 0.5, "autoencoder.fit": 0.1}[place] for place, fit in recipe.fits().values()
        )
        assert 0.8 * 60 * minutes < spent + 10 < 60 * minutes
        assert f"about {minutes} minutes in all, as given" in " ".join(start.reasons)
        assert recipe.checkpoints.every == 120
        assert 3 <= recipe.denoiser.fit.steps // recipe.checkpoints.sheet_every <= 5


def test_more_time_gives_a_larger_network_and_more_images_want_more_of_it() -> None:
    sizes = [sum(net(chosen(minutes=minutes))["widths"]) for minutes in (1, 5, 60)]
    assert sizes == sorted(sizes)
    assert sizes[0] < sizes[-1]
    many = chosen(replace(FACTS, images=10_000), minutes=60)
    assert sum(net(many)["widths"]) < sizes[-1]
    assert [default_minutes(images) for images in (1, 200, 201, 2000, 2001)] == [5, 5, 20, 20, 60]
    assert "about 5 minutes in all, by default" in " ".join(chosen(minutes=None).reasons)


def test_the_network_takes_what_the_images_come_with() -> None:
    captioned = chosen().recipe
    assert captioned.denoiser.text is not None
    assert net(chosen())["context"] == net(chosen())["vector"] == captioned.denoiser.text.width
    assert captioned.denoiser.text.length == 16
    labelled = chosen(replace(FACTS, captions=0, labels="folders", classes=7))
    assert (labelled.recipe.denoiser.text, net(labelled)["labels"], labelled.recipe.data.labels) == (None, 8, "folders")
    assert "context" not in net(labelled)
    alone = chosen(replace(FACTS, captions=0, grey=True, side=32))
    assert (net(alone)["channels"], alone.recipe.data.channels, alone.recipe.advice.guidance_scale) == (1, 1, 1.0)
    assert captioned.advice.guidance_scale == labelled.recipe.advice.guidance_scale == 1.5


def test_reasons() -> None:
    few = " ".join(chosen(replace(FACTS, skipped=2, transparent=0.5)).reasons)
    assert "40 images" in few
    assert "2 left out" in few
    assert "50% of them transparent, placed on white" in few
    assert "learns so few by heart" in few
    assert "by heart" not in " ".join(chosen(replace(FACTS, images=100_000)).reasons)
    slow = chosen(step=0.8)
    enough = [
        int(found) for found in re.findall(r"too few for a recognisable image; --minutes (\d+)", slow.reasons[-1])
    ]
    assert 5 < enough[0] < 12
    assert "too few" not in chosen(minutes=enough[0] + 1, step=0.8).reasons[-1]


def test_a_recipe_is_written_as_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    for facts in (FACTS, replace(FACTS, captions=0, labels="folders", classes=3), replace(FACTS, side=9, captions=0)):
        start = chosen(replace(facts, source='a "quoted" \\ name é'))
        path.write_text(recipe_toml(start.recipe, start.reasons), encoding="utf-8")
        assert read_recipe(path) == start.recipe
    emoji = read_recipe(Path(__file__).resolve().parents[2] / "recipes" / "emoji.toml")
    path.write_text(recipe_toml(emoji), encoding="utf-8")
    assert read_recipe(path) == emoji


def test_every_line_of_a_written_recipe_is_explained() -> None:
    lines = recipe_toml(chosen().recipe, ["why " * 40]).splitlines()
    assert max(map(len, lines)) <= WIDTH
    assert lines[0].startswith("# why")
    for before, line in zip(["", *lines], lines, strict=False):
        assert not line or "# " in line or before.startswith("# "), line


@pytest.mark.parametrize("case", ["text", "labels", "alone"])
def test_the_cost_of_a_step_is_measured(case: str, recipe: TrainingRecipe) -> None:
    args = {"channels": 4, "widths": [32, 32], "depths": [1, 1], "heads": [0, 2]}
    args |= {"context": 16, "vector": 16} if case == "text" else {"labels": 3} if case == "labels" else {}
    text = TextOptions(258, 16, 1, 2, 8) if case == "text" else None
    denoiser = replace(recipe.denoiser, net=Part("UNet", args), text=text)
    found = probe.cost(replace(recipe, denoiser=denoiser), torch.device("cpu"))
    assert 0 < found.autoencoder < 10
    assert 0 < found.denoiser < 10
    assert found.memory > 10_000_000


@pytest.fixture
def recipe() -> TrainingRecipe:
    made = chosen().recipe
    fit = FitOptions(1, batch=2, compile=False)
    coder = AutoencoderOptions(fit, args={"width": 32, "encode": 1, "decode": 1})
    return replace(made, data=replace(made.data, size=16), denoiser=replace(made.denoiser, fit=fit), autoencoder=coder)


def test_pixels_cost_no_autoencoder(recipe: TrainingRecipe) -> None:
    args = {"channels": 3, "widths": [32, 32], "depths": [1, 1], "heads": [0, 2]}
    alone = replace(recipe.denoiser, net=Part("UNet", args), text=None)
    assert probe.cost(replace(recipe, denoiser=alone, autoencoder=None), torch.device("cpu")).autoencoder == 0.0


def test_names(tmp_path: Path) -> None:
    found = [name_of(Path(one)) for one in ("my pictures", "/a/b/", "x.tar", "ä/o.2", "$$$")]
    assert found == ["my-pictures", "b", "x", "o.2", "model"]


def test_an_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="image"):
        source_facts(str(tmp_path))
