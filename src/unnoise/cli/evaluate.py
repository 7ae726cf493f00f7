"""`unnoise evaluate`: measure a model against the pictures of a data set."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from unnoise.cli.progress import Bar

if TYPE_CHECKING:
    from PIL.Image import Image

    from unnoise.data.source import Source
    from unnoise.pipeline import Pipeline


def evaluate(
    model: str = "emoji",
    *,
    data: str = "emoji",
    n: Annotated[int, Parameter(name=["-n", "--n"])] = 128,
    seed: int = 0,
    out: Path = Path("out/evaluate"),
    device: str = "cpu",
) -> None:
    """Measure how well a model draws what it is told.

    Prints the share of pictures whose nearest picture of the data set is the one that was named, the share of
    backgrounds that came out right for pairs kept out of training, the nearest-neighbour ratios and the autoencoder's
    PSNR, as one JSON object; and writes sheets to look at: generated, named and nearest in rows of three.

        unnoise evaluate emoji
        unnoise evaluate runs/emoji/emoji.safetensors -n 512

    Parameters
    ----------
    model
        A model's name or file.
    data
        The data set: emoji, a folder, or .tar files.
    n
        Pictures for each figure.
    seed
        Of the choice of prompts and of the pictures.
    out
        Folder for the sheets.
    device
        cpu, cuda, or another device of torch.
    """
    from unnoise.data.source import open_source
    from unnoise.files.model_file import load
    from unnoise.files.request import check_whole

    check_whole("n", n, 1, 4096)
    pipeline = load(model, device)
    source = open_source(data, pipeline.card.advice.sizes[0][0] if pipeline.card.advice.sizes else 64)
    found = {"n": n, "seed": seed} | _figures(pipeline, source, n, seed, out)
    print(json.dumps({key: round(value, 4) if isinstance(value, float) else value for key, value in found.items()}))


def _figures(pipeline: "Pipeline", source: "Source", n: int, seed: int, out: Path) -> dict[str, float | None]:
    """Take every figure that the data set allows, and write its sheet."""
    from unnoise.train import evaluate as figures

    found: dict[str, float | None] = {}
    ways: tuple[Literal["picture", "concept"], ...] = ("picture", "concept")
    for by in ways:
        picked = figures.chosen_pictures(source, n, seed, by)
        with Bar(f"names by {by}") as bar:
            named = figures.names(pipeline, source, picked, seed, bar)
        found |= {f"named_by_{by}": named.share, f"ratio_by_{by}": named.ratio}
        _write(named.sheet, out / f"names-by-{by}.png")
    if source.name == "emoji":
        with Bar("backgrounds") as bar:
            pairs = figures.backgrounds(pipeline, source, n, seed, bar)
        found |= {"background": pairs.share, "background_ratio": pairs.ratio}
        _write(pairs.sheet, out / "backgrounds.png")
    return found | {"psnr": figures.reconstruction(pipeline, source)}


def _write(sheet: "Image", path: Path) -> None:
    from unnoise.files.atomic import replacing

    with replacing(path) as file:
        sheet.save(file, "PNG")
