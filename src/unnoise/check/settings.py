"""Settings of `check` for a project: `[tool.unnoise]` in pyproject.toml, or unnoise.toml.

select = ["UN4", "UN6"]                # only these
ignore = ["UN905"]
per-file = { "examples/*.py" = ["UN106"] }
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from unnoise.check.rule import Finding
from unnoise.errors import InputError, nearest
from unnoise.formats.json_text import toml_table
from unnoise.formats.open_file import read_text

FILES = ("unnoise.toml", "pyproject.toml")
KEYS = ("select", "ignore", "per-file")


@dataclass(frozen=True, slots=True)
class ProjectSettings:
    """Hold what a project selects and ignores.

    Args:
        select: ids of rules or their beginnings; empty for all
        ignore: rules to leave out
        per_file: rules to leave out, by a pattern of paths
        root: the folder that the patterns are relative to
    """

    select: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    per_file: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    root: Path = Path()

    def hides(self, finding: Finding) -> bool:
        """Return whether the project ignores this finding in its file."""
        path = Path(finding.place.path).absolute()
        inside = path.relative_to(self.root).as_posix() if self.root in path.parents else path.as_posix()
        names = (name for pattern, names in self.per_file.items() if fnmatch(inside, pattern) for name in names)
        return any(finding.rule.id.startswith(name) or finding.rule.name == name for name in names)


def settings_for(folder: Path) -> ProjectSettings:
    """Read the settings of the nearest file from `folder` upwards.

    Args:
        folder: where the search starts

    Returns:
        empty settings where there is no such file

    Raises:
        InputError: the file is not valid TOML, or has an unknown key
    """
    for parent in (folder.absolute(), *folder.absolute().parents):
        for name in FILES:
            table = _table(parent / name)
            if table is not None:
                return _settings(table, parent / name)
    return ProjectSettings()


def _table(path: Path) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    try:
        content = toml_table(read_text(path))
    except ValueError as error:
        raise InputError(f"{path}: cannot be read as TOML: {error}") from None
    if path.name == "pyproject.toml":
        tool = content.get("tool")
        return tool.get("unnoise") if isinstance(tool, dict) else None
    return content


def _settings(table: Any, path: Path) -> ProjectSettings:
    if not isinstance(table, dict):
        raise InputError(f"{path}: tool.unnoise {table!r}: must be a table")
    for key in table:
        if key not in KEYS:
            raise InputError(f"{path}: {key!r}: {nearest(key, KEYS)}")
    per_file = table.get("per-file", {})
    if not isinstance(per_file, dict):
        raise InputError(f"{path}: per-file {per_file!r}: must be a table of patterns, each with a list of rules")
    lists = {pattern: _names(names, f"{path}: per-file {pattern!r}") for pattern, names in per_file.items()}
    select, ignore = (_names(table.get(key, []), f"{path}: {key}") for key in ("select", "ignore"))
    return ProjectSettings(select, ignore, lists, path.parent)


def _names(value: Any, where: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise InputError(f'{where} {value!r}: must be a list of rules, such as ["UN4", "UN601"]')
    return tuple(value)
