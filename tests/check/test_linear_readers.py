"""Readers of untrusted text take linear time: four times as long a text takes no more than about four times as long.

A regular expression that tries every place of a text from every other takes sixteen times as long.
"""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from time import process_time

import pytest
from clock import reference

from unnoise.check.engine import judge
from unnoise.check.locate import json_span, toml_span
from unnoise.check.read.dispatch import read_text
from unnoise.check.suppress import COMMENT
from unnoise.errors import InputError, shortened
from unnoise.families.file_names import stated_side
from unnoise.families.names import by_checkpoint, by_name
from unnoise.text.prompt_syntax import found
from unnoise.text.prompt_weighting import stretches
from unnoise.text.tokenizer import WORD

PIECES = [
    " ", "a", "a ", ":", "a:", "a: \"\\\",", ",", "\"", "\\\"", "'", "(", "((", "[", "]", "\\", "<", "<lora:",
    "\n", "a\n", "\r", "\t", "=", "a=", "a=1\n", "#", "# unnoise: ignore[", "-", "--a ", "--a=", "$", "${a", "%a",
    "a.", "0", "0:", "1x", "_", "BREAK ", "embedding:", "Steps: ", "steps: 1, sampler: ", "negative prompt: ",
    "|", "`", "{", "é", "sd", "xl-", "a='", "(a:", "a,(",
]  # fmt: skip
LETTERS = 4_000
FLOOR = 6.0  # million turns of an empty loop, below which a time is not compared
HEAD = "Steps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1, Size: 512x512, Model: m"


def checked(name: str, form: str) -> Callable[[str], object]:
    return lambda text: judge(read_text(form.replace("@", text), Path(name)))


def weighted(text: str) -> None:
    found(text)
    with suppress(InputError):
        stretches(text)


READERS: dict[str, Callable[[str], object]] = {
    "infotext": checked("a.txt", f"p\n{HEAD}, @"),
    "prompt": checked("a.txt", f"@\nNegative prompt: @\n{HEAD}"),
    "model": checked("a.txt", f"p\n{HEAD}@"),
    "command": checked("a.sh", "A=1\naccelerate launch train_network.py --network_dim=4 --learning_rate=$A @"),
    "assignments": checked("a.sh", "@\naccelerate launch train_network.py --network_dim=4"),
    "array": checked("a.sh", 'A=(@)\naccelerate launch train_network.py ${A[@]} "${A[@]}"'),
    "branches": checked("a.sh", "if [ @ ]; then\n A=@\nfi\ncase $1 in\n @) A=1 ;;\nesac\n$A train_network.py"),
    "powershell": checked("a.ps1", "$a = @\npython train_network.py $a --network_dim=4 `\n @"),
    "yaml": checked("a.yaml", "job: a\nconfig:\n  process:\n    - train:\n        lr: 1\n      @\n@"),
    "script": checked("a.py", "import diffusers\n# @"),
    "toml": checked("a.toml", "network_dim = 4\nmax_train_steps = 1\n@"),
    "json": checked("a.json", '{"1": {"class_type": "KSampler", "inputs": {"cfg": 90}}, @'),
    "toml-span": lambda text: toml_span(text, ("a", "b")),
    "json-span": lambda text: json_span(f'{{"b": [], "a": {{"c": 1}} {" " * len(text)}}}', ("a", "c")),
    "comment": lambda text: COMMENT.search(text),
    "family": by_name,
    "checkpoint": by_checkpoint,
    "side": stated_side,
    "weights beside": checked("a.txt", f'p\n{HEAD}, Lora weights: "@"'),
    "fooocus": checked("a.json", '{"base_model": "@", "performance": "", "resolution": "@", "sampler": "@"}'),
    "swarmui": checked("a.json", '{"sui_image_params": {"model": "@", "loras": "@", "loraweights": "@"}}'),
    "weights": weighted,
    "words": WORD.findall,
    "message": lambda text: shortened(f"a: {text}"),
}


def spent(read: Callable[[str], object], text: str) -> float:
    start = process_time()
    read(text)
    return (process_time() - start) / reference()


@pytest.mark.parametrize("name", READERS)
def test_four_times_the_text_takes_four_times_as_long(name: str) -> None:
    read = READERS[name]
    for piece in PIECES:
        for start, end in (("", "!"), ('"', "x")):
            short, long = (start + piece * (n // len(piece)) + end for n in (LETTERS, 4 * LETTERS))
            took = spent(read, long)
            if took > FLOOR:
                took = min(took, spent(read, long))
                assert took < max(FLOOR, 9 * spent(read, short)), f"{name}: {piece!r} took {took:.1f}"


def test_the_measure_finds_a_quadratic_reader() -> None:
    def read(text: str) -> None:
        for place in range(0, len(text), 2):
            text[place:].isspace()
            sum(map(len, text[place::4]))

    assert spent(read, " " * 4 * LETTERS) > max(FLOOR, 9 * spent(read, " " * LETTERS))
