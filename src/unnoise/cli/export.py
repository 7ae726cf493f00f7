"""`unnoise export`: a foreign model as a diffusers folder."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from unnoise.cli.busy import busy
from unnoise.cli.model_options import ModelOptions, own_card
from unnoise.cli.torch_import import import_torch
from unnoise.embedded import find


def export(
    model: Annotated[str, Parameter(help="Single file or folder of a foreign model.")],
    out: Annotated[Path, Parameter(help="Folder to write.")],
    /,
    *,
    components: Annotated[str | None, Parameter(help="Folder with the components that a single file lacks.")] = None,
    prediction_type: Annotated[
        Literal["eps", "v", "flow"] | None, Parameter(help="Prediction type, if the files do not state it.")
    ] = None,
) -> None:
    """Write a foreign model as a diffusers folder, with weights in their stored dtypes.

    A model of this program is refused: diffusers has no classes for its networks.
    """
    card = own_card(ModelOptions(model))
    with busy(f"writing {out}"):
        import_torch()
        from unnoise.integrations.diffusers.export import export as exported, refuse

        if card is not None:
            refuse(card)
        exported(find(model), out, None if components is None else Path(components), prediction_type)
    print(out)
