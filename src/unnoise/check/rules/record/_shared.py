"""Helpers of the rules of files and metadata."""

from unnoise.check.subject import ReadFault

SHARDS = ".safetensors.index.json"


def is_of_shards(fault: ReadFault) -> bool:
    """Return whether a fault is in a part that an index of weights lists, not in the index itself."""
    return fault.place.path.endswith(SHARDS) and fault.place.keys == ("weight_map",)
