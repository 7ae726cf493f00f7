"""`unnoise replay`: a picture again, from the recipe that it carries."""

import sys
from typing import Annotated

from cyclopts import Parameter

from unnoise.cli.output import places
from unnoise.cli.progress import saying
from unnoise.cli.torch_import import import_torch
from unnoise.errors import Refusal
from unnoise.files.card import read_card
from unnoise.files.picture import read_recipe, write_picture
from unnoise.files.recipe import Recipe
from unnoise.files.zoo import ZOO, find


def replay(
    file: Annotated[str, Parameter(help="Picture that `unnoise generate` wrote.")],
    /,
    *,
    out: Annotated[str | None, Parameter(name=["--out", "-o"], help="PNG file or folder.")] = None,
    model: Annotated[
        str | None, Parameter(name=["--model", "-m"], help="File of the model, where it has no name.")
    ] = None,
    device: Annotated[str | None, Parameter(help="Another device than the recipe's; bits may differ.")] = None,
) -> None:
    """Make a picture again from its recipe: on the same machine and versions, equal to the byte."""
    recipe = read_recipe(file)
    source = model or recipe.model
    if source not in ZOO and model is None:
        raise Refusal(f"{file}: made by {recipe.model!r}, which has no name here; give its file with --model")
    _check_weights(recipe, source)
    path = places(out, [recipe.prompt], [recipe.seed])[0][0]
    with saying("drawing again"):
        import_torch()
        from unnoise.files.model_file import load
        from unnoise.pipeline import versions

        for name, used in versions().items():
            if recipe.versions.get(name) != used:
                made = recipe.versions.get(name, "an unknown version")
                print(f"unnoise: made with {name} {made}, this is {used}: bytes may differ", file=sys.stderr)
        sample = load(source, device or recipe.device).replay(recipe)
    write_picture(path, sample.image, sample.recipe)
    print(path)


def _check_weights(recipe: Recipe, source: str) -> None:
    found = read_card(find(source)).fingerprint
    if found != recipe.fingerprint:
        raise Refusal(
            f"made with the weights {recipe.fingerprint[:12]}; those of {source!r} are {found[:12] or 'none'}"
        )
