"""Plausible wrong recipes: each is refused in one line that names the field, before anything is computed."""

import re
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from PIL import Image

from unnoise.errors import InputError
from unnoise.train.finetune_recipe import FineTuneRecipe, read_any_recipe
from unnoise.train.train_recipe import train_recipe

CAPTIONS = """
name = "dots"
prompts = ["a red dot"]
[data]
source = "{data}"
size = 16
views = 1
labels = ""
captions = "auto"
[autoencoder]
args = {{ width = 32, encode = 1, decode = 1 }}
fit = {{ steps = 6, batch = 4, warmup = 2 }}
[denoiser]
process = {{ class = "Flow" }}
fit = {{ steps = 6, batch = 4, warmup = 2 }}
text = {{ vocab = 280, width = 16, depth = 1, heads = 2, length = 16 }}
net.class = "UNet"
net.args = {{ channels = 4, widths = [32, 32], depths = [1, 1], heads = [0, 2], context = 16, vector = 16 }}
"""
LABELS = """
name = "dots"
[data]
source = "{data}"
size = 16
views = 1
labels = "folders"
captions = "none"
[denoiser]
process = {{ class = "Flow" }}
fit = {{ steps = 6, batch = 4, warmup = 2 }}
net.class = "UNet"
net.args = {{ channels = 3, widths = [32, 32], depths = [1, 1], heads = [0, 2], labels = 3 }}
"""
ALONE = LABELS.replace('"folders"', '""').replace(", labels = 3", "")
TEXT = "text = {{ vocab = 280, width = 16, depth = 1, heads = 2, length = 16 }}\n"
AUTOENCODER = (
    "args = {{ width = 32, encode = 1, decode = 1 }}\nfit = {{ steps = 6, batch = 4, warmup = 2 }}\n[denoiser]"
)


class Silent:
    """A report of nothing."""

    def __getattr__(self, name: str) -> object:
        return lambda *arguments: None


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of two classes with captions, and a model that works on pixels."""
    folder, random = tmp_path_factory.mktemp("dots"), np.random.default_rng(0)
    for name in ("blue", "red"):
        (folder / name).mkdir()
        for k in range(2):
            Image.fromarray(random.integers(0, 255, (16, 16, 3), np.uint8)).save(folder / name / f"{k}.png")
            (folder / name / f"{k}.txt").write_text(f"a {name} dot")
    tiny.saved(folder / "model.safetensors")
    return folder


def run(path: Path, folder: Path) -> Path:
    recipe = read_any_recipe(path)
    assert not isinstance(recipe, FineTuneRecipe)
    return train_recipe(recipe, folder, torch.device("cpu"), False, Silent())  # type: ignore[arg-type]


CASES = [
    # captions, labels, neither
    (CAPTIONS, TEXT, "", r"net\.args\.context 16: takes captions, and no \[denoiser\.text\] encodes them; add that ta"),
    (CAPTIONS, ", context = 16, vector = 16", "", r"neither context nor vector is set, .*set context = 16, the width "),
    (CAPTIONS, "context = 16", "context = 64", r"net\.args\.context 64: denoiser\.text\.width is 16, and both must be"),
    (CAPTIONS, "vector = 16", "vector = 12", r"net\.args\.vector 12: denoiser\.text\.width is 16"),
    (CAPTIONS, 'captions = "auto"', 'captions = "none"', r"denoiser\.text: the data has no captions; add some, or lea"),
    (CAPTIONS, 'labels = ""', 'labels = "folders"', r"denoiser\.text: the data has labels, and prompts are one of "),
    (ALONE, 'captions = "none"', 'captions = "auto"', r"captions are read, and no \[denoiser\.text\].*captions = \"n"),
    (ALONE, "heads = [0, 2]", "heads = [0, 2], labels = 3", r"net\.args\.labels 3: the data has no labels; set data\."),
    (ALONE, "[denoiser]", "[denoiser]\ncaption_dropout = 0.1", r"denoiser\.caption_dropout 0\.1: .*neither captions n"),
    (ALONE, "[denoiser]", "[advice]\nguidance_scale = 3.0\n[denoiser]", r"advice\.guidance_scale 3\.0: .*leave it out"),
    (ALONE, "[data]", 'prompts = ["a dot"]\n[data]', r"prompts \['a dot'\]: the model reads neither captions nor la"),
    (ALONE, "[denoiser]", "[data.augment]\nphrase = 1.0\n[denoiser]", r"data\.augment\.phrase 1: .*the model reads no"),
    (ALONE, "[denoiser]", "[data.augment]\nhue = 0.1\n[denoiser]", r"data\.augment\.hue 0\.1: varies captions, and t"),
    (LABELS, ", labels = 3", "", r"net\.args: no labels, and the data has 2 classes; set labels = 3: one for each, an"),
    (LABELS, "labels = 3", "labels = 2", r"net\.args: labels 2, and the data has 2 classes; set labels = 3"),
    (LABELS, "[data]", 'prompts = ["redd"]\n[data]', r"contact sheets .*prompt 'redd': no class .*mean 'red'\? known:"),
    (LABELS, "heads = [0, 2]", "heads = [0, 2], context = 16", r"context 16: takes captions, and no \[denoiser\.text"),
    (LABELS, "[denoiser]", "[denoiser]\ncaption_dropout = 1.5", r"caption_dropout 1\.5: a number from 0 to 1"),
    (LABELS, "[denoiser]", "[data.augment]\nphrase = 0.5\n[denoiser]", r"data\.augment\.phrase 0\.5: varies captions,"),
    (LABELS, "[denoiser]", "[data.augment]\nhue = 0.1\n[denoiser]", r"data\.augment\.hue 0\.1: varies captions, and"),
    (LABELS, "[denoiser]", "[data.augment]\nstyle = 0.1\n[denoiser]", r"data\.augment\.style 0\.1: varies captions, a"),
    (CAPTIONS, "[denoiser]", "[data.augment]\nkeywords = 0.3\n[denoiser]", r"augment\.keywords 0\.3: the data has no"),
    (CAPTIONS, "[denoiser]", "[data.augment]\nstyle = 0.3\n[denoiser]", r"augment\.style 0\.3: the data has no styles"),
    (CAPTIONS, "[autoencoder]", "[autoencoder]\naugment.unknown = 0.3", r"autoencoder\.augment\.unknown 0\.3: varies"),
    # widths, heads, channels, sizes
    (CAPTIONS, "depth = 1, heads = 2", "depth = 1, heads = 3", r"text\.width 16: a multiple of denoiser\.text\.heads,"),
    (ALONE, "widths = [32, 32]", "widths = [48, 64]", r"widths\[0\] 48: a multiple of 32, the groups of its norms"),
    (ALONE, "widths = [32, 32]", "widths = [32, 80]", r"widths\[1\] 80: a multiple of 32, the groups of its norms"),
    (ALONE, "heads = [0, 2]", "heads = [0, 5]", r"widths\[1\] 32: a multiple of 5, the heads\[1\] of its attention"),
    (ALONE, "depths = [1, 1]", "depths = [1, 1, 1]", r"widths, depths, heads: of 2, 3 and 2 entries; each has one"),
    (ALONE, "depths = [1, 1]", "depths = [1, 0]", r"depths\[1\] 0: at least 1"),
    (ALONE, "widths = [32, 32], depths = [1, 1], heads = [0, 2]", "widths = [32], depths = [1], heads = [0]", "at lea"),
    (ALONE, "widths = [32, 32]", 'widths = "small"', r"UNet .*widths 'small': must be a list, each a whole number"),
    (ALONE, "channels = 3", "channels = 3.0", r"channels 3\.0: must be a whole number"),
    (ALONE, "channels = 3, ", "", r"channels: missing; known: channels, widths"),
    (ALONE, "heads = [0, 2]", "head = [0, 2]", r"unknown argument 'head': did you mean 'heads'\?"),
    (ALONE, '"UNet"', '"Unet"', r"unknown net 'Unet': did you mean 'UNet'\?"),
    (ALONE, "channels = 3", "channels = 4", r"net\.args\.channels 4: the data has 3 channels; set channels = 3"),
    (ALONE, "views = 1", "views = 1\nchannels = 1", r"net\.args\.channels 3: the data has 1 channels; set channels = "),
    (ALONE, "views = 1", "views = 1\nchannels = 4", r"data\.channels: 4, expected 3 or 1"),
    (CAPTIONS, "channels = 4", "channels = 3", r"net\.args\.channels 3: the autoencoder has 4 latents; set channels"),
    (CAPTIONS, "views = 1", "views = 1\nchannels = 1", r"data\.channels 1: the autoencoder has 3 channels; both must"),
    (CAPTIONS, "width = 32, encode", "width = 40, encode", r"Autoencoder .*width 40: a multiple of 32, the groups of "),
    (CAPTIONS, "size = 16", "size = 20", r"data\.size 20: a multiple of 8, for 'dots'"),
    (ALONE, "size = 16", "size = 17", r"data\.size 17: a multiple of 2, for 'dots'"),
    (
        ALONE, 'UNet"\nnet.args = {{ channels = 3, widths = [32, 32], depths = [1, 1], heads = [0, 2]',
        'DiT"\nnet.args = {{ channels = 3, width = 96, depth = 1', r"DiT .*width 96: a multiple of 64, the features",
    ),
    (ALONE, "heads = [0, 2]", "heads = [0, 2], rank = 3", r"net\.args\.rank 3: images have 2 dimensions; leave it out"),
    # processes and losses
    (ALONE, '"Flow"', '"DDPM"', r"unknown process 'DDPM': .*known: Angle, EDM, Flow, Table, VE, VP"),
    (ALONE, '"Flow" }}', '"Flow" }}\nkind = "eps"', r"denoiser\.kind 'eps': the process Flow ends in pure noise"),
    (ALONE, '"Flow" }}', '"VP", args = {{ zero_snr = true }} }}\nkind = "eps"', r"kind 'eps': the process VP ends in "),
    (ALONE, '"Flow" }}', '"VP", args = {{ schedule = "cosin" }} }}', r"process VP .*cosin"),
    (ALONE, '"Flow" }}', '"EDM", args = {{ sigma = 80.0 }} }}', r"process EDM .*unknown argument 'sigma': did you mea"),
    (ALONE, '"Flow" }}', '"Flow" }}\nkind = "epsilon"', r"denoiser\.kind: 'epsilon', expected"),
    (ALONE, '"Flow" }}', '"Flow" }}\nweighting = "snr"', r"weighting 'snr': did you mean 'min-snr'\?"),
    (ALONE, '"Flow" }}', '"Flow" }}\nlevel_std = 0.0', r"level_std 0\.0: a number from 0\.01 to 10"),
    # autoencoders and other models
    (CAPTIONS, AUTOENCODER, "[denoiser]", r"autoencoder\.fit, autoencoder\.source: neither is set; fit trains an"),
    (CAPTIONS, "[autoencoder]", '[autoencoder]\nsource = "emoji"', r"autoencoder\.fit, autoencoder\.source: both are "),
    (CAPTIONS, AUTOENCODER, 'source = "nowhere"\n[denoiser]', r"model 'nowhere'"),
    (CAPTIONS, AUTOENCODER, 'source = "emoji"\nedges = 2.0\n[denoiser]', r"edges, kl: of an autoencoder that is train"),
    (CAPTIONS, "[denoiser]", '[denoiser]\ninit = "{data}/model.safetensors"', r"autoencoder: denoiser\.init .*leave t"),
    (ALONE, "[denoiser]", '[denoiser]\ninit = "{data}/model.safetensors"', r"init .*: denoiser\.net is UNet .* there,"),
    (ALONE, "[denoiser]", '[denoiser]\ninit = "{data}/nothing.safetensors"', r"nothing\.safetensors"),
    # names and numbers
    (ALONE, 'name = "dots"', 'name = "a/b"', r"name 'a/b': the name of a file without its ending"),
    (ALONE, "[data]", "seed = -1\n[data]", r"seed -1: a whole number from 0"),
    (ALONE, "batch = 4", "batch = 0", r"batch 0: at least 1"),
    (ALONE, "views = 1", "views = 0", r"views 0: a whole number from 1 to 1024"),
    (
        ALONE, "[denoiser]", "[advice]\nsizes = [[17, 16]]\n[denoiser]",
        r"advice\.sizes 17x16: multiples of 2, for 'dots'",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("base", "old", "new", "message"), CASES)
def test_a_wrong_recipe_is_refused_in_one_line(
    data: Path, tmp_path: Path, base: str, old: str, new: str, message: str
) -> None:
    assert old in base
    path = tmp_path / "recipe.toml"
    path.write_text(base.replace(old, new, 1).format(data=data))
    with pytest.raises(InputError) as caught:
        run(path, tmp_path / "run")
    assert "\n" not in str(caught.value)
    assert re.search(message, str(caught.value)), str(caught.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("base", [CAPTIONS, LABELS, ALONE])
def test_the_recipes_that_are_changed_are_right(data: Path, tmp_path: Path, base: str) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(base.format(data=data))
    assert run(path, tmp_path / "run").exists()
