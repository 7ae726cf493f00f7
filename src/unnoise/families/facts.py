"""Look up the facts of a model: those of its family, changed by those of its variant."""

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

from unnoise.families.fact import Facts
from unnoise.families.identity import Identity
from unnoise.families.table import FAMILIES, VARIANTS

__all__ = ["Facts", "facts"]


def facts(identity: Identity) -> Facts | None:
    """Return the facts of a model; None if its family is unknown."""
    return _facts(identity.family, identity.variant, identity.prediction)


@lru_cache(maxsize=1024)
def _facts(family: str, variant: str, prediction: str) -> Facts | None:
    common = FAMILIES.get(family)
    if common is None:
        return None
    title = f"{common.title} {variant}".strip()
    own: Mapping[str, Any] = {"prediction": prediction} if prediction else {}
    return replace(common, title=title, **{**VARIANTS.get(family, {}).get(variant, {}), **own})
