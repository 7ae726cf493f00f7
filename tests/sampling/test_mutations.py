"""Every fault put into a sampler is detected: see flips.py for the changes and the checks that must fail."""

import ast

import pytest

from sampling.flips import CHECKS, FOLDER, red, undetected


def test_every_file_is_covered() -> None:
    assert {path.stem for path in FOLDER.glob("*.py")} - {"__init__"} == set(CHECKS)


@pytest.mark.parametrize("file", CHECKS)
def test_every_fault_is_detected(file: str) -> None:
    assert not red(ast.parse((FOLDER / f"{file}.py").read_text()), file)
    count, survivors = undetected(file)
    assert count
    assert not survivors
