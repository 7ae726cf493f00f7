"""`unnoise rule`: the page of a rule, or the list of all."""

from typing import Annotated

from cyclopts import Parameter

from unnoise.check.catalogue import entry, rules
from unnoise.check.page import TITLES, page


def rule(
    name: Annotated[str | None, Parameter(help="Id or name of a rule: UN401, guidance-above-range.")] = None,
    /,
) -> None:
    """Explain a rule of `unnoise check`: the problem, its effect, examples, what to write instead, the source."""
    if name is not None:
        print(page(entry(name)), end="")
        return
    for prefix, title in TITLES.items():
        print(f"{prefix}xx  {title}")
        for one in rules():
            if one.rule.id.startswith(prefix):
                print(f"  {one.rule.id}  {one.rule.severity.name.lower():5}  {one.rule.name}")
