"""Which base an adapter was made for, and whether that is the model at hand: family, variant, then fingerprint."""

from dataclasses import dataclass, field
from typing import Any

from unnoise.card import Card
from unnoise.errors import InputError
from unnoise.families import own
from unnoise.families.identity import Identity
from unnoise.families.lora import Lora, base_of
from unnoise.formats.strict_json import Strict, parse

SAME = ({"flux1", "chroma"},)  # families whose layers are alike, so that the LoRA of one works on the other


@dataclass(frozen=True, slots=True)
class Base(Strict):
    """Name the model that an adapter was trained on, as its card does."""

    name: str
    family: str
    variant: str = ""
    fingerprint: str = ""


@dataclass(frozen=True, slots=True)
class LoraCard(Strict):
    """Say what an adapter of this program is.

    trigger: words that its training captions began with; training: facts of its training, in plain JSON types.
    """

    base: Base
    trigger: str = ""
    licence: str = "unknown"
    training: dict[str, Any] = field(default_factory=dict)


def about(metadata: dict[str, str], where: str) -> LoraCard | None:
    """Read what an adapter of this program says of itself, None for another maker's. Raises InputError if unsound."""
    return parse(LoraCard, metadata[own.LORA], f"{where}: {own.LORA}") if own.LORA in metadata else None


def base_from(card: Card) -> Base:
    """Name a model as the base of an adapter."""
    return Base(card.name, card.family, card.variant, card.fingerprint)


def tie(name: str, lora: Lora, metadata: dict[str, str], card: Card) -> list[str]:
    """Compare the base of an adapter with a model, and say what is allowed but not meant.

    Raises InputError for an adapter of another family. What nothing tells is left to the shapes.
    """
    said = about(metadata, name)
    made = Identity(said.base.family, said.base.variant, known_by="its own words") if said else base_of(lora, metadata)
    if made.known and made.family != card.family and not any({made.family, card.family} <= same for same in SAME):
        raise InputError(
            f"{name}: a LoRA for {_named(said, made)}, told by {made.known_by}; {card.name!r} is {card.family}"
        )
    found = []
    if made.known and made.variant and card.variant and made.variant != card.variant:
        found.append(f"{name}: made for {_named(said, made)}, and {card.name!r} is {card.family} {card.variant}")
    if said is not None and said.base.fingerprint and card.fingerprint and said.base.fingerprint != card.fingerprint:
        found.append(
            f"{name}: was trained on {said.base.name!r} of weights {said.base.fingerprint[:12]}, and is used on "
            f"{card.name!r} of weights {card.fingerprint[:12]}: what it does there was not measured"
        )
    return found


def _named(said: LoraCard | None, made: Identity) -> str:
    return f"{said.base.name!r}, {made}" if said else str(made)
