"""What a foreign model is advised to be run with: the facts of its family, and what its own config says of its size."""

from dataclasses import replace
from typing import Any

from unnoise.card import Advice
from unnoise.families.facts import facts
from unnoise.integrations.diffusers.components import ForeignComponents

CELL = 8  # pixels of a latent, in which configs give their size
FEW = 4  # steps of a model that was distilled to few


def advise(parts: ForeignComponents, guidance_scale: float, steps: int, size: int | None = None, **more: Any) -> Advice:
    """Advise guidance and steps, off and few where the model was distilled to few steps.

    size: native side in latents of 8 pixels, None = the family's; more: other fields of `Advice`.
    """
    known = facts(parts.identity)
    native = (size * CELL, size * CELL) if size else known.size if known and known.size else (512, 512)
    found = Advice(steps=steps, guidance_scale=guidance_scale, guidance_range=(1.0, guidance_scale), sizes=(native,))
    if known is not None:
        low, high = known.guidance or (1.0, 1.0)
        found = replace(found, guidance_range=(min(low, guidance_scale), max(high, guidance_scale)))
        if known.distilled == "steps":
            found = replace(found, steps=min(FEW, steps), guidance_scale=1.0)
    return replace(found, **more)
