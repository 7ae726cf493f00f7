"""The options of `generate` and `edit` on the command line, made from their declarations in `generation.options`."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, make_dataclass
from itertools import chain, product
from pathlib import Path
from typing import Annotated, Any, Final

from cyclopts import Group, Parameter

from unnoise.card import Card
from unnoise.embedded import ADAPTERS, find
from unnoise.errors import InputError, check_number
from unnoise.generation.limits import LORA
from unnoise.generation.option import SIDES, Option, described
from unnoise.generation.options import OPTIONS
from unnoise.generation.other_names import OTHER_NAMES
from unnoise.generation.request import home_of_options, split_lora, split_network

GROUPS: Final = ("basic", "guidance", "image input", "control", "adapters", "output", "advanced")
HELP_GROUPS: Final = {name: Group(name.capitalize(), sort_key=place) for place, name in enumerate(GROUPS)}
METAVARS: Final = {
    "whole": "N", "number": "X", "text": "TEXT", "choice": "WORD", "sampler": "NAME", "schedule": "NAME",
    "size": "SIZE", "corner": "TOP,LEFT", "levels": "LOW,HIGH", "sides": "L,T,R,B", "image": "FILE", "lora": "FILE:X",
}  # fmt: skip
SWEPT: Final = ("whole", "number", "choice", "sampler", "schedule", "size")  # kinds of which "a,b" is a sweep
LONG: Final = ("advanced", "image input", "control")  # groups of `generate` that only `--help-all` shows


@dataclass(frozen=True, slots=True)
class HelpView:
    """What `--help` shows.

    Args:
        card: of the model, for the defaults; None where it is not known.
        hidden: groups that are left out.
        defaults: of options whose default is another than the card's.
    """

    card: Card | None = None
    hidden: Sequence[str] = ()
    defaults: Mapping[str, str] = field(default_factory=dict)


def arguments(kind: Any, shown: HelpView, leave_out: Sequence[str] = ()) -> Any:
    """Make the command-line form of an option class: the same names, as text.

    Args:
        kind: one of OPTIONS.
        shown: what `--help` shows.
        leave_out: fields that the command takes in another way.
    """
    return _made(f"{kind.__name__}Arguments", _fields(kind, shown, leave_out))


def every_argument(shown: HelpView, leave_out: Sequence[str] = ()) -> Any:
    """Make the command-line form of all option classes as one; arguments as for `arguments`."""
    return _made("Arguments", chain.from_iterable(_fields(kind, shown, leave_out) for kind in OPTIONS))


def _made(name: str, made: Iterable[tuple[str, Any, Any]]) -> Any:
    return make_dataclass(name, made, frozen=True, namespace={"__module__": __name__})


def _fields(kind: Any, shown: HelpView, leave_out: Sequence[str]) -> Iterator[tuple[str, Any, Any]]:
    """Yield name, annotation and default of each option of a class."""
    for name, option in described(kind).items():
        if option.python_only or name in leave_out:
            continue
        parameter = Parameter(
            name=list(option.spelling) or [f"--{name.replace('_', '-')}"],
            help=_help(option, shown.card, shown.defaults.get(name, "")),
            group=HELP_GROUPS[option.group],
            show=option.group not in shown.hidden,
            show_default=False,
            metavar=METAVARS.get(option.kind),
            negative="",
        )
        value_type: Any = bool if option.kind == "flag" else tuple[str, ...] if option.kind == "lora" else str | None
        default: Any = False if option.kind == "flag" else () if option.kind == "lora" else None
        yield name, Annotated[value_type, parameter], default


def flatten(command: Any, **groups: Any) -> None:
    """Let the parameters of a command take the options of groups, which are made while the program runs."""
    for name, default in groups.items():
        command.__annotations__[name] = Annotated[type(default), Parameter(name="*")]


def _help(option: Option, card: Card | None, default: str) -> str:
    """Write the help of an option: what it is, its range or choices, its default."""
    extra = []
    if option.kind in ("whole", "number") and option.high:
        high = f"{option.high:g}" if option.high < 1e6 else "2^63"
        extra.append(f"{option.low:g} to {high}")
    if option.choices:
        extra.append("|".join(option.choices))
    if option.card and card is not None:
        default = default or _default(option.card, card)
    if default:
        extra.append(f"default {default}")
    return option.help + (f" [{'; '.join(extra)}]" if extra else "")


def _default(name: str, card: Card) -> str:
    """Write the card's default of an option; nothing where the library chooses or the model has no such option."""
    value = getattr(card.advice, name)
    if name == "sizes":
        return "x".join(map(str, value[0])) if value else ""
    if name == "guidance_interval":
        return "all levels" if value == (0.0, None) else f"{value[0]:g},{'inf' if value[1] is None else value[1]}"
    if value is None:
        return "automatic" if name in ("sampler", "schedule") else ""
    return f"{value:g}" if isinstance(value, int | float) else str(value)


def values(*parsed: Any) -> dict[str, Any]:
    """Read what was given: for each option its value, or the list of its values where it is swept.

    Raises:
        InputError: a text cannot be read as the option's kind.
    """
    found: dict[str, Any] = {}
    homes = home_of_options()
    for one in parsed:
        for name in (each.name for each in fields(one)):
            text = getattr(one, name)
            if text is None or text is False or text == ():
                continue
            found[name] = True if text is True else _read(name, text, described(homes[name])[name])
    return found


def _read(name: str, text: Any, option: Option) -> Any:
    if option.kind == "lora":
        return _loras(text)
    if option.kind == "schedule" and "," in text and _levels(text) is not None:
        return _levels(text)
    if option.kind in SWEPT and "," in text:
        several = [_one(name, part.strip(), option) for part in text.split(",")]
        return several if len(several) > 1 else several[0]
    return _one(name, text, option)


def _one(name: str, text: str, option: Option) -> Any:
    if option.kind == "whole":
        return _number(name, text, int, "a whole number")
    if option.kind == "number":
        return _number(name, text, float, "a number")
    if option.kind == "size":
        return size_of(text, name)
    if option.kind == "corner":
        corner = text.split(",")
        if len(corner) != 2 or not all(_is_whole(part.strip()) for part in corner):
            raise InputError(f"{name} {text[:40]!r}: TOP,LEFT in pixels, such as 0,128")
        return int(corner[0]), int(corner[1])
    if option.kind == "levels":
        levels = _levels(text)
        if levels is None or len(levels) != 2:
            raise InputError(f"{name} {text!r}: LOW,HIGH, two levels of sigma such as 0.2,10")
        return levels
    if option.kind == "sides":
        sides = text.split(",")
        if len(sides) != len(SIDES) or not all(side.strip().isdigit() for side in sides):
            raise InputError(f"{name} {text!r}: LEFT,TOP,RIGHT,BOTTOM in pixels, such as 0,0,32,0")
        return tuple(int(side) for side in sides)
    return text


def _number(name: str, text: str, read: Any, what: str) -> Any:
    try:
        if len(text) > 30:
            raise ValueError
        return read(text)
    except ValueError:
        raise InputError(f"{name} {text[:40]!r}: must be {what}") from None


def _levels(text: str) -> tuple[float, ...] | None:
    """Read levels such as "inf,10,2.5,0"; None where the text is not a list of numbers."""
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        return None


def _loras(given: Sequence[str]) -> Any:
    """Read adapters; "FILE:0,0.5,1" sweeps a weight, and then each value of the sweep is a tuple of all adapters."""
    choices = []
    for one in given:
        plain, network = split_network(one)
        name, colon, weights = plain.rpartition(":")
        several = weights.split(",") if colon and _levels(weights) is not None else []
        end = f"@{network}" if network else ""
        choices.append([f"{name}:{weight}{end}" for weight in several] if len(several) > 1 else [one])
    combined = list(product(*choices))
    return combined if len(combined) > 1 else combined[0]


def lora_file(text: str) -> tuple[Path, float, str]:
    """Read "FILE:WEIGHT@NETWORK" or less. Raises InputError for a weight out of range, or no such file."""
    name, weight, network = split_lora(text)
    check_number("lora weight", weight, -LORA, LORA)
    return find(name, ADAPTERS), weight, network


def size_of(text: str, name: str = "size") -> tuple[int, int]:
    """Read "640x480", or one number for both sides. Raises InputError for anything else."""
    sides = text.lower().split("x")
    if len(sides) not in (1, 2) or not all(map(_is_whole, sides)):
        raise InputError(f"{name} {text!r}: WIDTHxHEIGHT in pixels, or one number for both")
    return int(sides[0]), int(sides[-1])


def _is_whole(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 10


def refuse_other_names(tokens: Sequence[str], commands: Mapping[str, object]) -> None:
    """Raise InputError for an option of another tool, or of unnoise before 0.2, with ours named."""
    if not tokens or tokens[0] not in commands:
        return
    known = MODEL_NAMES | (COMMAND_NAMES if tokens[0] in DRAWING else {})
    for token in tokens:
        name = token.partition("=")[0].removeprefix("--").replace("-", "_")
        if token.startswith("--") and name in known:
            raise InputError(f"{token.partition('=')[0]}: unknown here; use {known[name]}")


# Options of other tools and of unnoise before 0.2, with ours.
COMMAND_NAMES: Final = {
    **{
        name: f"--{ours.replace('_', '-')}"
        for name, ours in OTHER_NAMES.items()
        if name != "guidance" and ours not in ("callback", "noise")
    },
    "from": "--source-prompt",
    "keep_outside": "no option: white is painted by default, and --invert-mask paints black",
}
MODEL_NAMES: Final = {"parts": "--components", "predicts": "--prediction-type", "look_model": "--ip-adapter"}
DRAWING: Final = ("generate", "edit", "plan")  # commands that take options of `generation.options`
