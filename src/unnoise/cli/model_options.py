"""Which model, and how it is loaded: options of every command that runs one."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Final, Literal

from cyclopts import Group, Parameter

from unnoise.card import Card, has_card, read_card
from unnoise.cli.busy import busy
from unnoise.cli.torch_import import import_torch
from unnoise.embedded import find

if TYPE_CHECKING:
    from unnoise.pipeline import Pipeline


MODEL: Final = Group("Model", sort_key=2.5)


@dataclass(frozen=True, slots=True)
class ModelOptions:
    """Which model, and how it is loaded."""

    model: Annotated[
        str,
        Parameter(name=["--model", "-m"], group=MODEL, help="Name, .safetensors or .gguf file, or diffusers folder."),
    ] = "emoji"
    components: Annotated[
        str | None,
        Parameter(group=MODEL, help="Diffusers folder with what a single file lacks, such as text encoders."),
    ] = None
    prediction_type: Annotated[
        Literal["eps", "v", "flow"] | None,
        Parameter(group=MODEL, help="What a foreign network predicts, if unclear."),
    ] = None
    compile: Annotated[
        bool, Parameter(group=MODEL, show_default=False, negative="", help="Compile the repeated block of the network.")
    ] = False
    device: Annotated[str, Parameter(group=MODEL, help="auto is the best there is; cpu, cuda, cuda:1, mps, xpu.")] = (
        "cpu"
    )
    control: Annotated[str | None, Parameter(group=MODEL, help="Name or file of a control, for --control-image.")] = (
        None
    )
    ip_adapter: Annotated[
        str | None,
        Parameter(group=MODEL, help="FILE,FOLDER of its image encoder, for --ip-adapter-image."),
    ] = None


EMBEDDED: Final = ModelOptions()


def own_card(options: ModelOptions) -> Card | None:
    """Read the card of a model of unnoise, None for a foreign one. Raises InputError where there is no such model."""
    path = find(options.model)
    return read_card(path) if has_card(path) else None


def load_model(options: ModelOptions, dtype: str | None = None, vae_dtype: str | None = None) -> "Pipeline":
    """Load the model. dtype, vae_dtype: of the weights of a foreign one. Raises InputError as `load` does."""
    with busy(f"loading {options.model}"):
        import_torch()
        from unnoise.loading import load

        own = own_card(options) is not None
        return load(
            options.model,
            options.device,
            dtype="float32" if dtype is None or own else dtype,
            vae_dtype=None if own else vae_dtype,
            components=options.components,
            prediction_type=options.prediction_type,
            compile=options.compile,
            control=options.control,
            ip_adapter=None if options.ip_adapter is None else options.ip_adapter.split(","),
        )
