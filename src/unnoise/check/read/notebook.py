"""Read the code cells of a Jupyter notebook as one script."""

from dataclasses import fields, is_dataclass, replace
from typing import Any

from unnoise.check.read.script import read_script
from unnoise.check.subject import Location, ReadFault, Subject
from unnoise.formats.json_text import json_value

CELLS = 10_000
MAGIC = ("%", "!", "?")


def read_notebook(text: str, path: str) -> Subject:
    """Read a notebook; places have the cell and the line in it."""
    try:
        content = json_value(text, strict=False)
    except (ValueError, RecursionError) as error:
        return _faulty(path, f"is not a notebook: {error}")
    cells = content.get("cells") if isinstance(content, dict) else None
    if not isinstance(cells, list):
        return _faulty(path, "is not a notebook: it has no cells")
    lines: list[str] = []
    starts: list[tuple[int, int]] = []
    for number, cell in enumerate(cells[:CELLS]):
        source = _source(cell)
        if source:
            starts.append((len(lines) + 1, number))
            lines += source
    subject = read_script("\n".join(lines) + "\n", path)
    return replace(_placed(subject, starts), texts={})


def _faulty(path: str, message: str) -> Subject:
    return Subject(path=path, faults=(ReadFault("broken", Location(path), message[:300]),))


def _source(cell: object) -> list[str]:
    """Return the lines of a code cell, with lines that are not Python as empty comments."""
    if not isinstance(cell, dict) or cell.get("cell_type") != "code":
        return []
    source = cell.get("source")
    if isinstance(source, list):
        source = "".join(part for part in source if isinstance(part, str))
    if not isinstance(source, str) or source.lstrip().startswith("%%"):
        return []
    return [_python(line) for line in source.replace("\r\n", "\n").replace("\r", "\n").split("\n")]


def _python(line: str) -> str:
    bare = line.lstrip()
    if not bare.startswith(MAGIC) and not bare.rstrip().endswith("?"):
        return line
    return f"{line[: len(line) - len(bare)]}pass"


def _placed(value: Any, starts: list[tuple[int, int]]) -> Any:
    """Return a subject whose places count lines within a cell, with the cell in their keys."""
    if isinstance(value, Location):
        first, cell = next(((at, cell) for at, cell in reversed(starts) if at <= (value.line or 0)), (0, 0))
        if value.line is None or not first:
            return value
        before, last = first - 1, (value.end_line or value.line)
        return replace(value, keys=("cells", cell), line=value.line - before, end_line=last - before)
    if isinstance(value, tuple):
        return tuple(_placed(item, starts) for item in value)
    if isinstance(value, dict):
        return {key: _placed(item, starts) for key, item in value.items()}
    if is_dataclass(value) and not isinstance(value, type) and type(value).__module__ == Location.__module__:
        if type(value).__name__ == "Script":
            return value
        return replace(value, **{entry.name: _placed(getattr(value, entry.name), starts) for entry in fields(value)})
    return value
