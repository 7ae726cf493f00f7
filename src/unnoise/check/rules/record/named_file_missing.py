"""A file that a workflow or a script names, and that is nowhere among the models.

Why: the tool stops there, or takes the first of its list instead; and what depends on the file is not checked: of
a workflow that names 1 missing LoRA the fit to its base is unknown.
Shown: the name.
Instead: put the file in its folder, or name the one that is there.
Fix: none.
Source: ComfyUI, execution.py, validate_inputs ("value not in list").
"""

from collections.abc import Iterator
from pathlib import Path

from unnoise.check.examples import workflow
from unnoise.check.references import Shelf, related
from unnoise.check.rule import WARN, Finding, Rule
from unnoise.check.subject import ReadFault, Subject

RULE = Rule(id="UN910", name="named-file-missing", severity=WARN, checks="fault")
OTHERS = (".safetensors.index.json", "model_index.json")  # which rules of their own judge
FILES = (".safetensors", ".sft", ".gguf", ".ckpt", ".pt", ".pth", ".bin")  # what else has a point may be a repository


def check(fault: ReadFault) -> Iterator[Finding]:
    name = fault.message.partition(" is ")[0].lower()
    if fault.kind == "missing" and name.endswith(FILES) and not fault.place.path.endswith(OTHERS):
        message = "a file is named here that was not found, so that it is not checked"
        suggestion = "put it there, or name another"
        yield Finding(RULE, fault.place, message, fault.message, "a file that is there", suggestion)


def _among(*names: str) -> Subject:
    """Read a workflow as with `--models models`, where files of these names are."""
    shelf = Shelf(models={name: Path("models") / name for name in names}, on_disk=True)
    return related(workflow(), (), shelf)


def bad() -> Subject:
    return _among("v1-5-pruned.safetensors")


def good() -> Subject:
    return workflow()
