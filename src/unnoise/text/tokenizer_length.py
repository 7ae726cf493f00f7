"""The number of tokens to which a tokenizer of transformers pads: its own `model_max_length`."""

from typing import Any, Final

from unnoise.errors import InputError

LONGEST: Final = 4096  # tokens of a prompt in any published text encoder
UNSET: Final = 10**18  # transformers writes 10^30 where no length is stated


def own_length(tokenizer: Any, default: int, least: int = 1, most: int = LONGEST) -> int:
    """Return a tokenizer's own length, or the default where it states none.

    Args:
        tokenizer: of transformers.
        default: the length of the published model.
        least, most: the range that its text network can encode.

    Raises:
        InputError: the length is no whole number, or out of range.
    """
    stated = getattr(tokenizer, "model_max_length", None)
    if stated is None or (isinstance(stated, int | float) and stated >= UNSET):
        return default
    if isinstance(stated, bool) or not isinstance(stated, int) or not least <= stated <= most:
        raise InputError(f"tokenizer: model_max_length {str(stated)[:80]}: a whole number from {least} to {most}")
    return stated
