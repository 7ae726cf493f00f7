"""`unnoise export`: a model as a folder in the layout of diffusers."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from unnoise.cli.busy import busy
from unnoise.cli.model_options import ModelOptions, own_card
from unnoise.cli.torch_import import import_torch
from unnoise.embedded import find


def export(
    model: Annotated[str, Parameter(help="Single file or folder of another maker's model.")],
    out: Annotated[Path, Parameter(help="Folder to write.")],
    /,
    *,
    parts: Annotated[str | None, Parameter(help="Folder that has what a single file lacks.")] = None,
    predicts: Annotated[Literal["eps", "v"] | None, Parameter(help="What it answers with, if nothing says it.")] = None,
) -> None:
    """Write a model as a folder that diffusers opens, its weights as they are stored.

    A model that was made here is refused, with the parts that diffusers has no class for.
    """
    card = own_card(ModelOptions(model))
    with busy(f"writing {out}"):
        import_torch()
        from unnoise.integrations.diffusers.export import export as exported, refuse

        if card is not None:
            refuse(card)
        exported(find(model), out, None if parts is None else Path(parts), predicts)
    print(out)
