"""`unnoise check`: find what is silently wrong in the files of any diffusion tool."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Annotated, Literal

from cyclopts import App, Parameter

from unnoise.check.catalogue import chosen
from unnoise.check.engine import judge
from unnoise.check.link import linked
from unnoise.check.mend import fix_of, mended
from unnoise.check.report.text import coloured, plain, render, summary
from unnoise.check.rule import Entry, Finding, Fix, Severity
from unnoise.check.settings import Settings, settings_for
from unnoise.check.subject import Subject
from unnoise.errors import Refusal

EPILOGUE = """Examples:
  unnoise check model.safetensors lora.safetensors      does this LoRA fit that model?
  unnoise check workflow.json --models ~/ComfyUI/models the files that it names are looked up there
  unnoise check picture.png                             how was it made, and what was wrong?
  unnoise check train.toml make.py --fix                write what is surely meant
  unnoise check . --select UN4,UN6 --format sarif       guidance and LoRA rules, for code scanning

Exit code: 0 nothing above a note, 1 findings, 2 a wrong request or a file that cannot be read.
`unnoise rule UN401` explains a rule. `# unnoise: ignore[UN401]` on its line allows it in a script or TOML file;
[tool.unnoise] in pyproject.toml, or unnoise.toml, has select, ignore and per-file."""

app = App(help="Find what is silently wrong in models, LoRAs, workflows, pictures, scripts and training files.")
app.help_format, app.help_epilogue = "plaintext", EPILOGUE
FINDINGS, UNREADABLE = 1, 2
ROUNDS = 10  # of fixes, until nothing more can be mended
SEVERITIES = {"note": Severity.NOTE, "warning": Severity.WARN, "error": Severity.ERROR}


@dataclass(frozen=True, slots=True)
class What:
    """Which rules run, and how their findings are shown."""

    select: Annotated[str, Parameter(help="Only these rules: ids or their beginnings, with commas: UN4,UN601.")] = ""
    ignore: Annotated[str, Parameter(help="Not these rules.")] = ""
    severity: Annotated[Literal["note", "warning", "error"], Parameter(help="Show only this and above.")] = "note"
    models: Annotated[Path | None, Parameter(help="Folder where models are that files name.")] = None
    format: Annotated[Literal["text", "json", "sarif", "github"], Parameter(help="How findings are printed.")] = "text"
    explain: Annotated[bool, Parameter(negative="", help="Say with each finding why it matters.")] = False


@app.default
def check(
    *paths: Annotated[Path, Parameter(help="Files and folders; those that are named together are related.")],
    what: Annotated[What, Parameter(name="*")] = What(),
    fix: Annotated[bool, Parameter(negative="", help="Write into the files what is surely meant.")] = False,
    unsafe: Annotated[bool, Parameter(negative="", help="With --fix: also where the choice is yours.")] = False,
    probe: Annotated[bool, Parameter(negative="", help="Also run models of unnoise: a few seeded calls.")] = False,
) -> int:
    """Find what is silently wrong: guidance, sampler, size, LoRA, mask or scale that give valid output, only worse.

    Reads .safetensors and GGUF (headers only), diffusers folders, ComfyUI workflows (also in pictures), infotext of
    AUTOMATIC1111 and Forge, InvokeAI metadata, scripts and notebooks that use diffusers, sd-scripts TOML and commands.
    """
    if not paths:
        raise Refusal("name at least one file or folder: unnoise check PATH...; --help has examples")
    if unsafe and not fix:
        raise Refusal("--unsafe: only together with --fix")
    start = perf_counter()
    settings = settings_for(Path.cwd())
    rules = chosen(_listed(what.select) or settings.select, (*_listed(what.ignore), *settings.ignore))
    subjects = list(linked(paths, what.models)) + (_probed(paths) if probe else [])
    if fix:
        subjects = _mend(paths, subjects, rules, settings, what, unsafe)
    found = [(subject, finding) for subject in subjects for finding in _judged(subject, rules, settings)]
    _print(found, what, len(subjects), perf_counter() - start)
    return _code(found)


def _listed(names: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in names.split(",") if name.strip())


def _judged(subject: Subject, rules: Sequence[Entry], settings: Settings) -> list[Finding]:
    return [finding for finding in judge(subject, rules) if not settings.hides(finding)]


def _probed(paths: Sequence[Path]) -> list[Subject]:
    from unnoise.check.probe import probe
    from unnoise.cli.torch_import import import_torch

    import_torch()
    from unnoise.files.model_file import load

    return [probe(load(path)) for path in paths if path.suffix == ".safetensors"]


def _mend(
    paths: Sequence[Path],
    subjects: list[Subject],
    rules: Sequence[Entry],
    settings: Settings,
    what: What,
    unsafe: bool,
) -> list[Subject]:
    """Write fixes until nothing more can be mended, and give the subjects as they are then."""
    from unnoise.files.atomic import replacing

    kinds = ("safe", "unsafe") if unsafe else ("safe",)
    mends = 0
    for _ in range(ROUNDS):
        texts: dict[str, str] = {}
        for subject in subjects:
            fixes = [fix for finding in _judged(subject, rules, settings) if (fix := fix_of(finding, subject))]
            fixes = [fix for fix in fixes if fix.kind in kinds]
            changed = mended(subject, fixes)
            mends += len(fixes) if changed else 0
            texts |= changed
        if not texts:
            break
        for path, text in texts.items():
            with replacing(path) as file:
                file.write(text.encode())
        subjects = list(linked(paths, what.models))
    print(f"unnoise: mended {mends} finding{'s' * (mends != 1)}", file=sys.stderr)
    return subjects


def _print(found: Sequence[tuple[Subject, Finding]], what: What, files: int, seconds: float) -> None:
    shown = [(subject, finding) for subject, finding in found if finding.grade >= SEVERITIES[what.severity]]
    fixes: list[Fix | None] = [fix_of(finding, subject) for subject, finding in shown]
    pairs = [(finding, fix) for (_, finding), fix in zip(shown, fixes, strict=True)]
    if what.format != "text":
        from unnoise.check.report import machine

        print(
            {"json": machine.to_json, "sarif": machine.to_sarif, "github": machine.to_github}[what.format](pairs, files)
        )
        return
    paint = coloured if sys.stdout.isatty() else plain
    for (subject, finding), fix in zip(shown, fixes, strict=True):
        print(render(finding, fix, subject.texts.get(finding.place.path), paint, what.explain), end="\n\n")
    print(summary([finding for finding, _ in pairs], fixes, files, seconds))


def _code(found: Sequence[tuple[Subject, Finding]]) -> int:
    if any(finding.rule.id == "UN901" for _, finding in found):
        return UNREADABLE
    return FINDINGS if any(finding.grade > Severity.NOTE for _, finding in found) else 0
