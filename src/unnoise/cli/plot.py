"""`unnoise plot`: draw the curves of runs as a PNG file."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from unnoise.errors import InputError
from unnoise.formats.atomic import check_writable, replacing

NAME = "plot.png"
PIP = "pip install 'unnoise[plots]'"
OUT = "PNG file; plot.png in the folder of the run by default, or in the current one for several runs."


def plot(
    *runs: Annotated[Path, Parameter(help="Folders of runs, or of one task of a run, such as runs/emoji/autoencoder.")],
    out: Annotated[Path | None, Parameter(name=["--out", "-o"], help=OUT)] = None,
) -> None:
    """Draw loss, validation, loss by noise level, learning rate and gradient norm of runs, and print the file.

    A run that still trains is drawn up to its last step. Of a run with an autoencoder, the denoiser is drawn; name the
    folder of the autoencoder to draw that. Several runs are drawn in different colours on the same axes.
    """
    if not runs:
        raise InputError("plot: give the folder of at least one run, such as runs/emoji")
    path = out or (runs[0] / NAME if len(runs) == 1 else Path(NAME))
    if path.suffix.lower() != ".png":
        raise InputError(f"--out {str(path)!r}: the name of a PNG file is needed, NAME.png")
    from unnoise.train.curves import read_curves

    curves = read_curves(runs)
    check_writable(path)
    try:
        from unnoise.train.plot import draw
    except ImportError as error:
        raise InputError(f"plot: needs matplotlib ({error}): {PIP}") from None
    figure = draw(curves)
    with replacing(path) as file:
        figure.savefig(file, format="png", metadata={"Software": None})
    print(path)
