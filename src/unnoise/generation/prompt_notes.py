"""What is said about the prompts of a request before anything is drawn: other programs' syntax, unknown words."""

import warnings

from unnoise.components import Components
from unnoise.data.emoji import caption_words
from unnoise.errors import InputError, InputWarning
from unnoise.generation.request import Request
from unnoise.text.encode import PromptEncoder
from unnoise.text.known_words import unknown_words
from unnoise.text.prompt_syntax import found, without_networks
from unnoise.text.tokenizer import Tokenizer

NAMED = 5  # finds that a message names


def check_prompts(request: Request, components: Components) -> None:
    """Warn of what a prompt will not do, in one line each.

    Raises InputError for syntax, where `prompt_weighting` is "refuse".
    """
    options = request.sampling
    prompts = [*request.prompts, options.negative_prompt, options.blend_prompt, request.edit.source_prompt]
    texts = list(dict.fromkeys(filter(None, prompts)))
    if options.prompt_weighting in ("warn", "refuse"):
        _check_syntax(texts, options.prompt_weighting == "refuse")
    _check_words(dict.fromkeys(request.prompts), components)


def _check_syntax(prompts: list[str], refused: bool) -> None:
    pieces = list(dict.fromkeys(piece for prompt in prompts for piece in found(prompt, parentheses=not refused)))
    if not pieces:
        return
    named = ", ".join(map(repr, pieces[:NAMED])) + (f" and {len(pieces) - NAMED} more" if len(pieces) > NAMED else "")
    ways = "prompt_weighting 'apply' (--prompt-weighting apply) applies it as A1111 does"
    if refused:
        raise InputError(f"prompt: {named}: syntax of other programs; {ways}, 'literal' encodes it as plain text")
    warnings.warn(
        f"prompt: {named}: encoded as plain text; {ways}, 'literal' leaves this line out", InputWarning, stacklevel=4
    )


def _check_words(prompts: dict[str, None], components: Components) -> None:
    """Warn of prompts of which a model that was trained here knows hardly a word."""
    encoder, card = components.text_encoder, components.card
    if not isinstance(encoder, PromptEncoder) or not isinstance(encoder.tokenizer, Tokenizer):
        return
    captions = caption_words() if card.training.get("data") == "emoji" else None
    texts = map(without_networks, prompts)
    unknown = dict.fromkeys(word for text in texts for word in unknown_words(text, encoder.tokenizer, captions))
    if unknown:
        fact = "was trained on captions without these words" if captions else "spells these words letter by letter"
        shown = ", ".join(repr(word[:20]) for word in list(unknown)[:NAMED])
        more = f" and {len(unknown) - NAMED} more" if len(unknown) > NAMED else ""
        warnings.warn(
            f"prompt: {shown}{more}: {card.name!r} {fact}, and will hardly draw what they mean",
            InputWarning,
            stacklevel=4,
        )
