"""`unnoise generate`: from words to PNG files."""

import json
import re
import secrets
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import fill
from time import perf_counter
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from unnoise.check.read.recipe import read_request
from unnoise.cli.output import places
from unnoise.cli.progress import Bar, saying
from unnoise.cli.torch_import import import_torch
from unnoise.cli.warn import warn
from unnoise.errors import Refusal
from unnoise.files.border import plain
from unnoise.files.card import read_card
from unnoise.files.request import Request, notes, parse_levels
from unnoise.files.zoo import find
from unnoise.sampling.names import GRIDS, SAMPLERS, GridEntry, SamplerEntry

if TYPE_CHECKING:
    from unnoise.files.recipe import Recipe
    from unnoise.sample import Sample

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


@dataclass(frozen=True, slots=True)
class How:
    """How to draw; what is left out is as the model's card advises."""

    steps: Annotated[int | None, Parameter(help="Steps, 1 to 1000.")] = None
    guidance: Annotated[
        float | None,
        Parameter(help="How much the prompt counts: 1 is off, 0 to 100; negative + G*(prompt - negative)."),
    ] = None
    sampler: Annotated[str | None, Parameter(help="Name of a sampler, see below.")] = None
    grid: Annotated[str | None, Parameter(help="Name of a grid of noise levels, or the levels, see below.")] = None
    negative: Annotated[str, Parameter(help="What to keep away from.")] = ""
    seed: Annotated[int | None, Parameter(help="Seed of the first picture; picture k has seed + k.")] = None
    n: Annotated[int, Parameter(name="-n", help="Pictures of each prompt.")] = 1
    size: Annotated[str | None, Parameter(help="Size in pixels: WIDTHxHEIGHT, or one number for both.")] = None
    between: Annotated[str | None, Parameter(help="Guide only between two levels of sigma: LOW,HIGH.")] = None
    rescale: Annotated[float | None, Parameter(help="Keep contrast under strong guidance, 0 to 1.")] = None
    batch: Annotated[int | None, Parameter(help="Pictures computed at once.")] = None
    dtype: Annotated[str, Parameter(help="Numbers the network computes in: float32 or bfloat16.")] = "float32"


DEFAULT = How()


@app.default
def generate(
    prompt: Annotated[str | None, Parameter(help="What to draw; '' is the unconditional model.")] = None,
    /,
    *,
    how: Annotated[How, Parameter(name="*")] = DEFAULT,
    model: Annotated[str, Parameter(name=["--model", "-m"], help="Name or .safetensors file.")] = "emoji",
    prompts: Annotated[str | None, Parameter(help="File with a prompt a line, in place of PROMPT.")] = None,
    out: Annotated[
        str | None, Parameter(name=["--out", "-o"], help="PNG file or folder; with several pictures, FILE is a sheet.")
    ] = None,
    device: Annotated[str, Parameter(help="cpu, cuda, cuda:1, mps, ...")] = "cpu",
    as_json: Annotated[bool, Parameter(name="--json", negative="", help="Print one JSON object.")] = False,
    strict: Annotated[bool, Parameter(negative="", help="Refuse what `unnoise check` warns of; else say it.")] = False,
) -> None:
    """Draw pictures and say where they are."""
    texts = _prompts(prompt, prompts)
    request = _request(texts, how)
    place = find(model)
    card = read_card(place)
    pictures, sheet = places(out, texts, _seeds(request))
    with saying(f"loading {model}"):
        import_torch()
        from unnoise.files.model_file import load

        pipeline = load(model, device)
    pipeline.plan(request)
    warn(read_request(request, card, str(place)), strict, "UN1", "UN3", "UN4")
    began = perf_counter()
    with Bar(f"drawing {len(pictures)}") as bar:
        samples = pipeline.fulfil(request, watch=bar)
    seconds = perf_counter() - began
    for note in notes(request, card):
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


def _request(texts: tuple[str, ...], how: How) -> Request:
    levels = parse_levels(how.grid) if how.grid and "," in how.grid else None
    return Request(
        prompts=texts,
        negative=how.negative,
        steps=how.steps,
        weight=how.guidance,
        sampler=how.sampler,
        grid=levels or how.grid,
        seed=secrets.randbits(32) if how.seed is None else how.seed,
        size=_size(how.size),
        n=how.n,
        between=_between(how.between),
        rescale=how.rescale,
        batch=how.batch,
        dtype=how.dtype,
    )


def _seeds(request: Request) -> range:
    first = request.seed or 0
    return range(first, first + request.n)


def _size(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    sides = re.fullmatch(r"(\d{1,9})(?:x(\d{1,9}))?", text.lower())
    if sides is None:
        raise Refusal(f"size {text!r}: WIDTHxHEIGHT in pixels, or one number for both")
    return int(sides[1]), int(sides[2] or sides[1])


def _between(text: str | None) -> tuple[float, float] | None:
    if text is None:
        return None
    levels = parse_levels(text)
    if levels is None or len(levels) != 2:
        raise Refusal(f"between {text!r}: LOW,HIGH, two levels of sigma")
    return levels[0], levels[1]


def _write(samples: "Sequence[Sample]", pictures: Sequence[Path], sheet: Path | None, n: int) -> None:
    from unnoise.files.picture import write_picture

    for sample, path in zip(samples, pictures, strict=True):
        write_picture(path, sample.image, sample.recipe)
    if sheet is not None:
        from unnoise.files.sheet import sheet as laid_out

        recipes = [sample.recipe for sample in samples]
        alone = len({recipe.prompt for recipe in recipes}) == 1
        captions = [f"seed {recipe.seed}" if alone else recipe.prompt for recipe in recipes]
        page = laid_out([sample.image for sample in samples], captions, _title(recipes), None if alone or n == 1 else n)
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
    print(f"{count} picture{'s' if count > 1 else ''} in {report.seconds:.2f} s, {each:.3f} s each")
