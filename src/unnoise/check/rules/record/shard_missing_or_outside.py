"""A part of sharded weights is missing, or its name points outside of the folder.

Why: the index maps each tensor to a part. Without 1 part of 3 a third of the network is missing, and loading stops. A
name with ".." or "/" reads a file outside of the model.
Shown: the name of the part.
Instead: download the folder again.
Fix: none.
Source: huggingface_hub, documentation, "Serialization" (model.safetensors.index.json); diffusers/utils/hub_utils.py,
_get_checkpoint_shard_files.
"""

from collections.abc import Iterator

from unnoise.check.examples import folder, header
from unnoise.check.rule import ERROR, Finding, Rule
from unnoise.check.rules.record._shared import is_of_shards
from unnoise.check.subject import ReadFault, Subject

RULE = Rule(id="UN912", name="shard-missing-or-outside", severity=ERROR, checks="fault")


def check(fault: ReadFault) -> Iterator[Finding]:
    if fault.kind in ("missing", "broken") and is_of_shards(fault):
        message = "a part of these weights is missing or outside of the folder"
        yield Finding(RULE, fault.place, message, fault.message, "every part in this folder", "download them again")


FIRST, SECOND = (f"diffusion_pytorch_model-0000{number}-of-00002.safetensors" for number in (1, 2))
MAP = {"conv_in.weight": FIRST, "conv_out.weight": SECOND}
PART = header({"conv_in.weight": ("F16", (320, 4, 3, 3))})
LAST = header({"conv_out.weight": ("F16", (4, 320, 3, 3))})
INDEX = {"metadata": {"total_size": 46080}, "weight_map": MAP}


def bad() -> Subject:
    return folder({"unet/diffusion_pytorch_model.safetensors.index.json": INDEX, f"unet/{FIRST}": PART})


def good() -> Subject:
    return folder({
        "unet/diffusion_pytorch_model.safetensors.index.json": INDEX, f"unet/{FIRST}": PART, f"unet/{SECOND}": LAST
    })  # fmt: skip
