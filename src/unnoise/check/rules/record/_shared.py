"""Helpers of the rules of records."""

from unnoise.check.subject import ReadFault

SHARDS = ".safetensors.index.json"


def is_of_shards(fault: ReadFault) -> bool:
    """Return whether a fault is in the parts that an index of weights lists, and not in the index file itself."""
    return fault.place.path.endswith(SHARDS) and fault.place.keys == ("weight_map",)
