"""Read infotext: the lines that AUTOMATIC1111, Forge, SD.Next, Fooocus and stable-diffusion.cpp write into an image.

    prompt lines
    Negative prompt: lines
    Steps: 20, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7, Seed: 1, Size: 512x512, Model: name, ...

A key that is absent has its default. Source: AUTOMATIC1111/stable-diffusion-webui, modules/infotext_utils.py;
leejet/stable-diffusion.cpp, examples/cli/main.cpp, get_image_params.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from math import isfinite
from typing import Any, TypeVar

from unnoise.check.subject import GenerationRun, Located, Location, NamedModel, ReadFault, Subject, Tool, Use
from unnoise.families.identity import Identity
from unnoise.families.names import by_adapter, by_checkpoint, by_hash, by_name
from unnoise.families.tensors import refined
from unnoise.formats.json_text import json_value

T = TypeVar("T")
LONGEST = 1 << 20  # letters
KEY = re.compile(r"(?<!\w)(\w[\w \-/]{0,60}):\s*")
QUOTE = re.compile(r'"(?:\\.|[^\\"])*+"?')
LORA = re.compile(r"<(?:lora|lyco):([^:<>]{1,200})(?::([^<>]{0,60}))?>")
SIZE = re.compile(r"(\d{1,5})x(\d{1,5})$")
NEGATIVE = "Negative prompt:"
MOST = 100  # LoRAs beside the prompt
FEWEST = 3  # pairs that a line of parameters has
GRIDS = ("Karras", "Exponential", "Polyexponential")  # that older versions append to the sampler's name
HIRES = ("Hires upscale", "Hires resize", "Hires upscaler", "Hires steps")  # of a second pass, with its own denoising
MASKED = ("Mask blur", "Masked content", "Inpaint area", "Masked area padding", "Mask mode")


def read_infotext(text: str, path: str) -> Subject:
    """Read infotext.

    Args:
        text: of the chunk or file
        path: of the file

    Returns:
        its subject, whose places are keys of the last line; a fault if the text is not infotext
    """
    lines = text[:LONGEST].strip().split("\n")
    at, pairs = _parameters(lines, path)
    if len(pairs) < FEWEST:
        fault = ReadFault("unknown", Location(path), "is not infotext: its last line has no parameters")
        return Subject(path=path, faults=(fault,))
    prompt, negative = _prompts(lines[:at])
    run = _run(pairs, prompt, negative, path)
    return Subject(path=path, tool=run.tool, models=(run.model,) if run.model else (), runs=(run,))


def _parameters(lines: list[str], path: str) -> tuple[int, dict[str, Located[str]]]:
    """Find the line of parameters: the last one, or the last that starts like one."""
    pairs = _pairs(lines[-1], path)
    for at in range(len(lines) - 1, -1, -1) if "Steps" not in pairs else ():
        if lines[at].startswith("Steps: "):
            return at, _pairs(lines[at], path)
    return len(lines) - 1, pairs


def _pairs(line: str, path: str) -> dict[str, Located[str]]:
    found: dict[str, Located[str]] = {}
    at = plain = 0  # a quote before `plain` is no start of a text: a longer one around it was none
    while match := KEY.search(line, at):
        end = line.find(",", match.end())
        at = len(line) if end < 0 else end
        if match.end() >= plain and (quote := QUOTE.match(line, match.end())):
            plain = quote.end()
            if line[plain - 1] == '"' and line[plain : plain + 1] in ("", ","):
                at = plain
        value = line[match.end() : at]
        key = match[1].strip()
        found[key] = Located((_unquoted(value) if value[:1] == '"' else value).strip(), Location(path, (key,)))
    return found


def _unquoted(value: str) -> str:
    try:
        return str(json_value(value, strict=False))
    except ValueError:
        return value.strip('"')


def _prompts(lines: list[str]) -> tuple[str, str]:
    at = next((index for index, line in enumerate(lines) if line.strip().startswith(NEGATIVE)), len(lines))
    negative = "\n".join(lines[at:]).strip().removeprefix(NEGATIVE).strip()
    return "\n".join(lines[:at]).strip(), negative


def _run(pairs: Mapping[str, Located[str]], prompt: str, negative: str, path: str) -> GenerationRun:
    tool = _tool(pairs)
    model = _base(pairs)
    sampler, grid = _sampler(pairs, tool)
    strength = _as(float, pairs.get("Denoising strength"))
    hires = any(key in pairs for key in HIRES)
    masked = any(key in pairs for key in MASKED)
    size = pairs.get("Size")
    sides = SIZE.match(size.value) if size else None
    return GenerationRun(
        place=Location(path),
        tool=tool,
        task="text" if strength is None or hires else "inpaint" if masked else "image",
        model=model,
        vae=_model(pairs.get("VAE")),
        adapters=(*tagged_loras(Located(prompt, Location(path, ("Prompt",))), model), *_weights(pairs, model)),
        sampler=sampler,
        grid=grid,
        steps=_as(int, pairs.get("Steps")),
        guidance=_as(float, pairs.get("CFG scale")),
        embedded=_embedded(pairs, model),
        prompt=Located(prompt, Location(path, ("Prompt",))),
        negative=Located(negative, Location(path, ("Negative prompt",))),
        width=Located(int(sides[1]), size.place) if size and sides else None,
        height=Located(int(sides[2]), size.place) if size and sides else None,
        strength=None if hires else strength,
        seed=_as(int, pairs.get("Seed")),
        seed_device=pairs.get("RNG"),
        clip_skip=_as(int, pairs.get("Clip skip")),
        others=pairs,
    )


def _tool(pairs: Mapping[str, Located[str]]) -> Tool:
    version = pairs["Version"].value if "Version" in pairs else ""
    if version.startswith("stable-diffusion.cpp"):
        return "sdcpp"
    if version.startswith("Fooocus"):
        return "fooocus"
    return "forge" if re.match(r"f\d", version) or "Distilled CFG Scale" in pairs else "a1111"


def _embedded(pairs: Mapping[str, Located[str]], model: NamedModel | None) -> Located[float] | None:
    """Return the embedded guidance scale; stable-diffusion.cpp writes its default for every model."""
    distilled = _as(float, pairs.get("Distilled CFG Scale"))
    takes = model is not None and model.facts is not None and model.facts.embedded is not None
    return distilled or (_as(float, pairs.get("Guidance")) if takes else None)


def _sampler(pairs: Mapping[str, Located[str]], tool: str) -> tuple[Located[str] | None, Located[str] | None]:
    """Return sampler and spacing; older versions, and stable-diffusion.cpp, write both as one name."""
    sampler, grid = pairs.get("Sampler"), pairs.get("Schedule type") or pairs.get("Scheduler")
    if sampler is None or grid is not None:
        return sampler, grid
    name, _, last = sampler.value.rpartition(" ")
    if tool == "sdcpp" and name:
        return Located(name, sampler.place), Located(last, sampler.place)
    return sampler, Located(last, sampler.place) if name and last in GRIDS else None


def _base(pairs: Mapping[str, Located[str]]) -> NamedModel | None:
    """Return the base model, identified by its hash, else by its name; the oldest records have the hash only."""
    named = _model(pairs.get("Model")) or _model(pairs.get("Unet"))
    stated = pairs.get("Model hash")
    known = by_hash(stated.value) if stated else Identity()
    if named is None:
        return NamedModel(stated.value, stated.place, known) if stated and known.known else None
    return replace(named, identity=refined(known, named.identity) if known.known else by_checkpoint(named.name))


def _model(named: Located[str] | None) -> NamedModel | None:
    if named is None or named.value in ("", "None", "Automatic"):
        return None
    return NamedModel(named.value, named.place, by_name(named.value))


def tagged_loras(prompt: Located[str], base: NamedModel | None) -> Iterator[Use]:
    """List the LoRAs that tags of a prompt name, such as <lora:name:0.8>."""
    return (_use(match, prompt.place, base) for match in LORA.finditer(prompt.value))


def _use(match: re.Match[str], place: Location, base: NamedModel | None) -> Use:
    """Read a tag of the prompt: name:weight, name:text:denoiser, or name:te=text:unet=denoiser.

    Source: AUTOMATIC1111/stable-diffusion-webui, extensions-builtin/Lora/extra_networks_lora.py
    """
    words = (match[2] or "1").split(":")
    named = dict(word.split("=", 1) for word in words if "=" in word)
    plain = [word for word in words if "=" not in word]
    strength = named.get("unet") or (plain[1:] or plain or [named.get("te", "1")])[0]
    return Use(place, NamedModel(match[1], place, by_adapter(match[1])), base, _as(float, Located(strength, place)))


def _weights(pairs: Mapping[str, Located[str]], base: NamedModel | None) -> Iterator[Use]:
    """List the LoRAs that Fooocus names beside the prompt: "name: weight, name: weight"."""
    listed = pairs.get("Lora weights")
    for pair in listed.value.split(",")[:MOST] if listed else ():
        name, colon, weight = pair.rpartition(":")
        if listed and colon and name.strip():
            adapter = NamedModel(name.strip(), listed.place, by_name(name.strip()))
            yield Use(listed.place, adapter, base, _as(float, Located(weight, listed.place)))


def _as(kind: Callable[[Any], T], located: Located[str] | None) -> Located[T] | None:
    """Convert a value to a finite number; None where that is not possible."""
    if located is None or len(located.value) > 30:
        return None
    try:
        value = kind(located.value)
        return Located(value, located.place) if isfinite(value) else None  # type: ignore[arg-type]
    except (ValueError, OverflowError):
        return None
