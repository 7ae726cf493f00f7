"""What a training needs is checked before its first step, and each fault is one line that names the field."""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from unnoise.cli.main import main

RECIPE = """
name = "dots"
seed = 3
prompts = ["a red dot"]

[data]
source = "{source}"
size = 16
views = 1

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


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """A recipe that trains, and its images."""
    random = np.random.default_rng(0)
    for i in range(3):
        Image.fromarray(random.integers(0, 255, (16, 16, 3), np.uint8)).save(tmp_path / f"{i}.png")
        (tmp_path / f"{i}.txt").write_text("a red dot")
    path = tmp_path / "dots.toml"
    path.write_text(RECIPE.format(source=tmp_path))
    return path


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (", context = 16, vector = 16", "", r"neither context nor vector is set, .* set context = 16, the width of"),
        ("context = 16", "context = 64", r"denoiser.net.args.context 64: denoiser.text.width is 16"),
        ("vector = 16", "vector = 12", r"denoiser.net.args.vector 12: denoiser.text.width is 16"),
        ("text = {{ vocab = 280, width = 16, depth = 1, heads = 2, length = 16 }}\n", "", r"no \[denoiser.text\] enc"),
        ("channels = 4", "channels = 3", r"channels 3: the autoencoder has 4 latents"),
        ("size = 16", "size = 20", r"data\.size 20: a multiple of 8, for 'dots'"),
        ('"a red dot"]', '"a red dot", "%s"]' % ("x" * 40), "tokens, at most 16 are allowed"),
        ("[denoiser]", "[advice]\nsteps = 0\n[denoiser]", r"contact sheets \(data.size, prompts, advice\): .*steps 0"),
        ('[denoiser]', '[advice]\nsampler = "nope"\n[denoiser]', r"contact sheets .*sampler 'nope'"),
        ("[denoiser]", '[denoiser]\nweighting = "snr"', "weighting 'snr'"),
        ("[denoiser]", "[checkpoints]\nevery = 0\n[denoiser]", r"checkpoints\.every 0: a whole number from 1"),
        ("[denoiser]", "[checkpoints]\nema_length = 0.5\n[denoiser]", r"ema_length 0\.5: from 0\.05 to 0\.1"),
        ("[denoiser]", "[checkpoints]\nema_lengths = [0.1, 0.4]\n[denoiser]", r"ema_lengths \[0\.1, 0\.4\]"),
        ("warmup = 2 }}\n\n", "warmup = 2, learning_rate = 0.0 }}\n\n", "learning_rate 0: above 0"),
        ("views = 1", "views = 1\naugment = {{ background = 1.5 }}", r"augment\.background 1\.5: from 0 to 1"),
    ],
)  # fmt: skip
def test_a_fault_is_found_before_anything_is_computed(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], old: str, new: str, message: str
) -> None:
    assert old in RECIPE
    recipe.write_text(RECIPE.replace(old, new).format(source=tmp_path))
    code = main(["train", str(recipe), "--out", str(tmp_path / "run")])
    error = capsys.readouterr().err.strip()
    assert code == 2
    assert "\n" not in error
    assert re.search(message, error), error
    assert not (tmp_path / "run").exists()


def test_a_prompt_with_brackets_and_a_colon_is_a_prompt(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe.write_text(RECIPE.replace('"a red dot"', '"a red dot (16:9)", "[a|b] (x:1.3)"').format(source=tmp_path))
    assert main(["train", str(recipe), "--out", str(tmp_path / "run")]) == 0
    assert "no contact sheet" not in capsys.readouterr().err
    assert (tmp_path / "run/denoiser/sheet-000006.png").exists()
