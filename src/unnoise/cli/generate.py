"""`unnoise generate`: draw samples of prompts."""

from collections.abc import Mapping, Sequence
from textwrap import fill
from typing import Annotated, Any

from cyclopts import App, Parameter

from unnoise.card import Card
from unnoise.cli.model_options import EMBEDDED, ModelOptions, own_card
from unnoise.cli.options import LONG, HelpView, every_argument, flatten, values
from unnoise.cli.run_generation import DEFAULT_OUTPUT, OutputArguments, draw
from unnoise.errors import InputError
from unnoise.formats.open_file import read_text
from unnoise.sampling.registry import GRIDS, SAMPLERS, GridEntry, SamplerEntry

LONGEST = 10_000_000  # bytes of a file of prompts
EXAMPLES = """Examples:
  unnoise generate "a red heart on a blue background" --seed 7 -o heart.png
  unnoise generate "a cat face" -n 8 --guidance-scale 3 --steps 20 -o cats/
  unnoise generate "a cat face" --guidance-scale 1,3,7 --steps 8,20 -o sweep.png
  unnoise generate "a red heart" --lora ink:0.8

A comma sweeps an option: every combination is drawn from one seed, on one sheet."""
MORE_EXAMPLES = """
  unnoise generate "a red heart" --lora ink:0,0.5,1 --seed 7
  unnoise generate "a red heart" --seed 7 --variation 0.3 --variation-seed 1 -n 4
  unnoise generate "a cat face" --blend-prompt "a tiger face"
  unnoise generate "a red fish" --control outline --control-image outline.png
  unnoise generate --prompts prompts.txt --model my.safetensors --json"""


def app(tokens: Sequence[str]) -> App:
    """Make the command. tokens: of the command line; `--help-all` shows every option, `--model` decides defaults."""
    everything = "--help-all" in tokens
    shown = HelpView(model_card(tokens), () if everything else LONG)
    options = every_argument(shown)()
    made = App(
        name="generate",
        help="Draw images, videos or audio from words.",
        help_format="plaintext",
        help_flags=["--help", "-h", "--help-all"],
        help_epilogue=f"{EXAMPLES}{MORE_EXAMPLES}\n\n{names()}"
        if everything
        else f"{EXAMPLES}\n--help-all shows more.",
    )

    def generate(
        prompt: Annotated[
            str | None, Parameter(help="What to draw, or a class; '' is the unconditional model.")
        ] = None,
        /,
        *,
        options: Any = options,
        prompts: Annotated[str | None, Parameter(help="File with one prompt a line, in place of PROMPT.")] = None,
        model: Annotated[ModelOptions, Parameter(name="*")] = EMBEDDED,
        output: Annotated[OutputArguments, Parameter(name="*")] = DEFAULT_OUTPUT,
    ) -> None:
        """Draw samples, and print where they are."""
        draw(_prompts(prompt, prompts, model), values(options), model, output)

    flatten(generate, options=options)
    made.default(generate)
    return made


def model_card(tokens: Sequence[str]) -> Card | None:
    """Read the card of the model that the command line names; None where it has none or cannot be read."""
    model = "emoji"
    for token, following in zip(tokens, [*tokens[1:], ""], strict=True):
        if token in ("--model", "-m"):
            model = following
        elif token.startswith("--model="):
            model = token.partition("=")[2]
    try:
        return own_card(ModelOptions(model))
    except InputError:
        return None


def names() -> str:
    """List the samplers and schedules, one a line."""
    schedules = f"Schedules:\n{_table(GRIDS)}\n  inf,8,1,0.2,0  or every level of sigma, descending"
    return f"Samplers, also by the names of diffusers, A1111 and ComfyUI:\n{_table(SAMPLERS)}\n\n{schedules}"


def _table(table: Mapping[str, SamplerEntry] | Mapping[str, GridEntry]) -> str:
    width = max(map(len, table)) + 4
    lines = (f"  {name}".ljust(width) + entry.means for name, entry in table.items())
    return "\n".join(fill(line, 98, subsequent_indent=" " * width) for line in lines)


def _prompts(prompt: str | None, file: str | None, model: ModelOptions) -> tuple[str, ...]:
    if (prompt is None) == (file is None):
        card = own_card(model) if prompt is None else None
        if card is not None and not card.prompted:
            return ("",)
        if card is not None and card.labels:
            raise InputError(
                f"prompt: give a class of {card.name!r}: {', '.join(card.labels)}; '' is the unconditional model"
            )
        raise InputError('prompt: give one of PROMPT and --prompts FILE, such as unnoise generate "a red heart"')
    return (prompt,) if prompt is not None else read_prompts(str(file))


def read_prompts(file: str) -> tuple[str, ...]:
    """Read one prompt a line, without empty lines. Raises InputError where there is none."""
    try:
        text = read_text(file, 4 * LONGEST)
    except InputError as error:
        raise InputError(f"prompts {error}") from None
    if len(text) > LONGEST:
        raise InputError(f"prompts {file!r}: at most {LONGEST} letters are allowed")
    found = tuple(line.strip() for line in text.splitlines() if line.strip())
    if not found:
        raise InputError(f"prompts {file!r}: contains only empty lines; write one prompt a line")
    return found
