"""What is no path, no image, no level or no function is refused in one line, wherever Python hands it in."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny

import unnoise
from unnoise.errors import InputError
from unnoise.pipeline import Pipeline

Use = Callable[[Pipeline], Any]
MISUSE: dict[str, tuple[Use, str]] = {
    "check": (lambda _: unnoise.check(5), "check 5"),  # type: ignore[arg-type]
    "check of a list": (lambda _: unnoise.check([5]), "check 5"),  # type: ignore[list-item]
    "models": (lambda _: unnoise.check(".", models=5), "models 5"),  # type: ignore[arg-type]
    "replay": (lambda pipeline: pipeline.replay({}), "replay {}"),  # type: ignore[arg-type]
    "save": (lambda pipeline: pipeline.generate("a", seed=1, steps=1)[0].save(5), "save 5"),  # type: ignore[arg-type]
    "callback": (lambda pipeline: pipeline.generate("a", callback=5), "callback 5"),  # type: ignore[arg-type]
    "schedule": (lambda pipeline: pipeline.generate("a", schedule=5), "schedule 5: a name, or a list of levels"),
    "sweep": (lambda pipeline: pipeline.sweep("a", steps=[]), r"steps \[\]: no value"),
    "device": (lambda _: unnoise.load("emoji", 5), "device '5'"),  # type: ignore[arg-type]
    "control": (lambda _: unnoise.load("emoji", control=5), "control 5"),  # type: ignore[arg-type]
    "image": (lambda pipeline: pipeline.generate("a", image=5), "image int"),
    "seed": (lambda pipeline: pipeline.generate("a", seed=10**400), "integer of about 400 digits"),
}


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    return tiny.saved(tmp_path_factory.mktemp("misuse") / "tiny.safetensors")


@pytest.mark.parametrize("name", MISUSE)
def test_it_is_one_line(pipeline: Pipeline, name: str) -> None:
    use, message = MISUSE[name]
    with pytest.raises(InputError, match=message):
        use(pipeline)


def test_components_must_be_a_path(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="components 5: must be a path"):
        unnoise.load(tmp_path, components=5)  # type: ignore[arg-type]
