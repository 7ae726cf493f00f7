"""The command `unnoise tune grid`."""

import json
import subprocess
import sys
from math import inf
from pathlib import Path

import pytest
import tiny
from PIL import Image

from unnoise.card import read_card
from unnoise.cli import tune
from unnoise.cli.main import main
from unnoise.generation.media.contact_sheet import contact_sheet
from unnoise.generation.media.image import read_recipe
from unnoise.sampling.defaults import default
from unnoise.tune.grid import MAX_STEPS

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("unnoise.tune.reference.FINE", 40)
    tiny.saved(tmp_path / "tiny.safetensors")
    (tmp_path / "prompts.txt").write_text("a heart\na star\na cat\n")
    return "tiny.safetensors"


def call(capture: Capture, *arguments: str) -> tuple[int, str, str]:
    code = main(["tune", "grid", *arguments])
    out, err = capture.readouterr()
    return code, out, err


QUICK = ["--prompts", "prompts.txt", "--seeds", "3"]


def test_a_fit_is_computed_written_and_used(model: str, capsys: Capture) -> None:
    before = Path(model).read_bytes()
    how = ["--steps", "3", "--steps", "2", "-o", "tuned.safetensors", "--sheet", "gain.png", "--json"]
    code, out, err = call(capsys, model, *QUICK, *how)
    assert (code, err) == (0, "")
    assert Path(model).read_bytes() == before
    fits = json.loads(out)["fits"]
    assert [(fit["steps"], len(fit["levels"]), fit["levels"][0]) for fit in fits] == [(3, 4, "inf"), (2, 3, "inf")]
    assert all(fit["fitted"] < fit["default"] for fit in fits)
    blank = [Image.new("RGB", (16, 16))] * 15
    with Image.open("gain.png") as sheet:
        assert sheet.size == contact_sheet(blank, [""] * 15, "", 5).size
    for steps, name in ((2, "Fitted"), (3, "Fitted"), (4, type(default(4, inf, 0.0)[0]).__name__)):
        assert main(["generate", "a", "-m", "tuned.safetensors", "--steps", str(steps), "-o", "a.png"]) == 0
        assert read_recipe("a.png").sampler.class_ == name
    assert read_card("tuned.safetensors").fingerprint == read_card(model).fingerprint


def test_record_writes_to_the_model_file(model: str, capsys: Capture) -> None:
    code, out, err = call(capsys, model, *QUICK, "--steps", "3", "--sampler", "ddim", "--record")
    assert (code, err) == (0, "")
    assert out.startswith("3 steps: 0.")
    assert "levels     inf " in out
    (setting,) = read_card(model).advice.fitted
    assert (setting.sampler.class_, len(setting.levels), setting.guidance_scale) == ("DDIM", 3, 2.0)


def test_equal_commands_give_equal_fits(model: str, capsys: Capture) -> None:
    assert call(capsys, model, *QUICK, "--steps", "2") == call(capsys, model, *QUICK, "--steps", "2")


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (["--steps", "0"], "steps 0: a whole number from 1 to 32"),
        (["--steps", "33"], "steps 33"),
        (["--steps", "3", "--steps", "3"], "give each number once"),
        (["--seeds", "0"], "seeds 0"),
        (["--seed", "-1"], "seed -1"),
        (["--sampler", "heun"], "one network call a step"),
        (["--sampler", "ipmdn"], "did you mean 'ipndm'"),
        (["--record", "-o", "b.safetensors"], "give one of them"),
        (["-o", "b.png"], "must end in .safetensors"),
        (["--sheet", "none/../b.txt"], "must end in .png"),
        ([], "was not trained on emoji; give a file"),
        (["--prompts", "none.txt"], "cannot be read"),
    ],
)
def test_refuses(model: str, capsys: Capture, arguments: list[str], fault: str) -> None:
    code, out, err = call(capsys, model, *arguments)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert fault in err


def test_errors_come_before_torch(model: str) -> None:
    script = "import sys; from unnoise.cli.main import main; print(main(sys.argv[1:]), 'torch' in sys.modules)"
    arguments = ["tune", "grid", model, "--steps", "0"]
    done = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True)
    assert done.stdout.strip() == "2 False"


def test_max_steps_are_those_of_the_search() -> None:
    assert tune.MAX_STEPS == MAX_STEPS


def test_help_explains(capsys: Capture) -> None:
    assert main(["tune", "grid", "--help"]) == 0
    out = capsys.readouterr().out
    assert "How it works:" in out
    assert "--record" in out
