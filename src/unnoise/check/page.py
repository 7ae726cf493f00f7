"""The page of a rule: its docstring and the source of its two examples."""

import inspect
from collections.abc import Sequence

from unnoise.check.rule import Needs, RuleEntry

LABELS = ("Why", "Shown", "Instead", "Fix", "Source")
READS = {
    Needs.HEADER: "headers and texts",
    Needs.WEIGHTS: "a few tensors",
    Needs.PROBE: "a few seeded calls of the network",
    Needs.DATA: "the training data",
}
TITLES = {
    "UN1": "Process, grid and sampler",
    "UN2": "Model and prediction",
    "UN3": "Space, latents and size",
    "UN4": "Guidance",
    "UN5": "Training and data",
    "UN6": "LoRA and adapters",
    "UN7": "Editing and masks",
    "UN8": "Prompt and text",
    "UN9": "Files, records and safety",
}


def sections(entry: RuleEntry) -> dict[str, str]:
    """Split a rule's docstring.

    Args:
        entry: the rule

    Returns:
        its first paragraph under "", then the text of each of LABELS that it has
    """
    found = {"": ""}
    label = ""
    for line in inspect.cleandoc(entry.page).splitlines():
        head, colon, rest = line.partition(":")
        if colon and head in LABELS:
            label, line = head, rest
        found[label] = f"{found.get(label, '')}\n{line.strip()}"
    return {name: text.strip() for name, text in found.items()}


def page(entry: RuleEntry) -> str:
    """Write the page of a rule in Markdown: what it finds, why, both examples, the fix and the source."""
    rule, parts = entry.rule, sections(entry)
    severity = rule.severity.name.lower().replace("warn", "warning")
    lines = [f"# {rule.id} {rule.name}", "", parts[""], ""]
    lines += [f"Severity: {severity}. Reads {READS[rule.needs]}.", ""]
    for label in LABELS[:2]:
        lines += [_labelled(label, parts[label]), ""]
    for title, name in (("Found", "bad"), ("Not found", "good")):
        lines += [f"## {title}", "", "```python example", _example(entry, name), "```", ""]
    for label in LABELS[2:]:
        lines += [_labelled(label, parts[label]), ""]
    return "\n".join(lines).rstrip() + "\n"


def _labelled(label: str, text: str) -> str:
    is_word = text.partition(" ")[0].isalpha() and label != "Source"  # names keep their case
    return f"**{label}.** {text[:1].upper() if is_word else text[:1]}{text[1:]}"


def _example(entry: RuleEntry, name: str) -> str:
    return inspect.getsource(getattr(entry.module, name)).rstrip()


def index(entries: Sequence[RuleEntry]) -> str:
    """Write the page that lists all rules, family by family."""
    lines = [
        "# Rules of `unnoise check`",
        "",
        "A page describes the problem, its effect, and what to write instead.",
        "",
    ]
    for prefix, title in TITLES.items():
        lines += [f"## {prefix}xx {title}", "", "| Rule | Severity | Finds |", "|---|---|---|"]
        for one in entries:
            if one.rule.id.startswith(prefix):
                first = " ".join(sections(one)[""].split()).replace("|", "\\|")
                link = f"[{one.rule.id}]({one.rule.id}.md) {one.rule.name}"
                lines.append(f"| {link} | {one.rule.severity.name.lower()} | {first} |")
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"
