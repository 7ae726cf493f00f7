"""What is known of a model: the facts of its family, with those of its variant."""

from dataclasses import replace

from unnoise.files.families.fact import Facts
from unnoise.files.families.identity import Identity
from unnoise.files.families.table import FAMILIES, VARIANTS

__all__ = ["Facts", "facts"]


def facts(identity: Identity) -> Facts | None:
    """Give what is known of a model; None where its family is unknown."""
    family = FAMILIES.get(identity.family)
    if family is None:
        return None
    found = replace(family, **VARIANTS.get(identity.family, {}).get(identity.variant, {}))
    return replace(found, prediction=identity.prediction) if identity.prediction else found
