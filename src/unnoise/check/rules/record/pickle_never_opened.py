"""The file is a pickle, which can run code when it is opened, so it was not opened.

Why: `torch.load` of a .ckpt, .pt or .bin can run code in the file; with CVE-2025-32434 even with weights_only=True in
torch before 2.6. The contents of such a file are unknown until it is opened.
Shown: the file.
Instead: use the .safetensors file that almost every model has, or convert it in an isolated environment.
Fix: none.
Source: Python documentation, pickle; pytorch security advisory GHSA-53q9-r3pm-6pq6.
"""

from collections.abc import Iterator

from unnoise.check.examples import folder
from unnoise.check.rule import WARN, Finding, Rule
from unnoise.check.subject import ReadFault, Subject

RULE = Rule(id="UN902", name="pickle-never-opened", severity=WARN, checks="fault")
INSTEAD = "use the .safetensors file of the model, or convert it in an isolated environment"


def check(fault: ReadFault) -> Iterator[Finding]:
    if fault.kind == "pickle":
        message = "this file can run code when it is opened, so it was not opened"
        yield Finding(RULE, fault.place, message, "a pickle", "safetensors", INSTEAD)


def bad() -> Subject:
    return folder({"vae/config.json": {"_class_name": "AutoencoderKL"}, "vae/diffusion_pytorch_model.bin": None})


def good() -> Subject:
    return folder({"vae/config.json": {"_class_name": "AutoencoderKL"}})
