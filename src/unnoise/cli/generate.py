"""`unnoise generate`: from words to PNG files."""

from collections.abc import Mapping
from textwrap import fill
from typing import Annotated

from cyclopts import App, Parameter

from unnoise.cli.model_options import ModelOptions
from unnoise.cli.options import How, Image, Start, Ways, request_of
from unnoise.cli.run_generation import Output, draw
from unnoise.errors import InputError
from unnoise.sampling.registry import GRIDS, SAMPLERS, GridEntry, SamplerEntry

LONGEST = 10_000_000  # bytes of a file of prompts


def _table(table: Mapping[str, SamplerEntry] | Mapping[str, GridEntry]) -> str:
    width = max(map(len, table)) + 4
    lines = (f"  {name}".ljust(width) + entry.means for name, entry in table.items())
    return "\n".join(fill(line, 80, subsequent_indent=" " * width) for line in lines)


EPILOGUE = f"""Examples:
  unnoise generate "a red heart"
  unnoise generate "a red heart on a blue background" --seed 7 -o heart.png
  unnoise generate "a cat face" -n 8 --guidance 3 --steps 20 -o cats/
  unnoise generate "a red heart" --lora ink:0.8
  unnoise generate "a red heart" --seed 7 --variation 0.3 --variation-seed 1 -n 4
  unnoise generate "a cat face" --toward "a tiger face" --toward-share 0.5
  unnoise generate "a red fish" --control outline --hint outline.png
  unnoise generate --prompts prompts.txt --model my.safetensors --json

Samplers:
{_table(SAMPLERS)}

Grids:
{_table(GRIDS)}
  inf,8,1,0.2,0  or every level of sigma yourself, descending"""

app = App(help="Draw pictures from words.", help_format="plaintext", help_epilogue=EPILOGUE)


DEFAULT, EMOJI, NOTHING, STRAIGHT, HERE = How(), ModelOptions(), Start(), Ways(), Output()


@app.default
def generate(
    prompt: Annotated[str | None, Parameter(help="What to draw; '' is the unconditional model.")] = None,
    /,
    *,
    how: Annotated[How, Parameter(name="*")] = DEFAULT,
    ways: Annotated[Ways, Parameter(name="*")] = STRAIGHT,
    source: Annotated[ModelOptions, Parameter(name="*")] = EMOJI,
    image: Image = None,
    start: Annotated[Start, Parameter(name="*")] = NOTHING,
    prompts: Annotated[str | None, Parameter(help="File with a prompt a line, in place of PROMPT.")] = None,
    output: Annotated[Output, Parameter(name="*")] = HERE,
) -> None:
    """Draw pictures and say where they are."""
    request = request_of(_prompts(prompt, prompts), how, ways=ways)
    draw(request, source, lambda model: start.opened(model, image), output)


def _prompts(prompt: str | None, file: str | None) -> tuple[str, ...]:
    if (prompt is None) == (file is None):
        raise InputError('one of PROMPT and --prompts FILE is needed: unnoise generate "a red heart"')
    return (prompt,) if prompt is not None else read_prompts(str(file))


def read_prompts(file: str) -> tuple[str, ...]:
    """Read a prompt a line, without empty lines. Raises InputError where there is none."""
    try:
        with open(file, encoding="utf-8-sig") as source:
            text = source.read(LONGEST + 1)
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"prompts {file!r}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if len(text) > LONGEST:
        raise InputError(f"prompts {file!r}: more than {LONGEST} letters")
    found = tuple(line.strip() for line in text.splitlines() if line.strip())
    if not found:
        raise InputError(f"prompts {file!r}: holds no prompt, only empty lines")
    return found
