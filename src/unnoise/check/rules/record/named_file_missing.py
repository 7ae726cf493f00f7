"""A workflow or a script names a file that is not among the models.

Why: the tool stops, or uses the first file of its list instead. What depends on the file is not checked: with 1 missing
LoRA, its fit to the base is unknown. With `--models` each missing file is reported once; names that stay unresolved
in a folder with models are one note.
Shown: the name.
Instead: put the file into its folder, name an existing file, or name the folder of the models with `--models`.
Fix: none.
Source: ComfyUI, execution.py, validate_inputs ("value not in list").
"""

from collections.abc import Iterator
from pathlib import Path

from unnoise.check.examples import workflow
from unnoise.check.model_files import ModelFiles
from unnoise.check.references import Shelf, related
from unnoise.check.rule import NOTE, WARN, Finding, Rule
from unnoise.check.subject import ReadFault, Subject

RULE = Rule(id="UN910", name="named-file-missing", severity=WARN, checks="fault")
OTHERS = (".safetensors.index.json", "model_index.json")  # checked by other rules
FILES = (".safetensors", ".sft", ".gguf", ".ckpt", ".pt", ".pth", ".bin")  # other names with a dot may be repositories


def check(fault: ReadFault) -> Iterator[Finding]:
    name = fault.message.partition(" is ")[0].lower()
    if fault.kind == "missing" and name.endswith(FILES) and not fault.place.path.endswith(OTHERS):
        message = "this names a file that was not found and is not checked"
        suggestion = "put the file there, or name another one"
        yield Finding(RULE, fault.place, message, fault.message, "an existing file", suggestion)
    if fault.kind == "unresolved":
        message = "these models are named, but are not in this folder, so their fit is not checked"
        suggestion = "name the folder of the models with --models"
        yield Finding(RULE, fault.place, message, fault.message, "existing files", suggestion, NOTE)


def _among(*names: str) -> Subject:
    """Read a workflow as with `--models models`, a folder with files of these names."""
    models = ModelFiles({name: (Path("models") / name,) for name in names})
    return related(workflow(), (), Shelf(models=models, on_disk=True, must_exist=True))


def bad() -> Subject:
    return _among("v1-5-pruned.safetensors")


def good() -> Subject:
    return workflow()
