"""Convert places between the script of a notebook, its cells and the lines of its file.

Rules see a notebook as one script. People read "cell 3, line 2"; code scanning and editors need the file's own line.
"""

import re
from collections.abc import Iterator
from dataclasses import replace
from json.decoder import scanstring  # type: ignore[attr-defined]  # undocumented

from unnoise.check.locate import json_span, placed
from unnoise.check.notebook import Cell, Notebook
from unnoise.check.rule import Finding
from unnoise.check.subject import Location

CELLS = "cells"
# A character of a JSON string: an escape, of one or of two halves, or itself.   Source: RFC 8259, section 7.
CHARACTER = re.compile(r"\\u[dD][89abAB][\da-fA-F]{2}\\u[dD][c-fC-F][\da-fA-F]{2}|\\u.{4}|\\.|[^\\]", re.DOTALL)
SEPARATORS = re.compile(r"[ \t\n\r,]*")


def in_cell(place: Location, notebook: Notebook | None) -> Location:
    """Convert a place in the script of a notebook to one in its cell, with the keys of the cell.

    Args:
        place: with lines of the script
        notebook: None for any other file, whose places stay

    Returns:
        the place
    """
    cell = notebook.cell_at(place.line) if notebook is not None and place.line is not None else None
    if cell is None or place.line is None:
        return place
    before = cell.start - 1
    end = None if place.end_line is None else min(place.end_line - before, len(cell.lines))
    return replace(place, keys=(CELLS, cell.number), line=place.line - before, end_line=end)


def cell_text(place: Location, notebook: Notebook | None) -> str | None:
    """Return the text of the cell of a place; None for any other place."""
    cell = _cell_of(place, notebook)
    return None if cell is None else cell.source


def in_file(finding: Finding, notebook: Notebook | None) -> Finding:
    """Convert the place of a finding in a cell to the lines and columns of the notebook's file.

    Args:
        finding: placed in a cell
        notebook: None for any other file, whose findings stay

    Returns:
        the finding
    """
    place, cell = finding.place, _cell_of(finding.place, notebook)
    if notebook is None or cell is None or place.line is None:
        return finding
    first = _offset(cell, place.line, place.column or 0)
    last = _offset(cell, place.end_line or place.line, place.end_column or 0)
    span = raw_span(notebook, cell, first, max(first, last))
    if span is None:
        span = source_span(notebook, cell)
    found = replace(place, line=None, column=None) if span is None else placed(place, notebook.raw, *span)
    return replace(finding, place=found)


def _cell_of(place: Location, notebook: Notebook | None) -> Cell | None:
    number = place.keys[1] if place.keys[:1] == (CELLS,) and len(place.keys) == 2 else None
    return notebook.cell(number) if notebook is not None and isinstance(number, int) else None


def _offset(cell: Cell, line: int, column: int) -> int:
    return sum(len(one) + 1 for one in cell.lines[: line - 1]) + column


def source_span(notebook: Notebook, cell: Cell) -> tuple[int, int] | None:
    """Find the source of a cell in the JSON of its notebook; None where it is not found."""
    try:
        return json_span(notebook.raw, (CELLS, cell.number, "source"))
    except (ValueError, IndexError, RecursionError):
        return None


def raw_span(notebook: Notebook, cell: Cell, start: int, end: int) -> tuple[int, int] | None:
    """Find a part of a cell in the JSON of its notebook.

    Args:
        notebook: the notebook
        cell: one of its cells
        start, end: offsets in the text of the cell

    Returns:
        offsets in the JSON; None where the text is written otherwise, such as with other line ends
    """
    span = source_span(notebook, cell)
    text, characters = "", []
    for at in _strings(notebook.raw, *span) if span is not None else ():
        decoded, after = scanstring(notebook.raw, at, False)
        characters += [one.span() for one in CHARACTER.finditer(notebook.raw, at, after - 1)]
        text += decoded
    if text != cell.source or len(characters) != len(text) or not 0 <= start < len(text) or end > len(text):
        return None
    return characters[start][0], characters[max(end, start + 1) - 1][1]


def _strings(raw: str, start: int, end: int) -> Iterator[int]:
    """List where the strings of a source begin, behind their quotes: one text, or one for each line."""
    at = start + (raw[start] == "[")
    while (match := SEPARATORS.match(raw, at)) and raw[match.end() : match.end() + 1] == '"' and match.end() < end:
        yield match.end() + 1
        at = scanstring(raw, match.end() + 1, False)[1]
