"""The small decoder of a model: it learns what the autoencoder decodes, is stored beside it, and draws where asked."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from PIL import Image

import unnoise
from unnoise import model_file
from unnoise.card import Part
from unnoise.cli.main import main
from unnoise.errors import InputError
from unnoise.nets.tiny_decoder import TinyDecoder
from unnoise.train.finetune_recipe import read_any_recipe
from unnoise.train.fit_options import FitOptions
from unnoise.train.recipe import DataOptions, DenoiserOptions, TextOptions, TrainingRecipe
from unnoise.train.task import Progress
from unnoise.train.tiny_decoder import TinyDecoderTask, part_of, train_tiny_decoder
from unnoise.train.tiny_decoder_recipe import TinyDecoderOptions, TinyDecoderRecipe
from unnoise.train.train_recipe import train_recipe

WITH = replace(tiny.CARD, preview=Part("TinyDecoder", {"latents": 4, "width": 8, "blocks": 1}))
RECIPE = """
name = "small"
[data]
source = "pictures"
size = 16
[preview]
model = "tiny.safetensors"
width = 8
blocks = 1
augment = { move = 0.5 }
[fit]
steps = 8
batch = 4
learning_rate = 1e-2
warmup = 1
precision = "float32"
compile = false
channels_last = false
[checkpoints]
every = 4
ema_every = 2
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a model, six pictures, and the recipe of a small decoder."""
    monkeypatch.chdir(tmp_path)
    tiny.saved(tmp_path / "tiny.safetensors")
    (tmp_path / "pictures").mkdir()
    for k in range(6):
        Image.new("RGB", (16, 16), (40 * k, 255 - 30 * k, 90)).save(tmp_path / f"pictures/{k}.png")
    (tmp_path / "recipe.toml").write_text(RECIPE)
    return tmp_path


def drawn(path: Path, **options: object) -> unnoise.Sample:
    pipeline = unnoise.load(path)
    return pipeline.generate("a cat", seed=1, **options)[0]  # type: ignore[arg-type]


@pytest.mark.parametrize(("latents", "channels", "factor", "side"), [(4, 3, 4, 5), (8, 1, 2, 3), (1, 3, 1, 4)])
def test_the_network_decodes_x0_of_any_grid(latents: int, channels: int, factor: int, side: int) -> None:
    net = TinyDecoder(latents, channels, factor, width=6, blocks=2)
    x0 = torch.randn(2, latents, side, side + 1)
    assert net(x0).shape == (2, channels, side * factor, (side + 1) * factor)
    torch.testing.assert_close(net(x0)[:1], net(x0[:1]))
    assert net(1e4 * x0).abs().max() < 100, "x0 far outside its range is bounded"


def test_the_default_size_is_between_100_and_300_thousand_weights() -> None:
    assert 100_000 < sum(one.numel() for one in TinyDecoder(latents=8).parameters()) < 300_000


def test_it_learns_what_the_autoencoder_decodes(folder: Path) -> None:
    recipe = read_any_recipe(folder / "recipe.toml")
    assert isinstance(recipe, TinyDecoderRecipe)
    losses = {}
    for real in (0.0, 1.0):
        options = replace(recipe.preview, real=real, width=16, augment=type(recipe.preview.augment)())
        space = model_file.load(folder / "tiny.safetensors").space
        task = TinyDecoderTask(replace(recipe, preview=options), space, recipe.data.open())  # type: ignore[arg-type]
        before = task.loss(0, range(4))
        optimizer = torch.optim.Adam(task.net.parameters(), lr=1e-2)
        for step in range(40):
            optimizer.zero_grad()
            task.loss(step, range(4)).mean().backward()
            optimizer.step()
        after = task.loss(0, range(4))
        assert after.mean() < 0.5 * before.mean(), real
        data, decoded, x0 = task._targets(task.dataset, task.views(range(6)))
        small = task.net(x0)
        losses[real] = (small - decoded).abs().mean(), (small - data).abs().mean()
    assert losses[0.0][0] < 0.5 * losses[1.0][0]
    assert losses[1.0][1] < 0.5 * losses[0.0][1]


def test_a_row_does_not_depend_on_the_others(folder: Path) -> None:
    recipe = read_any_recipe(folder / "recipe.toml")
    assert isinstance(recipe, TinyDecoderRecipe)
    space = model_file.load(folder / "tiny.safetensors").space
    task = TinyDecoderTask(recipe, space, recipe.data.open())  # type: ignore[arg-type]
    torch.testing.assert_close(task.loss(3, range(4))[2:], task.loss(3, range(2, 4)))
    assert not torch.equal(task.loss(3, range(4)), task.loss(4, range(4)))


def test_train_writes_the_model_with_its_small_decoder(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = unnoise.load("tiny.safetensors")
    assert main(["train", "recipe.toml", "--out", "run"]) == 0
    path = folder / "run/small.safetensors"
    out, err = capsys.readouterr()
    assert out.startswith("run/small.safetensors")
    assert "unnoise generate --decoder small" in err
    after = unnoise.load(path)
    assert (after.card.name, after.card.advice.decoder) == ("small", "full")
    assert after.card.training["preview"] == {"data": "pictures", "steps": 8, "batch": 4, "seed": 1}
    assert after.card.preview == part_of(read_any_recipe(folder / "recipe.toml"), after.space)  # type: ignore[arg-type]
    for role, net in before.networks().items():
        for name, value in net.state_dict().items():
            assert torch.equal(value, after.networks()[role].state_dict()[name]), f"{role}.{name}"
    assert list(folder.glob("run/preview/*.png"))
    x0 = drawn(path).x0[None]
    assert (after.decode(x0, "small") - after.decode(x0)).abs().mean() > 0.01


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "[preview]",
            "augment = { move = 0.5 }\n[preview]",
            r"data\.augment: has no effect on a small decoder; leave it",
        ),
        ("[preview]", "views = 4\n[preview]", r"data\.views: .*\(every image is varied anew\)"),
        ("[preview]", 'cache = "codes"\n[preview]', r"data\.cache: "),
        ("[preview]", "buckets = true\n[preview]", r"data\.buckets: .*cropped to the square"),
        ("[preview]", "channels = 1\n[preview]", r"data\.channels: .*the channels of its model"),
        ("[preview]", 'labels = "folders"\n[preview]', r"data\.labels: .*reads no prompts"),
        (
            "move = 0.5",
            "phrase = 1.0",
            r"preview\.augment\.phrase 1: varies captions, and only pixels are used; leave it",
        ),
        ("move = 0.5", "move = 0.5, unknown = 0.25", r"preview\.augment\.unknown 0\.25: varies captions"),
    ],
)
def test_what_has_no_effect_is_refused(folder: Path, old: str, new: str, message: str) -> None:
    (folder / "recipe.toml").write_text(RECIPE.replace(old, new, 1))
    with pytest.raises(InputError, match=message):
        read_any_recipe(folder / "recipe.toml")


class Report:
    """A report of nothing, which breaks the run off after so many steps."""

    def __init__(self, last: int = 0) -> None:
        self.last = last

    def step(self, progress: Progress) -> None:
        if progress.step == self.last:
            raise KeyboardInterrupt

    def __getattr__(self, name: str) -> Any:
        return lambda *arguments: None


def test_a_run_is_resumed_to_the_bit(folder: Path) -> None:
    recipe, cpu = read_any_recipe(folder / "recipe.toml"), torch.device("cpu")
    assert isinstance(recipe, TinyDecoderRecipe)
    whole = train_tiny_decoder(recipe, folder / "whole", cpu, False, Report())
    with pytest.raises(KeyboardInterrupt):
        train_tiny_decoder(recipe, folder / "parts", cpu, False, Report(6))
    parts = train_tiny_decoder(recipe, folder / "parts", cpu, True, Report())
    assert whole.read_bytes() == parts.read_bytes()


def test_a_training_that_starts_from_a_model_keeps_its_small_decoder(folder: Path) -> None:
    model_file.save(folder / "tiny.safetensors", tiny.pipeline(WITH))
    for k in range(6):
        (folder / f"pictures/{k}.txt").write_text("a colour")
    net, text = tiny.CARD.net, TextOptions(258, 16, 1, 2, 16)
    fit = FitOptions(steps=4, batch=2, warmup=1, precision="float32", compile=False, channels_last=False)
    options = DenoiserOptions(fit, net, tiny.CARD.process, text=text, init="tiny.safetensors")
    recipe = TrainingRecipe("more", DataOptions("pictures", 16, views=1), options, advice=tiny.CARD.advice)
    path = train_recipe(recipe, folder / "run", torch.device("cpu"), False, Report())
    before, after = model_file.load(folder / "tiny.safetensors"), model_file.load(path)
    assert after.card.preview == before.card.preview
    for name, value in before.networks()["preview"].state_dict().items():
        assert torch.equal(value, after.networks()["preview"].state_dict()[name])


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model with a small decoder."""
    model_file.save(tmp_path / "with.safetensors", tiny.pipeline(WITH))
    return tmp_path / "with.safetensors"


def test_the_option_draws_with_it_and_a_replay_repeats_it(model: Path, tmp_path: Path) -> None:
    full, small = drawn(model), drawn(model, decoder="small")
    assert (full.metadata.decoder, small.metadata.decoder) == ("full", "small")
    assert torch.equal(full.x0, small.x0)
    assert full.image.tobytes() != small.image.tobytes()
    small.save(tmp_path / "a.png")
    assert main(["replay", str(tmp_path / "a.png"), "--model", str(model), "-o", str(tmp_path / "b.png")]) == 0
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    pipeline = unnoise.load(model)
    assert pipeline.replay(small).image.tobytes() == small.image.tobytes()
    one, *_ = pipeline.preview(small.x0[None])
    assert one.tobytes() == small.image.tobytes()


def test_the_command_line_draws_with_it(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["generate", "a cat", "--model", str(model), "--seed", "1", "-o", str(tmp_path / "a.png"), "--json"]
    assert main([*words, "--decoder", "small"]) == 0
    assert json.loads(capsys.readouterr().out)["samples"][0]["metadata"]["decoder"] == "small"
    assert main([*words, "--decoder", "tiny"]) == 2
    assert "decoder 'tiny'" in capsys.readouterr().err


def test_the_card_decides_the_default(tmp_path: Path) -> None:
    card = replace(WITH, advice=replace(WITH.advice, decoder="small"))
    model_file.save(tmp_path / "a.safetensors", tiny.pipeline(card))
    assert drawn(tmp_path / "a.safetensors").metadata.decoder == "small"
    assert drawn(tmp_path / "a.safetensors", decoder="full").metadata.decoder == "full"


def test_previews_of_a_model_without_one_are_decoded_in_full() -> None:
    pipeline, found = tiny.pipeline(), list[Image.Image]()
    watch = lambda calls, x0: found.extend(pipeline.preview(x0))  # noqa: E731
    sample = pipeline.generate("a", seed=1, steps=2, sampler="ddim", callback=watch)[0]
    assert len(found) == 2
    assert found[-1].tobytes() == sample.image.tobytes()


def test_weights_that_are_not_finite_are_named(model: Path) -> None:
    pipeline = unnoise.load(model)
    net = pipeline.networks()["preview"]
    next(net.parameters()).data[0] = float("nan")
    with pytest.raises(unnoise.NonFiniteError, match="decoding: NaN"):
        pipeline.generate("a", seed=1, decoder="small")


def test_an_adapter_does_not_change_it(model: Path) -> None:
    assert "preview" not in unnoise.load(model).adaptable()


REFUSED: dict[str, tuple[Callable[[], object], str]] = {
    "none there": (lambda: tiny.pipeline().generate("a", decoder="small"), "small': 'tiny' has no small decoder"),
    "advice without one": (
        lambda: replace(tiny.CARD, advice=replace(tiny.CARD.advice, decoder="small")),
        "advice.decoder is 'small', and it has no preview",
    ),
    "of pixels": (
        lambda: replace(WITH, space=Part("Pixels"), autoencoder=None), "preview, the small decoder, and no autoencoder"
    ),
    "blocks": (lambda: TinyDecoderOptions("tiny", blocks=0), "preview.blocks 0"),
    "width": (lambda: TinyDecoderOptions("tiny", width=0), "preview.width 0"),
    "real": (lambda: TinyDecoderOptions("tiny", real=1.5), "preview.real 1.5"),
    "edges": (lambda: TinyDecoderOptions("tiny", edges=-1.0), "preview.edges -1"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_act_is_refused(case: str) -> None:
    make, message = REFUSED[case]
    with pytest.raises(InputError, match=message):
        make()


def test_a_decoder_of_another_grid_is_refused(tmp_path: Path) -> None:
    card = replace(WITH, preview=Part("TinyDecoder", {"latents": 4, "factor": 2, "width": 8}))
    model_file.save(tmp_path / "a.safetensors", tiny.pipeline(card))
    with pytest.raises(InputError, match=r"preview of the card: decodes to \[1, 3, 8, 8\]"):
        unnoise.load(tmp_path / "a.safetensors")


OF_PIXELS = Part("UNet", tiny.CARD.net.args | {"channels": 3})
BASES = {
    "pixels": (
        replace(tiny.CARD, space=Part("Pixels"), autoencoder=None, net=OF_PIXELS), "works on pixels, and has no decoder"
    ),
    "size": (tiny.CARD, "data.size 18: a multiple of 4"),
}  # fmt: skip


@pytest.mark.parametrize("case", BASES)
def test_a_model_that_can_have_none_is_refused(case: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    card, message = BASES[case]
    model_file.save(folder / "tiny.safetensors", tiny.pipeline(card))
    if case == "size":
        (folder / "recipe.toml").write_text(RECIPE.replace("size = 16", "size = 18"))
    assert main(["train", "recipe.toml", "--out", "run"]) == 2
    assert message in capsys.readouterr().err
    assert not (folder / "run").exists()
