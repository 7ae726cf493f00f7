"""Which words of a prompt a model that was trained here has never met."""

import re
from collections.abc import Collection, Iterable

from unnoise.text.tokenizer import Tokenizer, words

LONGEST = 90_000  # letters of the words of a card
LEAST_MERGES = 256  # of a tokenizer that can be judged by
STEM = 3  # letters of a piece that is a known word, as in the plural "dogs"
FRAME = (  # words around the subject
    "a an the of on in at by for and or with to from is are emoji picture image icon photo drawing background white "
    "black grey gray red orange yellow green blue cyan purple pink brown"
)
WORD = re.compile(r"[^\W\d_]+")


def caption_words(texts: Iterable[str]) -> str:
    """Return every word of some captions, separated by spaces; nothing where they are too many for a card."""
    found = {word.decode("utf-8", "replace") for text in set(texts) for word in words(text)}
    line = " ".join(sorted(found))
    return line if len(line) <= LONGEST else ""


def unknown_words(prompt: str, tokenizer: Tokenizer, captions: Collection[str] | None) -> list[str]:
    """Return the unknown words of a prompt of which at least half of the words are unknown, else nothing.

    Args:
        prompt: of a person.
        tokenizer: of the model.
        captions: all words of the captions that the model was trained on; None where they are not at hand. A word is
            then unknown where the tokenizer, which was trained on them, spells it letter by letter.
    """
    every = {word.decode("utf-8", "replace") for text in WORD.findall(prompt) for word in words(text)} - set(
        FRAME.split()
    )
    unknown = sorted(word for word in every if not _known(word, tokenizer, captions))
    return unknown if unknown and 2 * len(unknown) >= len(every) else []


def _known(word: str, tokenizer: Tokenizer, captions: Collection[str] | None) -> bool:
    pieces = tokenizer.pieces(word)
    if len(pieces) == 1:
        return True
    if captions is not None:
        return word in captions or any(len(piece) >= STEM and piece in captions for piece in pieces)
    return len(tokenizer.merges) < LEAST_MERGES or len(word) > len(pieces)
