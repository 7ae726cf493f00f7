"""The catalogue of rules: every module in the folders of `rules/` is one rule."""

import re
from collections.abc import Sequence
from functools import cache
from importlib import import_module
from pathlib import Path

from unnoise.check.rule import RuleEntry
from unnoise.errors import InputError, nearest

HOME = Path(__file__).parent / "rules"
FOLDERS = {
    "UN1": "grid", "UN2": "model", "UN3": "space", "UN4": "guidance", "UN5": "training", "UN6": "adapter",
    "UN7": "editing", "UN8": "text", "UN9": "record",
}  # fmt: skip
FAMILY = re.compile(r"UN[1-9]", re.IGNORECASE)


def rules() -> tuple[RuleEntry, ...]:
    """Import every rule, in the order of ids."""
    return tuple(one for family in FOLDERS for one in _of(family))


@cache
def _of(family: str) -> tuple[RuleEntry, ...]:
    """Import the rules of one family, such as "UN4"; a command with few rules does not import all."""
    folder = HOME / FOLDERS[family]
    names = (f"unnoise.check.rules.{folder.name}.{path.stem}" for path in folder.glob("*.py") if path.name[0] != "_")
    modules = (import_module(name) for name in names)
    return tuple(sorted((RuleEntry(module.RULE, module) for module in modules), key=lambda one: one.rule.id))


def _among(name: str) -> tuple[RuleEntry, ...]:
    """Return rules that include the one with this id, beginning of an id, or name."""
    family = name[:3].upper()
    return _of(family) if family in FOLDERS and FAMILY.match(name) else rules()


def entry(name: str) -> RuleEntry:
    """Find a rule.

    Args:
        name: its id or its name

    Returns:
        the rule

    Raises:
        InputError: no rule has this id or name; the message names the nearest
    """
    given = name.strip()
    for one in _among(given):
        if given.upper() == one.rule.id or given.lower() == one.rule.name:
            return one
    known = {key for one in rules() for key in (one.rule.id, one.rule.name)}
    hint = nearest(name, known).partition("known:")[0] or "see `unnoise rule`"
    raise InputError(f"rule {name!r}: no such rule; {hint}")


def chosen(select: Sequence[str] = (), ignore: Sequence[str] = ()) -> tuple[RuleEntry, ...]:
    """Select rules.

    Args:
        select: ids, beginnings of ids such as UN4, or names; empty for all rules
        ignore: rules to leave out, in the same notation

    Returns:
        the rules in the order of ids

    Raises:
        InputError: one of them matches no rule
    """
    selected = [one for name in select for one in _meant(name, "select")] if select else rules()
    ignored = {one.rule.id for name in ignore for one in _meant(name, "ignore")}
    found = {one.rule.id: one for one in selected if one.rule.id not in ignored}
    return tuple(found[id] for id in sorted(found))


def _meant(name: str, option: str) -> list[RuleEntry]:
    start = name.upper() or " "
    found = [one for one in _among(name) if one.rule.id.startswith(start) or one.rule.name == name.lower()]
    if found:
        return found
    ids = {one.rule.id for one in rules()} | set(FOLDERS)
    is_id = name.upper().startswith("UN")
    known = ids if is_id else {one.rule.name for one in rules()}
    hint = nearest(name.upper() if is_id else name.lower(), known).partition("known:")[0]
    raise InputError(f"{option} {name!r}: matches no rule; {hint}`unnoise rule` lists them")
