"""`unnoise tune grid`: fit the levels and step weights of few steps to a model, and write them to its card."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from unnoise.card import Card, read_card
from unnoise.cli.generate import read_prompts
from unnoise.cli.whole import whole
from unnoise.embedded import find
from unnoise.errors import InputError, check_whole
from unnoise.formats.atomic import check_writable, replacing
from unnoise.generation.metadata import to_level
from unnoise.progress import ProgressBar as Bar
from unnoise.sampling import registry as names, schedule_search as fit

if TYPE_CHECKING:
    from torch import Tensor

    from unnoise.pipeline import Pipeline
    from unnoise.tune.model import SeedGroup, Tuned

MAX_STEPS = 32  # the number of candidate levels of the search
TUNE = 6  # first coordinate of the random stream that chooses prompts
SHOWN = 6  # prompts on a contact sheet

EPILOGUE = """How it works:
  A few dozen seeds are sampled in 160 fine steps: the converged images. Then
  the noise levels of the few steps, and the weights with which each step
  combines the predictions so far, are fitted until images of few steps are as
  close to the converged ones as possible. It needs no gradient and does not
  change the network, and takes minutes. The gain is measured on as many other
  seeds and prompts. With --sampler the levels alone are fitted, for it.

What is written:
  Nothing by default. --record writes the fit to the card of the model file,
  --out to that of a new file. `generate --steps N` then uses it for exactly as
  many steps, unless --sampler or --schedule is given.

Examples:
  unnoise tune grid my.safetensors --record
  unnoise tune grid my.safetensors --steps 6 --steps 12 --prompts prompts.txt
  unnoise tune grid emoji --seeds 16 --out tuned.safetensors --sheet gain.png
  unnoise tune grid emoji --sampler dpmpp-2m
  unnoise generate "a red heart" --model tuned.safetensors --steps 8"""

app = App(name="tune", help="Fit few-step sampling to a model.", help_format="plaintext")


@dataclass(frozen=True, slots=True)
class TuneOptions:
    """What is fitted, and to which seeds and prompts."""

    steps: Annotated[
        tuple[int, ...],
        Parameter(converter=whole, negative="", help=f"Steps to fit, 1 to {MAX_STEPS}; may be repeated."),
    ] = (8,)
    seeds: Annotated[int, Parameter(converter=whole, help="Seeds to fit to; as many others measure the gain.")] = 32
    prompts: Annotated[
        str | None, Parameter(help="File with one prompt a line; names of emoji by default, for a model of emoji.")
    ] = None
    sampler: Annotated[str | None, Parameter(help="Fit the levels alone, for this sampler.")] = None
    seed: Annotated[int, Parameter(converter=whole, help="Seed of the choice of prompts and of the first image.")] = 0


DEFAULT = TuneOptions()


@app.command(help_epilogue=EPILOGUE)
def grid(
    model: Annotated[str, Parameter(help="Name or file of a model.")] = "emoji",
    /,
    *,
    options: Annotated[TuneOptions, Parameter(name="*")] = DEFAULT,
    record: Annotated[bool, Parameter(negative="", help="Write the fit to the card of the model file.")] = False,
    out: Annotated[Path | None, Parameter(name=["--out", "-o"], help="New model file with the fit.")] = None,
    sheet: Annotated[Path | None, Parameter(help="Contact sheet, PNG; each row converged, default, fitted.")] = None,
    device: Annotated[str, Parameter(help="auto is the best there is; cpu, cuda, cuda:1, mps, xpu.")] = "cpu",
    as_json: Annotated[bool, Parameter(name="--json", negative="", help="Print one JSON object.")] = False,
) -> None:
    """Fit the noise levels and weights of few steps to a model, and print the gain on other seeds."""
    _check(options, record, out, sheet)
    card = read_card(find(model))
    from unnoise.cli.torch_import import import_torch

    import_torch()
    from unnoise import model_file
    from unnoise.pipeline import Pipeline
    from unnoise.tune.model import with_fits

    prompts = _prompts(options, card)
    pipeline = Pipeline.of(model_file.load(model, device))
    found, converged = _tune(pipeline, options, prompts)
    _report(found, as_json)
    if sheet is not None:
        _write_sheet(found, converged, prompts[options.seeds :], sheet)
    if record or out:
        path = find(model)
        tuned = replace(pipeline, card=with_fits(pipeline.card, found))
        model_file.save(out or path, tuned, model_file.stored_dtype(path))


def _check(options: TuneOptions, record: bool, out: Path | None, sheet: Path | None) -> None:
    """Raise InputError before the model is loaded."""
    for steps in options.steps:
        check_whole("steps", steps, 1, MAX_STEPS)
    if len(set(options.steps)) < len(options.steps):
        raise InputError(f"steps {', '.join(map(str, options.steps))}: give each number once")
    check_whole("seeds", options.seeds, 1, 4096)
    check_whole("seed", options.seed, 0, 2**62)
    if options.sampler is not None:
        fit.stepping(names.sampler(options.sampler))
    if record and out is not None:
        raise InputError(f"out {str(out)!r}: --record writes to the model file; give one of them")
    if out is not None and out.suffix != ".safetensors":
        raise InputError(f"out {str(out)!r}: must end in .safetensors")
    if sheet is not None and sheet.suffix != ".png":
        raise InputError(f"sheet {str(sheet)!r}: must end in .png")
    for path in filter(None, (out, sheet)):
        check_writable(path)


def _prompts(options: TuneOptions, card: Card) -> list[str]:
    """Choose a prompt for each seed: those of the fit, then those that measure the gain."""
    count = 2 * options.seeds
    if not card.prompted:
        return [""] * count
    if options.prompts is not None:
        texts = read_prompts(options.prompts)
    elif card.training.get("data") == "emoji":
        from unnoise.data.noto import open_noto
        from unnoise.diffusion.noise import numbers

        captions = open_noto().captions
        texts = tuple(captions[i][0] for i in numbers(options.seed, TUNE, 0).permutation(len(captions))[:count])
    else:
        raise InputError(f"prompts: {card.name!r} was not trained on emoji; give a file with one prompt a line")
    return [texts[k % len(texts)] for k in range(count)]


def _tune(pipeline: "Pipeline", options: TuneOptions, prompts: list[str]) -> "tuple[list[Tuned], Tensor]":
    """Fit and measure; also return the converged data of the seeds that measure the gain."""
    from unnoise.tune.model import decode, trace_seeds, tune

    sampler = None if options.sampler is None else names.sampler(options.sampler)
    seeds = range(options.seed, options.seed + len(prompts))
    halves: list[SeedGroup] = []
    for start, purpose in ((0, "to fit to"), (options.seeds, "to measure the gain")):
        part = slice(start, start + options.seeds)
        with Bar(f"tracing {options.seeds} seeds {purpose}") as bar:
            halves.append(trace_seeds(pipeline, prompts[part], seeds[part], bar))
    found = []
    for steps in options.steps:
        with Bar(f"fitting {steps} steps") as bar:
            found.append(tune(pipeline, halves[0], halves[1], steps, sampler, bar))
    return found, decode(pipeline, halves[1].reference.x0)


def _report(found: "list[Tuned]", as_json: bool) -> None:
    """Print the gain and the levels."""
    facts = []
    for one in found:
        steps, name = len(one.fit.grid) - 1, type(one.fit.sampler).__name__
        (before, before_pixels), (after, after_pixels) = one.before, one.after
        levels = [to_level(float(f"{level:.4g}")) for level in one.fit.grid]
        facts.append(
            {"steps": steps, "sampler": name, "levels": levels}
            | {"default": round(before, 5), "fitted": round(after, 5)}
            | {"default_pixels": round(before_pixels, 5), "fitted_pixels": round(after_pixels, 5)}
        )
        if not as_json:
            print(f"{steps} steps: {after / before:.2f} of the default's distance to converged images")
            print(f"  in x0      {before:.4f} -> {after:.4f}")
            print(f"  in pixels  {before_pixels:.4f} -> {after_pixels:.4f}  of a range of 2")
            print(f"  levels     {' '.join(map(str, levels))}")
    if as_json:
        print(json.dumps({"fits": facts}))


def _write_sheet(found: "list[Tuned]", converged: "Tensor", prompts: list[str], path: Path) -> None:
    """Write a contact sheet with one prompt a row: converged, then default and fitted for each number of steps."""
    import torch

    from unnoise.generation.decode import to_images
    from unnoise.generation.media.contact_sheet import contact_sheet

    columns = [converged, *(data for one in found for data in (one.default, one.fitted))]
    counts = [len(one.fit.grid) - 1 for one in found]
    labels = ["converged", *(f"{steps} steps, {kind}" for steps in counts for kind in ("default", "fitted"))]
    images = to_images(torch.stack([data[:SHOWN] for data in columns], dim=1).flatten(0, 1).clamp(-1, 1))
    captions = [f"{prompt}: {label}" for prompt in prompts[:SHOWN] for label in labels]
    with replacing(path) as file:
        contact_sheet(images, captions, "Converged, default and fitted", len(columns)).save(file, "PNG")
