"""`unnoise edit`: change an image as a whole, where a mask paints, around it, or from its own noise."""

from collections.abc import Sequence
from typing import Annotated, Any

from cyclopts import App, Parameter

from unnoise.cli.generate import model_card, names
from unnoise.cli.model_options import EMBEDDED, ModelOptions
from unnoise.cli.options import HelpView, every_argument, flatten, values
from unnoise.cli.run_generation import DEFAULT_OUTPUT, OutputArguments, draw
from unnoise.generation.limits import STRENGTH

EXAMPLES = """Examples:
  unnoise edit cat.png "a tiger face"                    img2img: change all of it
  unnoise edit cat.png "a tiger face" --strength 0.4     change it less
  unnoise edit cat.png "a red hat" --mask hat.png        inpaint: white is painted
  unnoise edit cat.png "a cat" --outpaint 0,0,32,0       outpaint: add 32 pixels on the right
  unnoise edit cat.png "a dog face" --source-prompt "a cat face"   keep the pose
  unnoise edit photo.png "a fox" --size 64 --lora ink

Kept pixels come back bit for bit. docs/editing.md shows each way."""
DEFAULTS = {"size": "the image's", "strength": f"{STRENGTH:g}, masked 1"}
HIDDEN = ("advanced", "control", "guidance")


def app(tokens: Sequence[str]) -> App:
    """Make the command. tokens: of the command line; `--help-all` shows every option."""
    everything = "--help-all" in tokens
    shown = HelpView(model_card(tokens), () if everything else HIDDEN, DEFAULTS)
    options = every_argument(shown, leave_out=("image",))()
    made = App(
        name="edit",
        help="Change an image.",
        help_format="plaintext",
        help_flags=["--help", "-h", "--help-all"],
        help_epilogue=f"{EXAMPLES}\n\n{names()}" if everything else f"{EXAMPLES}\n--help-all shows more.",
    )

    def edit_image(
        image: Annotated[str, Parameter(help="Image to change.")],
        prompt: Annotated[str, Parameter(help="What it shows afterwards.")] = "",
        /,
        *,
        options: Any = options,
        model: Annotated[ModelOptions, Parameter(name="*")] = EMBEDDED,
        output: Annotated[OutputArguments, Parameter(name="*")] = DEFAULT_OUTPUT,
    ) -> None:
        """Change an image, and print where the new one is."""
        draw((prompt,), {"image": image, **values(options)}, model, output)

    flatten(edit_image, options=options)
    made.default(edit_image)
    return made
