"""Look up the facts of a model: those of its family, changed by those of its variant."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from unnoise.families.fact import Facts
from unnoise.families.identity import Identity
from unnoise.families.table import FAMILIES, VARIANTS

__all__ = ["Facts", "facts"]


def facts(identity: Identity) -> Facts | None:
    """Return the facts of a model; None if its family is unknown."""
    family = FAMILIES.get(identity.family)
    if family is None:
        return None
    title = f"{family.title} {identity.variant}".strip()
    own: Mapping[str, Any] = {"prediction": identity.prediction} if identity.prediction else {}
    return replace(family, title=title, **{**VARIANTS.get(identity.family, {}).get(identity.variant, {}), **own})
