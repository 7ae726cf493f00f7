"""What rules of records share: which faults are of weights in parts."""

from unnoise.check.subject import Fault

SHARDS = ".safetensors.index.json"


def is_of_shards(fault: Fault) -> bool:
    """Say whether a fault is that of an index of weights in parts, and not of the file of the index itself."""
    return fault.place.path.endswith(SHARDS) and fault.place.keys == ("weight_map",)
