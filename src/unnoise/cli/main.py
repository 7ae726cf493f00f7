"""The command `unnoise`: one table of commands, each imported when it is called, and one place where errors end."""

import os
import sys
import warnings
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING, Any

import unnoise
from unnoise.errors import CollapseError, InputError, NonFiniteError, OutputError, one_line, shortened
from unnoise.train.stop import PeerFailed, TrainingStopped

if TYPE_CHECKING:
    from cyclopts import App

COMMANDS = {
    "generate": ("unnoise.cli.generate:app", "Draw images, videos or audio from words; sweep options."),
    "edit": ("unnoise.cli.edit:app", "Change an image: img2img, inpaint, outpaint, inversion."),
    "replay": ("unnoise.cli.replay:replay", "Draw a sample again from the metadata in its file."),
    "plan": ("unnoise.cli.plan:plan", "Estimate memory and time of a request before any weight is read."),
    "models": ("unnoise.cli.models:models", "List models, adapters and controls, or show the card of one."),
    "train": ("unnoise.cli.train:app", "Train a model of a recipe, or of a folder of images."),
    "plot": ("unnoise.cli.plot:plot", "Draw the losses of trainings."),
    "distill": ("unnoise.cli.distill:app", "Train a student of a model that needs one to four calls."),
    "control": ("unnoise.cli.control:app", "Train a ControlNet, and draw outlines for it."),
    "lora": ("unnoise.cli.lora:app", "Train, merge, extract, resize and convert LoRA adapters."),
    "tune": ("unnoise.cli.tune:app", "Fit few-step sampling to a model."),
    "check": ("unnoise.cli.check:app", "Find what is silently wrong in the files of any diffusion tool."),
    "rule": ("unnoise.cli.rule:rule", "Explain a rule of `check`, or list them."),
    "inspect": ("unnoise.cli.inspect:inspect", "Identify a file of weights, and show the evidence."),
    "export": ("unnoise.cli.export:export", "Write a model as a folder that diffusers opens."),
    "convert": ("unnoise.cli.convert:convert", "Convert a pickle of weights to safetensors."),
    "evaluate": ("unnoise.cli.evaluate:app", "Measure a model: the figures of its card."),
}
OPTION_COMMANDS = ("generate", "edit")  # whose module makes the command from what is on the command line
REFUSED, FAILED, INTERRUPTED = 2, 1, 130  # exit codes: wrong input, a failure while running, Ctrl-C
BY_SIGNAL = 128  # plus the number of a signal, as shells have it


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code; an error is one line on stderr."""
    warnings.showwarning = _show_warning
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    if sys.stdout is None:
        return _fail("stdout is closed, and results are printed there; open it, or send it to /dev/null", FAILED)
    try:
        done = _run(list(sys.argv[1:] if arguments is None else arguments))
        sys.stdout.flush()
    except InputError as error:
        return _fail(str(error), REFUSED)
    except (CollapseError, NonFiniteError, OutputError) as error:
        return _fail(str(error), FAILED)
    except PeerFailed as error:
        return _fail(str(error), FAILED) if str(error) else FAILED
    except TrainingStopped as stop:
        _say(one_line(str(stop)))  # whole: it holds a command
        return BY_SIGNAL + stop.number
    except KeyboardInterrupt:
        return _fail("interrupted", INTERRUPTED)
    except OSError as error:
        if error.filename is not None:
            return _fail(f"cannot open {error.filename!r}: {error.strerror}", FAILED)
        return _fail_stdout(error.strerror or str(error))
    except SystemExit as stop:
        if stop.code != FAILED:
            raise
        return _fail_stdout("Broken pipe")  # which rich turns into this exit
    return done if isinstance(done, int) else 0


def _fail_stdout(reason: str) -> int:
    """Fail because stdout cannot be written; what it holds is dropped, or the interpreter would complain at its end."""
    with suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return _fail(f"cannot write stdout: {reason}", FAILED)


def app(tokens: Sequence[str] = ()) -> "App":
    """Make the command line; a command is imported when it is called. tokens: the arguments."""
    from cyclopts import App

    made = App(
        name="unnoise",
        help="A diffusion toolkit: draw, edit, train, check. `unnoise COMMAND --help` explains a command.",
        version=unnoise.__version__,
        suppress_keyboard_interrupt=False,
    )
    for order, (name, (place, help)) in enumerate(COMMANDS.items()):
        if name in OPTION_COMMANDS and list(tokens[:1]) == [name]:
            module, _, function = place.partition(":")
            make: Any = getattr(import_module(module), function)
            made.command(make(tokens), name=name)
        else:
            made.command(place, name=name, help=help, sort_key=order)
    made.register_install_completion_command(name="--install-completion")
    return made


def _run(arguments: list[str]) -> object:
    from cyclopts import CycloptsError

    from unnoise.cli.options import refuse_other_names

    refuse_other_names(arguments, COMMANDS)
    try:
        return app(arguments)(arguments, exit_on_error=False, print_error=False, result_action="return_value")
    except CycloptsError as error:
        raise InputError(str(error)) from None


def _show_warning(message: Warning | str, category: type[Warning], *where: object, **more: object) -> None:
    """Print a warning as one line."""
    _say(shortened(str(message)))


def _fail(message: str, code: int) -> int:
    _say(shortened(message))
    return code


def _say(line: str) -> None:
    """Print a line on stderr, where that works."""
    with suppress(OSError):
        print(f"unnoise: {line}", file=sys.stderr, flush=True)
