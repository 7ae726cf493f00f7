"""Write docs/recipes.md: every field of the recipes of trainings and distillations. `make recipes` runs it."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from unnoise.distill.recipe import DistillRecipe
from unnoise.train.adapter_recipe import AdapterRecipe
from unnoise.train.finetune_recipe import FineTuneRecipe
from unnoise.train.recipe import TrainingRecipe
from unnoise.train.reference import RecipeField, part_classes, recipe_fields, summary, tables
from unnoise.train.tiny_decoder_recipe import TinyDecoderRecipe

PAGE = Path(__file__).resolve().parents[1] / "docs" / "recipes.md"
INTRODUCTION = """# Fields of a recipe

`unnoise train RECIPE` reads a TOML file with these fields. A field with a default may be left out; an unknown field is
refused. `unnoise train --init FOLDER` writes a recipe for a folder, with a line on each field. `recipes/cases/` has a
short one for each case, and [training](training.md) explains a run. `make recipes` writes this page from the code.
"""
PARTS = (  # what names a class and its arguments: heading, and the role of its classes
    ("Networks: `denoiser.net`", "net"),
    ("Processes: `denoiser.process`", "process"),
    ("The autoencoder: `autoencoder.args`", "autoencoder"),
)
TOP = {
    TrainingRecipe: "At the top of the file",
    FineTuneRecipe: "Fine-tuning another program's denoiser: `denoiser.init` names its model",
    TinyDecoderRecipe: "The small decoder of a model: `preview`",
    AdapterRecipe: "Recipes of `unnoise lora train` and `unnoise control train`",
    DistillRecipe: "Recipes of `unnoise distill`",
}
HEAD = ("| field | type | range | default | meaning |", "|---|---|---|---|---|")


def page() -> str:
    """Return the text of the page."""
    places: dict[type, list[str]] = {}
    for place, kind in tables(TrainingRecipe):
        places.setdefault(kind, []).append(place)
    lines = [INTRODUCTION]
    lines += _tables(places)
    for title, role in PARTS:
        lines += [f"## {title}", ""]
        for name, kind in part_classes(role).items():
            lines += _section(f"### {name}", summary(kind), recipe_fields(kind))
    others: dict[type, list[str]] = {}
    for recipe in (FineTuneRecipe, TinyDecoderRecipe, AdapterRecipe, DistillRecipe):
        others |= {kind: [place] for place, kind in tables(recipe) if kind not in places}
    return "\n".join([*lines, *_tables(others)]).rstrip() + "\n"


def _tables(places: dict[type, list[str]]) -> Iterator[str]:
    for kind, named in places.items():
        title = ", ".join(f"`[{place}]`" for place in named if place) or TOP[kind]
        yield from _section(f"## {title}", summary(kind), recipe_fields(kind))


def _section(title: str, text: str, fields: Iterable[RecipeField]) -> Iterator[str]:
    rows = [_row(one) for one in fields]
    yield from (title, "", text, "", *((*HEAD, *rows, "") if rows else ()))


def _row(one: RecipeField) -> str:
    default = one.default if one.default in ("needed", "none") else f"`{one.default}`"
    cells = (f"`{one.name}`", one.kind, one.range, "" if default == "``" else default, one.meaning)
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
