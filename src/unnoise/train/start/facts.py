"""What a source of images holds, as far as its recipe depends on it."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from unnoise.data.dataset import ImageDataset
from unnoise.data.open import open_source
from unnoise.data.view import OPAQUE
from unnoise.text import tokenizer as bpe

SAMPLE = 200  # images and captions that are looked at
SIDE = 64  # pixels at which they are
VOCABULARY = 2048  # tokens, at most
LONGEST = 64  # tokens of a prompt; longer captions are cut


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
        prompts: captions of a few images, evenly spread.
        tokens: of the longest caption.
        labels: images of each sub-folder, where all of them are in one and none has a caption.
        transparent: share of the images with transparent pixels.
        grey: whether no image has colours.
    """

    source: str
    images: int
    skipped: int
    side: int
    sides: tuple[int, int]
    captions: int
    prompts: tuple[str, ...]
    tokens: int
    labels: dict[str, int]
    transparent: float
    grey: bool


def look(source: str, strict: bool = False) -> SourceFacts:
    """Open a source and look at it. Raises InputError as `open_source` does."""
    dataset = open_source(source, SIDE, strict)
    spread = range(0, len(dataset), -(-len(dataset) // SAMPLE))
    pixels = [dataset.read(i) for i in spread]
    shorter = sorted(min(size) for size in dataset.sizes or [(SIDE, SIDE)])
    texts = {names[0] for names in dataset.captions} - {""}
    shown = tuple(dataset.captions[i][0] for i in spread)
    return SourceFacts(
        source=source,
        images=len(dataset),
        skipped=dataset.skipped,
        side=int(median(shorter)),
        sides=(shorter[0], shorter[-1]),
        captions=len(texts),
        prompts=shown if texts else (),
        tokens=_longest(shown) if texts else 0,
        labels={} if texts else folders(dataset),
        transparent=sum(bool(one[..., 3].min() < OPAQUE) for one in pixels) / len(pixels),
        grey=all(bool((one[..., :1] == one[..., 1:3]).all()) for one in pixels),
    )


def folders(dataset: ImageDataset) -> dict[str, int]:
    """Count the images of each first folder; nothing where some are in none, or all are in one."""
    firsts = [name.partition("/") for name in dataset.concepts]
    counts = Counter(folder for folder, slash, _ in firsts if slash)
    return dict(sorted(counts.items())) if len(counts) > 1 and counts.total() == len(dataset) else {}


def _longest(captions: Sequence[str]) -> int:
    tokenizer = bpe.train(captions, VOCABULARY)
    return max(len(tokenizer.encode(text)) for text in captions)
