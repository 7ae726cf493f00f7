"""Find alpha/rank of a module of a LoRA file: by its own alpha, else by PEFT's configuration, else 1."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from unnoise.adapters.lora.names import WRAPPED
from unnoise.errors import InputError
from unnoise.formats.json_text import json_object, read_json
from unnoise.formats.open_file import is_file

METADATA = "lora_adapter_metadata"  # the key of PEFT's configuration in the header, as diffusers writes it
CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"  # PEFT's configuration, and the file it belongs to
PATTERNS = 32  # patterns of one configuration that are more than names
# A pattern that takes linear time on short names: at most two repetitions, none of a group.
BOUNDED = re.compile(r"(?:[^*+?{]*[*+?{]){0,2}[^*+?{]*")
GROUPED = re.compile(r"\)[*+?{]")
NAME = re.compile(r"(\^?[\w.-]+)")  # ^ is the start of the whole name


@dataclass(frozen=True)
class Alphas:
    """The alpha of each layer in PEFT's configuration of one network.

    Args:
        common: of all layers without one of their own; None where it does not say.
        patterns: alphas by the end of a layer's name, or by a regular expression of it; the first that fits counts.
        rank_stabilised: divide alpha by the root of the rank.
    """

    common: float | None
    patterns: Mapping[str, float]
    rank_stabilised: bool

    @cached_property
    def _names(self) -> dict[str, tuple[int, float]]:
        """The patterns that are names, each with its place."""
        found: dict[str, tuple[int, float]] = {}
        for place, (pattern, alpha) in enumerate(self.patterns.items()):
            if plain := NAME.fullmatch(pattern.replace("\\.", ".")):
                found.setdefault(plain[1], (place, alpha))
        return found

    @cached_property
    def _expressions(self) -> list[tuple[int, re.Pattern[str], float]]:
        """The others. Raises InputError for one that is not valid, or that could take long."""
        found: list[tuple[int, re.Pattern[str], float]] = []
        for place, (pattern, alpha) in enumerate(self.patterns.items()):
            if NAME.fullmatch(pattern.replace("\\.", ".")):
                continue
            if (
                len(pattern) > 200
                or len(found) == PATTERNS
                or GROUPED.search(pattern)
                or not BOUNDED.fullmatch(pattern)
            ):
                raise InputError(
                    f"alpha_pattern {pattern[:60]!r}: names, or {PATTERNS} patterns with two repetitions each"
                )
            try:
                found.append((place, re.compile(rf"(.*\.)?({pattern})$"), alpha))
            except re.error as error:
                raise InputError(f"alpha_pattern {pattern[:60]!r}: {error}") from None
        return found

    def of(self, path: str) -> float | None:
        """Return the alpha of a layer, None where there is none. path: the layer's name."""
        parts = path.split(".")
        ends = (f"^{path}", *(".".join(parts[k:]) for k in range(len(parts))))
        fitting = [self._names[end] for end in ends if end in self._names]
        fitting += [(place, alpha) for place, pattern, alpha in self._expressions if pattern.match(path)]
        return min(fitting)[1] if fitting else self.common


@dataclass(frozen=True, slots=True)
class Scales:
    """PEFT's configuration of a file, by network; "" is the whole file."""

    configs: Mapping[str, Alphas]

    def of(self, name: str, rank: int, alpha: float | None) -> float:
        """Return alpha/rank of a module.

        Args:
            name: of the module in the file.
            rank: of its factors.
            alpha: of its own, over which no configuration speaks.
        """
        if alpha is not None:
            return alpha / rank
        name = name.removeprefix(WRAPPED)
        root, _, path = name.partition(".")
        config, path = (self.configs[root], path) if root in self.configs else (self.configs.get(""), name)
        found = None if config is None else config.of(path)
        if config is None or found is None:
            return 1.0
        return found / (math.sqrt(rank) if config.rank_stabilised else rank)

    @property
    def known(self) -> bool:
        """Whether there is a configuration."""
        return bool(self.configs)


def read_scales(path: Path, metadata: Mapping[str, str]) -> Scales:
    """Read PEFT's configuration: from the header, or from the file next to it, if that belongs to this file.

    Raises InputError for a configuration that is not valid.
    """
    try:
        if METADATA in metadata:
            return Scales({root: _alphas(config) for root, config in _by_network(metadata[METADATA]).items()})
        config = path.with_name(CONFIG)
        if path.name == WEIGHTS and is_file(config):
            return Scales({"": _alphas(read_json(config, path.parent, strict=False))})
    except ValueError as error:
        raise InputError(f"{path}: its PEFT configuration: {error}") from None
    return Scales({})


def _by_network(text: str) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for key, value in json_object(text, strict=False).items():
        root, _, setting = key.partition(".")
        found.setdefault(root, {})[setting] = value
    return found


def _alphas(config: Mapping[str, Any]) -> Alphas:
    common = config.get("lora_alpha", config.get("alpha"))  # of LoRA, and of LoHa and LoKr
    patterns = config.get("alpha_pattern") or {}
    stabilised = config.get("use_rslora") or False
    if not isinstance(patterns, dict) or not isinstance(stabilised, bool):
        raise InputError("alpha_pattern must be an object, and use_rslora true or false")
    return Alphas(
        None if common is None else _number("lora_alpha", common),
        {pattern: _number(f"alpha_pattern {pattern[:60]!r}", alpha) for pattern, alpha in patterns.items()},
        stabilised,
    )


def _number(where: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e30:
        raise InputError(f"{where}: {str(value)[:40]!r}; must be a finite number")
    return float(value)
