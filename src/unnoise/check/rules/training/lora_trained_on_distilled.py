"""A LoRA is trained directly on a model that is distilled to few steps.

Why: training on images teaches a denoiser, whose prediction is a mean; a student of few steps predicts the end of its
path. Within some hundred updates the LoRA takes the distillation back: images of 1 to 8 steps become blurred, and more
steps do not help. An adapter that undoes the distillation while training, and is left out afterwards, prevents it.
Shown: the base, and the steps that it was distilled to.
Instead: train on the teacher, and distil afterwards; or train with a de-distil adapter.
Fix: none; the teacher is another file.
Source: modelscope/DiffSynth-Studio#1486; ostris/zimage_turbo_training_adapter, model card. It is a note for FLUX.2
klein, which an example of diffusers trains on: examples/dreambooth/README_flux2.md.
"""

import ast
import re
from collections.abc import Iterator

from unnoise.check.examples import model, together, toml
from unnoise.check.rule import NOTE, WARN, Finding, Rule, Severity
from unnoise.check.subject import Location, NamedModel, Script, Subject
from unnoise.check.syntax import calls, names_in, nodes
from unnoise.families.own import base_card

RULE = Rule(id="UN516", name="lora-trained-on-distilled", severity=WARN)
ADAPTERS = ("assistant_lora_path", "base_weights", "training_adapter")  # settings that name a de-distil adapter
MOST = 30  # steps of a distilled base; the published examples of one with more are those of usual models
SHOWN = ("flux2",)  # families whose distilled models official examples train on
MADE = {"LoraConfig", "get_peft_model", "inject_adapter_in_model"}
# Words of scripts that keep the distillation: with an adapter, a teacher, or a reward in place of images.
KEPT = re.compile(
    r"training.?adapter|assistant_lora|de.?distill|teacher|reward|grpo|\bdpo\b|\bdmd|adversarial|lcm", re.I
)


def check(subject: Subject) -> Iterator[Finding]:
    for training in subject.trainings:
        base = training.base
        if base is not None and training.complete and not any(training.get(name) for name in ADAPTERS):
            yield from _on(base, base.place)
    if subject.script is not None and _trains_lora(subject.script):
        yield from _in_script(subject)
    for weights in subject.weights:
        base_of_lora = base_card(weights.header.metadata) if weights.lora else {}
        if base_of_lora.get("teacher"):
            yield _finding(weights.place, base_of_lora.get("name", "")[:100], "a base distilled to few steps")


def _on(base: NamedModel, place: Location) -> Iterator[Finding]:
    facts = base.facts
    if facts is not None and facts.distilled == "steps" and facts.steps is not None and facts.steps[1] <= MOST:
        grade = NOTE if base.identity.family in SHOWN else WARN
        yield _finding(place, base.name[:100], f"a base of {facts.steps[0]} to {facts.steps[1]} steps", grade)


def _in_script(subject: Subject) -> Iterator[Finding]:
    """Find the distilled base of a script whose models are all distilled."""
    models = [model for model in subject.models if model.facts]
    if models and all(model.facts and model.facts.distilled == "steps" for model in models):
        yield from _on(models[0], models[0].place)


def _trains_lora(script: Script) -> bool:
    """Return whether a script trains a LoRA on images: it makes one, and minimises a squared error."""
    names = {name for _, name in calls(script)}
    if not names & MADE or "backward" not in names or any(KEPT.search(line) for line in script.lines):
        return False
    return "mse_loss" in names or any(
        isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow) and "target" in names_in(node)
        for node in nodes(script.tree)
    )


def _finding(place: Location, name: str, measured: str, grade: Severity = WARN) -> Finding:
    message = f"{name} is distilled to few steps, and training on it takes the distillation back"
    expected, suggestion = "a base of 20 steps or more", "train on its teacher, distil afterwards"
    return Finding(RULE, place, message, measured, expected, suggestion, grade)


RECIPE = """
    name = "ink"
    base = "{base}"
    [data]
    source = "drawings"
    [lora]
    rank = 8
    [fit]
    steps = 500
    """


def bad() -> Subject:
    return together(model("fast.safetensors", steps=(1, 2, 4)), toml(RECIPE.format(base="fast.safetensors")))


def good() -> Subject:
    return together(model("base.safetensors"), toml(RECIPE.format(base="base.safetensors")))
