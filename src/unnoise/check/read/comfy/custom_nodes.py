"""The nodes of extensions that are read, one row a class of nodes."""

from collections.abc import Mapping

from unnoise.check.read.comfy.custom_node import CustomNode
from unnoise.check.read.comfy.custom_pipes import PIPES
from unnoise.check.read.comfy.custom_samplers import SAMPLERS
from unnoise.check.read.comfy.custom_video import VIDEO

CUSTOM: Mapping[str, CustomNode] = {**VIDEO, **SAMPLERS, **PIPES}
