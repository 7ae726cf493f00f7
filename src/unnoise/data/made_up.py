"""Made-up words in captions, from which a text encoder learns to read past a word that it does not know.

Prompts of people have words that no caption has: "a venomous snake". A tokenizer spells them in pieces of other words,
whose meaning a model that has only read known words adds to that of the prompt. Made-up words are spelt so too, and
mean nothing.
"""

from collections.abc import Sequence

import numpy as np

MOST = 2  # made-up words in a caption


def with_made_up_words(caption: str, texts: Sequence[Sequence[str]], stream: np.random.Generator) -> str:
    """Return a caption with one or two made-up words at random places.

    Args:
        caption: of words that are separated by spaces.
        texts: the captions of a data set, of whose words halves are put together.
    """
    words = caption.split(" ")
    for _ in range(int(stream.integers(1, MOST + 1))):
        words.insert(int(stream.integers(len(words) + 1)), made_up_word(texts, stream))
    return " ".join(words).strip()


def made_up_word(texts: Sequence[Sequence[str]], stream: np.random.Generator) -> str:
    """Return the first half of a word of some captions with the second half of another; a middle letter is in both."""
    first, second = (_word(texts, stream) for _ in range(2))
    return first[: (len(first) + 1) // 2] + second[len(second) // 2 :]


def _word(texts: Sequence[Sequence[str]], stream: np.random.Generator) -> str:
    words = texts[int(stream.integers(len(texts)))][0].split() or [""]
    return words[int(stream.integers(len(words)))]
