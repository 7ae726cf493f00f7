"""Which model: the options that name one and say how it is loaded, for every command that runs a model."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from unnoise.card import KEY, Card, read_card
from unnoise.cli.progress import saying
from unnoise.cli.torch_import import import_torch
from unnoise.embedded import find
from unnoise.formats.header import read_header

if TYPE_CHECKING:
    from unnoise.pipeline import Pipeline


@dataclass(frozen=True, slots=True)
class ModelOptions:
    """Which model, and how it is loaded."""

    model: Annotated[
        str, Parameter(name=["--model", "-m"], help="Name, .safetensors file, or folder in the layout of diffusers.")
    ] = "emoji"
    parts: Annotated[
        str | None, Parameter(help="Folder of diffusers that has what a single file lacks, such as text networks.")
    ] = None
    predicts: Annotated[
        Literal["eps", "v"] | None, Parameter(help="What a model of another maker answers with, if nothing says it.")
    ] = None
    compiled: Annotated[
        bool, Parameter(name="--compile", negative="", help="Compile the block that the network repeats.")
    ] = False
    device: Annotated[str, Parameter(help="cpu, cuda, cuda:1, mps, ...")] = "cpu"
    control: Annotated[str | None, Parameter(help="Name or file of a control, which follows --hint.")] = None
    look_model: Annotated[
        str | None, Parameter(help="IP-Adapter as FILE,FOLDER of its image encoder, which resembles --look.")
    ] = None


def own_card(source: ModelOptions) -> Card | None:
    """Read the card of a model that was made here, None for another maker's. Raises InputError where there is no model."""
    path = find(source.model)
    return None if path.is_dir() or KEY not in read_header(path).metadata else read_card(path)


def load_source(source: ModelOptions, dtype: str | None = None) -> "Pipeline":
    """Load the model, saying so. dtype: of the weights, for a model of another maker. Raises InputError as `load` does."""
    with saying(f"loading {source.model}"):
        import_torch()
        from unnoise.loading import load

        narrow = "float32" if dtype is None or own_card(source) is not None else dtype
        how: dict[str, object] = {
            "components": source.parts,
            "prediction_type": source.predicts,
            "compile": source.compiled,
        }
        how |= {
            "control": source.control,
            "ip_adapter": None if source.look_model is None else source.look_model.split(","),
        }
        return load(source.model, source.device, dtype=narrow, **how)  # type: ignore[arg-type]
