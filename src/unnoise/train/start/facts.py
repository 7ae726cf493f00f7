"""What a source of images holds, as far as its recipe depends on it."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from unnoise.data.columns import FOLDERS
from unnoise.data.decode import OPAQUE
from unnoise.data.open import source_columns
from unnoise.errors import InputWarning
from unnoise.text import tokenizer as bpe
from unnoise.train.recipe import DataOptions

SAMPLE = 200  # images and captions that are looked at
SIDE = 64  # pixels at which they are
VOCABULARY = 2048  # tokens, at most
LABELS = ("label", "class", FOLDERS)  # columns that are classes where every image has one, and none has a caption


@dataclass(frozen=True, slots=True)
class SourceFacts:
    """What a source holds.

    Args:
        source: its name or path, as a recipe writes it.
        images: how many can be read.
        skipped: how many are left out.
        side: median of the shorter sides in pixels.
        sides: the smallest and the largest shorter side.
        captions: how many different captions there are; 0 for a source without captions.
        tokens: of the longest caption.
        labels: the column of the classes; empty without them.
        classes: how many there are.
        transparent: share of the images with transparent pixels.
        grey: whether no image has colours.
    """

    source: str
    images: int
    skipped: int
    side: int
    sides: tuple[int, int]
    captions: int
    tokens: int
    labels: str
    classes: int
    transparent: float
    grey: bool


def source_facts(source: str, strict: bool = False) -> SourceFacts:
    """Open a source and look at it; what it warns of is said when it is trained on. Raises InputError."""
    with warnings.catch_warnings(action="ignore", category=InputWarning):
        dataset = DataOptions(source, SIDE, strict=strict).open()
        labels = "" if dataset.captioned else labels_of(source, len(dataset))
        classes = len(DataOptions(source, SIDE, strict=strict, labels=labels).open().classes) if labels else 0
    spread = range(0, len(dataset), -(-len(dataset) // SAMPLE))
    pixels = [dataset.read(i) for i in spread]
    shorter = sorted(min(size) for size in dataset.sizes or [(SIDE, SIDE)])
    texts = {names[0] for names in dataset.captions} - {""}
    return SourceFacts(
        source=source,
        images=len(dataset),
        skipped=dataset.skipped,
        side=int(median(shorter)),
        sides=(shorter[0], shorter[-1]),
        captions=len(texts),
        tokens=_longest([dataset.captions[i][0] for i in spread]) if texts else 0,
        labels=labels if classes > 1 else "",
        classes=classes if classes > 1 else 0,
        transparent=sum(bool(one[..., 3].min() < OPAQUE) for one in pixels) / len(pixels),
        grey=all(bool((one[..., :1] == one[..., 1:3]).all()) for one in pixels),
    )


def labels_of(source: str, images: int) -> str:
    """Return the first column of LABELS that every image has; empty where there is none."""
    columns = source_columns(source)
    return next((name for name in LABELS if columns[name] >= images), "")


def _longest(captions: Sequence[str]) -> int:
    tokenizer = bpe.train(captions, VOCABULARY)
    return max(len(tokenizer.encode(text)) for text in captions)
