"""`unnoise evaluate`: measure a model against the pictures of a data set."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, Parameter

from unnoise.errors import InputError, check_whole
from unnoise.progress import ProgressBar as Bar

if TYPE_CHECKING:
    from PIL.Image import Image

    from unnoise.data.dataset import ImageDataset
    from unnoise.pipeline import Pipeline
    from unnoise.train.evaluate import Drawer

SIZE = 64  # pixels, of a model whose card advises no size


@dataclass(frozen=True, slots=True)
class EvaluateOptions:
    """What is measured, and with which settings; what is left out is as the model's card advises."""

    data: Annotated[str, Parameter(help="The data set: emoji, a folder, or .tar files.")] = "emoji"
    n: Annotated[int, Parameter(name="-n", help="Pictures for each figure.")] = 128
    seed: Annotated[int, Parameter(help="Of the choice of prompts and of the pictures.")] = 0
    steps: Annotated[int | None, Parameter(help="Steps, 1 to 1000.")] = None
    guidance: Annotated[float | None, Parameter(help="How much the prompt counts; 1 is off.")] = None
    sampler: Annotated[str | None, Parameter(help="Name of a sampler.")] = None


DEFAULT = EvaluateOptions()

EPILOGUE = """Figures:
  named_by_picture  share of pictures whose nearest picture of the data set is
                    the one that was named; names drawn from all pictures
  named_by_concept  the same, names drawn by concept, then among its variants
  background        share of right borders, for pairs of name and colour that
                    training never saw
  ratio_..          distance to the nearest picture / to the next: a copy is
                    near 0, a picture of its own near 1
  psnr              of the autoencoder, in dB
Sheets show generated, named and nearest pictures in rows of three.

Examples:
  unnoise evaluate emoji
  unnoise evaluate emoji --guidance 4 --steps 10
  unnoise evaluate runs/emoji/emoji.safetensors -n 512 --record"""

app = App(help="Measure a model: the figures of its card.", help_format="plaintext", help_epilogue=EPILOGUE)


@app.default
def evaluate(
    model: Annotated[str, Parameter(help="A model's name or file.")] = "emoji",
    /,
    *,
    question: Annotated[EvaluateOptions, Parameter(name="*")] = DEFAULT,
    out: Annotated[Path, Parameter(name=["--out", "-o"], help="Folder for the sheets.")] = Path("out/evaluate"),
    device: Annotated[str, Parameter(help="cpu, cuda, cuda:1, mps, ...")] = "cpu",
    record: Annotated[bool, Parameter(negative="", help="Write the figures on the card of the model's file.")] = False,
) -> None:
    """Measure a model, print its figures as one JSON object, and write sheets to look at."""
    from unnoise.cli.torch_import import import_torch

    import_torch()
    from unnoise import model_file
    from unnoise.data.dataset import open_source
    from unnoise.embedded import find
    from unnoise.pipeline import Pipeline

    check_whole("n", question.n, 1, 4096)
    settings = (question.steps, question.guidance, question.sampler)
    if record and settings != (None, None, None):
        raise InputError(
            "record: the card holds what its own advice gives; leave out --steps, --guidance and --sampler"
        )
    pipeline = Pipeline.of(model_file.load(model, device))
    sizes = pipeline.card.advice.sizes
    source = open_source(question.data, sizes[0][0] if sizes else SIZE)
    found = {"n": question.n, "seed": question.seed} | _figures(pipeline, source, question, out)
    rounded = {key: round(value, 4) if isinstance(value, float) else value for key, value in found.items()}
    print(json.dumps(rounded))
    if record:
        card = replace(pipeline.card, training=pipeline.card.training | {"figures": rounded})
        model_file.save(find(model), replace(pipeline, card=card))


def _figures(pipeline: "Pipeline", source: "ImageDataset", question: EvaluateOptions, out: Path) -> dict[str, Any]:
    """Take every figure that the data set allows, and write its sheet."""
    from unnoise.train import evaluate as figures

    def draw(bar: Bar) -> "Drawer":
        return figures.drawer(
            pipeline, question.seed, bar, steps=question.steps, weight=question.guidance, sampler=question.sampler
        )

    found: dict[str, Any] = {}
    ways: tuple[Literal["picture", "concept"], ...] = ("picture", "concept")
    for by in ways:
        picked = figures.chosen_pictures(source, question.n, question.seed, by)
        with Bar(f"names by {by}") as bar:
            named = figures.names(draw(bar), source, picked)
        found |= {f"named_by_{by}": named.share, f"ratio_by_{by}": named.ratio}
        _write(named.sheet, out / f"names-by-{by}.png")
    if source.name == "emoji":
        with Bar("backgrounds") as bar:
            pairs = figures.backgrounds(draw(bar), source, question.n, question.seed)
        found |= {"background": pairs.share, "background_ratio": pairs.ratio}
        _write(pairs.sheet, out / "backgrounds.png")
    return found | {"psnr": figures.reconstruction(pipeline, source)}


def _write(sheet: "Image", path: Path) -> None:
    from unnoise.formats.atomic import replacing

    with replacing(path) as file:
        sheet.save(file, "PNG")
