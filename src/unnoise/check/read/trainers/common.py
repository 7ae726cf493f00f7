"""Give settings of a trainer the names that sd-scripts has for them, so that a rule reads one name."""

from collections.abc import Mapping
from typing import Any

from unnoise.check.read.flat import Settings
from unnoise.check.read.trainers.describe import LETTERS, trained_base
from unnoise.check.subject import Located, Location, NamedModel, Subject, Tool, Training
from unnoise.families.identity import Identity


def with_common_names(settings: Settings, names: Mapping[str, str]) -> Settings:
    """Add settings under the names of sd-scripts.

    Args:
        settings: under the dotted keys of the file
        names: of sd-scripts by those keys; of several for one name the first that is stated counts

    Returns:
        all settings; "resolution" is the largest one, where images are sorted into several
    """
    found: Settings = {}
    for key, name in names.items():
        setting = settings.get(key)
        if setting is not None and setting.value is not None and name not in found:
            found[name] = _largest(setting) if name == "resolution" else setting
    return {**{key: value for key, value in settings.items() if key not in set(names.values())}, **found}


def _largest(setting: Located[Any]) -> Located[Any]:
    """Return the largest of several resolutions, each of a square."""
    value = setting.value
    listed = value.split(",") if isinstance(value, str) else value if isinstance(value, list) else [value]
    sides = [int(str(side)) for side in listed if str(side).strip().isdecimal() and len(str(side)) < 10]
    return Located(max(sides), setting.place) if sides and len(sides) == len(listed) else setting


def base_of(named: Located[Any] | None, family: str, trainer: str) -> NamedModel | None:
    """Describe the base that a setting names.

    Args:
        named: the setting
        family: that other settings state; "" where they do not
        trainer: the setting that states it

    Returns:
        None where neither is stated
    """
    name = named.value[:LETTERS] if named is not None and isinstance(named.value, str) else ""
    if named is None or not (name or family):
        return None
    identity = trained_base(name, family, trainer) if name else Identity(family, known_by=f"trained with {trainer}")
    return NamedModel(name, named.place, identity)


def subject_of(tool: Tool, settings: Settings, base: NamedModel | None, text: str, complete: bool = True) -> Subject:
    """Return the subject of a file that configures one training."""
    path = next((setting.place.path for setting in settings.values()), "")
    training = Training(Location(path), tool, settings, base, complete=complete)
    return Subject(path=path, tool=tool, trainings=(training,), texts={path: text})
