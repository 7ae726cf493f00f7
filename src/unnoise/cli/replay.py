"""`unnoise replay`: a picture again, from the recipe that it carries."""

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from unnoise.cli.model_options import ModelOptions, load_source, own_card
from unnoise.cli.options import Start
from unnoise.cli.output import places
from unnoise.cli.progress import saying
from unnoise.embedded import ZOO
from unnoise.errors import InputError
from unnoise.generation.media.files import read_recipe, suffixes, write_sample
from unnoise.generation.metadata import Metadata


@dataclass(frozen=True, slots=True)
class Began:
    """What was changed, and how its mask was read."""

    image: Annotated[str | None, Parameter(help="Picture that was changed, where it began with one.")] = None
    keep_outside: Annotated[bool, Parameter(negative="", help="The mask was one whose white is painted.")] = False


NOTHING, PLAIN = Start(), Began()


def replay(
    file: Annotated[str, Parameter(help="Picture that `unnoise generate` wrote.")],
    /,
    *,
    out: Annotated[str | None, Parameter(name=["--out", "-o"], help="PNG file or folder.")] = None,
    model: Annotated[
        str | None, Parameter(name=["--model", "-m"], help="File or folder of the model, where it has no name.")
    ] = None,
    began: Annotated[Began, Parameter(name="*")] = PLAIN,
    start: Annotated[Start, Parameter(name="*")] = NOTHING,
    parts: Annotated[str | None, Parameter(help="Folder that has what a single file lacks, as it was drawn.")] = None,
    predicts: Annotated[Literal["eps", "v"] | None, Parameter(help="What was said when it was drawn.")] = None,
    device: Annotated[str | None, Parameter(help="Another device than the recipe's; bits may differ.")] = None,
) -> None:
    """Make a picture again from its recipe: on the same machine and versions, equal to the byte."""
    recipe = read_recipe(file)
    if recipe.model not in ZOO and model is None:
        raise InputError(f"{file}: made by {recipe.model!r}, which has no name here; give its file with --model")
    source = ModelOptions(model or recipe.model, parts, predicts, device=device or recipe.device)
    _check_weights(recipe, source)
    path = places(out, [recipe.prompt], [recipe.seed], _endings(recipe, file))[0][0]
    pipeline = load_source(source, recipe.dtype)
    with saying("drawing again"):
        from unnoise.generation.engine import versions
        from unnoise.generation.media.image import fitted

        for name, used in versions().items():
            if recipe.versions.get(name) != used:
                made = recipe.versions.get(name, "an unknown version")
                print(f"unnoise: made with {name} {made}, this is {used}: bytes may differ", file=sys.stderr)
        found = start.opened(pipeline, began.image, invert=began.keep_outside)
        if found.control_image is not None:
            found = replace(found, control_image=fitted(found.control_image, recipe.size))
        sample = pipeline.replay(recipe, found)
    write_sample(path, sample)
    print(path)


def _endings(recipe: Metadata, file: str) -> tuple[str, ...]:
    """Give the endings that the file may have, that of the one it is made from first."""
    allowed = suffixes("audio" if recipe.seconds is not None else "image" if recipe.frames is None else "video")
    own = Path(file).suffix.lower()
    return (own, *(suffix for suffix in allowed if suffix != own))


def _check_weights(recipe: Metadata, source: ModelOptions) -> None:
    """Refuse other weights before torch is imported, where a card names them."""
    card = own_card(source)
    if card is not None and card.fingerprint != recipe.fingerprint:
        raise InputError(
            f"made with the weights {recipe.fingerprint[:12]}; those of {source.model!r} are "
            f"{card.fingerprint[:12] or 'none'}"
        )
