"""Check that an adapter was made for a model: the family, then the variant, then the fingerprint of the weights."""

from dataclasses import dataclass, field
from typing import Any

from unnoise.card import Card
from unnoise.errors import InputError
from unnoise.families import own
from unnoise.families.identity import Identity
from unnoise.families.lora import Lora, base_of
from unnoise.formats.strict_json import Strict, parse

SAME = ({"flux1", "chroma"},)  # families with the same layers, so that a LoRA of one works on the other


@dataclass(frozen=True, slots=True)
class Base(Strict):
    """Name the model that an adapter was trained on, as its card does.

    Args:
        teacher: fingerprint of the weights that the model was distilled from, "" where it was not.
    """

    name: str
    family: str
    variant: str = ""
    fingerprint: str = ""
    teacher: str = ""


@dataclass(frozen=True, slots=True)
class LoraCard(Strict):
    """Describe an adapter of this program.

    Args:
        base: the model that it was trained on.
        trigger: words that its training captions began with.
        licence: of the weights.
        training: facts of its training, in plain JSON types.
    """

    base: Base
    trigger: str = ""
    licence: str = "unknown"
    training: dict[str, Any] = field(default_factory=dict)


def read_lora_card(metadata: dict[str, str], where: str) -> LoraCard | None:
    """Read the card of an adapter, None for another maker's. Raises InputError for a card that is not valid."""
    return parse(LoraCard, metadata[own.LORA], f"{where}: {own.LORA}") if own.LORA in metadata else None


def base_from(card: Card) -> Base:
    """Name a model as the base of an adapter."""
    teacher = card.distilled.teacher_fingerprint if card.distilled is not None else ""
    return Base(card.name, card.family, card.variant, card.fingerprint, teacher)


def check_compatibility(name: str, lora: Lora, metadata: dict[str, str], card: Card) -> list[str]:
    """Compare the base of an adapter with a model and return warnings.

    A file without evidence of its base passes here; the shapes of its tensors are checked later.
    Raises InputError for an adapter of another family.
    """
    own_card = read_lora_card(metadata, name)
    if own_card is None:
        base = base_of(lora, metadata)
    else:
        base = Identity(own_card.base.family, own_card.base.variant, known_by="its own metadata")
    same = base.family == card.family or any({base.family, card.family} <= group for group in SAME)
    if base.known and not same:
        raise InputError(
            f"{name}: a LoRA for {_described(own_card, base)}, by {base.known_by}; {card.name!r} is {card.family}"
        )
    found = []
    if base.known and base.variant and card.variant and base.variant != card.variant:
        found.append(
            f"{name}: made for {_described(own_card, base)}, and {card.name!r} is {card.family} {card.variant}"
        )
    if own_card is not None and (note := _other_weights(name, own_card.base, card)):
        found.append(note)
    return found


def _other_weights(name: str, base: Base, card: Card) -> str:
    """Return the warning of an adapter of other weights than those of a model; "" where there is nothing to say."""
    trained, used = base.fingerprint, card.fingerprint
    if not trained or not used or trained == used:
        return ""
    named = f"{name}: trained on {base.name!r} with weights {trained[:12]}, and used on {card.name!r}"
    if card.distilled is not None and card.distilled.teacher_fingerprint == trained:
        return (
            f"{named}, which is distilled from it: its effect there was not measured; use it on {base.name!r}, or "
            f"merge it into that and distil the result"
        )
    if base.teacher == used:
        return (
            f"{named}, from which that is distilled: its effect there was not measured; use it on {base.name!r}, or "
            f"train it again on {card.name!r}"
        )
    return f"{named} with weights {used[:12]}: its effect there was not measured"


def _described(own_card: LoraCard | None, base: Identity) -> str:
    return f"{own_card.base.name!r}, {base}" if own_card else str(base)
