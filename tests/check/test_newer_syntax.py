"""Syntax newer than the running Python is rewritten: what is left has the lines and columns of the text."""

import ast
import sys

import pytest

from unnoise.check.engine import judge
from unnoise.check.examples import script
from unnoise.check.read.python.newer_syntax import older_syntax
from unnoise.check.read.python.parse import Unparsed, parse

NEWER = [
    ("f\"{name.replace('\\n', ' ')}\"", (3, 12)),
    ('f"{table["key"]}"', (3, 12)),
    ('f"{f"{f"{x}"}"}"', (3, 12)),
    ('"a" f"{table["key"]!r:>{width}}" "b"', (3, 12)),
    ('rf"\\d{table["key"]}"', (3, 12)),
    ('f"""\n{table["""k"""]}\n"""', (3, 12)),
    ('print(f"{\n    x  # of the batch\n}", 1)', (3, 12)),
    ('f"\\N{EM DASH} {{ {table["key"]} }}"', (3, 12)),
    ("def first[T](items: list[T]) -> T:\n    return items[0]", (3, 12)),
    ("class Box[T: (int, str)](Base):\n    x: T", (3, 12)),
    ("async def go[*Ts, **P](*args):\n    pass", (3, 12)),
    ("type Size = tuple[int, int]", (3, 12)),
    ("type Pair[T] = tuple[T, T]", (3, 12)),
    ("class Box[T = int]:\n    pass", (3, 13)),
    ("try:\n    pass\nexcept ValueError, TypeError:\n    pass", (3, 14)),
    ('page = t"<p>{text}</p>"', (3, 14)),
    ("lazy import json", (3, 15)),
    ("lazy from os import path", (3, 15)),
]


@pytest.mark.parametrize(("text", "version"), NEWER)
def test_newer_syntax_is_parsed_with_its_places(text: str, version: tuple[int, int]) -> None:
    if sys.version_info < version:
        with pytest.raises(SyntaxError):
            ast.parse(text)
        rewritten = older_syntax(text)
        assert [len(line) for line in rewritten.split("\n")] == [len(line) for line in text.split("\n")]
    tree = parse(f"{text}\nlast = 1\n")
    assert isinstance(tree.body[-1], ast.Assign)
    assert tree.body[-1].lineno == text.count("\n") + 2


def test_calls_beside_newer_syntax_are_checked() -> None:
    subject = script("""
        from diffusers import StableDiffusionXLPipeline
        type Images = list[object]
        pipe = StableDiffusionXLPipeline.from_pretrained("stabilityai/sdxl-turbo")
        def draw[T](prompt: T) -> Images:
            return pipe(f"{prompt["text"]}", num_inference_steps=40, guidance_scale=0.0)
    """)
    assert not subject.faults
    (one,) = judge(subject)
    assert (one.rule.id, one.place.line) == ("UN122", 5)
    assert subject.script is not None
    assert subject.script.lines[4][one.place.column : one.place.end_column] == "40"


@pytest.mark.parametrize("text", ["x = = 1", 'f"{x', "def f[T(x): pass", 'f"{a["k"]}"\nx = (', "type X = = 1"])
def test_what_no_python_knows_is_broken(text: str) -> None:
    with pytest.raises(Unparsed) as caught:
        parse(text)
    assert caught.value.kind == "broken"
    assert caught.value.line == text.count("\n") + 1


def test_what_a_newer_python_may_know_is_a_note() -> None:
    if sys.version_info >= (3, 12):
        return
    subject = script('from diffusers import FluxPipeline\nx = f"{\n1\n}".strip()\n')
    assert [fault.kind for fault in subject.faults] == ["partial"]
    (one,) = judge(subject)
    assert one.grade.name == "NOTE"


@pytest.mark.parametrize("piece", ["f'{", "f'''{", "f\"{f'", "f'{x:", "(", "'", "\\\n", "f'{{", "#"])
def test_hostile_texts_take_linear_time(piece: str) -> None:
    assert len(older_syntax(piece * 5_000)) == 5_000 * len(piece)
