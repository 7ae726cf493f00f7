"""Made-up words: they join a caption, whose own words stay in their order, and change nothing of the image."""

from dataclasses import replace

from unnoise.data.augment import Augment
from unnoise.data.emoji import open_emoji
from unnoise.data.made_up import MOST, made_up_word, with_made_up_words
from unnoise.data.view import random_view
from unnoise.diffusion.noise import numbers
from unnoise.text.tokenizer import words

TEXTS = (("red fox", "vixen"), ("octopi",), ("",))


def test_a_made_up_word_has_halves_of_two_words() -> None:
    found = {made_up_word(TEXTS, numbers(0, k)) for k in range(200)}
    assert {"octopi", "reed", "foopi", "octed", "reox", ""} <= found
    assert all(len(word) <= len("octopi") for word in found)
    assert not any("vi" in word for word in found)  # halves are of the principal captions


def test_the_words_of_the_caption_stay_in_their_order() -> None:
    places, counts = set(), set()
    for k in range(200):
        every = with_made_up_words("my 1 fox", TEXTS[1:2], numbers(0, k)).split()
        kept = [word for word in every if word != "octopi"]
        assert kept == ["my", "1", "fox"]
        places |= {i for i, word in enumerate(every) if word == "octopi"}
        counts.add(len(every) - len(kept))
    assert counts == {*range(1, MOST + 1)}
    assert places == {*range(3 + MOST)}


def test_a_view_differs_in_its_caption_alone() -> None:
    dataset = open_emoji()
    augment = Augment(0.5, background=0.3, move=0.3, keywords=0.3, style=0.5, recolour=0.2, resize=0.2, scene=0.2)
    share = 0
    for i in range(0, len(dataset), 100):
        without, some = (random_view(dataset, i, 3, 1, replace(augment, unknown=u)) for u in (0.0, 0.5))
        assert replace(some, caption=without.caption) == without
        rest = iter(words(some.caption))
        assert all(word in rest for word in words(without.caption))
        share += some.caption != without.caption
    assert 0.3 < share / len(range(0, len(dataset), 100)) < 0.7
