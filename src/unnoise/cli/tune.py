"""`unnoise tune grid`: fit to a model where its few steps go, and keep it on the model's card."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from unnoise.card import Card, read_card
from unnoise.cli.generate import read_prompts
from unnoise.embedded import find
from unnoise.errors import InputError, check_whole
from unnoise.formats.atomic import check_writable, replacing
from unnoise.generation.metadata import to_level
from unnoise.progress import ProgressBar as Bar
from unnoise.sampling import registry as names, schedule_search as fit

if TYPE_CHECKING:
    from torch import Tensor

    from unnoise.pipeline import Pipeline
    from unnoise.tune.model import Group, Tuned

MOST = 32  # steps: between so many levels is chosen
TUNE = 6  # the first coordinate of the stream that chooses prompts
SHOWN = 6  # prompts on a sheet

EPILOGUE = """How it works:
  A few dozen seeds are followed in 160 fine steps to where they end, the
  converged pictures. Then the levels of noise that the few steps stop at, and
  the weights with which each step joins what the network has said so far, are
  moved until pictures of few steps end as near to the converged ones as they
  can. No gradient is needed, and the network stays as it is: it takes minutes.
  What was gained is measured on as many other seeds and prompts.
  With --sampler the levels alone are fitted, for that sampler.

What comes of it:
  Nothing is written unless you say so: --record writes it on the card of the
  model's file, --out on that of a new file. From then on `generate --steps N`
  takes it for exactly as many steps, unless --sampler or --grid is given.

Examples:
  unnoise tune grid my.safetensors --record
  unnoise tune grid my.safetensors --steps 6 --steps 12 --prompts prompts.txt
  unnoise tune grid emoji --seeds 16 --out tuned.safetensors --sheet gain.png
  unnoise tune grid emoji --sampler dpmpp-2m
  unnoise generate "a red heart" --model tuned.safetensors --steps 8"""

app = App(name="tune", help="Fit to a model what is otherwise taken from a table.", help_format="plaintext")


@dataclass(frozen=True, slots=True)
class TuneOptions:
    """What is fitted, and to what."""

    steps: Annotated[
        tuple[int, ...], Parameter(negative="", help=f"Steps to fit, 1 to {MOST}; say it again for more.")
    ] = (8,)
    seeds: Annotated[int, Parameter(help="Pictures to fit to; as many others measure what is gained.")] = 32
    prompts: Annotated[
        str | None, Parameter(help="File with a prompt a line; names of emoji, for a model that draws them.")
    ] = None
    sampler: Annotated[str | None, Parameter(help="Fit the levels alone, for this sampler: a name.")] = None
    seed: Annotated[int, Parameter(help="Of the choice of prompts and of the first picture.")] = 0


DEFAULT = TuneOptions()


@app.command(help_epilogue=EPILOGUE)
def grid(
    model: Annotated[str, Parameter(help="A model's name or file.")] = "emoji",
    /,
    *,
    question: Annotated[TuneOptions, Parameter(name="*")] = DEFAULT,
    record: Annotated[bool, Parameter(negative="", help="Write it on the card of the model's file.")] = False,
    out: Annotated[Path | None, Parameter(name=["--out", "-o"], help="Write a new file of the model with it.")] = None,
    sheet: Annotated[Path | None, Parameter(help="PNG with a prompt a row: converged, default, fitted.")] = None,
    device: Annotated[str, Parameter(help="cpu, cuda, cuda:1, mps, ...")] = "cpu",
    as_json: Annotated[bool, Parameter(name="--json", negative="", help="Print one JSON object.")] = False,
) -> None:
    """Fit the grid of a few steps to a model, and say how much nearer to converged pictures it comes."""
    _check(question, record, out, sheet)
    card = read_card(find(model))
    from unnoise.cli.torch_import import import_torch

    import_torch()
    from unnoise import model_file
    from unnoise.pipeline import Pipeline
    from unnoise.tune.model import advised

    prompts = _prompts(question, card)
    pipeline = Pipeline.of(model_file.load(model, device))
    found, converged = _tuned(pipeline, question, prompts)
    _report(found, as_json)
    if sheet is not None:
        _show(found, converged, sheet)
    if record or out:
        model_file.save(out or find(model), replace(pipeline, card=advised(pipeline.card, found)))


def _check(question: TuneOptions, record: bool, out: Path | None, sheet: Path | None) -> None:
    """Raise InputError before anything heavy is loaded."""
    for steps in question.steps:
        check_whole("steps", steps, 1, MOST)
    if len(set(question.steps)) < len(question.steps):
        raise InputError(f"steps {', '.join(map(str, question.steps))}: each number once")
    check_whole("seeds", question.seeds, 1, 4096)
    check_whole("seed", question.seed, 0, 2**62)
    if question.sampler is not None:
        fit.stepping(names.sampler(question.sampler))
    if record and out is not None:
        raise InputError(f"out {str(out)!r}: --record writes to the model's own file; give one of them")
    if out is not None and out.suffix != ".safetensors":
        raise InputError(f"out {str(out)!r}: models are written as .safetensors")
    if sheet is not None and sheet.suffix != ".png":
        raise InputError(f"sheet {str(sheet)!r}: pictures are written as .png")
    for path in filter(None, (out, sheet)):
        check_writable(path)


def _prompts(question: TuneOptions, card: Card) -> list[str]:
    """Choose a prompt for each picture: those that are fitted to, then as many that are not."""
    count = 2 * question.seeds
    if card.text is None:
        return [""] * count
    if question.prompts is not None:
        given = read_prompts(question.prompts)
    elif card.training.get("data") == "emoji":
        from unnoise.data.emoji import open_emoji
        from unnoise.diffusion.noise import numbers

        captions = open_emoji().captions
        given = tuple(captions[i][0] for i in numbers(question.seed, TUNE, 0).permutation(len(captions))[:count])
    else:
        raise InputError(f"prompts: {card.name!r} was not trained on emoji; give a file with a prompt a line")
    return [given[k % len(given)] for k in range(count)]


def _tuned(pipeline: "Pipeline", question: TuneOptions, prompts: list[str]) -> "tuple[list[Tuned], Tensor]":
    """Fit and measure; give also the converged data of those that were not fitted to."""
    from unnoise.tune.model import group, pictures, tune

    sampler = None if question.sampler is None else names.sampler(question.sampler)
    seeds = range(question.seed, question.seed + len(prompts))
    halves: list[Group] = []
    for at, what in ((0, "to fit to"), (question.seeds, "to measure with")):
        part = slice(at, at + question.seeds)
        with Bar(f"following {question.seeds} seeds {what}") as bar:
            halves.append(group(pipeline, prompts[part], seeds[part], bar))
    found = []
    for steps in question.steps:
        with Bar(f"fitting {steps} steps") as bar:
            found.append(tune(pipeline, halves[0], halves[1], steps, sampler, bar))
    return found, pictures(pipeline, halves[1].teacher.x0)


def _report(found: "list[Tuned]", as_json: bool) -> None:
    """Print what was gained, and the levels."""
    facts = []
    for one in found:
        steps, name = len(one.fit.grid) - 1, type(one.fit.sampler).__name__
        (before, before_seen), (after, after_seen) = one.before, one.after
        levels = [to_level(float(f"{level:.4g}")) for level in one.fit.grid]
        facts.append(
            {"steps": steps, "sampler": name, "levels": levels}
            | {"default": round(before, 5), "fitted": round(after, 5)}
            | {"default_pixels": round(before_seen, 5), "fitted_pixels": round(after_seen, 5)}
        )
        if not as_json:
            print(f"{steps} steps: {after / before:.2f} of the default's distance to converged pictures")
            print(f"  in x0      {before:.4f} -> {after:.4f}")
            print(f"  in pixels  {before_seen:.4f} -> {after_seen:.4f}  of a range of 2")
            print(f"  levels     {' '.join(map(str, levels))}")
    if as_json:
        print(json.dumps({"fits": facts}))


def _show(found: "list[Tuned]", converged: "Tensor", path: Path) -> None:
    """Write a sheet with a prompt a row: converged, then default and fitted for each number of steps."""
    import torch

    from unnoise.train.sheet import grid_of

    columns = [converged, *(data for one in found for data in (one.default, one.fitted))]
    rows = torch.stack([data[:SHOWN] for data in columns], dim=1).flatten(0, 1)
    with replacing(path) as file:
        grid_of(rows, len(columns)).save(file, "PNG")
