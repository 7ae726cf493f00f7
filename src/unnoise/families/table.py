"""The table of all families and their variants."""

from collections.abc import Mapping

from unnoise.families.fact import Facts
from unnoise.families.images import IMAGES
from unnoise.families.variants import VARIANTS
from unnoise.families.video_audio import VIDEO_AUDIO

__all__ = ["FAMILIES", "VARIANTS"]

OWN = Facts(title="unnoise", process="flow", prediction="v", source="the card in the file")
FAMILIES: Mapping[str, Facts] = {**IMAGES, **VIDEO_AUDIO, "unnoise": OWN}
