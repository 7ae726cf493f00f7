"""The catalogue of rules: the folder `rules/` is walked, and every module in it that defines a RULE is one."""

import re
from collections.abc import Sequence
from functools import cache
from importlib import import_module
from pathlib import Path

from unnoise.check.rule import Entry
from unnoise.errors import Refusal, nearest

HOME = Path(__file__).parent / "rules"
ID = re.compile(r"UN\d{3}")


@cache
def rules() -> tuple[Entry, ...]:
    """Import every rule, in the order of ids."""
    found = []
    for path in HOME.glob("*/*.py"):
        if not path.name.startswith("_"):
            module = import_module(f"unnoise.check.rules.{path.parent.name}.{path.stem}")
            found.append(Entry(module.RULE, module))
    return tuple(sorted(found, key=lambda entry: entry.rule.id))


def entry(name: str) -> Entry:
    """Find a rule by its id or its name. Raises Refusal where there is none, with the nearest."""
    wanted = name.strip()
    for one in rules():
        if wanted.upper() == one.rule.id or wanted.lower() == one.rule.name:
            return one
    known = {key for one in rules() for key in (one.rule.id, one.rule.name)}
    raise Refusal(
        f"rule {name!r}: there is none such; {nearest(name, known).partition('known:')[0] or 'see `unnoise rule`'}"
    )


def chosen(select: Sequence[str] = (), ignore: Sequence[str] = ()) -> tuple[Entry, ...]:
    """Give the rules that begin with one of `select` (all, where it is empty) and with none of `ignore`.

    Both take ids, beginnings of ids such as UN4, and names. Raises Refusal for one that means no rule.
    """
    wanted = {one.rule.id for one in rules()} if not select else _ids(select, "select")
    unwanted = _ids(ignore, "ignore")
    return tuple(one for one in rules() if one.rule.id in wanted - unwanted)


def _ids(names: Sequence[str], option: str) -> set[str]:
    found: set[str] = set()
    for name in names:
        means = {
            one.rule.id
            for one in rules()
            if one.rule.id.startswith(name.upper() or " ") or one.rule.name == name.lower()
        }
        if not means:
            known = {one.rule.id for one in rules()} | {one.rule.id[:3] for one in rules()}
            known |= {one.rule.name for one in rules()} if not ID.match(name.upper()[:5]) else set()
            hint = nearest(name.upper() if name.upper().startswith("UN") else name.lower(), known).partition("known:")[
                0
            ]
            raise Refusal(f"{option} {name!r}: no rule begins so; {hint}`unnoise rule` lists them")
        found |= means
    return found
