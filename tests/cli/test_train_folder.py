"""`unnoise train FOLDER` on the command line: folders as people have them, and what is refused in one line."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from unnoise.cli.main import main
from unnoise.train.recipe import TrainingRecipe, read_recipe
from unnoise.train.start import choice, probe

pytestmark = pytest.mark.filterwarnings("default")  # as a command has it: warnings are lines on stderr
COST = probe.StepCost(4.0, 4.0, 10**9)  # so that a minute has few steps


def picture(path: Path, size: tuple[int, int] = (20, 30)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(size[0])
    Image.fromarray(random.integers(0, 255, (size[1], size[0], 3), np.uint8)).save(path)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Work in a folder where every chosen network is small and steps are few; a step is not measured."""
    made: Callable[..., TrainingRecipe] = choice._recipe

    def smaller(facts: choice.SourceFacts, name: str, network: choice.Network) -> TrainingRecipe:
        recipe = made(facts, name, replace(network, side=16, widths=(32, 32), depths=(1, 1), heads=(0, 2), text=16))
        return replace(recipe, advice=replace(recipe.advice, steps=2))

    monkeypatch.setattr(choice, "_recipe", smaller)
    monkeypatch.setattr(probe, "cost", lambda recipe, device: COST)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_folder_of_folders_trains_resumes_and_generates(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("red things", "blue"):
        picture(small / "my pictures" / name / "a.png")
    assert main(["train", "my pictures", "--minutes", "0.5"]) == 0
    out, err = capsys.readouterr()
    path = "runs/my-pictures/my-pictures.safetensors"
    assert out.startswith(f"{path}  ")
    assert "2 classes by sub-folder" in err
    assert '\nlabels = "folders"\n' in err
    assert f"\ngenerate with: unnoise generate blue --model {path}\n" in err
    assert main(["generate", "blue", "--model", path, "-o", "a.png", "--steps", "2"]) == 0
    assert main(["train", "my pictures"]) == 2
    assert "holds a run already" in capsys.readouterr().err
    assert main(["train", "my pictures", "--resume"]) == 0
    assert "classes by sub-folder" not in capsys.readouterr().err
    picture(small / "others" / "a.png")
    assert main(["train", "others", "--out", "runs/my-pictures", "--resume"]) == 2
    assert "holds a run of 'my pictures', not 'others'" in capsys.readouterr().err


def test_init_writes_only_a_recipe(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture(small / "one" / "a.png")
    (small / "one" / "a.txt").write_text("a red dot")
    assert main(["train", "one", "--init", "--minutes", "1"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    (small / "recipe.toml").write_text(out)
    recipe = read_recipe(small / "recipe.toml")
    assert (recipe.name, recipe.data.source, recipe.denoiser.text is not None) == ("one", "one", True)
    assert not (small / "runs").exists()
    assert main(["train", "recipe.toml", "--out", "here"]) == 0
    assert "\ngenerate with: unnoise generate 'a red dot' --model here/one.safetensors\n" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nothing"], "'nothing': is not there; give a recipe"),
        (["nothing.toml"], "'nothing.toml': is not there; give a recipe"),
        (["empty"], "none of its 0 images can be read"),
        (["one/a.png"], "'one/a.png': is an image; give the folder of the images"),
        (["recipe.toml", "--minutes", "3"], "--minutes 3: for a folder of images; 'recipe.toml' is a recipe"),
        (["recipe.toml", "--init"], "--init: for a folder of images"),
        (["one", "--minutes", "0"], "minutes 0.0: a number from 0.1"),
        (["one", "--minutes", "nan"], "minutes nan: a number from 0.1"),
        (["one", "--threads", "0"], "threads 0: a whole number from 1"),
        (["one", "--device", "abacus"], "device 'abacus'"),
        (["run"], "'run': is the folder of a run"),
    ],
)
def test_what_is_refused(words: list[str], message: str, small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture(small / "one" / "a.png")
    picture(small / "run" / "denoiser" / "sheet-000001.png")
    (small / "run" / "recipe.json").write_text("{}")
    (small / "empty").mkdir()
    (small / "recipe.toml").write_text("")
    assert main(["train", *words]) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1
    assert not (small / "runs").exists()
