"""`unnoise check`: find silent mistakes in the files of any diffusion tool."""

import codecs
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import unified_diff
from pathlib import Path
from time import perf_counter
from typing import Annotated, Literal

from cyclopts import App, Parameter

from unnoise.check.apply_fixes import FixedFiles
from unnoise.check.catalogue import chosen
from unnoise.check.engine import judge
from unnoise.check.notebook import Notebook
from unnoise.check.notebook_places import cell_text, in_file
from unnoise.check.references import is_foreign, load_subjects
from unnoise.check.report.text import coloured, plain, render, summary
from unnoise.check.rule import Finding, RuleEntry, Severity
from unnoise.check.settings import ProjectSettings, settings_for
from unnoise.check.subject import Subject
from unnoise.errors import InputError

EPILOGUE = """Reads, by content: .safetensors and GGUF (headers only), diffusers folders,
ComfyUI workflows (also in images), infotext of AUTOMATIC1111 and Forge,
InvokeAI metadata, scripts and notebooks that use diffusers, TOML and command
lines of sd-scripts, and the models, images and recipes of unnoise.

Examples:
  unnoise check picture.png                  check the settings of an image
  unnoise check base.safetensors lora.safetensors       does the LoRA fit the base?
  unnoise check workflow.json --models ComfyUI/models
  unnoise check train.toml make.py --fix         apply safe fixes
  unnoise check make.py --diff --unsafe          show what --fix --unsafe would change
  unnoise check . --select UN4,UN6 --format sarif      for code scanning

Exit code: 0 nothing above a note, 1 findings, 2 invalid arguments or unreadable
files. `unnoise rule UN401` explains a rule, `unnoise rule` lists them.
`# unnoise: ignore[UN401]` on its line allows a finding in a script or TOML
file; [tool.unnoise] in pyproject.toml, or unnoise.toml, has select, ignore and
per-file. docs/check.md has more."""

app = App(help="Find silent mistakes in models, LoRAs, workflows, images, scripts and training files.")
app.help_format, app.help_epilogue = "plaintext", EPILOGUE
FINDINGS, UNREADABLE = 1, 2
SEVERITIES = {"note": Severity.NOTE, "warning": Severity.WARN, "error": Severity.ERROR}


@dataclass(frozen=True, slots=True)
class CheckOptions:
    """Select the rules that run and the form of their findings."""

    select: Annotated[str, Parameter(help="Only these rules: comma-separated ids or prefixes: UN4,UN601.")] = ""
    ignore: Annotated[str, Parameter(help="Leave out these rules.")] = ""
    severity: Annotated[Literal["note", "warning", "error"], Parameter(help="Show only this severity and above.")] = (
        "note"
    )
    models: Annotated[Path | None, Parameter(help="Folder with the models that files name.")] = None
    format: Annotated[Literal["text", "json", "sarif", "github"], Parameter(help="Format of the findings.")] = "text"
    explain: Annotated[bool, Parameter(negative="", help="Add the reason for each finding.")] = False
    skip_foreign: Annotated[
        bool, Parameter(negative="", help="Leave out files that have nothing to do with diffusion, as in a folder.")
    ] = False


@app.default
def check(
    *paths: Annotated[Path, Parameter(help="Files and folders, checked together.")],
    options: Annotated[CheckOptions, Parameter(name="*")] = CheckOptions(),
    fix: Annotated[bool, Parameter(negative="", help="Apply safe fixes to the files.")] = False,
    unsafe: Annotated[bool, Parameter(negative="", help="With --fix: also apply fixes that choose for you.")] = False,
    diff: Annotated[bool, Parameter(negative="", help="Show what --fix would change, and write nothing.")] = False,
    probe: Annotated[bool, Parameter(negative="", help="Also run models of unnoise with a few seeded calls.")] = False,
) -> int:
    """Find silent mistakes: a guidance scale, sampler, size, LoRA, mask or scale with valid but worse output.

    Reads .safetensors and GGUF (headers only), diffusers folders, ComfyUI workflows (also in images), infotext of
    AUTOMATIC1111 and Forge, InvokeAI metadata, scripts and notebooks that use diffusers, sd-scripts TOML and commands.
    """
    if not paths:
        raise InputError("name at least one file or folder: unnoise check PATH...; --help has examples")
    if unsafe and not fix and not diff:
        raise InputError("--unsafe: only together with --fix or --diff")
    start = perf_counter()
    settings = settings_for(Path.cwd())
    rules = chosen(_listed(options.select) or settings.select, (*_listed(options.ignore), *settings.ignore))
    request = CheckRequest(paths, options.models, rules, settings, probe, options.skip_foreign)
    if fix or diff:
        fixed = _fix(request, ("safe", "unsafe") if unsafe else ("safe",))
        if diff:
            return _show_difference(fixed)
        _write(fixed)
    files: set[str] = set()
    found: list[ShownFinding] = []
    for subject in request.subjects():  # one at a time: a folder may contain thousands
        files |= set() if subject.measured else {subject.path}  # a probed model is the same file again
        found += request.findings(subject)
    _print(found, options, len(files), perf_counter() - start)
    return _code(found)


@dataclass(frozen=True, slots=True)
class ShownFinding:
    """Hold a finding, the text of its file or cell, and the notebook of the cell."""

    finding: Finding
    text: str | None
    notebook: Notebook | None = None


@dataclass(frozen=True, slots=True)
class CheckRequest:
    """Hold the paths, the folder of models, the rules, the settings of the project, and which files are left out."""

    paths: Sequence[Path]
    models: Path | None
    rules: Sequence[RuleEntry]
    settings: ProjectSettings
    probe: bool
    skip_foreign: bool

    def subjects(self) -> Iterator[Subject]:
        """Read the files, and probe the models among them if requested."""
        found = load_subjects(self.paths, self.models)
        yield from (one for one in found if not (self.skip_foreign and is_foreign(one)))
        if self.probe:
            yield from _probed(self.paths)

    def findings(self, subject: Subject) -> list[ShownFinding]:
        """Return the findings of a subject that the project does not ignore."""
        found = (finding for finding in judge(subject, self.rules) if not self.settings.hides(finding))
        return [ShownFinding(one, _text(one, subject), subject.notebook) for one in found]


def _text(finding: Finding, subject: Subject) -> str | None:
    text = cell_text(finding.place, subject.notebook)
    return subject.texts.get(finding.place.path) if text is None else text


def _listed(names: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in names.split(",") if name.strip())


def _probed(paths: Sequence[Path]) -> Iterator[Subject]:
    from unnoise.check.probe import probe
    from unnoise.cli.torch_import import import_torch

    import_torch()
    from unnoise.loading import load

    yield from (probe(load(path)) for path in paths if path.suffix == ".safetensors")


def _fix(request: CheckRequest, kinds: Sequence[str]) -> FixedFiles:
    """Apply fixes of these kinds, without writing them."""
    from unnoise.check.fix_files import fix_files

    def find(subject: Subject) -> list[Finding]:
        return [one.finding for one in request.findings(subject)]

    return fix_files(request.paths, request.models, find, kinds)


def _write(fixed: FixedFiles) -> None:
    from unnoise.formats.atomic import replacing

    for path, text in fixed.after.items():
        target = Path(path).resolve()  # of a link
        mark = codecs.BOM_UTF8 if target.read_bytes().startswith(codecs.BOM_UTF8) else b""
        with replacing(target) as file:
            file.write(mark + text.encode())
    print(f"unnoise: fixed {_counted(fixed)}", file=sys.stderr)


def _show_difference(fixed: FixedFiles) -> int:
    """Print what the fixes would change; the exit code tells whether they would change anything."""
    for path, text in fixed.after.items():
        old, new = (one.splitlines(keepends=True) for one in (fixed.before[path], text))
        for line in unified_diff(old, new, path, path):
            print(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n", end="")
    print(f"unnoise: would fix {_counted(fixed)}", file=sys.stderr)
    return FINDINGS if fixed.after else 0


def _counted(fixed: FixedFiles) -> str:
    return f"{fixed.count} finding{'s' * (fixed.count != 1)}"


def _print(found: Sequence[ShownFinding], options: CheckOptions, files: int, seconds: float) -> None:
    shown = [one for one in found if one.finding.grade >= SEVERITIES[options.severity]]
    findings = [one.finding for one in shown]
    if options.format != "text":
        from unnoise.check.report import machine

        sarif_or_github = {"sarif": machine.to_sarif, "github": machine.to_github}.get(options.format)
        in_files = [in_file(one.finding, one.notebook) for one in shown]
        print(sarif_or_github(in_files) if sarif_or_github else machine.to_json(findings, files))
        return
    paint = coloured if sys.stdout.isatty() and "NO_COLOR" not in os.environ else plain
    for one in shown:
        print(render(one.finding, one.text, paint, options.explain), end="\n\n")
    print(summary(findings, files, seconds))


def _code(found: Sequence[ShownFinding]) -> int:
    if any(one.finding.rule.id == "UN901" and one.finding.grade == Severity.ERROR for one in found):
        return UNREADABLE
    return FINDINGS if any(one.finding.grade > Severity.NOTE for one in found) else 0
