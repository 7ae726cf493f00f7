"""Write docs/rules/: a page for every rule of `unnoise check`, and their index. `make rules` runs it."""

from pathlib import Path

from unnoise.check.catalogue import rules
from unnoise.check.page import index, page

HOME = Path(__file__).resolve().parents[1] / "docs" / "rules"


def pages() -> dict[str, str]:
    """Give the text of every page by its file name."""
    return {"README.md": index(rules())} | {f"{one.rule.id}.md": page(one) for one in rules()}


def main() -> None:
    """Write every page, and remove those of rules that are no more."""
    HOME.mkdir(exist_ok=True)
    written = pages()
    for name, text in written.items():
        (HOME / name).write_text(text, encoding="utf-8")
    for path in HOME.glob("*.md"):
        if path.name not in written:
            path.unlink()


if __name__ == "__main__":
    main()
