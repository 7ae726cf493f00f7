"""Mark pipelines of other code: a class from elsewhere, or a call that loads something unknown into a pipeline.

What is published about the model (steps, guidance, sampler) holds for neither: their runs have an unknown model.
"""

import re
from dataclasses import replace

from unnoise.check.read.python.pipes import DENOISERS
from unnoise.check.read.python.state import Arguments, ScriptState
from unnoise.check.read.python.values import ComponentValue, Thing, Value
from unnoise.check.tables.pipelines import PIPELINES

# Beginnings of the names of functions that change what they receive.
CHANGES = re.compile(
    r"_*(add|apply|convert|hack|inject|insert|load|merge|monkey|patch|register|replace|swap|wrap)(_|$)"
)
HARMLESS = ("torch", "accelerate", "diffusers", "transformers", "peft")  # packages whose functions keep the model


def is_foreign(dotted: str) -> bool:
    """Return whether a pipeline class, by its import, is not one of diffusers; copies keep their names."""
    class_ = dotted.rpartition(".")[2]
    generic = class_ == "DiffusionPipeline" or class_.startswith("AutoPipeline")
    return not dotted.startswith("diffusers.") and class_ not in PIPELINES and not generic


def mark(walk: ScriptState, thing: Thing) -> None:
    """Make the model of a pipeline unknown to its later runs."""
    walk.set_pipe(thing, replace(walk.pipe(thing), foreign=True))


def mark_changed(walk: ScriptState, dotted: str, given: Arguments) -> None:
    """Mark the pipelines that an unknown function receives and, by its name, changes.

    Args:
        walk: the script so far
        dotted: the function
        given: what it receives
    """
    if not CHANGES.match(dotted.rpartition(".")[2]) or dotted.partition(".")[0] in HARMLESS:
        return
    for value in (*given.values, *given.named.values()):
        thing = _pipe_of(value)
        if thing is not None:
            mark(walk, thing)


def _pipe_of(value: Value) -> Thing | None:
    """Return the pipeline that a value is, or whose denoiser it is."""
    what = value.what
    if isinstance(what, ComponentValue) and what.role in DENOISERS:
        return what.of
    return what if isinstance(what, Thing) and what.kind == "pipe" else None
