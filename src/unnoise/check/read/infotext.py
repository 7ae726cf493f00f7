"""Read infotext: the lines that AUTOMATIC1111, Forge, SD.Next and stable-diffusion.cpp write into a picture.

    prompt lines
    Negative prompt: lines
    Steps: 20, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7, Seed: 1, Size: 512x512, Model: name, ...

A key that is absent has its default. Source: AUTOMATIC1111/stable-diffusion-webui, modules/infotext_utils.py.
"""

import json
import re
from collections.abc import Callable, Mapping
from math import isfinite
from typing import Any, TypeVar

from unnoise.check.subject import Fault, Model, Place, Run, Said, Subject, Tool, Use
from unnoise.files.families.names import by_name

T = TypeVar("T")
LONGEST = 1 << 20  # letters
PAIR = re.compile(r'\s*(\w[\w \-/]{0,60}):\s*("(?:\\.|[^\\"])*"|[^,]*)(?:,|$)')
LORA = re.compile(r"<(?:lora|lyco):([^:<>]{1,200})(?::([^<>]{0,40}))?>")
SIZE = re.compile(r"(\d{1,5})x(\d{1,5})$")
NEGATIVE = "Negative prompt:"
FEWEST = 3  # pairs that make a line the one of parameters
GRIDS = ("Karras", "Exponential", "Polyexponential")  # that older versions put behind the sampler's name


def read_infotext(text: str, path: str) -> Subject:
    """Read infotext; places are keys of its last line. A text that is none is a Fault."""
    place = Place(path)
    lines = text[:LONGEST].strip().split("\n")
    pairs = _pairs(lines[-1], path)
    if len(pairs) < FEWEST:
        return Subject(path=path, faults=(Fault("unknown", place, "is no infotext: its last line has no parameters"),))
    prompt, negative = _prompts(lines[:-1])
    model = _model(pairs.get("Model"))
    adapters = tuple(_use(match, path, model) for match in LORA.finditer(prompt.split(NEGATIVE)[0]))
    run = _run(pairs, path, Said(prompt, Place(path, ("Prompt",))), negative, model, adapters)
    return Subject(path=path, tool=run.tool, models=(model,) if model else (), runs=(run,))


def _pairs(line: str, path: str) -> dict[str, Said[str]]:
    found = {}
    for key, value in PAIR.findall(line):
        if value.startswith('"'):
            try:
                value = json.loads(value)
            except ValueError:
                value = value.strip('"')
        found[key.strip()] = Said(str(value).strip(), Place(path, (key.strip(),)))
    return found


def _prompts(lines: list[str]) -> tuple[str, str]:
    at = next((index for index, line in enumerate(lines) if line.startswith(NEGATIVE)), len(lines))
    negative = "\n".join(lines[at:]).removeprefix(NEGATIVE).strip()
    return "\n".join(lines[:at]).strip(), negative


def _run(
    pairs: Mapping[str, Said[str]],
    path: str,
    prompt: Said[str],
    negative: str,
    model: Model | None,
    adapters: tuple[Use, ...],
) -> Run:
    sampler, grid = _sampler(pairs)
    strength = _as(float, pairs.get("Denoising strength"))
    size = pairs.get("Size")
    sides = SIZE.match(size.value) if size else None
    is_hires = "Hires upscale" in pairs or "Hires resize" in pairs
    return Run(
        place=Place(path),
        tool=_tool(pairs),
        task="text" if strength is None or is_hires else "inpaint" if "Mask blur" in pairs else "image",
        model=model,
        vae=_model(pairs.get("VAE")),
        adapters=adapters,
        sampler=sampler,
        grid=grid,
        steps=_as(int, pairs.get("Steps")),
        guidance=_as(float, pairs.get("CFG scale")),
        embedded=_as(float, pairs.get("Distilled CFG Scale") or pairs.get("Guidance")),
        prompt=prompt,
        negative=Said(negative, Place(path, ("Negative prompt",))),
        width=Said(int(sides[1]), size.place) if size and sides else None,
        height=Said(int(sides[2]), size.place) if size and sides else None,
        strength=None if is_hires else strength,
        seed=_as(int, pairs.get("Seed")),
        seed_device=pairs.get("RNG"),
        clip_skip=_as(int, pairs.get("Clip skip")),
        others=pairs,
    )


def _tool(pairs: Mapping[str, Said[str]]) -> Tool:
    version = pairs["Version"].value if "Version" in pairs else ""
    if version.startswith("stable-diffusion.cpp"):
        return "sdcpp"
    return "forge" if re.match(r"f\d", version) or "Distilled CFG Scale" in pairs else "a1111"


def _sampler(pairs: Mapping[str, Said[str]]) -> tuple[Said[str] | None, Said[str] | None]:
    """Give sampler and spacing; older versions write both as one name."""
    said, grid = pairs.get("Sampler"), pairs.get("Schedule type") or pairs.get("Scheduler")
    if said is None or grid is not None:
        return said, grid
    name, _, last = said.value.rpartition(" ")
    return said, Said(last, said.place) if name and last in GRIDS else None


def _model(said: Said[str] | None) -> Model | None:
    if said is None or said.value in ("", "None", "Automatic"):
        return None
    return Model(said.value, said.place, by_name(said.value))


def _use(match: re.Match[str], path: str, base: Model | None) -> Use:
    place = Place(path, ("Prompt",))
    strength = _as(float, Said((match[2] or "1").split(":")[0], place))
    return Use(place, Model(match[1], place, by_name(match[1])), base, strength)


def _as(kind: Callable[[Any], T], said: Said[str] | None) -> Said[T] | None:
    """Read a value as a number; None where it is none, or none that is finite."""
    if said is None or len(said.value) > 30:
        return None
    try:
        value = kind(said.value)
        return Said(value, said.place) if isfinite(value) else None  # type: ignore[arg-type]
    except (ValueError, OverflowError):
        return None
