"""`unnoise evaluate`: measure a model against the images of a data set."""

import json
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from unnoise.cli.whole import whole
from unnoise.errors import InputError, check_whole
from unnoise.progress import ProgressBar as Bar

SIZE = 64  # pixels, where the card has no size


@dataclass(frozen=True, slots=True)
class EvaluateOptions:
    """What is measured. Options of generation default to those of the model's card."""

    data: Annotated[str, Parameter(help="Data set: emoji, a folder, or .tar files.")] = "emoji"
    n: Annotated[int, Parameter(converter=whole, name="-n", help="Images for each figure, 1 to 4096.")] = 128
    seed: Annotated[int, Parameter(converter=whole, help="Seed of the choice of prompts and of the images.")] = 0
    steps: Annotated[int | None, Parameter(converter=whole, help="Steps, 1 to 1000.")] = None
    guidance_scale: Annotated[
        float | None, Parameter(name=["--guidance-scale", "--guidance"], help="Guidance scale; 1 is off.")
    ] = None
    sampler: Annotated[str | None, Parameter(help="Name of a sampler.")] = None
    schedule: Annotated[str | None, Parameter(help="Name of a schedule of noise levels.")] = None


DEFAULT = EvaluateOptions()

EPILOGUE = """Figures:
  named_by_picture  share of prompts, names of images, whose nearest image has
                    that name; drawn from all images. Of a data set with styles
                    a prompt names the style too, and both must be right
  named_by_concept  the same, drawn by concept, then among its images; the
                    style is free
  styled            share of the prompts with a style whose nearest image has it
  background        share of correct borders, for pairs of name and colour that
                    training left out
  ratio_..          distance to the nearest image / to the next: near 0 for a
                    copy, near 1 for a new image
  psnr              of the autoencoder, in dB
Distances are those of pixels, at most 64 x 64, blurred by one.
Contact sheets show the generated, the named and the nearest image side by side.

Examples:
  unnoise evaluate emoji
  unnoise evaluate emoji --guidance-scale 4 --steps 10
  unnoise evaluate runs/emoji/emoji.safetensors -n 512 --record"""

app = App(help="Measure a model: the figures of its card.", help_format="plaintext", help_epilogue=EPILOGUE)


@app.default
def evaluate(
    model: Annotated[str, Parameter(help="Name or file of a model.")] = "emoji",
    /,
    *,
    options: Annotated[EvaluateOptions, Parameter(name="*")] = DEFAULT,
    out: Annotated[Path, Parameter(name=["--out", "-o"], help="Folder of the contact sheets.")] = Path("out/evaluate"),
    device: Annotated[str, Parameter(help="auto is the best there is; cpu, cuda, cuda:1, mps, xpu.")] = "cpu",
    record: Annotated[bool, Parameter(negative="", help="Write the figures to the card of the model file.")] = False,
) -> None:
    """Measure a model, print its figures as one JSON object, and write contact sheets."""
    from unnoise.cli.torch_import import import_torch

    import_torch()
    from unnoise import model_file
    from unnoise.data.open import open_source
    from unnoise.embedded import find
    from unnoise.formats.atomic import replacing
    from unnoise.pipeline import Pipeline
    from unnoise.train import evaluate as figures

    check_whole("n", options.n, 1, 4096)
    settings = {name: getattr(options, name) for name in ("steps", "guidance_scale", "sampler", "schedule")}
    if record and any(value is not None for value in settings.values()):
        raise InputError(
            "record: the card holds figures of its own defaults; leave out --steps, --guidance-scale, --sampler and "
            "--schedule"
        )
    pipeline = Pipeline.of(model_file.load(model, device))
    sizes = pipeline.card.advice.sizes
    dataset = open_source(options.data, sizes[0][0] if sizes else SIZE)
    generator = partial(figures.image_generator, pipeline, options.seed, **settings)
    if not dataset.captioned:
        raise InputError(f"data {options.data!r}: no captions, by which images are measured; add a .txt beside each")
    values, sheets = figures.evaluate(generator, dataset, options.n, options.seed, Bar)
    for name, sheet in sheets.items():
        with replacing(out / f"{name}.png") as file:
            sheet.save(file, "PNG")
    found = {"n": options.n, "seed": options.seed} | values | {"psnr": figures.reconstruction_psnr(pipeline, dataset)}
    rounded = {key: round(value, 4) if isinstance(value, float) else value for key, value in found.items()}
    print(json.dumps(rounded))
    if record:
        card = replace(pipeline.card, training=pipeline.card.training | {"figures": rounded})
        model_file.save(find(model), replace(pipeline, card=card), model_file.stored_dtype(find(model)))
