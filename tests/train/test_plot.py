"""`unnoise plot`: which logs are drawn, the curves and axes, and what is refused."""

import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from unnoise.cli.main import main
from unnoise.train.curves import Curves, read_curves, smoothed
from unnoise.train.plot import COLOURS, draw

EDGES = [0.3, 0.5, 0.7, 1.0, 1.4, 2.0, 3.2]


def lines(steps: int, validation: bool = True, start: float = 1.0) -> list[dict[str, Any]]:
    """A log whose loss falls from `start` to a tenth, with validations every ten steps."""
    found = []
    for step in range(1, steps + 1):
        loss = start * (0.1 + 0.9 * np.exp(-step / steps * 5))
        line = {"step": step, "loss": loss, "gradient_norm": 2 * loss, "learning_rate": 1e-3}
        if step % 10 == 0:
            line |= {"by_level": [loss, None, *[loss] * 6], "level_edges": EDGES}
            line |= {"validation": 1.1 * loss, "validation_by_level": [1.1 * loss] * 8} if validation else {}
        found.append(line)
    return found


def write(folder: Path, found: list[dict[str, Any]], task: str = "denoiser") -> Path:
    (folder / task).mkdir(parents=True)
    (folder / task / "log.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in found))
    return folder


def test_curves_are_those_of_the_log() -> None:
    figure = draw([Curves("a", lines(40)), Curves("b", lines(20, validation=False, start=2.0))])
    loss, levels, rate, norm = figure.axes
    raw, smooth, validation = loss.lines[:3]
    assert [*raw.get_xdata()] == [*range(1, 41)]
    assert raw.get_ydata()[-1] == lines(40)[-1]["loss"]
    assert (raw.get_alpha() or 1) < (smooth.get_alpha() or 1)
    assert [*validation.get_xdata()] == [10, 20, 30, 40]
    assert validation.get_linestyle() == "--"
    assert loss.get_yscale() == "log"
    assert norm.lines[0].get_ydata()[0] == lines(40)[0]["gradient_norm"]
    assert [text.get_text() for text in levels.get_xticklabels()] == ["0.3", "0.5", "0.7", "1", "1.4", "2", "3.2"]
    assert np.isnan(levels.lines[0].get_ydata()[1])
    assert rate.lines[1].get_ydata()[0] == 1e-3
    used = [line.get_color() for line in rate.lines]
    assert used == [*COLOURS[:2]]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a", "b"]
    assert "a, b" in figure.get_suptitle()


def test_single_steps_do_not_squash_the_axis() -> None:
    """A spike leaves the axis, a nearly constant loss has a linear one, and one step is drawn."""
    steady = [{"step": k, "loss": 1.0 + 0.1 * (k % 2)} for k in range(1, 2001)]
    steady[1000]["loss"] = 500.0
    loss = draw([Curves("a", steady)]).axes[0]
    assert loss.get_ylim()[1] < 50
    calm = draw([Curves("a", [{"step": k, "loss": 1 + k / 1000} for k in range(100)])]).axes[0]
    assert calm.get_yscale() == "linear"
    assert 0.9 < calm.get_ylim()[0] < calm.get_ylim()[1] < 1.2
    draw([Curves("a", [{"step": 1, "loss": 1.0, "gradient_norm": 0.0, "learning_rate": 1e-3}])])


def test_smoothing_keeps_the_mean_of_a_line_and_short_curves() -> None:
    ramp = np.arange(1000.0)
    assert smoothed(ramp)[20:-20] == pytest.approx(ramp[20:-20])
    assert smoothed(ramp)[0] == pytest.approx(5.0)  # of the half window that is there
    assert [*smoothed(np.array([3.0, 1.0]))] == [3.0, 1.0]
    assert len(smoothed(np.array([]))) == 0


def test_the_last_task_of_a_run_is_drawn_and_names_are_told_apart(tmp_path: Path) -> None:
    run = write(write(tmp_path / "x" / "emoji", lines(5), "autoencoder"), lines(9))
    other = write(tmp_path / "y" / "emoji", lines(3))
    assert [(len(one.lines), one.name) for one in read_curves([run])] == [(9, "emoji")]
    assert [len(one.lines) for one in read_curves([run / "autoencoder"])] == [5]
    assert [one.name for one in read_curves([run, other])] == [str(run), str(other)]


def test_the_command_writes_a_png(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = write(tmp_path / "emoji", lines(30))
    with (run / "denoiser/log.jsonl").open("a") as log:
        log.write('{"step": 31, "lo')  # it still trains
    assert main(["plot", str(run)]) == 0
    assert capsys.readouterr().out == f"{run / 'plot.png'}\n"
    with Image.open(run / "plot.png") as image:
        assert image.size == (1800, 1200)
        assert image.getpixel((2, 2))[:3] == (255, 255, 255)
    first = (run / "plot.png").read_bytes()
    assert main(["plot", str(run), "--out", str(tmp_path / "again.png")]) == 0
    assert (tmp_path / "again.png").read_bytes() == first


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give the folder of at least one run"),
        (["RUN/nowhere"], "holds no run; give the folder"),
        (["RUN", "--out", "RUN/a.jpg"], "the name of a PNG file is needed"),
        (["RUN"] * 8, "8 runs: 1 to 7"),
        (["EMPTY"], "no step is logged yet"),
        (["OTHER"], "no log of unnoise: a line has no step or no loss"),
        (["BROKEN"], "log.jsonl"),
    ],
)
def test_what_cannot_be_drawn_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    write(tmp_path / "RUN", lines(2))
    write(tmp_path / "EMPTY", [])
    write(tmp_path / "OTHER", [{"message": "started"}])
    write(tmp_path / "BROKEN", [])
    (tmp_path / "BROKEN/denoiser/log.jsonl").write_text("{nothing}\n")
    assert main(["plot", *(word if word.startswith("--") else str(tmp_path / word) for word in arguments)]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1


def test_without_matplotlib_one_line_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delitem(sys.modules, "unnoise.train.plot", raising=False)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert main(["plot", str(write(tmp_path / "emoji", lines(2)))]) == 2
    assert re.search(r"plot: needs matplotlib .*pip install 'unnoise\[plots\]'", capsys.readouterr().err)
