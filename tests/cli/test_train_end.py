"""What `unnoise train` shows: its bar, its lines without a terminal, its end, and the trackers."""

import io
import re
import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from unnoise.cli.main import main
from unnoise.cli.train import ConsoleReport, TrainOptions, progress_bar
from unnoise.train.task import Progress, TrainCallback

RECIPE = """
name = "dots"
prompts = ["dot 1"]
data = {{ source = "{source}", size = 8, views = 1, validation = {validation} }}

[denoiser]
process = {{ class = "Flow" }}
fit = {{ steps = 4, batch = 4, warmup = 1, precision = "float32" }}
text = {{ vocab = 280, width = 16, depth = 1, heads = 2, length = 16 }}
net.class = "UNet"
net.args = {{ channels = 3, widths = [32, 32], depths = [1, 1], heads = [0, 2], context = 16, vector = 16 }}

[checkpoints]
ema_every = 1
snapshot_every = 2
"""
STEP = Progress(2500, 3600, 0.1234, 1.0, 1e-3, 1375.2, 900.0, 4000.0, 10**9, validation=0.1311)


@pytest.fixture
def recipe(tmp_path: Path) -> Callable[[float], Path]:
    """Write twelve dots, and the recipe with a share of validation."""
    (tmp_path / "dots").mkdir()
    for i in range(12):
        Image.effect_noise((8, 8), 20 + 10 * i).convert("RGB").save(tmp_path / f"dots/{i}.png")
        (tmp_path / f"dots/{i}.txt").write_text(f"dot {i}")

    def write(validation: float) -> Path:
        path = tmp_path / "dots.toml"
        path.write_text(RECIPE.format(source=tmp_path / "dots", validation=validation))
        return path

    return write


def test_the_end_says_the_figures_and_what_to_do_next(
    recipe: Callable[[float], Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "my run"
    words = ["train", str(recipe(0.25)), "--out", str(out), "--ema", "auto", "--track", "tensorboard"]
    assert main(words) == 0
    stdout, said = capfd.readouterr()
    assert re.fullmatch(rf"{out}/dots\.safetensors  \d\.\d MB\n", stdout)
    assert "9 images of 9 concepts, 3 more held out for validation" in said
    lines = said[said.index("denoiser\n  training loss") :].splitlines()
    assert re.match(r"  training loss    \d\S*, mean of the last tenth of 4 steps", lines[1])
    assert re.match(r"  validation loss  \d\S*, on held-out images at fixed noise", lines[2])
    assert re.match(r"  time             \d+ s, \S+ images/s at the end", lines[3])
    assert re.match(r"  EMA length       0\.\d+, the best of 0\.05 \(\S+\), 0\.0595 ", lines[4])
    assert lines[-1] == f"plot with: unnoise plot '{out}'"
    assert [*(out / "tensorboard/denoiser").glob("events.*")]
    assert not [*(out / "tensorboard").glob("events.*")]
    command = shlex.split(next(line for line in lines if line.startswith("generate with: ")))[2:]
    assert main([*command[1:], "--steps", "1", "--out", str(tmp_path / "a.png")]) == 0
    assert main(shlex.split(lines[-1])[3:]) == 0


@pytest.mark.parametrize(
    ("validation", "ema", "message"),
    [
        (0.0, "auto", 'checkpoints.ema_length "auto": is chosen on held-out images, and none are'),
        (0.25, "0.3", "checkpoints.ema_length 0.3: from 0.05 to 0.1"),
        (0.25, "best", "best"),
        (0.7, "0.05", "validation 0.7: a number from 0 to 0.5"),
    ],
)
def test_what_cannot_be_chosen_is_refused_before_anything_is_written(
    recipe: Callable[[float], Path],
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    validation: float,
    ema: str,
    message: str,
) -> None:
    assert main(["train", str(recipe(validation)), "--out", str(tmp_path / "run"), "--ema", ema]) == 2
    said = capfd.readouterr().err
    assert message in said
    assert not (tmp_path / "run").exists()


def test_the_command_that_continues_keeps_the_options(tmp_path: Path) -> None:
    options = TrainOptions(out=tmp_path, ema=0.07, track="wandb")
    assert shlex.join(["--out", str(tmp_path), "--ema", "0.07", "--track", "wandb", "--resume"]) in options._again(
        ["train", "a.toml"], tmp_path
    )


@pytest.mark.parametrize("width", [80, 100])
def test_the_bar_shows_loss_validation_speed_and_time_in_one_line(width: int) -> None:
    shown = io.StringIO()
    bar = progress_bar()
    bar.console.__init__(file=shown, force_terminal=True, color_system=None, width=width)  # type: ignore[misc]
    with bar:
        report = ConsoleReport(bar)
        report.stage("autoencoder", 3600)
        report.step(STEP)
        report.step(replace(STEP, step=2600, validation=None))
    line = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown.getvalue()).replace("\r", "\n").splitlines()[-1]
    assert "autoencoder" in line
    assert "2600/3600" in line
    assert line.rstrip().endswith("loss 0.1234  val 0.1311  1375 images/s")
    assert re.search(r"\d:\d\d:\d\d ", line)
    assert len(line.rstrip()) <= width


def test_without_a_terminal_a_line_says_what_is_left_and_trackers_get_each_step() -> None:
    shown, tracked = io.StringIO(), list[tuple[str, int]]()

    def tracker(task: str) -> TrainCallback:
        return lambda progress: tracked.append((task, progress.step))

    bar = progress_bar()
    bar.console.__init__(file=shown, width=200)  # type: ignore[misc]
    report = ConsoleReport(bar, tracker)
    report.stage("denoiser", 3600)
    report.step(STEP)
    report.step(replace(STEP, step=2501))
    assert shown.getvalue() == "denoiser 2500/3600  loss 0.1234  val 0.1311  1375 images/s  1 h 6 min left\n"
    assert tracked == [("denoiser", 2500), ("denoiser", 2501)]
