"""A pickle, which runs code when it is opened; it was not opened.

Why: `torch.load` of a .ckpt, .pt or .bin runs what the file says: CVE-2025-32434 did so even with weights_only=True in
torch before 2.6. What such a file holds cannot be known without opening it.
Shown: the file.
Instead: take the .safetensors file that nearly every model has, or convert it in an environment that holds nothing.
Fix: none.
Source: Python documentation, pickle; pytorch security advisory GHSA-53q9-r3pm-6pq6.
"""

from collections.abc import Iterator

from unnoise.check.examples import folder
from unnoise.check.rule import WARN, Finding, Rule
from unnoise.check.subject import ReadFault, Subject

RULE = Rule(id="UN902", name="pickle-never-opened", severity=WARN, checks="fault")
INSTEAD = "take the model as .safetensors, or convert it where nothing can be harmed"


def check(fault: ReadFault) -> Iterator[Finding]:
    if fault.kind == "pickle":
        message = "this file runs code when it is opened, so it was not"
        yield Finding(RULE, fault.place, message, "a pickle", "safetensors", INSTEAD)


def bad() -> Subject:
    return folder({"vae/config.json": {"_class_name": "AutoencoderKL"}, "vae/diffusion_pytorch_model.bin": None})


def good() -> Subject:
    return folder({"vae/config.json": {"_class_name": "AutoencoderKL"}})
