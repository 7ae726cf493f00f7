"""The prompts of models of emoji: what training leaves out, and natural prompts that no caption is."""

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bench"))

from emoji_prompts import Prompts, is_trained, natural_prompts, trained_captions
from test_emoji_bench import FEW, NAMES, PROMPTS, WHOLE_SET

from unnoise.data import grammar, scenes
from unnoise.data.emoji import HOME
from unnoise.data.split import split_validation
from unnoise.data.view import held_out


def test_the_words_of_a_name_say_nothing_of_the_order() -> None:
    every = Prompts(WHOLE_SET).pairs(400)
    ordered = [case for case in every if "left" in case.template or "right" in case.template]
    assert any(" and " in case.prompt or " with " in case.prompt for case in ordered)
    assert not any(case.either_side for case in ordered)
    either = {case.template for case in every if case.either_side}
    assert either == {"{a} next to {b}", "{a} beside {b}", "{a} and {b}", "{a} with {b}"}


def test_the_combinations_are_those_that_training_leaves_out() -> None:
    names = {*sorted(NAMES)[::3]}
    third = WHOLE_SET.subset([i for i in range(len(WHOLE_SET)) if WHOLE_SET.captions[i][0] in names])
    every = {name: draw(100) for name, draw in Prompts(third).sets.items()}
    natural = len(every["natural"])  # whose first name is in this third
    assert 20 < natural < 100
    assert {name: len(cases) for name, cases in every.items()} == dict.fromkeys(every, 100) | {"natural": natural}
    for cases in every.values():
        assert len({case.prompt for case in cases}) >= 0.98 * len(cases)
    _, held = split_validation(third, 0.05)
    pairs = {(names[0], style) for names, style in zip(held.captions, held.styles, strict=True)}
    for case in every["styles"]:
        assert (*case.names[0], case.style) in pairs
    for case in every["pictures"]:
        assert (*case.names[0], case.style) not in pairs
    for case in every["colours"]:
        assert all(held_out(name, case.colour) for name in case.names[0])
        assert f"{case.colour} " in case.prompt
    for case in every["backgrounds"]:
        assert held_out(*case.names[0], case.background)
    assert sum(" in front of a" in case.prompt for case in every["backgrounds"]) == 50
    assert sum(" in the " in case.prompt and case.prompt.endswith(" style") for case in every["styles"]) == 50
    assert all(case.prompt.endswith(f", {case.style} style") for case in every["pictures"])
    for case in every["pairs"]:
        (first,), (second,) = case.names
        assert scenes.pair_held_out(first, second)
    assert every["names"] == Prompts(third).sets["names"](100) != Prompts(third, 1).sets["names"](100)


@pytest.mark.parametrize("name", ["names", "pictures", "styles", "pairs", "backgrounds"])
def test_others_have_no_prompt_of_a_set(name: str) -> None:
    cases, others = PROMPTS.with_others(name, 6, 9)
    assert len(cases) == 6
    assert 6 <= len(others) <= 9
    assert not {case.prompt for case in cases} & {case.prompt for case in others}
    assert cases == PROMPTS.sets[name](6), "the set does not depend on the others"
    every, rest = PROMPTS.with_others(name, 10**4, 10**4) if name != "pairs" else PROMPTS.with_others(name, 20, 20)
    assert 0 <= len(rest) - len(every) <= 1


def test_others_of_natural_prompts_are_other_images_of_the_names() -> None:
    cases, others = PROMPTS.with_others("natural", 300, 300)
    for case, other in zip(cases, others, strict=True):
        first, second = case.view.index, other.view.index
        name = FEW.captions[first][0]
        assert FEW.captions[second][0] == name in case.names[0]
        assert first != second or len(PROMPTS.of_name[name]) == 1


def test_a_colour_that_is_trained_under_another_name_is_not_held_out() -> None:
    hearts = [i for i, names in enumerate(WHOLE_SET.captions) if grammar.without_colour(names[0]) == "heart"]
    prompts = Prompts(WHOLE_SET.subset(hearts))
    assert held_out("blue heart", "gray")
    assert not held_out("green heart", "gray")
    assert not [case.prompt for case in prompts.colours(99) if case.prompt == "a gray heart"]
    assert prompts._coloured("blue heart", "gray").names == (frozenset(prompts.of_name),)


def test_natural_prompts_are_300_that_no_name_is() -> None:
    natural = natural_prompts()
    assert len(natural) == 300
    for prompt, names in natural.items():
        assert len(set(names)) == len(names) > 0, prompt
        assert {*names} <= NAMES, prompt
        assert prompt == prompt.lower().strip()
    captions = trained_captions(frozenset(NAMES))
    assert not [prompt for prompt in natural if is_trained(prompt, captions)]
    keywords = trained_captions(frozenset(word for words in WHOLE_SET.keywords for word in words))
    assert sum(is_trained(prompt, keywords) for prompt in natural) <= 100, "two thirds are of no caption"


def test_natural_prompts_cover_every_group() -> None:
    groups = {record["name"]: record["group"] for record in json.loads((HOME / "records.json").read_text())}
    counts = dict.fromkeys(groups.values(), 0)
    for names in natural_prompts().values():
        counts[groups[names[0]]] += 1
    assert min(counts.values()) >= 5, counts
    held = [phrase.partition("{")[0] for phrase in grammar.HELD_OUT_PHRASES]
    assert all(any(prompt.startswith(phrase) for prompt in natural_prompts()) for phrase in held if phrase)
