"""Parse JSON and TOML of unknown origin: bounded depth and digits, no repeated key, no NaN."""

import json
import re
import tomllib
from collections import Counter
from collections.abc import Iterator
from math import isfinite
from typing import Any, Final, NoReturn

from unnoise.errors import InputError, quoted
from unnoise.formats.open_file import PathLike, read_text

DEPTH: Final = 64  # of lists and objects in each other
DIGITS: Final = 40  # of a number
LONGEST: Final = 4 << 20  # bytes of a JSON file
TOML: Final = 1 << 20  # letters of a TOML file
PARTS: Final = 64  # of a dotted key, for which the standard library takes quadratic time
LONG_KEY: Final = re.compile(rf"""(?<![\w"'-])(?:[\w"'-]+[ \t]*\.[ \t]*){{{PARTS},}}""")
TOO_DEEP: Final = f"nested too deeply, at most {DEPTH} levels are read"


def json_value(text: str, strict: bool = True) -> Any:
    """Parse JSON.

    Args:
        text: the JSON.
        strict: refuse repeated keys, NaN and infinity, which other tools write.

    Raises:
        ValueError: invalid JSON, a number of too many digits, or too much nesting.
    """
    try:
        content = STRICT.decode(text) if strict else LENIENT.decode(text)
    except RecursionError:
        raise ValueError(TOO_DEEP) from None
    check_depth(content)
    return content


def json_object(text: str, strict: bool = True) -> dict[str, Any]:
    """Parse a JSON object. Raises ValueError as `json_value` does, and for any other value."""
    content = json_value(text, strict)
    if not isinstance(content, dict):
        raise ValueError("not a JSON object")
    return content


def read_json(path: PathLike, root: PathLike | None = None, strict: bool = True) -> dict[str, Any]:
    """Read a JSON object. Raises InputError for a file that is not one, is too large, or lies outside `root`."""
    text = read_text(path, LONGEST, root)
    try:
        return json_object(text, strict)
    except ValueError as error:
        known = str(error) == "not a JSON object"
        raise InputError(f"{path}: {error}" if known else f"{path}: not JSON: {error}") from None


def toml_table(text: str) -> dict[str, Any]:
    """Parse TOML. Raises ValueError for invalid TOML, too many digits, too much nesting and too long a text."""
    if len(text) > TOML:
        raise ValueError(f"{len(text)} letters, at most {TOML} are read")
    if LONG_KEY.search(text):
        raise ValueError(f"a key of more than {PARTS} parts")
    try:
        content = tomllib.loads(text, parse_float=_toml_decimal)
    except RecursionError:
        raise ValueError(TOO_DEEP) from None
    except tomllib.TOMLDecodeError:
        raise
    except ValueError:
        raise ValueError(f"a number of more than {DIGITS} digits") from None
    check_depth(content)
    return content


def plain_toml(text: str) -> dict[str, Any]:
    """Parse TOML whose values JSON has, too. Raises ValueError as `toml_table` does, and names the field of another."""
    content = toml_table(text)
    for place, value in leaves(content):
        if not isinstance(value, str | int | float):
            raise ValueError(
                f"{place}: a {type(value).__name__} such as {value}, expected text, a number, true or false"
            )
        if isinstance(value, float) and not isfinite(value):
            raise ValueError(f"{place}: {value}, expected a finite number")
    return content


def leaves(value: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """List the values of a nested table that are neither tables nor lists, each with its place, such as "a.b[0]"."""
    if isinstance(value, dict):
        for name, item in value.items():
            yield from leaves(item, f"{place}.{name}" if place else str(name))
    elif isinstance(value, list | tuple):
        for i, item in enumerate(value):
            yield from leaves(item, f"{place}[{i}]")
    else:
        yield place, value


def check_depth(value: Any) -> None:
    """Raise ValueError for lists and tables in each other more than DEPTH deep, and integers of too many digits."""
    level = [value]
    for _ in range(DEPTH + 1):
        level = [one for one in level if isinstance(one, dict | list)]
        if not level:
            return
        level = [item for one in level for item in (one.values() if isinstance(one, dict) else one)]
        for one in level:
            if isinstance(one, int) and abs(one) >= 10**DIGITS:
                raise ValueError(f"{quoted(one)}, at most {DIGITS} digits are read")
    raise ValueError(TOO_DEEP)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) < len(pairs):
        name, _ = Counter(name for name, _ in pairs).most_common(1)[0]
        raise ValueError(f"field {quoted(name)} is given twice")
    return table


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


def _whole(text: str) -> int:
    if len(text) > DIGITS:
        raise ValueError(f"a number of {len(text)} digits, at most {DIGITS} are read")
    return int(text)


def _decimal(text: str) -> float:
    if len(text) > 8 * DIGITS:
        raise ValueError(f"a number of {len(text)} digits, at most {8 * DIGITS} are read")
    number = float(text)
    if not isfinite(number):
        raise ValueError(f"{text} is not a finite number")
    return number


def _toml_decimal(text: str) -> float:
    if len(text) > 8 * DIGITS:
        raise ValueError
    return float(text)


STRICT: Final = json.JSONDecoder(
    object_pairs_hook=_once, parse_constant=_no_constant, parse_int=_whole, parse_float=_decimal
)
LENIENT: Final = json.JSONDecoder(parse_int=_whole)
