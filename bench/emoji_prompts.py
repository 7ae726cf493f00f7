"""What models of emoji are asked for: each prompt with what must be drawn, and a real view that shows it.

Names are those of training. Natural prompts are those of data/emoji/natural.txt. All other sets are combinations that
training leaves out: names with a colour, a style, another thing or a background.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Final, TypeVar

import numpy as np

from unnoise.data import grammar, scenes
from unnoise.data.augment import BACKGROUNDS
from unnoise.data.dataset import ImageDataset
from unnoise.data.emoji import HOME
from unnoise.data.recolour import COLOURS, dominant_hue
from unnoise.data.split import split_validation
from unnoise.data.view import PLAIN, PlacedImage, View, held_out
from unnoise.diffusion.noise import numbers

T = TypeVar("T")
PROMPTS: Final = 12  # first coordinate of the random streams of this file
SETS: Final = ("names", "pictures", "natural", "colours", "styles", "pairs", "backgrounds")
IN_STYLE: Final = (grammar.IN_STYLE[0], *grammar.HELD_OUT_IN_STYLE)  # in turn, as the next
ON_BACKGROUND: Final = (grammar.ON_BACKGROUND[0], *grammar.HELD_OUT_ON_BACKGROUND)
TRIES: Final = 100  # draws for each pair that is held out, one of twenty of them
# Phrases of scenes.RELATIONS that do not say which thing is on the left.
EITHER_SIDE: Final = frozenset({"{a} next to {b}", "{a} beside {b}", "{a} and {b}", "{a} with {b}"})


@dataclass(frozen=True, slots=True)
class Case:
    """A prompt, and what makes an image of it right.

    Args:
        view: a real view that is right.
        names: the names that count as right, of each thing that is asked for.
        style, colour, background: that are asked for; empty where none is.
        relation: of two things.
        template: the phrase of the relation in the prompt.
    """

    prompt: str
    view: View
    names: tuple[frozenset[str], ...]
    style: str = ""
    colour: str = ""
    background: str = PLAIN
    relation: scenes.Relation | None = None
    template: str = ""

    @property
    def either_side(self) -> bool:
        """Whether the things may change places."""
        return self.template in EITHER_SIDE


@dataclass(frozen=True)
class Prompts:
    """The sets of prompts of a data set, each drawn by a seed."""

    dataset: ImageDataset
    seed: int = 0
    of_name: dict[str, list[int]] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        for i, names in enumerate(self.dataset.captions):
            self.of_name.setdefault(names[0], []).append(i)

    @cached_property
    def of_noun(self) -> dict[str, frozenset[str]]:
        """The names of each noun without colours: in gray, "blue heart" and "red heart" are both a "gray heart"."""
        found = dict[str, set[str]]()
        for name in self.of_name:
            found.setdefault(grammar.without_colour(name), set()).add(name)
        return {noun: frozenset(names) for noun, names in found.items()}

    @cached_property
    def sets(self) -> dict[str, Callable[[int], list[Case]]]:
        """The function of each set: the number of prompts at most -> cases."""
        return {name: getattr(self, name) for name in SETS}

    def with_others(self, name: str, count: int, others: int) -> tuple[list[Case], list[Case]]:
        """Draw a set, and other cases of it for the Fréchet distance: no prompt is in both.

        Natural prompts are few: their others are other images of the same names.

        Args:
            count: cases at most, and half of what the set has.
            others: other cases, at most.
        """
        if name == "natural":
            cases = self.natural(count)
            return cases, [replace(case, view=View(self._next_image(case.view.index), "")) for case in cases]
        found = self.sets[name](count + others)
        count = min(count, len(found) // 2)
        return found[:count], found[count : count + others]

    def names(self, count: int) -> list[Case]:
        """Names by concept, in no style; any name of the concept counts."""
        stream = numbers(PROMPTS, self.seed, 0)
        found = []
        for concept in stream.permutation(len(self.dataset.members))[:count]:
            members = self.dataset.members[concept]
            i = int(stream.choice(members))
            every = frozenset(self.dataset.captions[k][0] for k in members)
            found.append(Case(self._name(i), View(i, ""), (every,)))
        return found

    def pictures(self, count: int) -> list[Case]:
        """Names with a style that training has."""
        training = split_validation(self.dataset, "auto")[0]
        kept = {*zip((names[0] for names in training.captions), training.styles, strict=True)}
        pairs = [i for i in range(len(self.dataset)) if (self._name(i), self.dataset.styles[i]) in kept]
        return [self._styled(i) for i in self._some(pairs, count, 1)]

    def natural(self, count: int) -> list[Case]:
        """The prompts that people type."""
        stream, found = numbers(PROMPTS, self.seed, 2), []
        for prompt, names in [*natural_prompts().items()][:count]:
            known = [name for name in names if name in self.of_name]
            if known:
                found.append(Case(prompt, View(self._image(known[0], stream), ""), (frozenset(names),)))
        return found

    def colours(self, count: int) -> list[Case]:
        """Names with a colour that training leaves out for them, and for every name that differs in its colour only.

        Of the images of a name, half or more can have it.
        """
        pairs = []
        for name, images in self.of_name.items():
            if 2 * sum(dominant_hue(self.dataset.read(i)) is not None for i in images) >= len(images):
                pairs += [(name, colour) for colour in COLOURS if self._is_new(name, colour)]
        return [self._coloured(name, colour) for name, colour in self._some(pairs, count, 3)]

    def styles(self, count: int) -> list[Case]:
        """Names with a style that training leaves out for them; every second one in words that it leaves out too."""
        held = split_validation(self.dataset, "auto")[1]
        pairs = {*zip((names[0] for names in held.captions), held.styles, strict=True)} if held else set()
        found = [i for i in range(len(self.dataset)) if (self._name(i), self.dataset.styles[i]) in pairs]
        return [self._styled(i, IN_STYLE[k % len(IN_STYLE)]) for k, i in enumerate(self._some(found, count, 4))]

    def pairs(self, count: int) -> list[Case]:
        """Two things whose pair training leaves out, and their arrangement."""
        stream, found = numbers(PROMPTS, self.seed, 5), dict[tuple[str, str], Case]()
        names = [*self.of_name]
        for _ in range(TRIES * count):
            if len(found) == count:
                break
            first, second = (names[int(k)] for k in stream.integers(len(names), size=2))
            new = first != second and (first, second) not in found
            if new and scenes.pair_held_out(first, second):
                found[first, second] = self._pair(first, second, stream)
        return [*found.values()]

    def backgrounds(self, count: int) -> list[Case]:
        """Names with a background that training leaves out for them; every second one in words that it leaves out."""
        pairs = [(name, colour) for name in self.of_name for colour in BACKGROUNDS if held_out(name, colour)]
        stream, found = numbers(PROMPTS, self.seed, 7), []
        for k, (name, colour) in enumerate(self._some(pairs, count, 6)):
            words = ON_BACKGROUND[k % len(ON_BACKGROUND)]
            prompt = grammar.on_background(words, grammar.with_article(name), colour)
            view = View(self._image(name, stream), "", colour)
            found.append(Case(prompt, view, (frozenset({name}),), background=colour))
        return found

    def _name(self, i: int) -> str:
        return self.dataset.captions[i][0]

    def _image(self, name: str, stream: np.random.Generator) -> int:
        return int(stream.choice(self.of_name[name]))

    def _next_image(self, i: int) -> int:
        images = self.of_name[self._name(i)]
        return images[(images.index(i) + 1) % len(images)]

    def _some(self, every: list[T], count: int, k: int) -> list[T]:
        return [every[i] for i in numbers(PROMPTS, self.seed, k).permutation(len(every))[:count]]

    def _is_new(self, name: str, colour: str) -> bool:
        alike = self.of_noun[grammar.without_colour(name)]
        return grammar.described(name, colour) not in self.dataset.names and all(held_out(a, colour) for a in alike)

    def _coloured(self, name: str, colour: str) -> Case:
        able = [i for i in self.of_name[name] if dominant_hue(self.dataset.read(i)) is not None]
        i = able[sum(map(ord, name)) % len(able)]
        view = View(i, "", things=(PlacedImage(i, colour=colour),))
        prompt = grammar.with_article(grammar.described(name, colour))
        return Case(prompt, view, (self.of_noun[grammar.without_colour(name)],), colour=colour)

    def _styled(self, i: int, words: str = IN_STYLE[0]) -> Case:
        name, style = self._name(i), self.dataset.styles[i]
        prompt = words.format(name, style)
        return Case(prompt, View(i, ""), (frozenset({name}),), style=style)

    def _pair(self, first: str, second: str, stream: np.random.Generator) -> Case:
        relation, words = scenes.draw_relation(stream)
        one = self._image(first, stream)
        same = [i for i in self.of_name[second] if self.dataset.styles[i] == self.dataset.styles[one]]
        other = same[0] if same else self._image(second, stream)
        things = (PlacedImage(one, relation.first), PlacedImage(other, relation.second))
        return Case(
            scenes.arranged(relation, words, first, second),
            View(one, "", things=things),
            (frozenset({first}), frozenset({second})),
            relation=relation,
            template=relation.words[words],
        )


def natural_prompts() -> dict[str, tuple[str, ...]]:
    """Return the natural prompts, each with the names that count as right."""
    lines = (HOME / "natural.txt").read_text(encoding="utf-8").splitlines()
    parts = (line.partition(" = ") for line in lines if not line.startswith("#"))
    return {prompt: tuple(names.split("; ")) for prompt, _, names in parts}


def trained_captions(nouns: frozenset[str]) -> frozenset[str]:
    """Return what training can say of nouns, without style and background: see `is_trained`."""
    return frozenset(grammar.phrase(template, noun) for noun in nouns for template in grammar.phrases_for(noun))


def is_trained(prompt: str, captions: frozenset[str]) -> bool:
    """Return whether a prompt is a caption of training, with or without a size and a colour."""
    adjectives = "|".join([*grammar.SMALL, *grammar.LARGE, *grammar.COLOUR_WORDS])
    return prompt in captions or re.sub(rf"\b(?:{adjectives})\b ?", "", prompt) in captions
