"""Reduce the file name of a model to the name that its author gave it.

realisticVisionV51_v51VAE.safetensors  ->  realisticvision
Realistic_Vision_V5.1_fp16-no-ema      ->  realisticvision
"""

import re
from collections.abc import Iterator
from functools import lru_cache

LONGEST = 300  # characters of a name that are read
ENDINGS = (".safetensors", ".ckpt", ".gguf", ".pth", ".pt", ".bin", ".sft")
SIGNS = re.compile(r"[^a-z0-9]+")
# Where a word begins without a sign before it: vision|V51, SDXL|Turbo.
CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
VERSION = re.compile(r"(v|ver|version|b|beta)?\d+[a-z]?$")
NUMBER = re.compile(r"(?<=[a-z])v?\d+([a-z]\d*[a-z]?)?$")  # a version at the end of a word
QUANTIZED = re.compile(r"(fp|f|bf|int|nf|i?q|u?int)\d+\w*$")
WORDS = (  # on precision, form and part of a file
    "pruned ema emaonly noema no nonema only vae novae withvae bakedvae baked bakedin fix fp16fix full half mini model"
    " checkpoint safetensors ckpt gguf scaled fast e4m3fn e5m2 mixed k m s l xs sdnq dynamic svd inpainting inpaint"
    " diffusers release final official hd"
)
NOISE = frozenset(WORDS.split())
SHORTEST = 4  # letters of a name
SIDE = re.compile(r"(?<![a-z0-9])(\d{3,4})(?:px|x\1)?(?![a-z0-9]|-[bkm](?![a-z0-9]))")  # not 1600M, of parameters
SIDES = range(256, 2049)  # of a picture
UNIT = 64  # pixels that a side of training is a multiple of
COUNTS = ("step", "steps", "epoch", "ep", "e", "s", "v", "version", "rank", "dim", "seed")  # words before other numbers


def last_part(name: str) -> str:
    """Return the last part of a path or of a repository's name, without the ending of a file."""
    last = name[-LONGEST:].replace("\\", "/").rstrip("/").rpartition("/")[2]
    for ending in ENDINGS:
        last = last[: -len(ending)] if last.lower().endswith(ending) else last
    return last


def folders(name: str) -> tuple[str, ...]:
    """Return the folders of a path in lower case, from the last."""
    return tuple(name[-LONGEST:].replace("\\", "/").lower().split("/")[-2::-1])


def hyphenated(name: str) -> str:
    """Return a name in lower case with "-" for each run of other characters, and between words in camel case."""
    return SIGNS.sub("-", CAMEL.sub("-", name).lower()).strip("-")


@lru_cache(256)
def stated_side(name: str) -> int | None:
    """Return the side in pixels of the square pictures that a model says by its name it was trained on.

    Args:
        name: of a file or a repository, such as "mix-1024-sd-v1-4"

    Returns:
        None where the name has no such number, or several
    """
    words = hyphenated(last_part(name))
    found = set()
    for match in SIDE.finditer(words):
        before = words[: match.start()].rstrip("-").rpartition("-")[2]
        if int(match[1]) in SIDES and int(match[1]) % UNIT == 0 and before not in COUNTS:
            found.add(int(match[1]))
    return found.pop() if len(found) == 1 else None


def given_names(name: str) -> Iterator[str]:
    """List what a file may be called by its author, the longest first, each in lower case without separators.

    Args:
        name: of a file without its folder and ending, as its author wrote it

    Returns:
        names of at least SHORTEST letters: without words for a version, precision or autoencoder, and with what stands
        before the only "_", as Civitai joins the names of a model and of its version
    """
    whole = [word for word in SIGNS.split(name.lower()) if word]
    head, line, rest = name.partition("_")
    parts = [whole, *([[word for word in SIGNS.split(head.lower()) if word]] if line and "_" not in rest else [])]
    listed = ("".join(kept) for words in parts for kept in (words, [word for word in words if not _is_noise(word)]))
    both = (form for given in listed for form in (given, NUMBER.sub("", given)))
    yield from dict.fromkeys(form for form in both if len(form) >= SHORTEST)


def _is_noise(word: str) -> bool:
    return word in NOISE or VERSION.match(word) is not None or QUANTIZED.match(word) is not None
