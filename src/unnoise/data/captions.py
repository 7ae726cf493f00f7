"""Captions of images as text and as JSON: UTF-8, with or without a byte order mark; anything else is refused."""

from typing import Any

from unnoise.errors import InputError
from unnoise.formats import json_text

LONGEST = 65_536  # bytes of the text of a caption


def decoded(raw: bytes, where: str) -> str:
    """Decode UTF-8. Raises InputError that starts with `where` and names the first other byte."""
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        at = error.start + (3 if raw.startswith(b"\xef\xbb\xbf") else 0)
        raise InputError(
            f"{where}: byte {at} is 0x{raw[at]:02x}, which is not UTF-8{_guess(raw)}; save it as UTF-8"
        ) from None
    if "\0" in text:
        raise InputError(f"{where}: byte {raw.index(0)} is 0x00, no letter of a text{_guess(raw)}; save it as UTF-8")
    return text


def _guess(raw: bytes) -> str:
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")) or raw[:64].count(0) > 1:
        return " but as in UTF-16"
    return " but as in Latin-1 or cp1252" if 0 not in raw else ""


def json_object(text: str, where: str) -> dict[str, Any]:
    """Parse a JSON object. Raises InputError that starts with `where` for anything else."""
    try:
        return json_text.json_object(text, strict=False)
    except ValueError as error:
        raise InputError(f"{where}: not JSON: {str(error)[:100]}") from None
