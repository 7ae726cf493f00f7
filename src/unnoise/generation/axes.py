"""The axes of a sweep: options with several values, and a request for every combination."""

import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from pathlib import PurePath
from typing import Any

from unnoise.errors import InputError, check_whole
from unnoise.generation.limits import SAMPLES
from unnoise.generation.request import Request, request_of

FIXED = ("image", "mask", "control_image", "ip_adapter_image", "noise", "progress", "batch")  # one value for a sweep


@dataclass(frozen=True, slots=True)
class Axis:
    """An option and the values that it takes."""

    name: str
    values: tuple[Any, ...]

    def label(self, index: int) -> str:
        """Name one value for people."""
        value = self.values[index]
        if self.name == "prompt":
            return str(value) or "(empty prompt)"
        shown = "x".join(map(str, value)) if self.name == "size" and isinstance(value, tuple) else _short(value)
        return f"{self.name.replace('_', ' ')} {shown}"

    def slug(self, index: int) -> str:
        """Name one value in the name of a file; nothing for prompts and seeds, which every name has."""
        return "" if self.name in ("prompt", "seed") else re.sub(r"[^\w.]+", "-", self.label(index)).strip("-")


def places(axes: Sequence[Axis]) -> list[tuple[int, ...]]:
    """List the combinations of indices, the last axis fastest; one empty combination for no axes."""
    return list(product(*(range(len(axis.values)) for axis in axes)))


def combinations(prompts: Sequence[str], options: Mapping[str, Any]) -> tuple[tuple[Axis, ...], list[Request]]:
    """Make a request for every combination.

    Args:
        prompts: one prompt or several.
        options: of `generate`; a list holds the values of an axis.

    Raises:
        InputError: there is nothing to sweep, an option cannot be swept, or a combination is out of range.
    """
    seed = options.get("seed")
    given = {**options, "seed": secrets.randbits(32) if seed is None else seed}
    count = given.pop("n", 1)
    check_whole("n", count, 1, SAMPLES)
    if count > 1:
        if isinstance(given["seed"], list):
            raise InputError(f"n {count}: cannot be combined with several seeds; leave n out")
        given["seed"] = list(range(given["seed"], given["seed"] + count))
    axes = [Axis("prompt", tuple(prompts))] if len(prompts) > 1 else []
    for name, value in given.items():
        if isinstance(value, list):
            if name in FIXED:
                raise InputError(f"{name}: takes one value in a sweep")
            if not value:
                raise InputError(f"{name} []: no value; give one, or a list of several")
            if len(value) > 1:
                axes.append(Axis(name, tuple(value)))
            else:
                given[name] = value[0]
    if not axes:
        raise InputError("sweep: no option has several values; give a list, such as guidance_scale=[1, 3, 7]")
    total = prod(len(axis.values) for axis in axes)
    if total > SAMPLES:
        raise InputError(f"sweep of {' x '.join(str(len(axis.values)) for axis in axes)}: at most {SAMPLES} samples")
    requests = []
    for place in places(axes):
        chosen = {axis.name: axis.values[k] for axis, k in zip(axes, place, strict=True)}
        prompt = chosen.pop("prompt", prompts[0])
        requests.append(request_of(prompt, **{**given, **chosen}))
    return tuple(axes), requests


def _short(value: Any) -> str:
    """Write a value in few letters: numbers without zeros, a file by its name."""
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, Mapping):  # LoRA adapters to their weights
        return ", ".join(f"{_short(one)}:{weight:g}" for one, weight in value.items())
    if isinstance(value, tuple):
        return ", ".join(map(_short, value)) or "none"
    return PurePath(value).name if isinstance(value, str | PurePath) else str(getattr(value, "name", value))[:40]
