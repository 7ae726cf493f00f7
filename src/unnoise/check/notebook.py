"""A notebook whose code cells are read as one script."""

from bisect import bisect_right
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Cell:
    """Hold a code cell.

    Args:
        number: its index among all cells of the notebook, from 0
        start: its first line in the script of all cells, from 1
        source: its text
    """

    number: int
    start: int
    source: str

    @property
    def lines(self) -> list[str]:
        return self.source.split("\n")


@dataclass(frozen=True, slots=True)
class Notebook:
    """Hold a notebook.

    Args:
        raw: the JSON of its file
        cells: those in the script, in order
    """

    raw: str
    cells: tuple[Cell, ...]

    def cell_at(self, line: int) -> Cell | None:
        """Return the cell of a line of the script; None for a line between cells."""
        at = bisect_right([cell.start for cell in self.cells], line) - 1
        cell = self.cells[at] if at >= 0 else None
        return cell if cell is not None and line < cell.start + len(cell.lines) else None

    def cell(self, number: int) -> Cell | None:
        """Return the cell with an index among all cells; None where the script has no such cell."""
        return next((cell for cell in self.cells if cell.number == number), None)
