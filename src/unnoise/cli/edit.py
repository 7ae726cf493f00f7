"""`unnoise edit`: a picture is changed: as a whole, where a mask paints, at its borders, or from its own noise."""

from typing import Annotated

from cyclopts import App, Parameter

from unnoise.cli.model_options import ModelOptions
from unnoise.cli.options import How, Kept, Start, Ways, request_of
from unnoise.cli.run_generation import Output, draw
from unnoise.errors import InputError

EPILOGUE = """Examples:
  unnoise edit cat.png "a tiger face"                             change all of it
  unnoise edit cat.png "a tiger face" --strength 0.4              change it less
  unnoise edit cat.png "a red hat" --mask hat.png                 black is painted
  unnoise edit cat.png "a red hat" --mask hat.png --keep-outside  white is painted
  unnoise edit cat.png "a cat" --expand 0,0,32,0                  more on the right
  unnoise edit cat.png "a dog face" --from "a cat face"           keep its pose
  unnoise edit photo.png "a fox" --size 64 --lora ink

What is kept comes back bit for bit. A mask is grey: white keeps, black paints,
or the other way round with --keep-outside; a grey is a mixture, or with
--soft levels the strength of its place. docs/editing.md shows each."""

app = App(name="edit", help="Change a picture.", help_format="plaintext", help_epilogue=EPILOGUE)
DEFAULT, EMOJI, NOTHING, STRAIGHT, PLAIN, HERE = How(), ModelOptions(), Start(), Ways(), Kept(), Output()


@app.default
def edit(
    image: Annotated[str, Parameter(help="Picture that is changed.")],
    prompt: Annotated[str, Parameter(help="What it is to show.")] = "",
    /,
    *,
    kept: Annotated[Kept, Parameter(name="*")] = PLAIN,
    how: Annotated[How, Parameter(name="*")] = DEFAULT,
    ways: Annotated[Ways, Parameter(name="*")] = STRAIGHT,
    source: Annotated[ModelOptions, Parameter(name="*")] = EMOJI,
    start: Annotated[Start, Parameter(name="*")] = NOTHING,
    output: Annotated[Output, Parameter(name="*")] = HERE,
) -> None:
    """Change a picture, and say where the new one is."""
    if kept.keep_outside and start.mask is None:
        raise InputError("keep-outside: says how a mask is read, and none is given")
    request = request_of((prompt,), how, ways, kept)
    draw(request, source, lambda model: start.opened(model, image, request.size, kept.keep_outside), output)
