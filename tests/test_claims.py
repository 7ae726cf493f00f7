"""The numbers on the pages are those that the program, the card of the embedded model and the recipes have."""

import re
import tomllib
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, get_args

import pytest

import unnoise
from unnoise.card import Card, read_card
from unnoise.check.catalogue import rules
from unnoise.diffusion.process import Schedule
from unnoise.embedded import find
from unnoise.sampling.registry import GRIDS, SAMPLERS

ROOT = Path(__file__).resolve().parents[1]
NUMBERS = re.compile(r"(?<![\w.])\d[\d,]*(?:\.\d+)?")


@cache
def card() -> Card:
    return read_card(find("emoji"))


def fact(name: str, measured: bool = False) -> Any:
    table: Mapping[str, Any] = card().training
    return (table["figures"] if measured else table)[name]


def megabytes() -> str:
    return f"{find('emoji').stat().st_size / 1e6:.1f}"


def percent(name: str) -> Callable[[], str]:
    return lambda: f"{100 * fact(name, measured=True):.0f}"


def rounded(name: str, digits: int) -> Callable[[], str]:
    return lambda: f"{fact(name, measured=True):.{digits}f}"


def training_steps() -> str:
    return f"{fact('steps'):,}"


def training_minutes() -> str:
    return f"{(fact('denoiser_seconds') + fact('autoencoder_seconds')) / 60:.0f}"


# Page, a pattern whose group is the number, and the number as a command prints it.
CLAIMS: tuple[tuple[str, str, Callable[[], str]], ...] = (
    ("README.md", r"\| (\d+) samplers and \d+ schedules", lambda: str(len(SAMPLERS))),
    ("README.md", r"\| \d+ samplers and (\d+) schedules", lambda: str(len(GRIDS))),
    ("README.md", r"VP \((\d+) noise schedules", lambda: str(len(get_args(Schedule)))),
    ("README.md", r"\| (\d+) rules that find", lambda: str(len(rules()))),
    ("README.md", r"its \[(\d+) rules\]", lambda: str(len(rules()))),
    ("README.md", r"model of (\d+) MB", lambda: f"{float(megabytes()):.0f}"),
    ("README.md", r"all weights \| ([\d.]+) MB", megabytes),
    ("README.md", r"nearest of all ([\d,]+) images", lambda: f"{fact('pictures'):,}"),
    ("README.md", r"names of (\d+) embedded emoji", lambda: str(fact("n", measured=True))),
    ("README.md", r"is the named one \| (\d+) %", percent("named_by_picture")),
    ("README.md", r"drawn by concept \| (\d+) %", percent("named_by_concept")),
    ("README.md", r"not in the training set \| (\d+) %", percent("background")),
    ("README.md", r"0 is a copy \| ([\d.]+) \|", rounded("ratio_by_picture", 2)),
    ("README.md", r"over all images \| ([\d.]+) dB", rounded("psnr", 1)),
    ("README.md", r"took (\d+) minutes", training_minutes),
    ("docs/models/emoji.md", r"float16, ([\d.]+) MB", megabytes),
    ("docs/models/emoji.md", r"of ([\d,]+) concepts", lambda: f"{fact('concepts'):,}"),
    ("docs/models/emoji.md", r"([\d,]+) steps of 96", training_steps),
    ("docs/models/emoji.md", r"steps of (\d+) \(345", lambda: str(fact("batch"))),
    ("docs/models/emoji.md", r"345,600 images\), ([\d,]+) s", lambda: f"{fact('denoiser_seconds'):,.0f}"),
    ("docs/models/emoji.md", r"51,200 images\), ([\d,]+) s", lambda: f"{fact('autoencoder_seconds'):,.0f}"),
    ("docs/models/emoji.md", r"the card: (\d+) steps", lambda: str(card().advice.steps)),
    ("docs/models/emoji.md", r"guidance scale ([\d.]+), the", lambda: f"{card().advice.guidance_scale:g}"),
    ("docs/models/emoji.md", r"nearest of all \| (\d+) %", percent("named_by_picture")),
    ("docs/models/emoji.md", r"held out of training \| (\d+) %", percent("background")),
    ("docs/models/emoji.md", r"ratio: ([\d.]+) for", rounded("ratio_by_concept", 2)),
)  # fmt: skip
# Numbers on the first page that no command prints, with where they stand.
SAID = {
    "README.md": {
        "3.11": "the oldest Python, in pyproject.toml",
        "64": "sizes of the card",
        "7": "seeds of the examples",
        "20": "a guidance scale as an example",
        "3": "Stable Diffusion 1 to 3",
        "1": "Stable Diffusion 1 to 3, FLUX.1",
        "2": "UN402 in an example",
        "2.5": "Playground 2.5",
        "0": "a copy has the distance 0",
        "2.0": "Apache-2.0",
        "3.0": "Unicode-3.0",
    }
}


@pytest.mark.parametrize(("page", "pattern", "value"), CLAIMS, ids=lambda one: one if isinstance(one, str) else "")
def test_a_page_states_what_the_program_has(page: str, pattern: str, value: Callable[[], str]) -> None:
    text = " ".join((ROOT / page).read_text(encoding="utf-8").split())
    found = re.findall(pattern, text)
    assert found, f"{page} no longer says {pattern!r}; change the table"
    assert set(found) == {value()}


def test_every_number_of_the_first_page_is_checked_or_explained() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for pattern in (r"^```.*?^```$", r"`[^`]*`", r"\]\([^)]*\)", r"^\[[^]]*\]:.*$"):
        text = re.sub(pattern, " ", text, flags=re.MULTILINE | re.DOTALL)
    known = {value() for page, _, value in CLAIMS if page == "README.md"} | SAID["README.md"].keys()
    unknown = [number for number in NUMBERS.findall(text) if number.rstrip(",") not in known]
    assert not unknown, f"numbers that no test compares: {unknown}"


def test_the_version_is_stated_once() -> None:
    assert unnoise.__version__ == tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
