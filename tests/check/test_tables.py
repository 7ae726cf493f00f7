"""The tables are those of the installed diffusers: where this fails, run `python scripts/diffusers_tables.py`."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import diffusers
import pytest

from unnoise.check.subject import Config, GenerationRun, Located, Location, NamedModel
from unnoise.check.tables import (
    SHIPPED,
    accepts,
    default,
    defaults,
    effective,
    embeds,
    shipped,
    step_accepts,
    task,
)
from unnoise.check.tables.calls import CALL, STEP
from unnoise.check.tables.classes import CLASSES
from unnoise.check.tables.pipelines import PIPELINES
from unnoise.check.tables.tasks import TASKS
from unnoise.families.identity import Identity
from unnoise.families.table import FAMILIES, VARIANTS

HERE = Location("x")


@pytest.fixture(scope="module")
def made() -> ModuleType:
    path = Path(__file__).parents[2] / "scripts/diffusers_tables.py"
    spec = importlib.util.spec_from_file_location("diffusers_tables", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def frozen(value: Any) -> Any:
    return tuple(map(frozen, value)) if isinstance(value, list | tuple) else value


def test_constructors_are_those_of_diffusers(made: ModuleType) -> None:
    fresh = {name: {key: frozen(value) for key, value in row.items()} for name, row in made.constructors().items()}
    assert fresh == CLASSES


def test_calls_are_those_of_diffusers(made: ModuleType) -> None:
    assert made.methods("step") == STEP
    assert made.arguments() == CALL


def test_pipelines_are_those_of_diffusers(made: ModuleType) -> None:
    defaults_, tasks = made.calls_of_pipelines()
    assert defaults_ == PIPELINES
    assert tasks == TASKS


def test_effective_settings_are_stated_or_defaults() -> None:
    config = Config(HERE, "scheduler", "EulerDiscreteScheduler", {"beta_start": Located(0.1, HERE)})
    assert effective(config, "beta_start") == 0.1
    assert effective(config, "timestep_spacing") == "linspace"
    assert effective(config, "set_alpha_to_one") is None
    swapped = Config(HERE, "scheduler", "DPMSolverMultistepScheduler", {}, complete=False)
    assert effective(swapped, "timestep_spacing") is None
    assert effective(swapped, "timestep_spacing", Identity("sdxl")) == "leading"
    assert effective(swapped, "algorithm_type", Identity("sdxl")) == "dpmsolver++"


def test_published_schedulers_have_known_names() -> None:
    for family, variant in SHIPPED:
        assert family in FAMILIES
        assert not variant or variant in VARIANTS[family]
    for found in SHIPPED.values():
        assert hasattr(diffusers, found.class_)
    assert shipped(Identity()) is None


def test_classes_accept_their_arguments() -> None:
    assert accepts("DDIMScheduler", "set_alpha_to_one")
    assert not accepts("EulerDiscreteScheduler", "set_alpha_to_one")
    assert accepts("MyScheduler", "anything")
    assert step_accepts("DDIMScheduler", "eta")
    assert not step_accepts("PNDMScheduler", "eta")
    assert defaults("MyScheduler") is None


def test_tasks_and_defaults_of_pipelines() -> None:
    assert task("StableDiffusionImg2ImgPipeline") == "image"
    assert task("FluxFillPipeline") == "inpaint"
    assert task("FluxKontextPipeline") == "edit"
    assert task("WanPipeline") == "text"
    assert task("MyPipeline") == ""
    assert embeds("FluxPipeline")
    assert not embeds("StableDiffusionXLPipeline")
    run = GenerationRun(place=HERE, tool="diffusers", pipeline="StableDiffusionXLPipeline")
    assert default(run, "guidance_scale") == 5.0
    marked = GenerationRun(
        place=HERE, tool="diffusers", pipeline=run.pipeline, others={"guidance_scale": Located(..., HERE)}
    )
    assert default(marked, "guidance_scale") is None
    loaded = GenerationRun(
        place=HERE, tool="diffusers", pipeline="DiffusionPipeline", model=NamedModel("x", HERE, Identity("sdxl"))
    )
    assert default(loaded, "num_inference_steps") == 50
