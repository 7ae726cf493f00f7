"""Find tokenizers for a single file, which has none: beside it, or in what the user's libraries keep on this machine.

Nothing is fetched: the cache of published models is read where it is there, and a file that a package has brought.
"""

import gzip
import os
from collections.abc import Callable, Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from unnoise.errors import InputError
from unnoise.families.identity import Identity
from unnoise.integrations.diffusers.classes import class_of
from unnoise.integrations.diffusers.folder import tokenizers
from unnoise.integrations.diffusers.table import TOKENIZERS

# Tokenizers of a family: the class of each, and the folders of published models that hold it.
CLIP = ("openai--clip-vit-large-patch14", "stable-diffusion-v1-5--stable-diffusion-v1-5")
T5 = ("google--t5-v1_1-xxl", "mcmonkey--google_t5-v1_1-xxl_encoderonly")
FAMILIES: Mapping[str, Mapping[str, str]] = {
    "sd1": {"tokenizer": "CLIPTokenizer"},
    "sd2": {"tokenizer": "CLIPTokenizer"},
    "sdxl": {"tokenizer": "CLIPTokenizer", "tokenizer_2": "CLIPTokenizer"},
    "sd3": {"tokenizer": "CLIPTokenizer", "tokenizer_2": "CLIPTokenizer", "tokenizer_3": "T5Tokenizer"},
    "flux1": {"tokenizer": "CLIPTokenizer", "tokenizer_2": "T5Tokenizer"},
}


def find_tokenizers(path: Path, identity: Identity) -> Mapping[str, Callable[[], Any]]:
    """Prepare the tokenizers of a file's family; each is looked for when it is first asked for."""
    wanted = FAMILIES.get(identity.family, {})
    beside = tokenizers(path.parent, {name: made for name, made in wanted.items() if (path.parent / name).is_dir()})
    refiner = identity.family == "sdxl" and identity.variant == "refiner"
    names = [name for name in wanted if not (refiner and name == "tokenizer")]
    return {name: beside.get(name) or _kept(path, identity, name, wanted[name]) for name in names}


def _kept(path: Path, identity: Identity, name: str, made: str) -> Callable[[], Any]:
    # OpenCLIP pads with "!", the token 0, where CLIP pads with its end.
    open_clip = name == "tokenizer_2" and identity.family != "flux1"
    pad = "!" if identity.family == "sd2" or open_clip else "<|endoftext|>"

    @cache
    def read() -> Any:
        found = _cached(made) if made != "CLIPTokenizer" else _clip(pad)
        if found is None:
            raise InputError(
                f"{path}: a single file has no tokenizer, and none was found on this machine: give a folder of its"
                f" family, --parts FOLDER or load(..., components=FOLDER), or put its folder {name!r} beside the file"
            )
        return found

    return read


def _clip(pad: str) -> Any:
    """Make CLIP's tokenizer, whose vocabulary every CLIP of these families shares."""
    kept = _cached("CLIPTokenizer")
    if kept is not None:
        kept.pad_token = pad
        return kept
    spec = find_spec("open_clip")
    folders = spec.submodule_search_locations if spec else None
    source = Path(next(iter(folders or [""]))) / "bpe_simple_vocab_16e6.txt.gz"
    if not source.is_file():
        return None
    lines = gzip.decompress(source.read_bytes()).decode().split("\n")[1 : 49152 - 256 - 2 + 1]
    merges = [tuple(line.split()) for line in lines]
    letters = _letters()
    words = [*letters, *(letter + "</w>" for letter in letters), *("".join(pair) for pair in merges)]
    words += ["<|startoftext|>", "<|endoftext|>"]
    vocab = {word: number for number, word in enumerate(words)}
    return class_of("CLIPTokenizer", TOKENIZERS)(vocab=vocab, merges=merges, pad_token=pad, model_max_length=77)


def _letters() -> list[str]:
    """Give the letter that stands for each byte, in the order of CLIP's vocabulary.

    Source: Radford et al. 2019 (GPT-2), section 2.2; openai/CLIP, clip/simple_tokenizer.py, bytes_to_unicode.
    """
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [byte for byte in range(256) if byte not in shown]
    return [chr(byte) for byte in shown] + [chr(256 + k) for k in range(len(hidden))]


def _cached(made: str) -> Any:
    """Read a tokenizer from the cache in which Hugging Face's libraries keep what the user once fetched."""
    home = Path(os.environ.get("HF_HUB_CACHE") or Path(os.environ.get("HF_HOME", "~/.cache/huggingface")) / "hub")
    names = CLIP if made == "CLIPTokenizer" else T5
    for name in names:
        for folder in sorted(home.expanduser().glob(f"models--{name}/snapshots/*")):
            for place in (folder / "tokenizer", folder):
                if (place / "merges.txt").exists() or (place / "tokenizer.json").exists():
                    return class_of(made, TOKENIZERS).from_pretrained(str(place), local_files_only=True)
    return None
