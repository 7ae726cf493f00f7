"""The index of a diffusers folder: model_index.json."""

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from unnoise.check.subject import Subject
from unnoise.formats.json_text import json_value

INDEX = "model_index.json"


def index_of(subject: Subject) -> tuple[str, Mapping[str, Any]]:
    """Return the path and the content of the index of a folder; ("", {}) where none can be read."""
    for path, text in subject.texts.items():
        if PurePath(path).name == INDEX:
            try:
                content = json_value(text, strict=False)
            except (ValueError, RecursionError):
                continue
            if isinstance(content, dict):
                return path, content
    return "", {}
