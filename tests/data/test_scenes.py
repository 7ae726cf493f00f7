"""Scenes: words and places agree, and 5 % of the pairs are held out."""

from collections import Counter
from itertools import combinations

import pytest

from unnoise.data import scenes
from unnoise.data.emoji import open_emoji
from unnoise.diffusion.noise import numbers

SIDES = {
    "to the left of": (0, -1), "to the right of": (0, 1), "above": (1, -1), "over": (1, -1), "on top of": (1, -1),
    "under": (1, 1), "below": (1, 1),
}  # fmt: skip
PHRASES = [(relation, k) for relation in scenes.RELATIONS for k in range(len(relation.words))]


@pytest.mark.parametrize(("relation", "words"), PHRASES)
def test_the_places_are_those_of_the_words(relation: scenes.Relation, words: int) -> None:
    text = scenes.arranged(relation, words, "cat", "owl")
    assert text.index("cat") < text.index("owl")
    assert text.startswith("a ")
    assert "an owl" in text or "big owl" in text or "small owl" in text
    for phrase, (axis, sign) in SIDES.items():
        if phrase in text:
            assert sign * (relation.first[axis] - relation.second[axis]) > 0
    assert ("small cat" in text) == (relation.first[2] == scenes.SMALL)
    assert ("big owl" in text) == (relation.second[2] == scenes.LARGE)
    assert ("small owl" in text) == (relation.second[2] == scenes.SMALL)


def test_things_hardly_overlap_and_stay_in_the_frame() -> None:
    for places in [*((one.first, one.second) for one in scenes.RELATIONS), scenes.TWO, scenes.THREE]:
        for right, down, scale in places:
            assert max(abs(right), abs(down)) + scale / 2 <= 0.53
        for one, other in combinations(places, 2):
            apart = max(abs(one[0] - other[0]), abs(one[1] - other[1]))
            assert apart >= 0.85 * (one[2] + other[2]) / 2


def test_relations_are_drawn_by_their_shares() -> None:
    assert sum(scenes.SHARES) == pytest.approx(1)
    stream = numbers(0, 3, 0)
    counts = Counter(scenes.draw_relation(stream)[0] for _ in range(4000))
    for relation, share in zip(scenes.RELATIONS, scenes.SHARES, strict=True):
        assert counts[relation] / 4000 == pytest.approx(share, abs=0.025)


def test_five_in_a_hundred_pairs_are_held_out_whatever_their_order() -> None:
    names = sorted({names[0] for names in open_emoji().captions})[::13]
    pairs = [*combinations(names, 2)]
    held = [pair for pair in pairs if scenes.pair_held_out(*pair)]
    assert 0.04 < len(held) / len(pairs) < 0.06
    assert all(scenes.pair_held_out(second, first) for first, second in held)


def test_counts_and_lists() -> None:
    assert scenes.several("red apple", 2) == "two red apples"
    assert scenes.several("mouse", 3) == "three mice"
    assert scenes.together(["dog", "owl", "glasses"]) == "a dog, an owl and glasses"
