"""`unnoise replay`: draw a sample again from the metadata in its file."""

import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from unnoise.cli.busy import busy
from unnoise.cli.model_options import ModelOptions, load_model, own_card
from unnoise.cli.output import places
from unnoise.embedded import ZOO
from unnoise.errors import InputError

if TYPE_CHECKING:
    from unnoise.generation.metadata import Metadata


@dataclass(frozen=True, slots=True)
class Inputs:
    """What the metadata names and cannot contain."""

    image: Annotated[str | None, Parameter(help="Image that was changed.")] = None
    mask: Annotated[str | None, Parameter(help="Mask that went with it.")] = None
    invert_mask: Annotated[bool, Parameter(negative="", help="The mask was inverted.")] = False
    control_image: Annotated[str | None, Parameter(help="Image of the control.")] = None
    ip_adapter_image: Annotated[str | None, Parameter(help="Image of the IP-Adapter.")] = None
    lora: Annotated[tuple[str, ...], Parameter(negative="", help="LoRA that was applied; may be repeated.")] = ()
    partial: Annotated[bool, Parameter(negative="", help="Only some layers of the LoRA fitted.")] = False


@dataclass(frozen=True, slots=True)
class Loaded:
    """How the model was loaded."""

    components: Annotated[str | None, Parameter(help="Folder with what a single file lacks.")] = None
    prediction_type: Annotated[Literal["eps", "v", "flow"] | None, Parameter(help="As it was drawn.")] = None
    control: Annotated[str | None, Parameter(help="Control that was loaded.")] = None
    ip_adapter: Annotated[str | None, Parameter(help="IP-Adapter that was loaded: FILE,FOLDER.")] = None


NO_INPUTS, PLAIN = Inputs(), Loaded()


def replay(
    file: Annotated[str, Parameter(help="File that `unnoise generate` or `unnoise edit` wrote.")],
    /,
    *,
    out: Annotated[str | None, Parameter(name=["--out", "-o"], help="File or folder.")] = None,
    model: Annotated[
        str | None, Parameter(name=["--model", "-m"], help="File or folder of a model that has no name.")
    ] = None,
    inputs: Annotated[Inputs, Parameter(name="*")] = NO_INPUTS,
    loaded: Annotated[Loaded, Parameter(name="*")] = PLAIN,
    device: Annotated[str | None, Parameter(help="Another device than the metadata's; bits may differ.")] = None,
) -> None:
    """Draw a sample again: on the same machine and versions, equal to the byte."""
    from unnoise.generation.media.files import read_metadata

    metadata = read_metadata(file)
    if metadata.model not in ZOO and model is None:
        raise InputError(f"{file}: drawn by {metadata.model!r}, which is not embedded; name its file with --model")
    compiled = metadata.environment.get("compiled") == "yes"
    options = ModelOptions(
        model or metadata.model, device=device or metadata.device, compile=compiled, **asdict(loaded)
    )
    _check_weights(metadata, options)
    path = places(out, [(metadata.prompt, metadata.seed, "")], _endings(metadata, file))[0][0]
    pipeline = load_model(options, metadata.dtype, metadata.vae_dtype)
    with busy("drawing again"):
        images = {
            name: value
            for name in ("image", "mask", "invert_mask", "control_image", "ip_adapter_image")
            if (value := getattr(inputs, name))
        }
        sample = pipeline.replay(metadata, lora=inputs.lora, partial=inputs.partial, **images)
    if path.exists():
        print(f"unnoise: overwrites {path}", file=sys.stderr)
    sample.save(path)
    print(path)


def _endings(metadata: "Metadata", file: str) -> tuple[str, ...]:
    """Return the endings that the file may have, that of the original first."""
    from unnoise.generation.media.files import suffixes

    allowed = suffixes("audio" if metadata.seconds is not None else "image" if metadata.frames is None else "video")
    own = Path(file).suffix.lower()
    return (own, *(suffix for suffix in allowed if suffix != own))


def _check_weights(metadata: "Metadata", options: ModelOptions) -> None:
    """Raise InputError for other weights before they are read, where a card names them."""
    card = own_card(options)
    if card is not None and card.fingerprint != metadata.fingerprint:
        raise InputError(
            f"model {options.model!r}: has the weights {card.fingerprint[:12] or 'none'}, and the sample has "
            f"{metadata.fingerprint[:12]}"
        )
