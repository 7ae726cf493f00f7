"""Everything that one call asks for, made of the flat keywords of Python or of the command line."""

from dataclasses import dataclass, field, fields
from functools import lru_cache
from typing import Any

from unnoise.errors import InputError, nearest, plain_number
from unnoise.generation import limits
from unnoise.generation.options import (
    OPTIONS,
    AdapterOptions,
    ControlOptions,
    EditOptions,
    OutputOptions,
    SamplingOptions,
)
from unnoise.generation.other_names import OTHER_NAMES


@dataclass(frozen=True, slots=True)
class Request:
    """Everything that one call asks for. Raises InputError for the first option that is out of range."""

    prompts: tuple[str, ...]
    sampling: SamplingOptions = field(default_factory=SamplingOptions)
    edit: EditOptions = field(default_factory=EditOptions)
    control: ControlOptions = field(default_factory=ControlOptions)
    adapters: AdapterOptions = field(default_factory=AdapterOptions)
    output: OutputOptions = field(default_factory=OutputOptions)

    def __post_init__(self) -> None:
        if not self.prompts:
            raise InputError("prompt: none is given; an empty text draws from the unconditional model")
        for prompt in self.prompts:
            limits.check_text("prompt", prompt)
        if len(self.prompts) * self.sampling.n > limits.ALL:
            raise InputError(
                f"{len(self.prompts)} prompts of n {self.sampling.n}: at most {limits.ALL} samples in one request"
            )
        if self.edit.strength is not None and isinstance(self.sampling.schedule, tuple):
            raise InputError("strength: cannot be combined with explicit levels of a schedule; leave one of them out")
        if self.edit.resample is not None and self.sampling.sampler is not None:
            raise InputError(f"sampler {self.sampling.sampler!r}: resample has its own sampler; leave one of them out")


def request_of(prompts: str | tuple[str, ...] | list[str], **options: Any) -> Request:
    """Make a request of flat keywords.

    Args:
        prompts: one prompt or several.
        options: fields of the five option classes, by name.

    Raises:
        InputError: an option is unknown, out of range, or cannot act.
    """
    homes = home_of_options()
    for name in options:
        if name not in homes:
            raise InputError(unknown_option(name))
    made: list[Any] = [
        kind(**{key: _plain(key, value) for key, value in options.items() if homes[key] is kind}) for kind in OPTIONS
    ]
    return Request((prompts,) if isinstance(prompts, str) else tuple(prompts), *made)


def unknown_option(name: str) -> str:
    """Say what an unknown keyword may have meant."""
    if name in OTHER_NAMES:
        return f"{name}: unknown here; use {OTHER_NAMES[name]}"
    return f"{name}: unknown option: {nearest(name, home_of_options())}"


@lru_cache
def home_of_options() -> dict[str, Any]:
    """Name the class of every option."""
    return {one.name: kind for kind in OPTIONS for one in fields(kind)}


def _plain(name: str, value: Any) -> Any:
    """Bring what people write in Python to the type of the field: one number for both sides, lists for tuples."""
    if name == "lora":
        return () if value is None else value
    value = plain_number(value)
    if name.endswith("size") and isinstance(value, int) and not isinstance(value, bool):
        return value, value
    return tuple(map(plain_number, value)) if isinstance(value, list | tuple) else value


def split_weight(one: Any) -> tuple[Any, float]:
    """Split "FILE:WEIGHT"; anything else has weight 1."""
    name, colon, number = one.rpartition(":") if isinstance(one, str) else ("", "", "")
    try:
        return (name, float(number)) if colon and name else (one, 1.0)
    except ValueError:
        return one, 1.0


def split_network(one: Any) -> tuple[Any, str]:
    """Split "FILE@NETWORK"; anything else names no network."""
    name, _, network = one.rpartition("@") if isinstance(one, str) else ("", "", "")
    return (name, network) if name and network.isidentifier() else (one, "")


def split_lora(one: Any) -> tuple[Any, float, str]:
    """Split "FILE:WEIGHT@NETWORK" or "FILE@NETWORK:WEIGHT"; the weight is 1 and the network "" where they are left out.

    Raises InputError for a text with two weights.
    """
    outer, weight = split_weight(one)
    name, network = split_network(outer)
    if not network:
        return outer, weight, ""
    name, inner = split_weight(name)
    if outer != one and inner != 1:
        raise InputError(f"lora {one[:300]!r}: has two weights; write FILE:WEIGHT@NETWORK")
    return name, inner if outer == one else weight, network
