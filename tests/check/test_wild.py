"""Files in the manner of the wild, in the pages of wild/, each with the findings it must have; half of them are clean.

A heading names a file, the line under it the rules that must find something, "clean" for none; no other rule may
find anything above a note. The block is the file: a picture with this text or these chunks, a notebook with cells
after `# %%`, or weights by the type, shape and value of their tensors. A smaller heading adds a file in one folder.
"""

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

import unnoise
from unnoise.check.catalogue import rules
from unnoise.check.rule import NOTE

HOME = Path(__file__).parent / "wild"
HEADING = re.compile(r"^(##+) (\S+)$", re.MULTILINE)
BLOCK = re.compile(r"^```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)
DTYPES = {"F32": np.float32, "F16": np.float16, "I64": np.int64}


@dataclass
class WildFile:
    """Hold a file of a page, with the rules that must find something and the files beside it."""

    name: str
    must: frozenset[str]
    text: str
    beside: list["WildFile"] = field(default_factory=list)

    def __str__(self) -> str:
        return self.name


def page(path: Path) -> list[WildFile]:
    """Read the files of a page."""
    found: list[WildFile] = []
    _, *parts = HEADING.split(path.read_text(encoding="utf-8"))
    for level, name, body in zip(parts[::3], parts[1::3], parts[2::3], strict=True):
        block = BLOCK.search(body)
        assert block is not None, f"{path.name}: {name} has no block"
        stated = body[: block.start()].strip().partition(":")[0].split()
        must = frozenset(stated) - {"clean"}
        file = WildFile(name, must, block[1])
        if level == "##":
            assert stated, f"{path.name}: {name} states no findings"
            found.append(file)
        else:
            found[-1].beside.append(file)
    return found


PAGES = {path.stem: page(path) for path in sorted(HOME.glob("*.md")) if path.stem != "README"}
FILES = [file for files in PAGES.values() for file in files]


def write(file: WildFile, folder: Path) -> Path:
    """Write a file in its format."""
    path = folder / file.name
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".png":
        chunks = PngImagePlugin.PngInfo()
        for key, held in (json.loads(file.text) if file.text[0] == "{" else {"parameters": file.text.strip()}).items():
            chunks.add_text(key, held if isinstance(held, str) else json.dumps(held))
        Image.new("RGB", (8, 8)).save(path, pnginfo=chunks)
    elif path.suffix == ".ipynb":
        path.write_text(json.dumps(notebook(file.text)))
    elif path.suffix == ".safetensors":
        weights(path, json.loads(file.text))
    else:
        path.write_text(file.text)
    return path


def notebook(text: str) -> dict[str, Any]:
    cells = [cell.strip("\n").splitlines(keepends=True) for cell in re.split(r"^# %%$\n", text, flags=re.MULTILINE)]
    code = {"cell_type": "code", "metadata": {}, "outputs": [], "execution_count": None}
    return {"cells": [code | {"source": cell} for cell in cells if cell], "nbformat": 4, "nbformat_minor": 5}


def weights(path: Path, tensors: dict[str, Any]) -> None:
    """Write tensors that are one value throughout, such as ["F16", [4, 320], 0.01]."""
    entries: dict[str, Any] = {}
    at, data = 0, b""
    for name, held in tensors.items():
        if name == "__metadata__":
            entries[name] = held
            continue
        dtype, shape, number = held
        raw = np.full(shape, number, DTYPES[dtype]).tobytes()
        entries[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + len(raw)]}
        at, data = at + len(raw), data + raw
    head = json.dumps(entries).encode()
    path.write_bytes(len(head).to_bytes(8, "little") + head + data)


@pytest.mark.parametrize("file", FILES, ids=str)
def test_findings_of_a_file(file: WildFile, tmp_path: Path) -> None:
    for one in file.beside:
        write(one, tmp_path)
    path = write(file, tmp_path)
    found = unnoise.check(tmp_path if file.beside else path)
    shown = {one.rule.id: f"{one.rule.id} {one.message}: {one.measured}, expected {one.expected}" for one in found}
    loud = {one.rule.id for one in found if one.grade > NOTE}
    assert not [shown[id] for id in sorted(loud - file.must)], "must not be found"
    assert not sorted(file.must - shown.keys()), "must be found"


def test_the_pages_are_whole() -> None:
    names = [file.name for file in FILES]
    assert len(names) == len(set(names)) >= 150
    clean = sum(not file.must for file in FILES)
    assert 0.45 < clean / len(FILES) < 0.6
    known = {one.rule.id for one in rules()}
    assert set().union(*(file.must for file in FILES)) <= known
