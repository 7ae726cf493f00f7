"""No false alarms: nothing above a note on what diffusers itself ships, its defaults and its own examples.

The examples are those of the docstrings in the installed package, so a new version brings its own.
"""

import ast
import importlib
import inspect
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from textwrap import dedent

import diffusers
import pytest

from unnoise.check.engine import judge
from unnoise.check.examples import script
from unnoise.check.read.dispatch import read
from unnoise.check.rule import NOTE, Finding
from unnoise.check.subject import Subject

HOME = Path(diffusers.__file__).parent
# Official examples that do have the fault, each checked by hand: (file, rule).
FAULTS = {
    ("pipelines/animatediff/pipeline_animatediff_video2video.py", "UN109"),  # timespace_spacing
    ("pipelines/controlnet/pipeline_controlnet_inpaint_sd_xl.py", "UN110"),  # eta with Euler
    ("pipelines/qwenimage/pipeline_qwenimage_controlnet_inpaint.py", "UN403"),  # true_cfg_scale alone
}


PROMPTED = re.compile(r"^\s*(?:>>>|\.\.\.) ?(.*)$", re.MULTILINE)


def loud(subject: Subject) -> list[Finding]:
    return [finding for finding in judge(subject) if finding.grade > NOTE]


@cache
def samplers() -> list[str]:
    """List the schedulers that can be created without arguments."""
    classes = [getattr(diffusers, name) for name in dir(diffusers) if name.endswith("Scheduler")]
    return [class_.__name__ for class_ in classes if "dummy" not in class_.__module__ and not needed(class_)]


def needed(class_: type) -> list[str]:
    taken = list(inspect.signature(class_).parameters.values())
    return [one.name for one in taken if one.default is one.empty and one.kind == one.POSITIONAL_OR_KEYWORD]


def test_there_are_classes_to_try() -> None:
    assert len(samplers()) > 40


@pytest.mark.filterwarnings("ignore")  # of diffusers, about its own defaults
@pytest.mark.parametrize("name", samplers())
def test_defaults_of_a_saved_configuration(name: str, tmp_path: Path) -> None:
    class_ = getattr(diffusers, name)
    class_().save_config(tmp_path)
    assert not loud(read(tmp_path / class_.config_name))


def examples() -> Iterator[tuple[str, str]]:
    """List the examples in the docstrings of diffusers' pipelines, with the file of each."""
    for path in sorted(HOME.glob("pipelines/**/*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and ">>> " in node.value:
                yield path.relative_to(HOME).as_posix(), "\n".join(PROMPTED.findall(node.value))


EXAMPLES = list(examples())


def test_there_are_examples_to_read() -> None:
    runs = sum(len(script(text).runs) for _, text in EXAMPLES)
    assert (len(EXAMPLES) > 150, runs > 150) == (True, True)


def test_examples_of_diffusers() -> None:
    found = [(where, finding) for where, text in EXAMPLES for finding in loud(script(dedent(text)))]
    alarms = [(where, one) for where, one in found if (where, one.rule.id) not in FAULTS and one.rule.id != "UN901"]
    assert not alarms, "\n".join(f"{where} {one.rule.id} {one.message}: {one.measured}" for where, one in alarms)
    assert {(where, one.rule.id) for where, one in found} >= FAULTS, "a fault that is no more there"


CALL = 'from diffusers import {name}\npipe = {name}.from_pretrained("somebody/something")\npipe("a cat"{given})\n'


def pipelines() -> list[str]:
    names = (name for name in dir(diffusers) if name.endswith("Pipeline"))
    return sorted(name for name in names if name != "DiffusionPipeline")


def test_a_call_without_arguments() -> None:
    """Every pipeline with its defaults and an unknown model has no finding."""
    for name in pipelines():
        assert not loud(script(CALL.format(name=name, given=""))), name


def test_defaults_of_calls_are_within_range() -> None:
    """The default guidance scale of a pipeline is no finding where it is stated."""
    for name in pipelines():
        class_ = getattr(diffusers, name)
        if "dummy" in class_.__module__:
            continue
        taken = inspect.signature(importlib.import_module(class_.__module__).__dict__[name].__call__).parameters
        given_by_default = {
            key: taken[key].default for key in ("guidance_scale", "num_inference_steps") if key in taken
        }
        given = "".join(
            f", {key}={value!r}" for key, value in given_by_default.items() if isinstance(value, int | float)
        )
        found = loud(script(CALL.format(name=name, given=given)))
        assert not found, f"{name}: {found[0].rule.id} {found[0].message}: {found[0].measured}"


def test_branches_that_cannot_be_decided_are_no_fault() -> None:
    text = """
        import sys
        import diffusers
        made = diffusers.EulerDiscreteScheduler() if "XL" in sys.argv else diffusers.FlowMatchEulerDiscreteScheduler()
        pipe = diffusers.FluxPipeline.from_pretrained("black-forest-labs/FLUX.1-dev", scheduler=made)
        pipe("a cat", num_inference_steps=20)
    """
    assert not loud(script(text))
