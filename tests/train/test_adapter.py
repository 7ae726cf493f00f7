"""Training adapters: the base does not change, a resumed run ends with the same bits, files load and merge."""

import json
import re
import warnings
from dataclasses import replace
from pathlib import Path

import peft
import pytest
import tiny
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

import unnoise
from unnoise.adapters.lora.delta import Dora, LowRank
from unnoise.adapters.lora.hooks import ActiveAdapters
from unnoise.adapters.lora.read import read
from unnoise.adapters.lora.targets import select_layers
from unnoise.adapters.lora.trainable import TrainableLora
from unnoise.card import Distilled, Part
from unnoise.cli.main import main
from unnoise.data.dataset import ImageDataset
from unnoise.data.open import open_source
from unnoise.diffusion.conditioning import collate
from unnoise.errors import InputError, InputWarning
from unnoise.formats.header import read_header
from unnoise.loading import load
from unnoise.model_file import save
from unnoise.pipeline import Pipeline
from unnoise.train.adapter import cached_features
from unnoise.train.adapter_recipe import AdapterRecipe, LoraOptions, PriorOptions, read_adapter_recipe
from unnoise.train.cache import cache_key
from unnoise.train.controlnet import train_control
from unnoise.train.examples import encoder_of
from unnoise.train.gradient_checkpointing import gradient_checkpointing
from unnoise.train.lora import load_base, train_lora
from unnoise.train.task import Progress

RECIPE = """
name = "squares"
base = "{base}"
seed = 3
trigger = "flat"
prompts = ["a red square"]

[data]
source = "{source}"
size = 16
views = 2

[fit]
steps = 6
batch = 4
warmup = 1
learning_rate = 1e-2

[checkpoints]
snapshot_every = 3
every = 2
sheet_every = 6
ema_every = 2
"""
LORA = RECIPE + '\n[lora]\nrank = 4\nalpha = 2\ntargets = ["attention"]\n'
CONTROL = RECIPE + "\n[control]\nwidth = 16\n"


class Quiet:
    """Report nothing, or stop after so many steps of the adapter."""

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


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base, images with captions, and a recipe of each kind."""
    folder = tmp_path_factory.mktemp("adapter")
    tiny.saved(folder / "base.safetensors", text=replace(tiny.CARD.text, args=tiny.CARD.text.args | {"length": 64}))
    (folder / "data").mkdir()
    for i, colour in enumerate(("red", "green", "blue", "black", "white")):
        picture = Image.new("RGB", (16, 16), colour)
        picture.paste((250, 250, 250), (3, 3, 9, 9 + i))
        picture.save(folder / f"data/{i}.png")
        (folder / f"data/{i}.txt").write_text(f"a {colour} square")
    for name, text in (("lora", LORA), ("control", CONTROL)):
        (folder / f"{name}.toml").write_text(text.format(base=folder / "base.safetensors", source=folder / "data"))
    return folder


@pytest.fixture(scope="module")
def base(folder: Path) -> Pipeline:
    return load(folder / "base.safetensors")


@pytest.fixture(scope="module")
def recipe(folder: Path) -> AdapterRecipe:
    return read_adapter_recipe(folder / "lora.toml")


@pytest.fixture(scope="module")
def whole(recipe: AdapterRecipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of an uninterrupted run."""
    return fit(recipe, tmp_path_factory.mktemp("whole") / "run")


def fit(recipe: AdapterRecipe, folder: Path, resume: bool = False, stop: int | None = None) -> Path:
    train = train_lora if recipe.lora else train_control
    return train(recipe, folder, torch.device("cpu"), resume, Quiet(stop))


def same(one: Path, other: Path) -> bool:
    ours, theirs = load_file(one), load_file(other)
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_a_lora_describes_itself_and_changes_the_samples(whole: Path, base: Pipeline) -> None:
    found = read(whole, base)
    assert found.notes == ()
    assert found.about is not None
    assert found.about.base.fingerprint == base.card.fingerprint
    assert found.about.trigger == "flat"
    assert found.about.training["pictures"] == 5
    plain, adapted = (base.generate("flat a red square", seed=1, lora=lora)[0] for lora in ((), (found,)))
    assert plain.image.tobytes() != adapted.image.tobytes()


@pytest.mark.parametrize(
    ("options", "roots"),
    [
        (LoraOptions(4, 8.0, ("attention", "convolution"), dropout=0.3), {"net"}),
        (LoraOptions(4, 4.0, ("convolution",), dora=True), {"net"}),
        (LoraOptions(2, 4.0, ("attention", "text")), {"net", "text"}),
        (LoraOptions(2, 2.0, ("out",)), {"net", "text"}),
    ],
    ids=["dropout", "dora", "text", "ends"],
)
def test_every_kind_of_lora_is_trained_and_the_base_does_not_change(
    recipe: AdapterRecipe, base: Pipeline, tmp_path: Path, options: LoraOptions, roots: set[str]
) -> None:
    before = Path(recipe.base).read_bytes()
    found = read(fit(replace(recipe, lora=options), tmp_path / "run"), base)
    assert Path(recipe.base).read_bytes() == before
    assert {name.partition(".")[0].rstrip("0123456789_") for name in found.deltas} == roots
    assert found.notes == ()
    assert {type(delta) for delta in found.deltas.values()} == {Dora if options.dora else LowRank}
    for root, net in base.adaptable().items():
        own = {name: delta for name, delta in found.deltas.items() if name.startswith(f"{root}.")}
        weights = (net.get_submodule(name.partition(".")[2]).weight for name in own)
        changed = [bool(delta.change(weight).any()) for delta, weight in zip(own.values(), weights, strict=True)]
        assert sum(changed) >= 0.8 * len(changed), root


def test_a_base_of_few_steps_is_warned_of(recipe: AdapterRecipe, tmp_path: Path) -> None:
    distilled = Distilled("match", "slow", "51" * 32, (1.0, 1.0), (1, 2))
    tiny.saved(tmp_path / "fast.safetensors", distilled=distilled)
    said = "distilled to at most 2 steps, .* train on 'slow', and distil afterwards"
    with pytest.warns(InputWarning, match=said):
        load_base(replace(recipe, base=str(tmp_path / "fast.safetensors")), torch.device("cpu"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_base(recipe, torch.device("cpu"))


def test_the_loss_of_a_lora_falls(recipe: AdapterRecipe, tmp_path: Path) -> None:
    longer = replace(recipe, fit=replace(recipe.fit, steps=60), lora=LoraOptions(8, 8.0, ("attention", "convolution")))
    fit(longer, tmp_path / "run")
    lines = (tmp_path / "run/adapter/log.jsonl").read_text().splitlines()
    losses = [json.loads(line)["loss"] for line in lines]
    assert sum(losses[-10:]) < 0.8 * sum(losses[:10])


@pytest.mark.parametrize("kind", ["lora", "control"])
@pytest.mark.parametrize("stop", [1, 5])
def test_a_stopped_run_ends_with_the_same_bits(folder: Path, tmp_path: Path, kind: str, stop: int) -> None:
    recipe = read_adapter_recipe(folder / f"{kind}.toml")
    with pytest.raises(KeyboardInterrupt):
        fit(recipe, tmp_path / "run", stop=stop)
    assert not (tmp_path / "run/squares.safetensors").exists()
    assert same(fit(recipe, tmp_path / "run", resume=True), fit(recipe, tmp_path / "whole"))


def test_a_stopped_run_with_dropout_ends_with_the_same_bits(recipe: AdapterRecipe, tmp_path: Path) -> None:
    recipe = replace(recipe, lora=LoraOptions(4, 4.0, dropout=0.5), gradient_checkpointing=True)
    with pytest.raises(KeyboardInterrupt):
        fit(recipe, tmp_path / "run", stop=3)
    assert same(fit(recipe, tmp_path / "run", resume=True), fit(recipe, tmp_path / "whole"))


def test_a_finished_run_is_not_overwritten(recipe: AdapterRecipe, whole: Path) -> None:
    with pytest.raises(InputError, match="--resume"):
        fit(recipe, whole.parent)
    with pytest.raises(InputError, match="seed is 3 there, 4 in the recipe"):
        fit(replace(recipe, seed=4), whole.parent, resume=True)


def test_prior_images_are_generated_by_the_base_and_trained_on(
    recipe: AdapterRecipe, base: Pipeline, tmp_path: Path
) -> None:
    prior = PriorOptions(("a dog", "a cat"), count=3, share=0.5)
    path = fit(replace(recipe, prior=prior), tmp_path / "run")
    prior_x0 = load_file(tmp_path / "run/prior.safetensors")["x0"]
    for k, prompt in enumerate(("a dog", "a cat", "a dog")):
        assert torch.equal(prior_x0[k], base.generate(prompt, seed=3 + k, size=16)[0].x0.half())
    assert not same(path, fit(recipe, tmp_path / "without"))


def test_gradient_checkpointing_gives_the_same_gradients_with_fewer_activations(base: Pipeline) -> None:
    torch.manual_seed(0)
    lora = TrainableLora(base.adaptable(), select_layers(base.adaptable(), ("attention", "convolution")), 4, 4.0)
    torch.nn.init.normal_(lora.up[0])
    cond = collate(base.text_encoder(["a red square"], "literal"))  # type: ignore[misc]
    x = torch.randn(1, 4, 8, 8)
    found: list[list[Tensor]] = []
    saved: list[int] = []
    for enabled in (False, True):
        sizes: list[int] = []
        lora.zero_grad()
        with lora.on(), gradient_checkpointing(base.denoiser.net, enabled):
            with torch.autograd.graph.saved_tensors_hooks(lambda t, s=sizes: (s.append(t.numel()), t)[1], lambda t: t):
                mean = base.denoiser(x, torch.ones(1), cond).square().mean()
            mean.backward()  # type: ignore[no-untyped-call]
        saved.append(sum(sizes))
        found.append([parameter.grad.clone() for parameter in lora.parameters() if parameter.grad is not None])
    assert len(found[0]) == len(list(lora.parameters()))
    assert all(torch.allclose(one, other, atol=1e-6) for one, other in zip(*found, strict=True))
    assert saved[1] < 0.7 * saved[0]
    assert "forward" not in vars(base.denoiser.net.get_submodule("down.0"))


def test_features_of_captions_are_cached(base: Pipeline, tmp_path: Path) -> None:
    captions, path = ["", "a dog"], tmp_path / "features.safetensors"
    first = cached_features(base.text_encoder, captions, path, "base")
    again = cached_features(None, captions, path, "base")
    assert all(torch.equal(first.given()[name], value) for name, value in again.given().items())
    for other, fingerprint in ((["", "a cat"], "base"), (captions, "another")):
        with pytest.raises(InputError, match="has no text encoder"):
            cached_features(None, other, path, fingerprint)


def test_the_key_of_latents_depends_on_images_size_and_base(
    recipe: AdapterRecipe, base: Pipeline, folder: Path, tmp_path: Path
) -> None:
    def key_of(source: Path, size: int = 16, base: Pipeline = base) -> str:
        return cache_key(open_source(str(source), size), recipe.data, recipe.seed, encoder_of(base))

    key = key_of(folder / "data")
    assert key_of(folder / "data") == key
    assert key_of(folder / "data", 32) != key
    assert key_of(folder / "data", 16, replace(base, card=replace(base.card, fingerprint="0" * 64))) != key
    for path in (folder / "data").iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    Image.new("RGB", (16, 16), "pink").save(tmp_path / "0.png")
    assert key_of(tmp_path) != key


def test_a_controlnet_is_trained_and_replayed(folder: Path, base: Pipeline, tmp_path: Path) -> None:
    path = fit(read_adapter_recipe(folder / "control.toml"), tmp_path / "run")
    following = unnoise.load(folder / "base.safetensors", control=path)
    plain = base.generate("a red square", seed=1)[0]
    with Image.open(folder / "data/0.png") as opened:
        picture = opened.convert("RGB")
    followed = following.generate("a red square", seed=1, control_image=picture)[0]
    weak = following.generate("a red square", seed=1, control_image=picture, control_scale=0)[0]
    assert followed.image.tobytes() != plain.image.tobytes()
    assert torch.allclose(weak.x0, plain.x0, atol=1e-5)
    again = following.replay(followed.metadata, control_image=picture)
    assert again.image.tobytes() == followed.image.tobytes()
    with pytest.raises(InputError, match="control_image"):
        following.replay(followed.metadata)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("rank = 4", "rank = 0", "rank 0: a whole number from 1 to 1024"),
        ("rank = 4", "rnk = 4", r"unknown field 'lora\.rnk'.*did you mean 'rank'"),
        ("alpha = 2", "alpha = -1", "alpha -1"),
        ('targets = ["attention"]', "targets = []", "targets: none"),
        ('targets = ["attention"]', 'targets = ["atention"]', "targets 'atention': one of attention, feed-forward"),
        ("alpha = 2", "alpha = 2\ndropout = 0.95", r"dropout 0\.95"),
        ("[lora]", "[control]\n[lora]", "exactly one of them"),
        ("seed = 3", "seed = 3\nlevel_mean = 0.0", "level_mean and level_std: one of them is missing"),
        ("[lora]", "[prior]\nprompts = []\n[lora]", "prior.prompts, prior.source: none"),
        ("[lora]", '[prior]\nprompts = ["a"]\nshare = 1.0\n[lora]', r"prior\.share 1"),
        ('base = "', 'base = "/nowhere', "nowhere"),
        ("views = 2", "views = 0", "views 0"),
        ("ema_every = 2", "ema_every = 7", r"fit\.steps 6: at least checkpoints\.ema_every, 7 steps"),
        ("learning_rate = 1e-2", "rate = 1e-2", r"'fit\.rate' is now 'learning_rate'; rename"),
        ("seed = 3", "seed = 3\ndropout = 0.2\ncheckpointing = true", r"'dropout' is now 'caption_dropout', 'checkp"),
        ("[checkpoints]", "[keep]", r"'keep' is now 'checkpoints'"),
    ],
)
def test_a_wrong_recipe_is_refused_in_one_line(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], old: str, new: str, message: str
) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text((folder / "lora.toml").read_text().replace(old, new))
    assert main(["lora", "train", str(path), "--out", str(tmp_path / "run")]) == 2
    error = capsys.readouterr().err.strip()
    assert "\n" not in error
    assert re.search(message, error), error
    assert not (tmp_path / "run/squares.safetensors").exists()


def test_each_command_refuses_the_recipe_of_the_other(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for command, kind, other in (("lora", "control", "unnoise control train"), ("control", "lora", "unnoise lora")):
        assert main([command, "train", str(folder / f"{kind}.toml"), "--out", str(tmp_path / "run")]) == 2
        assert other in capsys.readouterr().err


def test_a_controlnet_for_another_network_is_refused(folder: Path, tmp_path: Path) -> None:
    recipe = read_adapter_recipe(folder / "control.toml")
    other = tiny.pipeline(
        replace(tiny.CARD, net=Part("DiT", {"channels": 4, "width": 64, "depth": 1, "context": 16, "vector": 16}))
    )
    save(tmp_path / "dit.safetensors", other)
    with pytest.raises(InputError, match="U-Net"):
        fit(replace(recipe, base=str(tmp_path / "dit.safetensors")), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_commands_train_change_and_merge(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The file of a run works with every other command, and merging gives the samples of the adapter."""
    base, made = str(folder / "base.safetensors"), tmp_path / "run/squares.safetensors"
    assert main(["lora", "train", str(folder / "lora.toml"), "--out", str(tmp_path / "run")]) == 0
    assert "squares.safetensors" in capsys.readouterr().out
    assert main(["inspect", str(made)]) == 0
    assert re.search(r"base +tiny, weights [0-9a-f]{12}\n +trigger +flat", capsys.readouterr().out)
    k, r, m, e = (str(tmp_path / f"{name}.safetensors") for name in ("kohya", "resized", "merged", "extracted"))
    assert main(["lora", "convert", str(made), "--model", base, "--layout", "kohya", "-o", k]) == 0
    assert main(["lora", "resize", k, "--model", base, "--rank", "2", "-o", r]) == 0
    assert "rank 2 of" in capsys.readouterr().out
    assert main(["lora", "merge", "--lora", f"{made}:0.5", "--model", base, "-o", m]) == 0
    assert main(["lora", "extract", m, "--model", base, "--rank", "4", "-o", e]) == 0
    assert "holds 100.0% of the change" in capsys.readouterr().out
    assert any(name.startswith("lora_unet_") for name in read_header(Path(k)).tensors)
    pipeline, merged = load(base), load(m)
    adapted = pipeline.generate("a red square", seed=1, lora={str(made): 0.5})[0]
    assert torch.allclose(merged.generate("a red square", seed=1)[0].x0, adapted.x0, atol=0.02)
    back = pipeline.generate("a red square", seed=1, lora=e)[0]
    assert torch.allclose(back.x0, adapted.x0, atol=0.02)
    from_kohya = pipeline.generate("a red square", seed=1, lora={k: 0.5})[0]
    assert torch.allclose(from_kohya.x0, adapted.x0, atol=1e-4)


def test_replay_needs_the_adapter_of_the_image(folder: Path, tmp_path: Path, whole: Path) -> None:
    base, out = str(folder / "base.safetensors"), tmp_path / "out"
    generate = ["generate", "a red square", "--model", base, "--seed", "4", "--lora", f"{whole}:0.7", "--out", str(out)]
    assert main(generate) == 0
    (picture,) = out.glob("*.png")
    replay = ["replay", str(picture), "--model", base, "--out", str(tmp_path / "again.png")]
    assert main(replay) == 2
    assert main([*replay, "--lora", f"{whole}:0.7"]) == 0
    with Image.open(tmp_path / "again.png") as again, Image.open(picture) as first:
        assert again.tobytes() == first.tobytes()


def test_outlines_are_drawn_by_the_command(folder: Path, tmp_path: Path) -> None:
    assert main(["control", "outline", str(folder / "data/0.png"), "-o", str(tmp_path / "lines.png")]) == 0
    with Image.open(tmp_path / "lines.png") as opened:
        lines = opened.convert("L")
    assert lines.size == (16, 16)
    assert lines.getextrema()[1] > 200  # type: ignore[operator]


@pytest.mark.filterwarnings("ignore:.*weight_norm. is deprecated:FutureWarning")
def test_peft_opens_a_trained_lora(recipe: AdapterRecipe, folder: Path, tmp_path: Path) -> None:
    """PEFT loads the file into the network that it was trained on: no tensor is left over, and outputs are equal."""
    base = load(folder / "base.safetensors")
    path = fit(replace(recipe, lora=LoraOptions(4, 2.0, ("attention", "convolution"))), tmp_path / "run")
    stored = json.loads(read_header(path).metadata["lora_adapter_metadata"])
    config = {name.removeprefix("net."): value for name, value in stored.items()}
    cond = collate(base.text_encoder(["flat a red square"], "literal"))  # type: ignore[misc]
    x, sigma = torch.randn(1, 4, 8, 8), torch.ones(1)
    with ActiveAdapters(base, [(read(path, base), 1.0)]).on(), torch.no_grad():
        ours = base.denoiser(x, sigma, cond)
    plain = base.denoiser(x, sigma, cond)
    peft.inject_adapter_in_model(peft.LoraConfig(**config), base.denoiser.net)
    state = {name.removeprefix("net."): value.float() for name, value in load_file(path).items()}
    loaded = peft.set_peft_model_state_dict(base.denoiser.net, state)
    assert not loaded.unexpected_keys
    assert not [name for name in loaded.missing_keys if "lora_" in name]
    with torch.no_grad():
        theirs = base.denoiser(x, sigma, cond)
    assert torch.allclose(ours, theirs, atol=1e-5)
    assert not torch.allclose(ours, plain, atol=1e-4)
