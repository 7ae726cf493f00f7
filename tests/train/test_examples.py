"""What an adapter is trained on: captions as written, buckets instead of crops, prior images of one's own."""

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from PIL import Image
from safetensors.torch import load_file

from unnoise.cli.main import main
from unnoise.data.dataset import ImageDataset
from unnoise.data.open import open_source
from unnoise.data.view import random_view, render_views
from unnoise.errors import InputError, InputWarning
from unnoise.loading import load
from unnoise.text.tokenizer import Tokenizer
from unnoise.train.adapter_recipe import AdapterRecipe, LoraOptions, PriorOptions
from unnoise.train.checkpoint_options import CheckpointOptions
from unnoise.train.examples import encode_examples, open_buckets, with_prior
from unnoise.train.fit_options import FitOptions
from unnoise.train.lora import train_lora
from unnoise.train.recipe import DataOptions
from unnoise.train.task import Progress

CAPTION = "a photo of sks dog, 50% {off} (16:9) [x]"
SHAPES = ((32, 32), (64, 32), (66, 33), (32, 64))
CPU = torch.device("cpu")


class Quiet:
    """Report nothing, or stop after so many steps."""

    def __init__(self, stop: int | None = None) -> None:
        self.stop = stop

    def opened(self, dataset: ImageDataset) -> None:
        pass

    def stage(self, name: str, total: int) -> None:
        pass

    def step(self, progress: Progress) -> None:
        if progress.step == self.stop:
            raise KeyboardInterrupt

    def encoded(self, done: int, total: int) -> None:
        pass


def pictures(folder: Path, shapes: Sequence[tuple[int, int]], caption: str) -> Path:
    folder.mkdir()
    random = np.random.default_rng(0)
    for i, (width, height) in enumerate(shapes):
        Image.fromarray(random.integers(0, 255, (height, width, 3), np.uint8)).save(folder / f"{i}.png")
        (folder / f"{i}.txt").write_text(caption)
    return folder


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> AdapterRecipe:
    folder = tmp_path_factory.mktemp("examples")
    tiny.saved(folder / "base.safetensors", text=replace(tiny.CARD.text, args=tiny.CARD.text.args | {"length": 64}))
    return AdapterRecipe(
        name="dog",
        base=str(folder / "base.safetensors"),
        data=DataOptions(str(pictures(folder / "data", SHAPES, CAPTION)), size=32, views=1),
        fit=FitOptions(steps=6, batch=2, warmup=1, learning_rate=1e-2),
        lora=LoraOptions(rank=4, alpha=4.0),
        caption_dropout=0.0,
        prompts=("a dog",),
        checkpoints=CheckpointOptions(snapshot_every=3, every=2, sheet_every=6, ema_every=2),
    )


def manifests(folder: Path) -> list[dict[str, Any]]:
    """Read the manifests of the caches of a run."""
    return [json.loads(path.read_text()) for path in folder.glob("cache/*/manifest.json")]


def same(one: Path, other: Path) -> bool:
    ours, theirs = load_file(one), load_file(other)
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_captions_and_images_are_used_as_they_are(
    recipe: AdapterRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded: list[str] = []
    encode = Tokenizer.encode

    def seen(self: Tokenizer, text: str) -> list[int]:
        encoded.append(text)
        return encode(self, text)

    monkeypatch.setattr(Tokenizer, "encode", seen)
    train_lora(replace(recipe, data=replace(recipe.data, views=5)), tmp_path, CPU, False, Quiet())
    assert {text for text in encoded if " dog" in text} == {CAPTION, "a dog"}
    dataset = open_source(recipe.data.source, 32)
    for view in (random_view(dataset, 0, k, 1, recipe.data.augment) for k in range(20)):
        pixels = (render_views(dataset, [view])[0] + 1) * 127.5
        assert torch.equal(pixels.round().permute(1, 2, 0).byte(), torch.from_numpy(dataset.read(0)[..., :3].copy()))


def test_batches_are_of_one_bucket_and_a_stopped_run_ends_with_the_same_bits(
    recipe: AdapterRecipe, tmp_path: Path
) -> None:
    assert {path.size for path in open_buckets(recipe, load(recipe.base))[1]} == {(32, 32), (48, 24), (24, 48)}
    whole = train_lora(recipe, tmp_path / "whole", CPU, False, Quiet())
    with pytest.raises(KeyboardInterrupt):
        train_lora(recipe, tmp_path / "run", CPU, False, Quiet(3))
    assert same(train_lora(recipe, tmp_path / "run", CPU, True, Quiet()), whole)
    shapes = [manifest["shape"] for manifest in manifests(tmp_path / "run")]
    assert sorted(height / width for _, height, width in shapes) == [0.5, 1.0, 2.0]
    with pytest.warns(UserWarning, match="3 of 4 images are cropped around their centre, and lose up to 50%"):
        train_lora(replace(recipe, buckets=False), tmp_path / "square", CPU, False, Quiet())
    assert [manifest["images"] for manifest in manifests(tmp_path / "square")] == [4]


def test_prior_images_of_a_folder_are_trained_on_with_their_captions(recipe: AdapterRecipe, tmp_path: Path) -> None:
    own = pictures(tmp_path / "prior", ((32, 32), (30, 30), (44, 22)), "a dog")
    with_own = replace(recipe, prior=str(own))
    base = load(recipe.base)
    _, buckets, _ = open_buckets(with_own, base)
    examples = encode_examples(with_own, buckets, base, tmp_path, Quiet())
    options = with_own.prior_options
    assert options is not None
    with pytest.warns(UserWarning, match="prior: no image for 1 of 3 buckets, whose batches are without: 24x48"):
        found = with_prior(with_own, options, buckets, examples, base, tmp_path)
    counts = {bucket.size: one.prior and len(one.prior.x0) for bucket, one in zip(buckets, found, strict=True)}
    assert counts == {(32, 32): 2, (48, 24): 1, (24, 48): None}
    assert {prompt for one in found if one.prior for prompt in one.prior.prompts} == {"a dog"}


def test_images_without_captions_need_a_trigger_and_are_no_prior(recipe: AdapterRecipe, tmp_path: Path) -> None:
    folder = pictures(tmp_path / "plain", ((32, 32), (20, 20)), "")
    for path in folder.glob("*.txt"):
        path.unlink()
    base, plain = load(recipe.base), replace(recipe, data=replace(recipe.data, source=str(folder)))
    with pytest.warns(InputWarning) as said:
        open_buckets(plain, base)
    assert [str(one.message).removeprefix(f"{folder}: ") for one in said] == [
        "no captions and no trigger: prompts without text are trained",
        "1 of 2 images are smaller than data.size 32 and are enlarged, the smallest from 20x20",
    ]
    with pytest.warns(InputWarning, match="are enlarged"):
        _, buckets, _ = open_buckets(replace(plain, trigger="sks dog"), base)
    with_own = replace(recipe, prior=str(folder))
    assert with_own.prior_options is not None
    with pytest.raises(
        InputError, match=r"^prior.source '.*plain': its images have no captions; add a .txt beside each"
    ):
        with_prior(with_own, with_own.prior_options, buckets, [], base, tmp_path)
    with pytest.raises(InputError, match=r"^data.labels 'folders': an adapter is trained on captions; leave it out$"):
        replace(recipe, data=replace(recipe.data, labels="folders"))


def test_generated_prior_images_have_the_sizes_of_the_buckets(recipe: AdapterRecipe, tmp_path: Path) -> None:
    prior = PriorOptions(("a cat", "a dog"), count=6, share=0.5)
    train_lora(replace(recipe, prior=prior), tmp_path, CPU, False, Quiet())
    shapes = [tuple(load_file(path)["x0"].shape) for path in tmp_path.glob("prior-*.safetensors")]
    assert sorted(shapes) == sorted((2, *manifest["shape"]) for manifest in manifests(tmp_path))


@pytest.mark.parametrize(
    ("prior", "message"),
    [
        ('prior = ""', r"prior\.prompts, prior\.source: none"),
        ('prior = { source = "a", prompts = ["b"] }', r"prior\.prompts, prior\.source: both"),
        ('prior = { source = "a", count = 3 }', r"prior\.count 3: all images of prior\.source are used"),
        ("distilled_guidance = 3.5", r"distilled_guidance 3\.5: .* has no such input"),
        ("distilled_guidance = -1.0", r"distilled_guidance -1"),
    ],
)
def test_a_field_that_cannot_act_is_refused(
    recipe: AdapterRecipe, tmp_path: Path, capsys: pytest.CaptureFixture[str], prior: str, message: str
) -> None:
    path = tmp_path / "dog.toml"
    path.write_text(
        f'name = "dog"\nbase = "{recipe.base}"\n{prior}\n[lora]\nrank = 4\n[data]\nsource = "{recipe.data.source}"\n'
        f"size = 32\n[fit]\nsteps = 4\n"
    )
    assert main(["lora", "train", str(path), "--out", str(tmp_path / "run")]) == 2
    error = capsys.readouterr().err.strip()
    assert "\n" not in error
    assert re.search(message, error), error
