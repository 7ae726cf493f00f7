"""Read whole numbers on the command line exactly: cyclopts rounds 1.5 to 2."""

import re
from collections.abc import Sequence
from typing import Any, get_origin

from cyclopts import Token

from unnoise.errors import InputError, quoted

DIGITS = re.compile(r"[+-]?[0-9]{1,40}")


def whole(kind: Any, tokens: Sequence[Token]) -> Any:
    """Convert the texts of an option to whole numbers, several for a tuple. Raises InputError for anything else."""
    for token in tokens:
        if not DIGITS.fullmatch(token.value):
            raise InputError(f"{quoted(token.value)}: must be a whole number")
    numbers = tuple(int(token.value) for token in tokens)
    return numbers if get_origin(kind) is tuple else numbers[0]
