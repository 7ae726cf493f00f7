"""What `generate` writes and prints: sweeps with their sheet, help on one screen, notes, files of every kind."""

import json
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from adapters.test_lora_hooks import adapter
from PIL import Image

from unnoise.adapters.lora.write import write
from unnoise.cli import run_generation
from unnoise.cli.main import main
from unnoise.embedded import ADAPTERS, CONTROLS, ZOO
from unnoise.errors import InputError
from unnoise.generation.media import contact_sheet
from unnoise.generation.media.files import read_metadata
from unnoise.loading import load
from unnoise.pipeline import Pipeline

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("output")
    pipeline = tiny.saved(folder / "tiny.safetensors")
    write(folder / "one.safetensors", adapter(pipeline, seed=1), dtype=torch.float32)
    return folder / "tiny.safetensors"


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], model: Path) -> Run:
    """Generate in an empty folder; give the exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")

    def call(command: str, *arguments: str) -> tuple[int, str, str]:
        code = main([command, *arguments, *(["-m", str(model)] if command in ("generate", "edit", "replay") else [])])
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*") if path.is_file()}


# Sweeps.


def test_a_sweep_writes_every_combination_and_its_sheet(run: Run, tmp_path: Path) -> None:
    code, out, err = run("generate", "a cat", "--guidance-scale", "1,3", "--steps", "2,4", "--seed", "7", "-o", "s.png")
    assert (code, err) == (0, "")
    names = {f"s-a-cat-steps-{steps}-guidance-scale-{scale}-7.png" for scale in (1, 3) for steps in (2, 4)}
    assert files(tmp_path) == {"s.png", *names}
    assert out.splitlines()[-2:][0] == "s.png"
    assert re.fullmatch(r"4 images in .* each", out.splitlines()[-1])
    for name in names:
        made = read_metadata(tmp_path / name)
        assert f"steps-{made.steps}-guidance-scale-{made.guidance_scale:g}" in name
        assert made.seed == 7
        assert run("replay", name, "-o", "again/")[0] == 0
    with Image.open(tmp_path / "s.png") as sheet:
        cell = 16 * 12
        assert sheet.width > 2 * cell
        assert sheet.height > 2 * cell
        assert len(json.loads(sheet.info["unnoise"])) == 4


def test_a_sweep_draws_what_is_drawn_alone(run: Run, tmp_path: Path) -> None:
    assert run("generate", "a cat", "--sampler", "ddim,heun", "--seed", "7", "--steps", "2", "-o", "all/")[0] == 0
    for sampler in ("ddim", "heun"):
        assert run("generate", "a cat", "--sampler", sampler, "--seed", "7", "--steps", "2", "-o", "one.png")[0] == 0
        one, other = (
            np.asarray(Image.open(tmp_path / name)).astype(int)
            for name in ("one.png", f"all/a-cat-sampler-{sampler}-7.png")
        )
        assert np.abs(one - other).max() <= 1


def test_labels_of_a_sweep(run: Run, monkeypatch: pytest.MonkeyPatch, model: Path) -> None:
    tables: list[tuple[list[str], list[str], str]] = []
    real = contact_sheet.table_sheet

    def table(images: Any, rows: Any, columns: Any, title: str) -> Image.Image:
        tables.append((list(rows), list(columns), title))
        return real(images, rows, columns, title)

    monkeypatch.setattr("unnoise.generation.sweep.table_sheet", table)
    one = str(model.with_name("one.safetensors"))
    run("generate", "a cat", "--steps", "2,3", "--size", "16,24x16", "--seed", "7")
    run("generate", "a cat", "--steps", "2", "--seed", "7,9")
    run("generate", "a cat", "--steps", "2", "--seed", "7", "--lora", f"{one}:0,0.5", "--guidance", "1")
    run("generate", "a cat", "--steps", "2,3", "--seed", "7", "-n", "2")
    assert tables == [
        (["steps 2", "steps 3"], ["size 16x16", "size 24x16"], "a cat · tiny · guidance scale 2 · seed 7"),
        ([""], ["seed 7", "seed 9"], "a cat · tiny · 2 steps · guidance scale 2"),
        ([""], [f"lora {name}" for name in LORAS], "a cat · tiny · 2 steps · guidance scale 1 · seed 7"),
        (["steps 2", "steps 3"], ["seed 7", "seed 8"], "a cat · tiny · guidance scale 2"),
    ]


LORAS = ("one.safetensors:0", "one.safetensors:0.5")


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (["--steps", "2,0"], "steps 0: a whole number from 1 to 1000"),
        (["--steps", "2,x"], "steps 'x': must be a whole number"),
        (["--steps", "2,3", "-n", "0"], "n 0: a whole number from 1 to 4096"),
        (["--steps", "2,3", "-n", "1,2"], "n [1, 2]: a whole number from 1"),
        (["--seed", "1,2", "-n", "2"], "n 2: cannot be combined with several seeds"),
        (["--batch", "1,2"], "batch: takes one value in a sweep"),
        (
            ["--seed", ",".join(map(str, range(70))), "--steps", ",".join(map(str, range(1, 70)))],
            "at most 4096 samples",
        ),
    ],
)
def test_a_sweep_that_cannot_be_is_refused(run: Run, tmp_path: Path, arguments: list[str], fault: str) -> None:
    code, out, err = run("generate", "a cat", *arguments)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert fault in err
    assert files(tmp_path) == set()


def test_a_sweep_in_python(model: Path) -> None:
    pipeline = load(model)
    sweep = pipeline.sweep(["a cat", "a dog"], steps=[2, 3], seed=4, n=2)
    assert [axis.name for axis in sweep.axes] == ["prompt", "steps", "seed"]
    made = [(one.metadata.prompt, one.metadata.steps, one.metadata.seed) for one in sweep.samples]
    assert made == [(prompt, steps, seed) for prompt in ("a cat", "a dog") for steps in (2, 3) for seed in (4, 5)]
    assert sweep.sheet().width > 2 * 192
    with pytest.raises(InputError, match="sweep: no option has several values; give a list"):
        pipeline.sweep("a cat", steps=2)
    with pytest.raises(InputError, match="stesp: unknown option"):
        pipeline.sweep("a cat", stesp=[2, 3])


# Help.


@pytest.mark.parametrize("command", ["generate", "edit", "plan", "replay", "models"])
def test_help_fits_one_screen(run: Run, command: str) -> None:
    out = run(command, "--help")[1] if command in ("plan", "models") else help_of(command)
    assert len(out.rstrip().splitlines()) <= 60
    assert max(map(len, out.splitlines())) <= 100


def help_of(command: str) -> str:
    from io import StringIO

    from rich.console import Console

    from unnoise.cli.main import app

    page = StringIO()
    app([command, "--help"])([command, "--help"], console=Console(file=page, width=100), result_action="return_value")
    return page.getvalue()


def test_help_shows_groups_and_the_rest_on_demand(run: Run) -> None:
    short, long = run("generate", "--help")[1], run("generate", "--help-all")[1]
    for group in ("Basic", "Guidance", "Model", "Adapters", "Output"):
        assert f"─ {group} ─" in short
    for group in ("Image input", "Control", "Advanced"):
        assert f"─ {group} ─" not in short
        assert f"─ {group} ─" in long
    assert "--help-all shows more." in short
    assert "default 3]" in short, "the steps of the model that is named"
    assert "Samplers, also by the names of diffusers" in long
    unknown = main(["generate", "--help", "-m", "none.safetensors"])
    assert unknown == 0, "help needs no model"


# What is printed.


def test_every_choice_is_printed_on_request(run: Run) -> None:
    code, _, err = run("generate", "a cat", "--seed", "1", "--steps", "2", "--sampler", "heun", "-v")
    assert code == 0
    for told in ("sampler Heun", "levels inf ", "guidance scale 2", "size 16x16", "float32", "8 at once"):
        assert told in err
    assert err.count("\n") == 1


@pytest.mark.filterwarnings("always::unnoise.errors.InputWarning")
def test_quiet_prints_no_notes(run: Run, tmp_path: Path) -> None:
    Image.new("RGB", (20, 20), "red").save("photo.png")
    loud = ["edit", "photo.png", "", "--size", "16", "--seed", "1", "-o", "a.png", "--guidance", "30"]
    code, out, err = run(*loud)
    assert code == 0
    for note in ("image of 20x20: resized to 16x16", "warning UN401", "an empty prompt draws from"):
        assert note in err
    assert "overwrites" not in err
    assert "unnoise: overwrites a.png\n" in run(*loud)[2]
    code, again, err = run(*loud, "--quiet")
    assert (code, err) == (0, "")
    assert again.splitlines()[0] == out.splitlines()[0] == "a.png"


def test_a_replay_says_what_it_overwrites(run: Run) -> None:
    assert run("generate", "a cat", "--seed", "1", "-o", "a.png")[0] == 0
    assert run("replay", "a.png", "-o", "b.png")[2] == ""
    assert run("replay", "a.png", "-o", "b.png")[2] == "unnoise: overwrites b.png\n"


def test_models_lists_models_adapters_and_controls(run: Run) -> None:
    code, out, err = run("models")
    assert (code, err) == (0, "")
    facts = json.loads(run("models", "--json")[1])
    for kind, table in (("models", ZOO), ("adapters", ADAPTERS), ("controls", CONTROLS)):
        assert re.search(rf"^{kind}$", out, re.MULTILINE)
        assert [one["name"] for one in facts[kind]] == list(table)
        assert all(one["parameters"] > 0 and Path(one["path"]).exists() for one in facts[kind])
        for name in table:
            assert re.search(rf"^  {name} +\d", out, re.MULTILINE)
    assert "--lora ink" in out
    assert "--control outline --control-image FILE" in out


# Files of every kind.


@pytest.mark.parametrize("suffix", ["png", "webp", "jpg", "jpeg"])
def test_every_kind_of_file_is_written_and_drawn_again(run: Run, tmp_path: Path, suffix: str) -> None:
    assert run("generate", "a cat", "--seed", "1", "-o", f"a.{suffix}")[0] == 0
    assert run("replay", f"a.{suffix}", "-o", f"b.{suffix}")[0] == 0
    assert (tmp_path / f"a.{suffix}").read_bytes() == (tmp_path / f"b.{suffix}").read_bytes()
    code, out, _ = run("replay", f"a.{suffix}", "-o", "again/")
    assert (code, out) == (0, f"again/a-cat-1.{suffix}\n"), "the ending of the original"


# Objects on a screen.


def test_objects_are_shown_on_one_line(model: Path) -> None:
    pipeline = load(model)
    assert repr(pipeline) == "Pipeline('tiny', unnoise, image 16x16, 24x16, 0.2 M parameters, float32 on cpu)"
    sample = pipeline.generate("a cat", seed=1)[0]
    assert repr(sample) == "Sample(16x16 image, prompt='a cat', seed=1, model='tiny')"
    assert len(repr([sample] * 4)) < 400


def test_a_notebook_shows_the_image(model: Path) -> None:
    from io import BytesIO

    sample = load(model).generate("a cat", seed=1)[0]
    with Image.open(BytesIO(sample._repr_png_())) as shown:
        assert (shown.format, shown.tobytes()) == ("PNG", sample.image.tobytes())


def test_a_pipeline_moves(model: Path) -> None:
    pipeline = load(model)
    assert isinstance(pipeline.to("cpu"), Pipeline)
    assert pipeline.to(torch.device("cpu")) is pipeline
    assert pipeline.device == torch.device("cpu")
    for wrong in ("gpu", "cuda:99"):
        with pytest.raises(InputError, match=f"device '{wrong}'"):
            pipeline.to(wrong)


@pytest.mark.parametrize("prompt", [None, 5, {"a": 1}])
def test_a_prompt_is_text(model: Path, prompt: Any) -> None:
    with pytest.raises(InputError, match=r"prompt .*must be text"):
        load(model).generate(prompt)


def test_the_notes_of_a_run_are_warnings_in_python(model: Path) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        load(model).edit(Image.new("RGB", (20, 20)), "a cat", size=16, seed=1)
    assert [str(one.message) for one in caught] == ["image of 20x20: resized to 16x16"]
    assert run_generation.RULES == ("UN1", "UN3", "UN4")
