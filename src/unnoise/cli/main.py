"""The command `unnoise`: one table of commands, each imported when it is called, and one place where errors end."""

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import unnoise
from unnoise.errors import InputError, NonFiniteError

if TYPE_CHECKING:
    from cyclopts import App

COMMANDS = {
    "generate": ("unnoise.cli.generate:app", "Draw pictures from words."),
    "edit": ("unnoise.cli.edit:app", "Change a picture: as a whole, where a mask paints, at its borders."),
    "replay": ("unnoise.cli.replay:replay", "Make a picture again from the recipe that it carries."),
    "plan": ("unnoise.cli.plan:plan", "Say what a request takes of this machine, before any weight is read."),
    "models": ("unnoise.cli.models:models", "List the models that can be loaded, or show the card of one."),
    "train": ("unnoise.cli.train:app", "Train a model from a recipe."),
    "control": ("unnoise.cli.control:app", "Train a ControlNet, and draw outlines for it."),
    "lora": ("unnoise.cli.lora:app", "Train, merge, extract, resize and convert LoRA adapters."),
    "tune": ("unnoise.cli.tune:app", "Fit few-step sampling to a model."),
    "check": ("unnoise.cli.check:app", "Find what is silently wrong in the files of any diffusion tool."),
    "rule": ("unnoise.cli.rule:rule", "Explain a rule of `check`, or list them."),
    "inspect": ("unnoise.cli.inspect:inspect", "Say what a file of weights is, and how that is known."),
    "export": ("unnoise.cli.export:export", "Write a model as a folder that diffusers opens."),
    "convert": ("unnoise.cli.convert:convert", "Turn a pickle of weights into safetensors."),
    "evaluate": ("unnoise.cli.evaluate:app", "Measure a model: the figures of its card."),
}
REFUSED, FAILED, INTERRUPTED = 2, 1, 130  # exit codes: what was asked is wrong; it went wrong; Ctrl-C


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and give its exit code; an error is one line on stderr."""
    try:
        done = _run(list(sys.argv[1:] if arguments is None else arguments))
        sys.stdout.flush()
    except InputError as error:
        return _fail(str(error), REFUSED)
    except NonFiniteError as error:
        return _fail(str(error), FAILED)
    except KeyboardInterrupt:
        return _fail("interrupted", INTERRUPTED)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the interpreter complains at its end
        return FAILED
    return done if isinstance(done, int) else 0


def app() -> "App":
    """Make the command line; commands are imported when they are called."""
    from cyclopts import App

    made = App(
        name="unnoise",
        help="Draw pictures from words with diffusion models.",
        version=unnoise.__version__,
        suppress_keyboard_interrupt=False,
    )
    for name, (place, help) in COMMANDS.items():
        made.command(place, name=name, help=help)
    return made


def _run(arguments: list[str]) -> object:
    from cyclopts import CycloptsError

    try:
        return app()(arguments, exit_on_error=False, print_error=False, result_action="return_value")
    except CycloptsError as error:
        raise InputError(str(error)) from None


def _fail(message: str, code: int) -> int:
    line = " ".join(message.split())
    print(f"unnoise: {''.join(c if c.isprintable() else repr(c)[1:-1] for c in line)}", file=sys.stderr)
    return code
