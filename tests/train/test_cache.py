"""The cache of encoded views: its key, its bytes after a stop, what it counts, and what it costs in memory."""

import fcntl
import json
import resource
import shutil
import threading
import warnings
import weakref
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from unnoise.data.augment import Augment
from unnoise.data.dataset import ImageDataset
from unnoise.data.open import open_unchecked
from unnoise.data.shuffle import nth_image
from unnoise.data.view import render_views
from unnoise.errors import InputError, InputWarning, OutputError
from unnoise.spaces.pixels import Pixels
from unnoise.text import tokenizer as bpe
from unnoise.train import cache, train_recipe
from unnoise.train.cache import Encoder, cache_key, encode_views
from unnoise.train.encoded import EncodedViews
from unnoise.train.latents import CaptionTokens, map_latents, tokenize_views, views_of
from unnoise.train.recipe import DataOptions, TrainingRecipe, parse_recipe

pytestmark = pytest.mark.filterwarnings("ignore:.*transparent; the colour behind")
COUNT, SIDE, SEED = 11, 16, 5
WILD = Augment(background=1.0, move=1.0)
RECIPE = """
name = "dots"
[data]
source = "{source}"
size = 16
views = 2
[denoiser]
process = {{ class = "Flow" }}
fit = {{ steps = 4, batch = 4, warmup = 1 }}
text = {{ vocab = 280, width = 16, depth = 1, heads = 2, length = 16 }}
net.class = "UNet"
net.args = {{ channels = 3, widths = [32, 32], depths = [1, 1], heads = [0, 2], context = 16 }}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Pictures of noise, one of them transparent."""
    place = tmp_path / "pictures"
    place.mkdir()
    random = np.random.default_rng(0)
    for i in range(COUNT):
        pixels = random.integers(0, 256, (SIDE, SIDE, 4), np.uint8)
        image = Image.fromarray(pixels) if i == 3 else Image.fromarray(pixels).convert("RGB")
        image.save(place / f"{i:02}.png")
        (place / f"{i:02}.txt").write_text(f"picture {i}")
    return place


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "BATCH", 2)
    monkeypatch.setattr(cache, "BLOCK", 2)


def opened(folder: Path) -> ImageDataset:
    return open_unchecked(str(folder), SIDE)


def halved(data: Tensor) -> Tensor:
    return data[:, :, ::2, ::2] * 3 + data.mean((1, 2, 3), keepdim=True)


HALF = Encoder(halved, "half")


def encoded(
    folder: Path, place: Path, encoder: Encoder = HALF, stop: int | None = None, **options: Any
) -> EncodedViews:
    """Encode a folder, or stop after so many views."""

    def callback(done: int, total: int) -> None:
        if done == stop:
            raise KeyboardInterrupt

    data = DataOptions(str(folder), SIDE, **{"views": 2, **options})
    return encode_views(opened(folder), data, SEED, encoder, place, callback)


def files(place: Path) -> dict[str, bytes]:
    """Read a cache, whose folder has the name of its key."""
    return {str(path.relative_to(place)): path.read_bytes() for path in sorted(place.rglob("*")) if path.is_file()}


class Quiet:
    """Report nothing, and hold the data set weakly."""

    def opened(self, dataset: ImageDataset) -> None:
        self.dataset = weakref.ref(dataset)

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_: None


def test_a_changed_image_is_encoded_again_on_resume(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "dots.toml").write_text(RECIPE.format(source=folder))
    recipe = parse_recipe(TrainingRecipe, tmp_path / "dots.toml")
    found: list[Tensor] = []
    report = Quiet()

    def stopped(task: Any, *_: object, **__: object) -> None:
        assert report.dataset() is None  # nothing of each image is kept
        found.append(task.latents[0].x0[4, 1].float())
        raise KeyboardInterrupt

    monkeypatch.setattr(train_recipe, "train", stopped)
    for colour in (None, "red", None):
        if colour:
            shutil.copy(folder / "04.png", tmp_path / "own.png")
            Image.new("RGB", (SIDE, SIDE), colour).save(folder / "04.png")
        elif found:
            shutil.copy(tmp_path / "own.png", folder / "04.png")
        with pytest.raises(KeyboardInterrupt):
            train_recipe.train_recipe(recipe, tmp_path / "run", torch.device("cpu"), bool(found), report)
    assert torch.equal(found[0], found[2])
    assert not torch.equal(found[0], found[1])
    assert (found[1].flatten(1).std(1) == 0).all()
    assert (found[0].flatten(1).std(1) > 0).all()


@pytest.mark.parametrize("options", [{}, {"augment": WILD}])
def test_a_stopped_build_ends_with_the_same_bytes_and_encodes_nothing_twice(
    folder: Path, tmp_path: Path, options: dict[str, Any]
) -> None:
    encoded(folder, tmp_path / "whole", **options)
    whole = files(tmp_path / "whole")
    together, each = (1, 2) if options else (2, 1)  # images that are encoded together, and codes of each
    for stop in range(together, COUNT, 3 * together):
        seen: list[int] = []

        def counted(data: Tensor, seen: list[int] = seen) -> Tensor:
            seen.append(len(data))
            return halved(data)

        place, encoder = tmp_path / str(stop), Encoder(counted, "half")
        with pytest.raises(KeyboardInterrupt):
            encoded(folder, place, encoder, stop * each, **options)
        complete = stop - stop % (2 * together)
        seen.clear()
        encoded(folder, place, encoder, **options)
        assert sum(seen) == (COUNT - complete) * each + (not complete)  # and one for the shape, without a manifest
        assert files(place) == whole


def test_a_complete_cache_is_mapped_and_not_encoded(folder: Path, tmp_path: Path) -> None:
    first = encoded(folder, tmp_path)

    def refused(data: Tensor) -> Tensor:
        raise AssertionError("encoded again")

    again = encoded(folder, tmp_path, Encoder(refused, "half"), workers=0)
    assert torch.equal(again.codes, first.codes)
    (next(tmp_path.glob("*/codes.bin"))).write_bytes(b"cut")  # what a person did is mended
    assert torch.equal(encoded(folder, tmp_path).codes, first.codes)


def test_the_key_follows_all_that_decides_the_codes(folder: Path, tmp_path: Path) -> None:
    data = DataOptions(str(folder), SIDE, views=2)
    wild = replace(data, augment=WILD)

    def key(data: DataOptions = data, seed: int = SEED, encoder: Encoder = HALF, folder: Path = folder) -> str:
        return cache_key(open_unchecked(str(folder), data.size), data, seed, encoder)

    renamed = tmp_path / "renamed"
    shutil.copytree(folder, renamed)
    (renamed / "03.txt").write_text("another caption")
    same = [key(), key(replace(data, views=5, strict=True, workers=3)), key(seed=6), key(folder=renamed)]
    assert len({*same}) == 1
    others = [
        key(replace(data, size=8)),
        key(encoder=replace(HALF, fingerprint="other")),
        key(encoder=replace(HALF, dtype="uint8")),
        key(wild),
        key(wild, seed=6),
        key(replace(wild, views=3)),
        key(wild, folder=renamed),  # whose captions name backgrounds
        key(replace(data, augment=Augment(move=1.0))),
    ]
    assert len({*same, *others}) == 1 + len(others)
    assert key(replace(data, augment=Augment(move=1.0)), folder=renamed) == others[-1]
    (renamed / "03.png").write_bytes((folder / "04.png").read_bytes())
    assert key(folder=renamed) not in same


@pytest.mark.parametrize("name", ["background", "hue", "recolour", "resize", "scene"])
def test_the_key_follows_the_words_where_pixels_follow_them(folder: Path, name: str) -> None:
    """Otherwise a changed word would be the caption of pixels that were drawn for another one."""
    dataset = opened(folder)
    data = DataOptions(str(folder), SIDE, views=2, augment=Augment(**{name: 0.5}))
    words = [("pet",)] * len(dataset)
    others = [
        replace(dataset, captions=(("another",), *dataset.captions[1:])),
        replace(dataset, keywords=tuple(words)),
        replace(dataset, keywords=(("other",), *words[1:])),
        replace(dataset, styles=("flat",) * len(dataset)),
    ]
    keys = [cache_key(one, data, SEED, HALF) for one in (dataset, *others)]
    assert len(set(keys)) == len(keys)
    plain = replace(data, augment=Augment())
    assert len({cache_key(one, plain, SEED, HALF) for one in (dataset, *others)}) == 1


def test_made_up_words_leave_the_key(folder: Path) -> None:
    dataset, data = opened(folder), DataOptions(str(folder), SIDE, views=2, augment=WILD)
    said = replace(data, augment=replace(WILD, unknown=0.5))
    assert cache_key(dataset, data, SEED, HALF) == cache_key(dataset, said, SEED, HALF)


@pytest.mark.parametrize("augment", [Augment(), WILD])
def test_codes_are_those_of_the_views(folder: Path, tmp_path: Path, augment: Augment) -> None:
    dataset, data = opened(folder), DataOptions(str(folder), SIDE, views=3, augment=augment)
    views = views_of(dataset, data, SEED, range(COUNT))
    expected = render_views(dataset, views).unflatten(0, (COUNT, 3))
    latents = encoded(folder, tmp_path, views=3, augment=augment)
    pixels = encoded(folder, tmp_path, Encoder(Pixels(3).encode, "pixels", dtype="uint8"), views=3, augment=augment)
    assert latents.shape == (COUNT, 3, 3, SIDE // 2, SIDE // 2)
    assert pixels.shape == expected.shape
    assert len(latents.codes[0]) == len(pixels.codes[0]) == (1 if augment.none else 3)
    for i in range(COUNT):
        for v in range(3):
            assert torch.allclose(latents[i, v], halved(expected[i, v][None])[0], atol=2e-3)
            assert (pixels[i, v] - expected[i, v]).abs().max() <= (1e-6 if augment.none and i != 3 else 1.001 / 255)
    rows = ([4, 2, 4], [0, 2, 1])
    assert torch.equal(latents[rows], torch.stack([latents[i, v] for i, v in zip(*rows, strict=True)]))


def test_normalised_codes_have_zero_mean_and_unit_variance(folder: Path, tmp_path: Path) -> None:
    found = encoded(folder, tmp_path)
    x0 = found.normalised(*found.moments())
    every = torch.stack([x0[i, 0] for i in range(COUNT)]).transpose(0, 1).flatten(1)
    assert torch.allclose(every.mean(1), torch.zeros(3), atol=1e-3)
    assert torch.allclose(every.std(1), torch.ones(3), atol=1e-2)
    assert found.moments() == encoded(folder, tmp_path).moments()


def test_images_of_one_colour_do_not_vary_and_folded_pixels_keep_their_moments(folder: Path, tmp_path: Path) -> None:
    found = encoded(folder, tmp_path, Encoder(Pixels(3).encode, "pixels", dtype="uint8"))
    whole = found.normalised(*found.moments())
    folded = found.normalised(*found.moments(), patch=2)
    assert folded.shape == (COUNT, 2, 12, SIDE // 2, SIDE // 2)
    assert torch.equal(Pixels(3, patch=2).encode(whole[[1, 2], [0, 1]]), folded[[1, 2], [0, 1]])
    for path in folder.glob("*.png"):
        Image.new("RGB", (SIDE, SIDE), "red").save(path)
    assert encoded(folder, tmp_path).moments()[1] == [0, 0, 0]


@pytest.mark.parametrize("workers", [0, 1])
def test_unreadable_images_are_counted_once_and_number_no_other_anew(
    folder: Path, tmp_path: Path, workers: int
) -> None:
    whole = encoded(folder, tmp_path / "a")
    for name in ("02.png", "07.png"):
        (folder / name).write_bytes((folder / name).read_bytes()[:200])
    said = r"pictures: 2 images skipped: 2 unreadable \('02\.png', \.\.\.\)$"
    with pytest.warns(InputWarning, match=said) as caught:
        part = encoded(folder, tmp_path / "b", workers=workers)
    assert sum("skipped" in str(one.message) for one in caught) == 1
    assert part.unreadable == [2, 7]
    assert part.readable == [i for i in range(COUNT) if i not in (2, 7)]
    assert all(torch.equal(part[i, 0], whole[i, 0]) for i in part.readable)
    assert not part.codes[[2, 7]].any()
    with pytest.warns(InputWarning, match=said):
        assert encoded(folder, tmp_path / "b").unreadable == [2, 7]
    for path in folder.iterdir():
        if not path.name.startswith("07"):
            path.unlink()
    with pytest.raises(InputError, match="none of its 1 images can be read: 1 unreadable"):
        encoded(folder, tmp_path / "c")


def test_an_image_that_changes_while_it_is_read_stops_the_build(folder: Path, tmp_path: Path) -> None:
    dataset = opened(folder)
    Image.new("RGB", (SIDE, SIDE), "red").save(folder / "05.png")
    with pytest.raises(InputError, match=r"image '05\.png': has changed since the data set was opened"):
        encode_views(dataset, DataOptions(str(folder), SIDE), SEED, HALF, tmp_path, lambda *_: None)


def test_a_full_disk_is_one_line_and_the_complete_blocks_stay(folder: Path, tmp_path: Path) -> None:
    encoded(folder, tmp_path / "whole")
    row = len(next((tmp_path / "whole").glob("*/codes.bin")).read_bytes()) // COUNT
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (6 * row, hard))
    try:
        with pytest.raises(OutputError, match=r"^cannot write '.*codes\.bin': File too large$"):
            encoded(folder, tmp_path / "run")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert json.loads(next((tmp_path / "run").glob("*/manifest.json")).read_text())["done"] == 4
    encoded(folder, tmp_path / "run")
    assert files(tmp_path / "run") == files(tmp_path / "whole")


def test_a_second_process_waits_for_the_first(folder: Path, tmp_path: Path) -> None:
    place = tmp_path / cache_key(opened(folder), DataOptions(str(folder), SIDE, views=2), SEED, HALF)[:32]
    place.mkdir()
    with (place / "lock").open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        timer = threading.Timer(0.2, fcntl.flock, (file, fcntl.LOCK_UN))
        timer.start()
        with pytest.warns(InputWarning, match="another process encodes there; waiting for it"):
            encoded(folder, tmp_path)
        timer.join()


def test_a_cache_without_room_is_refused_before_it_is_built(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache.shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(InputError, match=r"of encoded views, and .* are free; free some, or set data\.cache"):
        encoded(folder, tmp_path)


def test_captions_and_labels_are_mapped_as_they_are_written(folder: Path, tmp_path: Path) -> None:
    tokenizer = bpe.train(["picture"], 300)
    for options in ({}, {"augment": WILD}):
        dataset, data = opened(folder), DataOptions(str(folder), SIDE, views=2, **options)
        codes = encoded(folder, tmp_path, **options)
        with pytest.warns(InputWarning, match=r"captions have more than denoiser\.text\.length 6 tokens, up to"):
            found = map_latents(dataset, data, SEED, codes, (), CaptionTokens(tokenizer, 6), tmp_path / "index")
        views = views_of(dataset, data, SEED, range(COUNT))
        with warnings.catch_warnings(action="ignore"):
            ids, lengths = tokenize_views(views, tokenizer, 6)
        assert found.ids is not None
        assert found.lengths is not None
        assert torch.equal(found.ids.flatten(0, 1), ids)
        assert torch.equal(found.lengths.flatten(), lengths)
        assert [nth_image(found, SEED, n) for n in range(40)] == [nth_image(dataset, SEED, n) for n in range(40)]
    labelled = replace(opened(folder), labels=tuple("ab"[i % 2] for i in range(COUNT)))
    labels = map_latents(labelled, data, SEED, codes, ("a", "b"), None, tmp_path / "index").labels
    assert labels is not None
    assert labels.tolist() == [i % 2 for i in range(COUNT)]
