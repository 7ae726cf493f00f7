"""Sizes and a score that are inputs of a network besides its text: the micro-conditioning of Stable Diffusion XL.

    option            numbers        default                      negative default
    original_size     height, width  the image                    that of the prompt
    crop_top_left     top, left      0, 0                         that of the prompt; 0, 0 with a negative size
    target_size       height, width  the image                    that of the prompt
    aesthetic_score   score          6                            2.5

The refiner has a score in the place of a target size, and its negative crop is 0, 0 unless given.
Source: Podell et al. 2023 (SDXL), section 2.2; diffusers, pipelines/stable_diffusion_xl, defaults of its arguments.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from unnoise.errors import InputError

INPUTS: Final = ("original_size", "crop_top_left", "target_size", "aesthetic_score")
SIZES: Final = ("original_size", "target_size")
NEGATIVE: Final = "negative_"
NAMES: Final = (*INPUTS, *(NEGATIVE + name for name in INPUTS))
SCORES: Final = (6.0, 2.5)  # of a prompt and of a negative one


def settled(options: Any, inputs: Sequence[str], drawn: tuple[int, int], guided: bool, model: str) -> dict[str, Any]:
    """Fill every default.

    Args:
        options: an object with NAMES as attributes.
        inputs: those that the network has, in its order.
        drawn: (width, height) of one network call, in pixels.
        guided: whether the network also runs without the prompt.
        model: name for messages.

    Returns:
        each name with its value, None for one that does not act.

    Raises:
        InputError: a value is given that does not act.
    """
    given = {name: getattr(options, name) for name in NAMES if getattr(options, name) is not None}
    for name in given:
        if name.removeprefix(NEGATIVE) not in inputs:
            known = f"its inputs are {', '.join(inputs)}" if inputs else "it has no inputs of this kind"
            raise InputError(f"{name}: {model!r} has no such input; {known}")
        if name.startswith(NEGATIVE) and not guided:
            raise InputError(f"{name}: acts through guidance, and guidance_scale is 1 (off)")
    filled = _filled(given, inputs, drawn)
    return {
        name: filled[name]
        if name.removeprefix(NEGATIVE) in inputs and (guided or not name.startswith(NEGATIVE))
        else None
        for name in NAMES
    }


def numbers(settings: Any, inputs: Sequence[str], prompted: bool) -> list[float]:
    """Return the numbers that a network takes with the prompt, or with the negative prompt.

    settings: those of a job; those of former versions have none of NAMES, which then have their defaults.
    """
    given = {name: getattr(settings, name) for name in NAMES if getattr(settings, name) is not None}
    filled = _filled(given, inputs, drawn_at_once(settings.size, settings.tile))
    found: list[float] = []
    for name in inputs:
        value = filled[name if prompted else NEGATIVE + name]
        found += reversed(value) if name in SIZES else value if name == "crop_top_left" else [value]
    return [float(number) for number in found]


def drawn_at_once(size: tuple[int, int], tile: int | None) -> tuple[int, int]:
    """Return (width, height) of one network call."""
    return size if tile is None else (min(size[0], tile), min(size[1], tile))


def _filled(given: Mapping[str, Any], inputs: Sequence[str], drawn: tuple[int, int]) -> dict[str, Any]:
    base = {"original_size": drawn, "target_size": drawn, "crop_top_left": (0, 0), "aesthetic_score": SCORES[0]}
    base |= {name: value for name, value in given.items() if name in base}
    other = {**base, "aesthetic_score": SCORES[1]}
    if "aesthetic_score" in inputs or any(NEGATIVE + name in given for name in SIZES):
        other["crop_top_left"] = (0, 0)
    negative = {NEGATIVE + name: value for name, value in other.items()}
    return base | negative | {name: value for name, value in given.items() if name in negative}
