"""What adapters and controls of this program say of themselves in the headers of their files."""

import json
from collections.abc import Mapping
from typing import Any

from unnoise.families.identity import UNKNOWN, Identity

LORA = "unnoise.lora"  # under which the header of a LoRA says what it is
CONTROL = "unnoise.control"  # and of a control
LONGEST = 250  # letters of what is taken over


def said(metadata: Mapping[str, str]) -> dict[str, Any]:
    """Give what a LoRA or a control of this program says of itself; empty where it is another's, or unsound."""
    try:
        found = json.loads(metadata.get(LORA) or metadata.get(CONTROL) or "{}")
        return found if isinstance(found, dict) else {}
    except (ValueError, RecursionError):
        return {}


def base_said(metadata: Mapping[str, str]) -> dict[str, str]:
    """Give what it says of its base: name, family, variant, fingerprint."""
    base = said(metadata).get("base")
    items = base.items() if isinstance(base, dict) else ()
    return {name: value for name, value in items if isinstance(value, str) and len(value) <= LONGEST}


def base_told(metadata: Mapping[str, str]) -> Identity:
    """Name the base that it says it was made for; unknown where it says none."""
    base = base_said(metadata)
    key = LORA if LORA in metadata else CONTROL
    return Identity(base.get("family", UNKNOWN), base.get("variant", ""), known_by=f"the metadata key {key}")
