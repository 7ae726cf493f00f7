"""`unnoise generate`: from words to PNG files."""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from textwrap import fill
from time import perf_counter
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from unnoise.check.read.recipe import read_request
from unnoise.cli.how import How, Start, request_of
from unnoise.cli.output import places
from unnoise.cli.progress import Bar
from unnoise.cli.source import Source, load_source, own_card
from unnoise.cli.warn import warn
from unnoise.errors import Refusal
from unnoise.files.border import plain
from unnoise.files.request import Request, notes
from unnoise.sampling.names import GRIDS, SAMPLERS, GridEntry, SamplerEntry

if TYPE_CHECKING:
    from unnoise.files.recipe import Recipe
    from unnoise.sample import Sample

WORDS = {"Image": "picture", "Film": "film", "Sound": "sound"}
LONGEST = 10_000_000  # bytes of a file of prompts


def _table(table: Mapping[str, SamplerEntry] | Mapping[str, GridEntry]) -> str:
    width = max(map(len, table)) + 4
    lines = (f"  {name}".ljust(width) + entry.means for name, entry in table.items())
    return "\n".join(fill(line, 80, subsequent_indent=" " * width) for line in lines)


EPILOGUE = f"""Examples:
  unnoise generate "a red heart"
  unnoise generate "a red heart on a blue background" --seed 7 -o heart.png
  unnoise generate "a cat face" -n 8 --guidance 3 --steps 20 -o cats/
  unnoise generate --prompts prompts.txt --model my.safetensors --json

Samplers:
{_table(SAMPLERS)}

Grids:
{_table(GRIDS)}
  inf,8,1,0.2,0  or every level of sigma yourself, descending"""

app = App(help="Draw pictures from words.", help_format="plaintext", help_epilogue=EPILOGUE)


DEFAULT, EMOJI, NOTHING = How(), Source(), Start()


@app.default
def generate(
    prompt: Annotated[str | None, Parameter(help="What to draw; '' is the unconditional model.")] = None,
    /,
    *,
    how: Annotated[How, Parameter(name="*")] = DEFAULT,
    source: Annotated[Source, Parameter(name="*")] = EMOJI,
    start: Annotated[Start, Parameter(name="*")] = NOTHING,
    prompts: Annotated[str | None, Parameter(help="File with a prompt a line, in place of PROMPT.")] = None,
    out: Annotated[
        str | None, Parameter(name=["--out", "-o"], help="File or folder; of several samples, FILE is the sheet.")
    ] = None,
    as_json: Annotated[bool, Parameter(name="--json", negative="", help="Print one JSON object.")] = False,
    strict: Annotated[bool, Parameter(negative="", help="Refuse what `unnoise check` warns of; else say it.")] = False,
) -> None:
    """Draw pictures and say where they are."""
    texts = _prompts(prompt, prompts)
    request = request_of(texts, how)
    if own_card(source) is not None:
        places(out, texts, _seeds(request))
    pipeline = load_source(source, how.dtype)
    from unnoise.files.output import suffixes

    pictures, sheet = places(out, texts, _seeds(request), suffixes(pipeline.card.modality))
    image, mask = start.opened()
    if image is not None and request.size is None:
        request = replace(request, size=image.size)
    pipeline.plan(request)
    warn(read_request(request, pipeline.card, source.model), strict, "UN1", "UN3", "UN4")
    began = perf_counter()
    with Bar(f"drawing {len(pictures)}") as bar:
        samples = pipeline.fulfil(request, image=image, mask=mask, watch=bar)
    seconds = perf_counter() - began
    for note in notes(request, pipeline.card):
        print(f"unnoise: {note}", file=sys.stderr)
    _write(samples, pictures, sheet, request.n)
    _report(Report(samples, pictures, sheet, seconds), as_json)


@dataclass(frozen=True, slots=True)
class Report:
    """What was made, where it is, and the seconds that the drawing took."""

    samples: "list[Sample]"
    pictures: list[Path]
    sheet: Path | None
    seconds: float


def _prompts(prompt: str | None, file: str | None) -> tuple[str, ...]:
    if (prompt is None) == (file is None):
        raise Refusal('one of PROMPT and --prompts FILE is needed: unnoise generate "a red heart"')
    return (prompt,) if prompt is not None else read_prompts(str(file))


def read_prompts(file: str) -> tuple[str, ...]:
    """Read a prompt a line, without empty lines. Raises Refusal where there is none."""
    try:
        with open(file, encoding="utf-8-sig") as source:
            text = source.read(LONGEST + 1)
    except (OSError, UnicodeDecodeError) as error:
        raise Refusal(f"prompts {file!r}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if len(text) > LONGEST:
        raise Refusal(f"prompts {file!r}: more than {LONGEST} letters")
    found = tuple(line.strip() for line in text.splitlines() if line.strip())
    if not found:
        raise Refusal(f"prompts {file!r}: holds no prompt, only empty lines")
    return found


def _seeds(request: Request) -> range:
    first = request.seed or 0
    return range(first, first + request.n)


def _write(samples: "Sequence[Sample]", pictures: Sequence[Path], sheet: Path | None, n: int) -> None:
    from unnoise.files.output import look, write_sample

    for sample, path in zip(samples, pictures, strict=True):
        write_sample(path, sample)
    if sheet is not None:
        from unnoise.files.picture import write_picture
        from unnoise.files.sheet import sheet as laid_out

        recipes = [sample.recipe for sample in samples]
        alone = len({recipe.prompt for recipe in recipes}) == 1
        captions = [f"seed {recipe.seed}" if alone else recipe.prompt for recipe in recipes]
        page = laid_out([look(sample) for sample in samples], captions, _title(recipes), None if alone or n == 1 else n)
        write_picture(sheet, page, recipes)


def _title(recipes: "Sequence[Recipe]") -> str:
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
