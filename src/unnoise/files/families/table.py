"""All families and their variants."""

from collections.abc import Mapping

from unnoise.files.families.fact import Facts
from unnoise.files.families.images import IMAGES
from unnoise.files.families.moving import MOVING
from unnoise.files.families.variants import VARIANTS

__all__ = ["FAMILIES", "VARIANTS"]

OWN = Facts(title="unnoise", process="flow", prediction="v", source="the card in the file")
FAMILIES: Mapping[str, Facts] = {**IMAGES, **MOVING, "unnoise": OWN}
