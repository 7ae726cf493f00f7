"""What `generate` and `edit` share: check a request, draw, write the files with their sheet, say where they are."""

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from unnoise.check.read.recipe import read_request
from unnoise.cli.model_options import ModelOptions, load_source, own_card
from unnoise.cli.output import places
from unnoise.cli.preflight import warn
from unnoise.cli.progress import Bar
from unnoise.formats.strict_json import plain
from unnoise.generation.options import Request, notes

if TYPE_CHECKING:
    from unnoise.generation.metadata import Metadata
    from unnoise.generation.prepare import RawInputs
    from unnoise.generation.sample import Sample
    from unnoise.pipeline import Pipeline

WORDS = {"Image": "picture", "Film": "film", "Sound": "sound"}
RULES = ("UN1", "UN3", "UN4")  # by which a request can be wrong


@dataclass(frozen=True, slots=True)
class Output:
    """Where to, and how it is said."""

    out: Annotated[
        str | None, Parameter(name=["--out", "-o"], help="File or folder; of several samples, FILE is the sheet.")
    ] = None
    as_json: Annotated[bool, Parameter(name="--json", negative="", help="Print one JSON object.")] = False
    strict: Annotated[bool, Parameter(negative="", help="Refuse what `unnoise check` warns of; else say it.")] = False


def draw(request: Request, source: ModelOptions, opened: "Callable[[Pipeline], RawInputs]", output: Output) -> None:
    """Draw what is asked for, and say where it is. Raises InputError before anything is computed that cannot be.

    opened: gives what is handed in, for the model.
    """
    texts = request.prompts
    if own_card(source) is not None:
        places(output.out, texts, _seeds(request))
    pipeline = load_source(source, request.dtype)
    from unnoise.generation.media.files import suffixes
    from unnoise.generation.media.image import fitted

    files, sheet = places(output.out, texts, _seeds(request), suffixes(pipeline.card.modality))
    handed = opened(pipeline)
    request = pipeline.completed(request, handed)
    size = pipeline.plan(request).size
    if handed.control_image is not None:
        handed = replace(handed, control_image=fitted(handed.control_image, size))
    warn(read_request(request, pipeline.card, source.model), output.strict, *RULES)
    for note in (*notes(request, pipeline.card), *_notes(handed, pipeline)):
        print(f"unnoise: {note}", file=sys.stderr)
    began = perf_counter()
    with Bar(f"drawing {len(files)}") as bar:
        samples = pipeline.fulfil(request, handed, bar)
    seconds = perf_counter() - began
    _write(samples, files, sheet, request.n)
    _report(Report(samples, files, sheet, seconds), output.as_json)


def _notes(handed: "RawInputs", pipeline: "Pipeline") -> Iterator[str]:
    """Say what of a mask the latent grid can resolve, and what is unusual of adapters."""
    from unnoise.diffusion.inpainting import region
    from unnoise.generation.prepare import mask_data

    if handed.mask is not None and handed.image is not None and pipeline.space.factor > 1:
        factor = pipeline.space.factor
        width, height = (side // factor * factor for side in handed.image.size)
        kept = mask_data(handed.mask, handed.image.size)[..., :height, :width]
        if bool(kept.any()):
            yield str(region(kept, factor))
    for adapter, _ in handed.adapters:
        yield from adapter.notes


@dataclass(frozen=True, slots=True)
class Report:
    """What was made, where it is, and the seconds that the drawing took."""

    samples: "list[Sample]"
    pictures: list[Path]
    sheet: Path | None
    seconds: float


def _seeds(request: Request) -> range:
    """Give the seeds that name the files: of variations, which share theirs, those of what they vary towards."""
    first = (request.change.variation_seed if request.change.variation_seed is not None else request.seed) or 0
    return range(first, first + request.n)


def _write(samples: "Sequence[Sample]", pictures: Sequence[Path], sheet: Path | None, n: int) -> None:
    from unnoise.generation.media.files import look, write_sample

    for sample, path in zip(samples, pictures, strict=True):
        write_sample(path, sample)
    if sheet is not None:
        from unnoise.generation.media.contact_sheet import sheet as laid_out
        from unnoise.generation.media.image import write_picture

        recipes = [sample.recipe for sample in samples]
        alone = len({recipe.prompt for recipe in recipes}) == 1
        captions = [f"seed {recipe.seed}" if alone else recipe.prompt for recipe in recipes]
        page = laid_out([look(sample) for sample in samples], captions, _title(recipes), None if alone or n == 1 else n)
        write_picture(sheet, page, recipes)


def _title(recipes: "Sequence[Metadata]") -> str:
    first = recipes[0]
    alone = len({recipe.prompt for recipe in recipes}) == 1
    facts = [first.model, f"{len(first.grid) - 1} steps", f"guidance {first.weight:g}"]
    return " · ".join([first.prompt, *facts] if alone and first.prompt else [*facts, f"seed {first.seed}"])


def _report(report: Report, as_json: bool) -> None:
    each = report.seconds / len(report.pictures)
    if as_json:
        made = zip(report.pictures, report.samples, strict=True)
        facts = {
            "pictures": [{"path": str(path), "recipe": plain(sample.recipe)} for path, sample in made],
            "sheet": str(report.sheet) if report.sheet else None,
            "seconds": round(report.seconds, 3),
            "seconds_per_picture": round(each, 4),
        }
        print(json.dumps(facts))
        return
    for path in [*report.pictures, *([report.sheet] if report.sheet else [])]:
        print(path)
    count = len(report.pictures)
    what = WORDS[type(report.samples[0].made).__name__]
    print(f"{count} {what}{'s' if count > 1 else ''} in {report.seconds:.2f} s, {each:.3f} s each")
