"""Captions by grammar: articles, phrases, adjectives, styles, backgrounds, plurals and the words of a scene.

A fifth of the phrases is held out from training, to be measured with: HELD_OUT_PHRASES, in natural prompts, and
HELD_OUT_ON_BACKGROUND and HELD_OUT_IN_STYLE, in every second prompt of bench/emoji_prompts.py with a new pair.
"""

import re
from collections.abc import Sequence
from typing import Final

from unnoise.data.augment import BACKGROUNDS

PHRASES: Final = (  # {} is the bare noun, {a} the noun with its article
    "{}", "{}", "{}", "{a}", "{a}", "the {}", "my {}", "{} emoji", "an emoji of {a}", "a picture of {a}",
    "an icon of {a}", "a drawing of {a}", "an image of {a}", "draw {a}", "i want {a}", "a cute {}", "a nice {}",
    "this is {a}", "{a} icon", "a sticker of {a}",
)  # fmt: skip
HELD_OUT_PHRASES: Final = (
    "show me {a}",
    "a simple picture of {a}",
    "one {}",
    "an illustration of {a}",
    "please draw {a}",
)
ON_BACKGROUND: Final = ("{} on {a} background", "{} on {a} background", "{} with {a} background", "{} on {}")
HELD_OUT_ON_BACKGROUND: Final = ("{} in front of {a} background",)
IN_STYLE: Final = ("{}, {} style", "{}, {} style", "{} in {} style")
HELD_OUT_IN_STYLE: Final = ("{} in the {} style",)
SMALL: Final = ("small", "little", "tiny")
LARGE: Final = ("big", "large", "huge")
COLOUR_WORDS: Final = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "gray", "black", "white")
COLOUR_WORD: Final = re.compile(
    r"\b(red|orange|yellow|green|blue|purple|pink|brown|gr[ae]y|black|white|light|dark)\b ?"
)
VOWEL: Final = re.compile(r"(?:[aeio]|u(?!n[it]|s|ro|r[ai]n|fo)|hour|x-ray)")
PLURAL: Final = re.compile(r"(?<![suio])s$|^(?:people|men|women)\b|(?:people|men|mice|geese|dice|children)$")


def with_article(noun: str) -> str:
    """Return a noun with a or an; a plural stays as it is."""
    if PLURAL.search(noun) or re.match(r"(?:the|two|three|a|an)\b", noun):
        return noun
    return f"{'an' if VOWEL.match(noun) else 'a'} {noun}"


def plural(noun: str) -> str:
    """Return the plural of a noun, whose last word is the one that changes."""
    if PLURAL.search(noun):
        return noun
    if re.search(r"(?<!hu)man$", noun):
        return noun[:-2] + "en"
    if re.search(r"\bmouse$", noun):
        return noun[:-4] + "ice"
    if re.search(r"[^aeiou]y$", noun):
        return noun[:-1] + "ies"
    return noun + ("es" if re.search(r"(?:s|x|z|ch|sh)$", noun) else "s")


def counted(noun: str) -> bool:
    """Return whether "two ..." can be said of a noun by changing its last word."""
    return not PLURAL.search(noun) and not re.search(r" (?:of|with|in|on|at|and|behind|from|to|without) ", noun)


def phrase(template: str, noun: str) -> str:
    """Put a noun into a phrase of PHRASES."""
    return template.format(noun, a=with_article(noun))


def phrases_for(noun: str) -> tuple[str, ...]:
    """Return the phrases that a noun fits into: one with an article takes only those that add nothing before it."""
    whole = re.match(r"(?:a|an|two|three) ", noun) or PLURAL.search(noun)
    return tuple(text for text in PHRASES if "{a}" in text or text == "{}") if whole else PHRASES


def without_colour(noun: str) -> str:
    """Return a noun without its colour words, unless nothing would be left."""
    return COLOUR_WORD.sub("", noun).strip() or noun


def on_background(template: str, caption: str, colour: str) -> str:
    """Add a background to a caption, by a phrase of ON_BACKGROUND."""
    return template.format(caption, colour, a=with_article(colour))


def described(noun: str, colour: str = "", size: str = "") -> str:
    """Put adjectives before a noun, size first; a colour takes the place of the noun's own."""
    noun = f"{colour} {without_colour(noun)}" if colour else noun
    return f"{size} {noun}" if size else noun


def listed(words: Sequence[str]) -> str:
    """Join words with commas and a last "and"."""
    return ", ".join(words[:-1]) + f" and {words[-1]}" if len(words) > 1 else words[0]


def vocabulary() -> list[str]:
    """Return every text around a noun, for the training of a tokenizer."""
    around = [*PHRASES, *ON_BACKGROUND, *IN_STYLE, "two {}", "three {}", "an {}"]
    return [re.sub(r"\{a?\}", " ", text) for text in around] + [*SMALL, *LARGE, *COLOUR_WORDS, *BACKGROUNDS]
