"""Byte-pair encoding, trained on captions: every text has tokens, and every common word is one token."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

from unnoise.errors import InputError

START = 0  # the first token of every prompt, and the only one of an empty prompt
BYTES = 256
WORD = re.compile(r"[^\W_]+|[^\w\s]|_")


def words(text: str) -> list[bytes]:
    """Split a text into lower-case words and single punctuation marks, as UTF-8."""
    return [word.encode("utf-8", "replace") for word in WORD.findall(unicodedata.normalize("NFKC", text).lower())]


@dataclass(frozen=True)
class Tokenizer:
    """Tokenize a text: token 0 is the start, 1 to 256 are bytes, each merge of two tokens adds one more.

    merges: pairs of tokens in the order of training. Source: Sennrich et al. 2016, algorithm 1, on bytes.
    """

    merges: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        for rank, pair in enumerate(self.merges):
            if len(pair) != 2 or not all(0 < token < 1 + BYTES + rank for token in pair):
                raise InputError(f"merges: number {rank} is {pair}; it must be two earlier tokens")

    @property
    def size(self) -> int:
        return 1 + BYTES + len(self.merges)

    @cached_property
    def _ranks(self) -> dict[tuple[int, int], int]:
        return {pair: rank for rank, pair in enumerate(self.merges)}

    def encode(self, text: str) -> list[int]:
        """Return the tokens of a text, START first."""
        return [START, *(token for word in words(text) for token in self._word(word))]

    def pieces(self, word: str) -> list[str]:
        """Return the pieces of a single word, one for each token; half a letter is a replacement character."""
        return [self._bytes[token].decode("utf-8", "replace") for token in self.encode(word)[1:]]

    @cached_property
    def _bytes(self) -> list[bytes]:
        found = [b"", *(bytes([byte]) for byte in range(BYTES))]
        for first, second in self.merges:
            found.append(found[first] + found[second])
        return found

    def _word(self, word: bytes) -> list[int]:
        tokens = [1 + byte for byte in word]
        while len(tokens) > 1:
            pair = min(pairwise(tokens), key=lambda pair: self._ranks.get(pair, len(self.merges)))
            if pair not in self._ranks:
                break
            tokens = merged(tokens, pair, 1 + BYTES + self._ranks[pair])
        return tokens


def merged(tokens: Sequence[int], pair: tuple[int, int], into: int) -> list[int]:
    """Replace each occurrence of a pair of tokens, from the left."""
    result: list[int] = []
    i = 0
    while i < len(tokens):
        if i + 1 < len(tokens) and (tokens[i], tokens[i + 1]) == pair:
            result.append(into)
            i += 2
        else:
            result.append(tokens[i])
            i += 1
    return result


def train(texts: Iterable[str], size: int) -> Tokenizer:
    """Train merges on texts until there are `size` tokens or no pair occurs twice; ties go to the smaller pair."""
    counts = Counter(word for text in texts for word in words(text))
    split = {word: [1 + byte for byte in word] for word in counts}
    pairs: Counter[tuple[int, int]] = Counter()
    places: dict[tuple[int, int], set[bytes]] = {}

    def tally(word: bytes, sign: int) -> None:
        for pair in pairwise(split[word]):
            pairs[pair] += sign * counts[word]
            places.setdefault(pair, set()).add(word)

    for word in split:
        tally(word, 1)
    merges: list[tuple[int, int]] = []
    while 1 + BYTES + len(merges) < size and pairs:
        best = max(pairs, key=lambda pair: (pairs[pair], -pair[0], -pair[1]))
        if pairs[best] < 2:
            break
        for word in places[best]:
            tally(word, -1)
            split[word] = merged(split[word], best, 1 + BYTES + len(merges))
            tally(word, 1)
        del pairs[best]
        merges.append(best)
    return Tokenizer(tuple(merges))
