"""Describe a training by its settings: its tool, and its base by a name, a script or a switch."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from unnoise.check.read.trainers.scripts import NETWORKS, SD_SCRIPTS, family_of, is_script
from unnoise.check.subject import Located, Location, NamedModel, Tool, Training
from unnoise.families.identity import Identity
from unnoise.families.names import by_checkpoint, by_name

# Settings that name the model that is trained; the last two are those of Kandinsky 2.2 and Wuerstchen.
BASES = (
    "pretrained_model_name_or_path", "pretrained_decoder_model_name_or_path", "pretrained_prior_model_name_or_path",
)  # fmt: skip
LETTERS = 1000  # of a name
EXAMPLES_OWN = frozenset({"placeholder_token", "initializer_token", "learnable_property"})  # options of diffusers alone


def describe_training(
    settings: Mapping[str, Located[Any]], place: Location, script: str = "", complete: bool = True
) -> Training:
    """Describe a training of sd-scripts or diffusers.

    Args:
        settings: under the names of the tool
        place: of the command or the file
        script: that the command runs
        complete: all settings are known

    Returns:
        the training; its base is None where no setting names it
    """
    example = (is_script(script) and script not in SD_SCRIPTS) or not EXAMPLES_OWN.isdisjoint(settings)
    tool: Tool = "diffusers" if example else "kohya"
    setting = next((settings[key] for key in BASES if key in settings and isinstance(settings[key].value, str)), None)
    base = None
    if setting is not None:
        base = NamedModel(setting.value[:LETTERS], setting.place, _base(setting.value[:LETTERS], settings, script))
    return Training(place, tool, settings, base, script, complete)


def _base(name: str, settings: Mapping[str, Located[Any]], script: str) -> Identity:
    """Identify a base by its published name, else by its training script, else by the name of a fine-tune."""
    published = by_name(name)
    if published.known:  # the teacher of a distillation has its student's name, but not its steps
        return replace(published, variant="") if "teacher" in name.lower() else published
    network = value_of(settings, "network_module")
    family = family_of(script) or NETWORKS.get(str(network), "")
    if family == "flux1" and value_of(settings, "model_type") == "chroma":
        return Identity("chroma", known_by="--model_type chroma")
    return trained_base(name, family, script or str(network)) if family else _of_unknown_script(name, settings, script)


def _of_unknown_script(name: str, settings: Mapping[str, Located[Any]], script: str) -> Identity:
    if value_of(settings, "v2") is True:
        return Identity("sd2", known_by="--v2")
    named = by_checkpoint(name)
    if named.known or script not in SD_SCRIPTS:
        return named
    return Identity("sd1", known_by=f"{script} without --v2")


def trained_base(name: str, family: str, trainer: str) -> Identity:
    """Identify a base that a trainer takes for a family.

    Args:
        name: of the base
        family: that the trainer or its settings state; "" where they do not
        trainer: what states the family

    Returns:
        the base by its name, unless that is only like those of another family
    """
    published, named = by_name(name), by_checkpoint(name)
    if published.known or not family or named.family == family:
        return published if published.known else named
    return Identity(family, known_by=f"trained with {trainer}")


def value_of(settings: Mapping[str, Located[Any]], key: str) -> Any:
    """Return the value of a setting; None where it is not stated."""
    setting = settings.get(key)
    return setting.value if setting else None
