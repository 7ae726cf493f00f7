"""Scenes of two or three things: where each is, and the words that say so."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from unnoise.data.grammar import described, listed, plural, with_article

Place = tuple[float, float, float]  # right and down of the centre, as shares of the side, and scale


@dataclass(frozen=True, slots=True)
class Relation:
    """Two things and how they are arranged.

    Args:
        first, second: their places.
        words: phrases, `{a}` the first with its article, `{b}` the second.
        adjectives: the sizes that the phrases name, of the first and of the second; empty where they name none.
    """

    first: Place
    second: Place
    words: tuple[str, ...]
    adjectives: tuple[str, str] = ("", "")


HALF, SMALL, LARGE = 0.54, 0.36, 0.68
RELATIONS: Final = (
    Relation(
        (-0.24, 0.0, HALF),
        (0.24, 0.0, HALF),
        ("{a} next to {b}", "{a} beside {b}", "{a} and {b}", "{a} to the left of {b}", "{a} with {b}"),
    ),
    Relation((0.24, 0.0, HALF), (-0.24, 0.0, HALF), ("{a} to the right of {b}",)),
    Relation((0.0, -0.24, HALF), (0.0, 0.24, HALF), ("{a} above {b}", "{a} over {b}", "{a} on top of {b}")),
    Relation((0.0, 0.24, HALF), (0.0, -0.24, HALF), ("{a} under {b}", "{a} below {b}")),
    Relation((0.0, 0.32, SMALL), (0.0, -0.16, LARGE), ("{a} under {b}", "{a} below {b}"), ("small", "big")),
    Relation((-0.32, 0.0, SMALL), (0.16, 0.0, LARGE), ("{a} next to {b}", "{a} beside {b}"), ("small", "big")),
    Relation((-0.16, 0.0, LARGE), (0.32, 0.0, SMALL), ("{a} next to {b}", "{a} and {b}"), ("big", "small")),
)
SHARES: Final = (0.4, 0.1, 0.2, 0.1, 0.08, 0.06, 0.06)  # of the relations
TWO: Final = ((-0.24, 0.0, HALF), (0.24, 0.0, HALF))
THREE: Final = ((0.0, -0.24, 0.48), (-0.25, 0.24, 0.48), (0.25, 0.24, 0.48))
COUNTS: Final = {2: ("two", TWO), 3: ("three", THREE)}
PAIR, COUNT = 0.6, 0.25  # shares of scenes of two things, and of several of one; the others have three things


def pair_held_out(first: str, second: str) -> bool:
    """Return whether training leaves out a pair of names: 5 % of them, by a fixed hash."""
    text = " | ".join(sorted((first, second)))
    return sum(ord(letter) * (i + 1) for i, letter in enumerate(text)) % 20 == 7


def arranged(relation: Relation, words: int, first: str, second: str) -> str:
    """Return the caption of two things. words: the number of the phrase."""
    a, b = (described(noun, size=size) for noun, size in zip((first, second), relation.adjectives, strict=True))
    return relation.words[words % len(relation.words)].format(a=with_article(a), b=with_article(b))


def draw_relation(stream: np.random.Generator) -> tuple[Relation, int]:
    """Draw a relation and the number of its phrase."""
    relation = RELATIONS[int(stream.choice(len(RELATIONS), p=SHARES))]
    return relation, int(stream.integers(len(relation.words)))


def several(noun: str, count: int) -> str:
    """Return the caption of several things of one name."""
    return f"{COUNTS[count][0]} {plural(noun)}"


def together(nouns: list[str]) -> str:
    """Return the caption of three things."""
    return listed([with_article(noun) for noun in nouns])
