"""Trainings of sd-scripts in TOML: of a training, flat or in sections, or of data sets."""

from collections.abc import Iterator, Mapping
from typing import Any

from unnoise.check.read.dataset import datasets_of
from unnoise.check.read.trainers.describe import describe_training
from unnoise.check.subject import Located, Location, Subject

MOST = 200  # trainings of one file
KEYS = 2000  # settings of one training
Settings = dict[str, Located[Any]]


def read_toml(content: Mapping[str, Any], path: str, text: str) -> Subject:
    """Read a configuration of sd-scripts: of a training, flat or in sections, or of data sets."""
    if isinstance(content.get("datasets"), list):
        trainings = [describe_training(settings, Location(path)) for settings in _sets(content, path)]
    else:
        trainings = [describe_training(_flat(content, path), Location(path))]
    found = tuple(datasets_of(trainings, path))
    return Subject(path=path, tool="kohya", trainings=tuple(trainings), datasets=found, texts={path: text})


def _flat(content: Mapping[str, Any], path: str) -> Settings:
    """Join the sections of a configuration into one, as sd-scripts does; the last value of a key counts."""
    settings: Settings = {}
    for key, value in list(content.items())[:KEYS]:
        if isinstance(value, dict):
            inner = list(value.items())[:KEYS]
            settings |= {name: Located(item, Location(path, (key, name))) for name, item in inner}
        else:
            settings[key] = Located(value, Location(path, (key,)))
    return settings


def _sets(content: Mapping[str, Any], path: str) -> Iterator[Settings]:
    """Return the settings of each subset, with those of its data set and of [general]."""
    general = _settings(content.get("general"), Location(path, ("general",)))
    left = MOST
    for i, one in enumerate(content["datasets"][:MOST]):
        common = general | _settings(one, Location(path, ("datasets", i)))
        subsets = one.get("subsets") if isinstance(one, dict) else None
        for j, subset in enumerate(subsets[:left] if isinstance(subsets, list) else []):
            left -= 1
            yield common | _settings(subset, Location(path, ("datasets", i, "subsets", j)))


def _settings(table: Any, at: Location) -> Settings:
    if not isinstance(table, dict):
        return {}
    plain = [(key, value) for key, value in list(table.items())[:KEYS] if key != "subsets"]
    return {key: Located(value, Location(at.path, (*at.keys, key))) for key, value in plain}
