"""The data of a run: what is left out before views read images, and which files a resumed run does not write again."""

import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from test_cache import COUNT, RECIPE, SEED, SIDE, WILD, Quiet, encoded, folder, opened  # noqa: F401

from unnoise.card import read_card
from unnoise.data.augment import Augment
from unnoise.errors import InputWarning
from unnoise.text import tokenizer as bpe
from unnoise.text.tokenizer import Tokenizer
from unnoise.train import latents, train_recipe
from unnoise.train.latents import CaptionTokens
from unnoise.train.recipe import DataOptions, TrainingRecipe, parse_recipe

pytestmark = pytest.mark.filterwarnings("ignore:.*transparent; the colour behind")


@pytest.mark.parametrize("name", ["scene", "hue", "recolour"])
def test_an_unreadable_image_is_left_out_where_views_read_images(
    folder: Path,  # noqa: F811
    tmp_path: Path,
    name: str,
) -> None:
    for i in range(COUNT):
        Image.new("RGBA", (SIDE, SIDE), (20 * i, 90, 200, 120 + i)).save(folder / f"{i:02}.png")
        (folder / f"{i:02}.txt").write_text(f"blue picture {i}")
    broken = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 4), np.uint8)
    Image.fromarray(broken).save(folder / "02.png")
    (folder / "02.png").write_bytes((folder / "02.png").read_bytes()[:200])
    (tmp_path / "dots.toml").write_text(RECIPE.replace("length = 16", "length = 32").format(source=folder))
    recipe = parse_recipe(TrainingRecipe, tmp_path / "dots.toml")
    recipe = replace(recipe, data=replace(recipe.data, augment=Augment(**{name: 1.0})))
    with pytest.warns(InputWarning, match=r"1 images skipped: 1 unreadable \('02\.png'\)$") as caught:
        path = train_recipe.train_recipe(recipe, tmp_path / "run", torch.device("cpu"), False, Quiet())
    assert sum("skipped" in str(one.message) for one in caught) == 1
    assert read_card(path).training["pictures"] == COUNT - 1


def test_captions_are_tokenized_again_only_where_something_differs(
    folder: Path,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    written: list[int] = []
    tokens = latents._tokens
    monkeypatch.setattr(latents, "_tokens", lambda *given: written.append(0) or tokens(*given))
    dataset, data = opened(folder), DataOptions(str(folder), SIDE, views=2, augment=WILD)
    codes, said = encoded(folder, tmp_path, augment=WILD), replace(data, augment=replace(WILD, phrase=1.0))
    renamed = replace(dataset, captions=(("another",), *dataset.captions[1:]))
    longer, other = bpe.train(["picture"], 300), Tokenizer()
    moved = replace(codes, folder=tmp_path / "another")
    changes = [
        (dataset, data, SEED, codes, CaptionTokens(longer, 24)),
        (dataset, said, SEED, codes, CaptionTokens(longer, 24)),
        (dataset, said, SEED + 1, codes, CaptionTokens(longer, 24)),
        (renamed, said, SEED + 1, codes, CaptionTokens(longer, 24)),
        (renamed, said, SEED + 1, moved, CaptionTokens(longer, 24)),
        (renamed, said, SEED + 1, moved, CaptionTokens(other, 64)),
        (renamed, said, SEED + 1, moved, CaptionTokens(other, 80)),
    ]
    with warnings.catch_warnings(action="ignore"):
        for k, given in enumerate(changes, 1):
            first = latents.map_captions(*given, tmp_path / "index")
            assert len(written) == k
            again = latents.map_captions(*given, tmp_path / "index")
            assert len(written) == k
            assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))


def test_tokens_whose_writing_was_stopped_are_written_again(
    folder: Path,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dataset, data, codes = opened(folder), DataOptions(str(folder), SIDE, views=2), encoded(folder, tmp_path)
    text = CaptionTokens(bpe.train(["picture"], 300), 24)
    first = latents.map_captions(dataset, data, SEED, codes, text, tmp_path / "index")
    renamed = replace(dataset, captions=(("another",), *dataset.captions[1:]))

    def stopped(*_: object) -> torch.Tensor:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(latents, "_mapped", stopped)  # behind the tokens, before their lengths
        with pytest.raises(KeyboardInterrupt):
            latents.map_captions(renamed, data, SEED, codes, text, tmp_path / "index")
    again = latents.map_captions(dataset, data, SEED, codes, text, tmp_path / "index")
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
