"""Read the code cells of a Jupyter notebook as one script. A cell that is not Python is left out."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from unnoise.check.notebook import Cell, Notebook
from unnoise.check.read.notebook_commands import with_shell
from unnoise.check.read.python.ipython import as_python, is_python
from unnoise.check.read.python.parse import Unparsed, parse
from unnoise.check.read.script import follow, too_long
from unnoise.check.subject import Location, ReadFault, Subject, Trouble
from unnoise.formats.json_text import json_value

CELLS = 10_000
BETWEEN, AROUND = "#", "if True:"  # the line before a cell; AROUND where the whole cell is indented


@dataclass(frozen=True, slots=True)
class CellText:
    """Hold a code cell as Python.

    Args:
        before: the line before it
        text: with an empty line for each that is not Python
        message: why it is left out; empty where it is read
        line: the first that is not Python, from 1
    """

    before: str
    text: str
    message: str = ""
    line: int = 1


def read_notebook(text: str, path: str) -> Subject:
    """Read a notebook.

    Args:
        text: JSON
        path: of the file

    Returns:
        its cells as one script, in whose lines all places are; a fault for each cell that is left out
    """
    try:
        content = json_value(text, strict=False)
    except (ValueError, RecursionError) as error:
        return _faulty(path, "broken", f"is not a notebook: {error}")
    cells = content.get("cells") if isinstance(content, dict) else None
    if not isinstance(cells, list):
        return _faulty(path, "broken", "is not a notebook: it has no cells")
    language = _language(content)
    if language not in ("", "python", "ipython"):
        return _faulty(path, "unknown", f"is a notebook of {language}")
    return _joined(cells, text, path)


def _faulty(path: str, kind: Trouble, message: str) -> Subject:
    return Subject(path=path, faults=(ReadFault(kind, Location(path), message[:300]),))


def _language(content: dict[str, Any]) -> str:
    """Return the language of a notebook in lower case; "" where it is not stated."""
    metadata = content.get("metadata")
    for key, name in (("language_info", "name"), ("kernelspec", "language")):
        table = metadata.get(key) if isinstance(metadata, dict) else None
        if isinstance(table, dict) and isinstance(table.get(name), str):
            return table[name].lower().rstrip("0123456789")
    return ""


def _joined(cells: Sequence[object], raw: str, path: str) -> Subject:
    """Read the cells as one script."""
    sources = [(number, source) for number, cell in enumerate(cells[:CELLS]) if (source := _source(cell)).strip()]
    if (fault := too_long("".join(source for _, source in sources), path)) is not None:
        return fault
    shown: list[str] = []
    read: list[str] = []
    found: list[Cell] = []
    faults: list[ReadFault] = []
    for number, source in sources:
        cell = _python(source)
        found.append(Cell(number, len(shown) + 2, source))
        if cell.message:
            message = f"cell {number + 1} {cell.message}; the other cells are checked"
            faults.append(ReadFault("partial", Location(path, line=found[-1].start + cell.line - 1), message))
        shown += [cell.before, *source.split("\n")]
        read += [cell.before, *cell.text.split("\n")]
    notebook = Notebook(raw, tuple(found))
    try:
        tree = parse("\n".join(read) + "\n")
    except Unparsed as error:  # too much nesting in all of them together
        return replace(_faulty(path, error.kind, error.message), notebook=notebook)
    subject = with_shell(follow(tree, "\n".join(shown) + "\n", path), found, shown)
    return replace(subject, faults=(*faults, *subject.faults), notebook=notebook)


def _source(cell: object) -> str:
    """Return the text of a code cell; "" for any other."""
    if not isinstance(cell, dict) or cell.get("cell_type") != "code":
        return ""
    source = cell.get("source")
    if isinstance(source, list):
        source = "".join(part for part in source if isinstance(part, str))
    return source.replace("\r\n", "\n").replace("\r", "\n") if isinstance(source, str) else ""


def _python(source: str) -> CellText:
    """Return a cell as Python, or without a text where it is not Python."""
    nothing = "\n" * source.count("\n")
    if not is_python(source):
        return CellText(BETWEEN, nothing)
    text = as_python(source)
    before = AROUND if _is_indented(text) else BETWEEN
    try:
        parse(f"{before}\n{text}")
    except Unparsed as error:
        return CellText(BETWEEN, nothing, error.message, max(1, (error.line or 2) - 1))
    return CellText(before, text)


def _is_indented(text: str) -> bool:
    """Return whether the first line of code is indented, which IPython allows; that of a comment has no meaning."""
    code = (line for line in text.split("\n") if line.strip() and not line.lstrip().startswith("#"))
    return next(code, "")[:1] in (" ", "\t")
