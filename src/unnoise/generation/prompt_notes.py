"""What is said about the prompts of a request before anything is drawn: other programs' syntax, unknown words."""

import warnings
from collections.abc import Callable, Iterable
from functools import partial

from unnoise.components import Components
from unnoise.data.noto import caption_words
from unnoise.errors import InputError, InputWarning
from unnoise.generation.request import Request
from unnoise.text.encode import PromptEncoder
from unnoise.text.known_words import unknown_words
from unnoise.text.prompt_syntax import found, unsupported, without_networks
from unnoise.text.tokenizer import Tokenizer

NAMED = 5  # finds that a message names


def check_prompts(request: Request, components: Components) -> None:
    """Warn of what a prompt will not do, in one line each.

    Raises InputError for syntax, where `prompt_weighting` is "refuse".
    """
    options = request.sampling
    prompts = [*request.prompts, options.negative_prompt, options.blend_prompt, request.edit.source_prompt]
    classes = components.card.labels  # names are no syntax
    texts = [text for text in dict.fromkeys(filter(None, prompts)) if text.strip() not in classes]
    if options.prompt_weighting in ("warn", "refuse"):
        _check_syntax(texts, options.prompt_weighting == "refuse")
    if options.prompt_weighting != "literal" and (pieces := _distinct(unsupported, texts)):
        _warn(f"{_named(pieces)}: a syntax that cannot be applied here; encoded as plain text")
    _check_words(dict.fromkeys(request.prompts), components)


def _check_syntax(prompts: list[str], refused: bool) -> None:
    pieces = _distinct(partial(found, parentheses=not refused), prompts)
    if not pieces:
        return
    ways = "prompt_weighting 'apply' (--prompt-weighting apply) applies it as A1111 does"
    if refused:
        raise InputError(
            f"prompt: {_named(pieces)}: syntax of other programs; {ways}, 'literal' encodes it as plain text"
        )
    _warn(f"{_named(pieces)}: encoded as plain text; {ways}, 'literal' leaves this line out")


def _check_words(prompts: dict[str, None], components: Components) -> None:
    """Warn of prompts of which a model that was trained here knows hardly a word."""
    encoder, card = components.text_encoder, components.card
    tokenizer = encoder.tokenizer if isinstance(encoder, PromptEncoder) else None
    if not isinstance(tokenizer, Tokenizer):
        return
    captions = frozenset(card.words.split()) or None
    if captions is None and card.training.get("data") == "emoji":  # a card of before 0.5
        captions = caption_words()
    texts = map(without_networks, prompts)
    unknown = _distinct(lambda text: unknown_words(text, tokenizer, captions), texts)
    if unknown:
        fact = "was trained on captions without these words" if captions else "spells these words letter by letter"
        _warn(f"{_named([word[:20] for word in unknown])}: {card.name!r} {fact}, and will hardly draw what they mean")


def _distinct(find: Callable[[str], list[str]], texts: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(piece for text in texts for piece in find(text)))


def _named(pieces: list[str]) -> str:
    more = f" and {len(pieces) - NAMED} more" if len(pieces) > NAMED else ""
    return ", ".join(map(repr, pieces[:NAMED])) + more


def _warn(line: str) -> None:
    warnings.warn(f"prompt: {line}", InputWarning, stacklevel=5)
