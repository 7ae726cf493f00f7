"""All families and their variants."""

from collections.abc import Mapping

from unnoise.families.fact import Facts
from unnoise.families.images import IMAGES
from unnoise.families.variants import VARIANTS
from unnoise.families.video_audio import MOVING

__all__ = ["FAMILIES", "VARIANTS"]

OWN = Facts(title="unnoise", process="flow", prediction="v", source="the card in the file")
FAMILIES: Mapping[str, Facts] = {**IMAGES, **MOVING, "unnoise": OWN}
