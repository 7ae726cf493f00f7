"""Read the metadata that this program writes into the headers of adapters and controls."""

from collections.abc import Mapping
from typing import Any

from unnoise.families.identity import UNKNOWN, Identity
from unnoise.formats.json_text import json_object

LORA = "unnoise.lora"  # the key of a LoRA's card in the header
CONTROL = "unnoise.control"  # the key of a control's card
LONGEST = 250  # characters of a value


def own_card(metadata: Mapping[str, str]) -> dict[str, Any]:
    """Return the card of a LoRA or control of this program; empty if there is none or it is not valid."""
    try:
        return json_object(metadata.get(LORA) or metadata.get(CONTROL) or "{}")
    except ValueError:
        return {}


def base_card(metadata: Mapping[str, str]) -> dict[str, str]:
    """Return the base that the card names: name, family, variant, fingerprint."""
    base = own_card(metadata).get("base")
    items = base.items() if isinstance(base, dict) else ()
    return {name: value for name, value in items if isinstance(value, str) and len(value) <= LONGEST}


def base_identity(metadata: Mapping[str, str]) -> Identity:
    """Return the identity of the base that the card names; unknown if it names none."""
    base = base_card(metadata)
    key = LORA if LORA in metadata else CONTROL
    return Identity(base.get("family", UNKNOWN), base.get("variant", ""), known_by=f"the metadata key {key}")
