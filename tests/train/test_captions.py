"""The text encoder alone: it learns what captions mean, its run resumes to the bit, and the denoiser begins from it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from test_train import Quiet, fit, recipe, recipe_file, weights_sha256  # noqa: F401
from torch import nn

from unnoise.data.augment import Augment
from unnoise.data.dataset import ImageDataset
from unnoise.errors import InputError
from unnoise.loading import load
from unnoise.nets.text import TextEncoder
from unnoise.nets.unet import UNet
from unnoise.train import latents as latents_file, train_recipe as train_recipe_file
from unnoise.train.denoiser import text_multiples
from unnoise.train.ema_choice import EmaChoice, read_choice
from unnoise.train.encoded import EncodedViews
from unnoise.train.fit_options import FitOptions
from unnoise.train.latents import Latents
from unnoise.train.log import read_log
from unnoise.train.recipe import TextOptions, TrainingRecipe
from unnoise.train.train_recipe import train_recipe


@pytest.fixture(scope="module")
def learning(recipe: TrainingRecipe) -> TrainingRecipe:  # noqa: F811
    """A recipe whose text encoder is trained first."""
    assert recipe.denoiser.text is not None
    alone = FitOptions(60, batch=8, learning_rate=3e-3, warmup=5)
    text = replace(recipe.denoiser.text, fit=alone, learning_rate_multiple=0.5)
    data = replace(recipe.data, augment=Augment(phrase=0.5, background=1.0, move=1.0))
    return replace(recipe, data=data, denoiser=replace(recipe.denoiser, text=text))


def test_it_learns_what_captions_mean(learning: TrainingRecipe, tmp_path: Path) -> None:
    fit(learning, tmp_path)
    losses = [line["loss"] for line in read_log(tmp_path / "captions/log.jsonl")]
    assert len(losses) == 60
    assert sum(losses[-8:]) < 0.4 * sum(losses[:8])
    assert list((tmp_path / "captions").glob("sheet-*.png"))


def test_the_denoiser_begins_from_it(learning: TrainingRecipe, tmp_path: Path) -> None:
    """With a learning rate of nothing the finished model has the text encoder of the first task."""
    assert learning.denoiser.text is not None
    text = replace(learning.denoiser.text, learning_rate_multiple=1e-6)
    still = replace(learning.denoiser.fit, learning_rate=1e-9, optimizer="adamw")
    path = fit(replace(learning, denoiser=replace(learning.denoiser, text=text, fit=still)), tmp_path)
    own, prefix = load(path).networks()["text"].state_dict(), "track0.text."
    kept = load_file(tmp_path / "captions/checkpoint.safetensors")
    first = {name.removeprefix(prefix): value for name, value in kept.items() if name.startswith(prefix)}
    assert first.keys() == own.keys()
    assert all(torch.allclose(own[name], value, atol=2e-3) for name, value in first.items())


def test_a_network_with_a_mean_begins_from_the_decoder(learning: TrainingRecipe, tmp_path: Path) -> None:
    assert learning.denoiser.text is not None
    text = replace(learning.denoiser.text, learning_rate_multiple=1e-6)
    still = replace(learning.denoiser.fit, learning_rate=1e-9, optimizer="adamw")
    net = replace(learning.denoiser.net, args=learning.denoiser.net.args | {"mean": [4, 4]})
    path = fit(replace(learning, denoiser=replace(learning.denoiser, text=text, fit=still, net=net)), tmp_path)
    own, prefix = load(path).networks()["net"].mean.state_dict(), "track0.decoder."
    kept = load_file(tmp_path / "captions/checkpoint.safetensors")
    assert all(torch.allclose(own[name], kept[prefix + name], atol=2e-3) for name in own)
    assert own["leave.bias"].abs().max() > 0.1


def test_a_mean_of_other_sizes_is_refused(learning: TrainingRecipe, tmp_path: Path) -> None:
    net = replace(learning.denoiser.net, args=learning.denoiser.net.args | {"mean": [8, 4]})
    with pytest.raises(InputError, match=r"denoiser.net.args.mean \[8, 4\]: x0 of data.size 16 has \[4, 4\]; set mean"):
        fit(replace(learning, denoiser=replace(learning.denoiser, net=net)), tmp_path)


def test_the_mean_learns_at_the_rate_of_the_text_encoder() -> None:
    networks = nn.ModuleDict(
        {
            "net": UNet(4, [32, 32], [1, 1], [0, 0], vector=16, mean=[8, 8]),
            "text": TextEncoder(vocab=300, width=16, depth=1, heads=2, length=8),
        }
    )
    found = text_multiples(networks, TextOptions(learning_rate_multiple=0.5, embedding_learning_rate_multiple=4.0))
    assert {name for name, multiple in found.items() if multiple == 0.5} == {
        name
        for name, _ in networks.named_parameters()
        if name.startswith(("net.mean.", "text.")) and name != "text.embed.weight"
    }
    assert found["text.embed.weight"] == 2.0


def test_a_stopped_run_ends_with_the_same_bits(learning: TrainingRecipe, tmp_path: Path) -> None:
    whole = fit(learning, tmp_path / "whole")

    class Stopped(Quiet):
        def step(self, progress: object) -> None:
            if self.name == "captions" and progress.step == 31:  # type: ignore[attr-defined]
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_recipe(learning, tmp_path / "stopped", torch.device("cpu"), False, Stopped())
    assert weights_sha256(fit(learning, tmp_path / "stopped", resume=True)) == weights_sha256(whole)


def test_a_length_that_is_chosen_by_validation_is_the_shorter_of_captions(
    learning: TrainingRecipe, tmp_path: Path
) -> None:
    data = replace(learning.data, validation=0.4)
    fit(replace(learning, data=data, checkpoints=replace(learning.checkpoints, ema_length="auto")), tmp_path)
    assert read_choice(tmp_path / "captions") == EmaChoice(0.05)
    found = read_choice(tmp_path / "denoiser")
    assert found is not None
    assert len(found.tried) == 5


def test_another_ema_length_changes_the_last_task_alone(learning: TrainingRecipe, tmp_path: Path) -> None:
    before = load(fit(learning, tmp_path)).networks()
    longer = replace(learning, checkpoints=replace(learning.checkpoints, ema_length=0.1))
    after = load(fit(longer, tmp_path, resume=True)).networks()
    pairs = {role: zip(net.parameters(), after[role].parameters(), strict=True) for role, net in before.items()}
    same = {role: all(torch.equal(one, other) for one, other in weights) for role, weights in pairs.items()}
    assert same == {"net": False, "autoencoder": True, "text": False}
    lengths = {task: read_choice(tmp_path / task) for task in ("autoencoder", "captions", "denoiser")}
    assert {task: choice.length for task, choice in lengths.items() if choice} == {
        "autoencoder": 0.05, "captions": 0.05, "denoiser": 0.1,
    }  # fmt: skip


def test_it_reads_images_as_they_are_and_then_the_views_of_the_denoiser(
    learning: TrainingRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One code stands for all views of an image as it is, though the recipe moves images and gives them backgrounds."""
    codes: list[int] = []
    getitem = EncodedViews.__getitem__

    def noted(encoded: EncodedViews, place: tuple[int, int]) -> torch.Tensor:
        codes.append(encoded.codes.shape[1])
        return getitem(encoded, place)

    monkeypatch.setattr(EncodedViews, "__getitem__", noted)
    assert learning.denoiser.text is not None
    text = replace(learning.denoiser.text, plain=0.6)
    fit(replace(learning, denoiser=replace(learning.denoiser, text=text)), tmp_path)
    assert codes[:60] == 36 * [1] + 24 * [2]


def test_views_can_have_several_captions_and_those_beside_their_own_other_keywords(
    learning: TrainingRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both trainings read all of them, beside the codes of the view."""
    said: list[list[str]] = []
    numbers: set[int] = set()

    def opened(given: TrainingRecipe) -> ImageDataset:
        dataset = open_data(given)
        return replace(dataset, keywords=len(dataset) * (("~",),))

    def captioned(*given: Any) -> list[str]:
        said.append(captions_of(*given))
        return said[-1]

    def drawn(latents: Latents, *given: Any) -> list[int]:
        found = captions_at(latents, *given)
        assert [number // latents.each for number in found] == [*given[0]]
        numbers.update(found)
        return found

    open_data, captions_of, captions_at = train_recipe_file._open, latents_file.captions_of, Latents.captions_at
    monkeypatch.setattr(train_recipe_file, "_open", opened)
    monkeypatch.setattr(latents_file, "captions_of", captioned)
    monkeypatch.setattr(Latents, "captions_at", drawn)
    text = replace(learning.denoiser.text, captions=5, keywords=0.75)  # type: ignore[type-var]
    fit(replace(learning, denoiser=replace(learning.denoiser, text=text)), tmp_path)
    assert numbers == set(range(learning.data.views * 5))
    views, plain = said
    own, others = views[::5], [caption for k, caption in enumerate(views) if k % 5]
    assert not any("~" in caption for caption in own)
    assert all(0.5 < sum("~" in caption for caption in part) / len(part) < 0.95 for part in (others, plain))


def test_keywords_of_captions_that_there_are_not_are_refused(learning: TrainingRecipe, tmp_path: Path) -> None:
    text = replace(learning.denoiser.text, keywords=0.5)  # type: ignore[type-var]
    with pytest.raises(InputError, match=r"denoiser.text.keywords 0.5: the data has no keywords"):
        fit(replace(learning, denoiser=replace(learning.denoiser, text=text)), tmp_path)
    with pytest.raises(InputError, match=r"denoiser.text.keywords 0.5: acts with denoiser.text.fit or captions"):
        TextOptions(keywords=0.5)


@pytest.mark.parametrize(("field", "value"), [("captions", 0), ("captions", 257), ("keywords", 1.5)])
def test_more_captions_have_ranges(field: str, value: float) -> None:
    with pytest.raises(InputError, match=f"denoiser.text.{field} {value}"):
        TextOptions(**{field: value})  # type: ignore[arg-type]


def test_images_of_several_shapes_are_refused(learning: TrainingRecipe) -> None:
    with pytest.raises(InputError, match=r"denoiser.text.fit: takes images of one size, and data.buckets is true"):
        replace(learning, data=replace(learning.data, buckets=True))


@pytest.mark.parametrize("share", [-0.1, 1.1])
def test_the_share_of_plain_steps_has_a_range(share: float) -> None:
    with pytest.raises(InputError, match=f"denoiser.text.plain {share}"):
        TextOptions(plain=share)


@pytest.mark.parametrize("name", ["learning_rate_multiple", "embedding_learning_rate_multiple"])
def test_multiples_are_above_0(name: str) -> None:
    with pytest.raises(InputError, match=f"denoiser.text.{name} 0"):
        TextOptions(**{name: 0.0})  # type: ignore[arg-type]
