"""Find values of a workflow that a node gives to several inputs, such as a number of frames that is also divided."""

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from unnoise.check.read.comfy.graph import HANDING

KINDS = {*HANDING, "PrimitiveNode"}


def feeds_several_inputs(keys: Sequence[str | int], text: str) -> bool:
    """Return whether a value belongs to a node that gives it to several inputs.

    Args:
        keys: of the value in the workflow
        text: of the workflow, in either format

    Returns:
        False for the values of all nodes that make something else of them
    """
    here: Any = _read(text)
    for key in keys[:-1]:
        around, here = here, _inner(here, key)
        if isinstance(here, dict) and here.get("class_type") in KINDS:
            return _readers(around, key) > 1
        if isinstance(here, dict) and here.get("type") in KINDS:
            return sum(len(slot.get("links") or ()) for slot in here.get("outputs") or ()) > 1
    return False


def _inner(content: Any, key: str | int) -> Any:
    if isinstance(content, dict):
        return content.get(key)
    return content[key] if isinstance(content, list) and isinstance(key, int) and key < len(content) else None


def _readers(nodes: Mapping[str, Any], id: str | int) -> int:
    """Count the inputs of a workflow in API format that come from a node."""
    given = [node.get("inputs") for node in nodes.values() if isinstance(node, dict)]
    links = [value for inputs in given if isinstance(inputs, dict) for value in inputs.values()]
    return sum(isinstance(link, list) and len(link) == 2 and str(link[0]) == str(id) for link in links)


@lru_cache(maxsize=2)
def _read(text: str) -> Any:
    return json.loads(text)
