"""No fault in a sampler goes unseen: see flips.py for what is changed, and what must then fail."""

import ast

import pytest

from sampling.flips import CHECKS, FOLDER, red, unseen


def test_every_file_is_covered() -> None:
    assert {path.stem for path in FOLDER.glob("*.py")} - {"__init__"} == set(CHECKS)


@pytest.mark.parametrize("file", CHECKS)
def test_a_fault_is_seen(file: str) -> None:
    assert not red(ast.parse((FOLDER / f"{file}.py").read_text()), file)
    count, survivors = unseen(file)
    assert count
    assert not survivors
