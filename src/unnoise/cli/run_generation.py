"""What `generate` and `edit` share: make requests, check them, draw, write the files and their sheet, report."""

import json
import secrets
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, Any, Final
from warnings import catch_warnings, simplefilter

from cyclopts import Parameter

from unnoise.card import Card
from unnoise.check.read.recipe import read_request
from unnoise.cli.model_options import ModelOptions, load_model, own_card
from unnoise.cli.options import HELP_GROUPS
from unnoise.cli.output import Names, places
from unnoise.cli.preflight import findings
from unnoise.errors import CheckedWarning, InputWarning
from unnoise.formats.strict_json import plain
from unnoise.generation.axes import Axis, combinations, places as places_of
from unnoise.generation.request import Request, request_of

if TYPE_CHECKING:
    from unnoise.generation.job import Job
    from unnoise.generation.sample import Sample
    from unnoise.pipeline import Pipeline

WORDS = {"Image": "image", "Video": "video", "Audio": "audio file"}
RULES = ("UN1", "UN3", "UN4")  # rules that a request can break
OUTPUT = HELP_GROUPS["output"]


@dataclass(frozen=True, slots=True)
class OutputArguments:
    """Where files go, and what is printed."""

    out: Annotated[
        str | None,
        Parameter(name=["--out", "-o"], group=OUTPUT, help="File or folder; of several samples, FILE is the sheet."),
    ] = None
    as_json: Annotated[
        bool, Parameter(name="--json", negative="", show_default=False, group=OUTPUT, help="Print one JSON object.")
    ] = False
    strict: Annotated[
        bool, Parameter(negative="", show_default=False, group=OUTPUT, help="Refuse what `unnoise check` warns of.")
    ] = False
    verbose: Annotated[
        bool,
        Parameter(
            name=["--verbose", "-v"],
            negative="",
            show_default=False,
            group=OUTPUT,
            help="Print every choice before drawing.",
        ),
    ] = False
    quiet: Annotated[
        bool,
        Parameter(
            name=["--quiet", "-q"], negative="", show_default=False, group=OUTPUT, help="Print neither notes nor a bar."
        ),
    ] = False


DEFAULT_OUTPUT: Final = OutputArguments()


@dataclass(frozen=True, slots=True)
class Work:
    """Requests with the names of their samples. axes: of a sweep, else none."""

    requests: tuple[Request, ...]
    names: Names
    axes: tuple[Axis, ...] = ()


def draw(prompts: Sequence[str], values: Mapping[str, Any], model: ModelOptions, output: OutputArguments) -> None:
    """Draw what is asked for, and print where it is.

    Args:
        prompts: of the samples.
        values: options by name; a list sweeps one.
        model: which model.
        output: where files go.

    Raises:
        InputError: before anything is computed, where that is possible.
    """
    work, notes = _work(prompts, values), list[str]()
    card = own_card(model)
    if card is not None:
        from unnoise.generation.media.image import SUFFIXES

        places(output.out, work.names, SUFFIXES)
        notes = _notes(work, card, model, output)
    sampling = work.requests[0].sampling
    pipeline = load_model(model, sampling.dtype, sampling.vae_dtype)
    from unnoise.generation.media.files import suffixes

    files, sheet = places(output.out, work.names, suffixes(pipeline.card.modality))
    if card is None:
        notes = _notes(work, pipeline.card, model, output)
    with catch_warnings():
        simplefilter("ignore", CheckedWarning)  # whose rules gave the notes
        if output.quiet:
            simplefilter("ignore", InputWarning)
        jobs = _resolved(pipeline, work.requests, notes, output)
        began = perf_counter()
        samples = pipeline.draw(jobs, progress=not output.quiet)
    seconds = perf_counter() - began
    for path in (*files, *(() if sheet is None else (sheet,))):
        if path.exists() and not output.quiet:
            print(f"unnoise: overwrites {path}", file=sys.stderr)
    _write(samples, files, sheet, work)
    _report(samples, files, sheet, seconds, output.as_json)


def _work(prompts: Sequence[str], values: Mapping[str, Any]) -> Work:
    """Make the requests, and name their samples."""
    if "variation" in values:
        values = {"variation_seed": secrets.randbits(32), **values}
    if any(isinstance(value, list) for value in values.values()):
        axes, requests = combinations(prompts, values)
        names = [
            (request.prompts[0], request.sampling.seed or 0, "-".join(filter(None, map(Axis.slug, axes, place))))
            for request, place in zip(requests, places_of(axes), strict=True)
        ]
        return Work(tuple(requests), tuple(names), axes)
    given = {"seed": secrets.randbits(32), **values}
    request = request_of(tuple(prompts), **given)
    first = given.get("variation_seed", given["seed"])
    return Work((request,), tuple((prompt, first + k, "") for prompt in prompts for k in range(request.sampling.n)))


def _notes(work: Work, card: Card, model: ModelOptions, output: OutputArguments) -> list[str]:
    """Return, or refuse under --strict, what `unnoise check` warns of."""
    notes = findings([read_request(request, card, model.model) for request in work.requests], output.strict, *RULES)
    if card.prompted and not all(prompt.strip() for prompt, _, _ in work.names):
        notes.append("an empty prompt draws from the unconditional model")
    return notes


def _resolved(
    pipeline: "Pipeline", requests: Sequence[Request], notes: Sequence[str], output: OutputArguments
) -> "list[Job]":
    """Resolve requests, then print the notes on them, so that a request that is refused prints one line."""
    from unnoise.generation.loras import by_adapters
    from unnoise.generation.resolve import resolve

    jobs = [resolve(part, pipeline) for request in requests for part in by_adapters(request)]
    masks = [_mask_note(pipeline, job) for job in jobs]
    for line in () if output.quiet else dict.fromkeys((*notes, *filter(None, masks))):
        print(f"unnoise: {line}", file=sys.stderr)
    for job in jobs if output.verbose else ():
        print(f"unnoise: {_choices(job)}", file=sys.stderr)
    return jobs


def _mask_note(pipeline: "Pipeline", job: "Job") -> str:
    """Say which latent cells a mask covers, where they are more than its pixels."""
    from unnoise.diffusion.inpainting import region
    from unnoise.generation.images import prepare_images

    if job.images.mask is None or job.images.image is None or pipeline.space.factor == 1:
        return ""
    with catch_warnings(action="ignore"):  # which are shown when the job is drawn
        mask = prepare_images(job.images, job.settings.size, pipeline.image_conditioner, True, pipeline.device).mask
    return "" if mask is None else str(region(mask, pipeline.space.factor))


def _choices(job: "Job") -> str:
    """Write the choices of a job as one line."""
    settings = job.settings
    levels = " ".join(f"{level:.3g}" for level in settings.grid)
    parts = [f"sampler {settings.sampler.class_} {settings.sampler.args or ''}".strip(), f"levels {levels}"]
    parts += [f"guidance scale {settings.guidance_scale:g}", f"size {settings.size[0]}x{settings.size[1]}"]
    parts += [f"{settings.dtype}", f"{len(job.draws)} samples, {job.batch} at once"]
    return "; ".join(parts)


def _write(samples: "Sequence[Sample]", files: Sequence[Path], sheet: Path | None, work: Work) -> None:
    from unnoise.generation.media.contact_sheet import contact_sheet
    from unnoise.generation.media.files import preview
    from unnoise.generation.media.image import write_image
    from unnoise.generation.sweep import Sweep

    for sample, path in zip(samples, files, strict=True):
        sample.save(path)
    if sheet is None:
        return
    if work.axes:
        page = Sweep(work.axes, tuple(samples)).sheet()
    else:
        columns = work.requests[0].sampling.n if len(work.requests[0].prompts) > 1 else 0
        page = contact_sheet(
            [preview(sample.media) for sample in samples],
            _captions(samples),
            _title(samples),
            columns if columns > 1 else None,
        )
    write_image(sheet, page, [sample.metadata for sample in samples])


def _captions(samples: "Sequence[Sample]") -> list[str]:
    """Name what differs between samples: the prompt, the seed of a variation, the seed."""
    every = [sample.metadata for sample in samples]
    if len({one.prompt for one in every}) > 1:
        return [one.prompt for one in every]
    if any(one.variation_seed is not None for one in every):
        return [f"variation {one.variation:g}, seed {one.variation_seed}" for one in every]
    return [f"seed {one.seed}" for one in every]


def _title(samples: "Sequence[Sample]") -> str:
    first = samples[0].metadata
    alone = len({sample.metadata.prompt for sample in samples}) == 1
    facts = [first.model, f"{first.steps} steps", f"guidance scale {first.guidance_scale:g}"]
    facts += [f"LoRA {one.name}:{one.weight:g}{'@' * bool(one.network)}{one.network}" for one in first.adapters]
    return " · ".join([first.prompt, *facts] if alone and first.prompt else [*facts, f"seed {first.seed}"])


def _report(
    samples: "Sequence[Sample]", files: Sequence[Path], sheet: Path | None, seconds: float, as_json: bool
) -> None:
    if as_json:
        made = zip(files, samples, strict=True)
        facts = {
            "samples": [{"path": str(path), "metadata": plain(sample.metadata)} for path, sample in made],
            "sheet": None if sheet is None else str(sheet),
            "seconds": round(seconds, 3),
            "seconds_per_sample": round(seconds / len(files), 4),
        }
        print(json.dumps(facts))
        return
    for path in (*files, *(() if sheet is None else (sheet,))):
        print(path)
    what = WORDS[type(samples[0].media).__name__]
    print(f"{len(files)} {what}{'s' if len(files) > 1 else ''} in {seconds:.2f} s, {seconds / len(files):.3f} s each")
