"""The default settings of a foreign model: the facts of its family, and the size in its config."""

from dataclasses import replace
from typing import Any

from unnoise.card import Advice
from unnoise.families.facts import facts
from unnoise.integrations.diffusers.components import ForeignComponents

CELL = 8  # pixels of a latent cell, the unit of sizes in configs
FEW = 4  # steps of a model that was distilled to few steps


def advise(
    foreign: ForeignComponents, guidance_scale: float, steps: int, size: int | None = None, **more: Any
) -> Advice:
    """Return default settings. For a model that was distilled to few steps, guidance is off and steps are few.

    Args:
        foreign: the model.
        guidance_scale, steps: defaults of the family.
        size: native side in latent cells of 8 pixels; None is that of the family.
        more: other fields of `Advice`.
    """
    known = facts(foreign.identity)
    native = (size * CELL, size * CELL) if size else known.size if known and known.size else (512, 512)
    found = Advice(steps=steps, guidance_scale=guidance_scale, guidance_range=(1.0, guidance_scale), sizes=(native,))
    if known is not None:
        low, high = known.guidance or (1.0, 1.0)
        found = replace(found, guidance_range=(min(low, guidance_scale), max(high, guidance_scale)))
        if known.distilled == "steps":
            found = replace(found, steps=min(FEW, steps), guidance_scale=1.0)
    return replace(found, **more)
