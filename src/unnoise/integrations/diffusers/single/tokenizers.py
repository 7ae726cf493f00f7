"""Find tokenizers for a single file: next to it, or in caches and packages on this machine. Nothing is downloaded."""

import gzip
import os
from collections.abc import Callable, Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from unnoise.errors import InputError
from unnoise.families.identity import Identity
from unnoise.integrations.diffusers.folder import tokenizers
from unnoise.integrations.diffusers.table import TOKENIZERS, class_of
from unnoise.integrations.diffusers.tokenizer_files import load_tokenizer

# Folders of published models that have a tokenizer, and the classes of the tokenizers of each family.
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
    """Return a function for each tokenizer of a file's family that finds and loads it."""
    classes = FAMILIES.get(identity.family, {})
    local = {name: class_ for name, class_ in classes.items() if (path.parent / name).is_dir()}
    loaders = tokenizers(path.parent, local)
    refiner = identity.family == "sdxl" and identity.variant == "refiner"
    names = [name for name in classes if not (refiner and name == "tokenizer")]
    return {name: loaders.get(name) or _installed(path, identity, name, classes[name]) for name in names}


def _installed(path: Path, identity: Identity, name: str, class_: str) -> Callable[[], Any]:
    # OpenCLIP pads with "!", the token 0; CLIP pads with its end token.
    open_clip = name == "tokenizer_2" and identity.family != "flux1"
    pad = "!" if identity.family == "sd2" or open_clip else "<|endoftext|>"

    @cache
    def load() -> Any:
        found = _cached(class_) if class_ != "CLIPTokenizer" else _clip(pad)
        if found is None:
            raise InputError(
                f"{path}: a single file has no tokenizer, and none was found on this machine; name a folder of its "
                f"family, --components FOLDER (components=FOLDER), or put its folder {name!r} next to the file"
            )
        return found

    return load


def _clip(pad: str) -> Any:
    """Build CLIP's tokenizer, whose vocabulary all CLIPs of these families share."""
    cached = _cached("CLIPTokenizer")
    if cached is not None:
        cached.pad_token = pad
        return cached
    spec = find_spec("open_clip")
    folders = spec.submodule_search_locations if spec else None
    source = Path(next(iter(folders or [""]))) / "bpe_simple_vocab_16e6.txt.gz"
    if not source.is_file():
        return None
    lines = gzip.decompress(source.read_bytes()).decode().split("\n")[1 : 49152 - 256 - 2 + 1]
    merges = [tuple(line.split()) for line in lines]
    letters = _letters()
    tokens = [*letters, *(letter + "</w>" for letter in letters), *("".join(pair) for pair in merges)]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    vocab = {token: number for number, token in enumerate(tokens)}
    return class_of("CLIPTokenizer", TOKENIZERS)(vocab=vocab, merges=merges, pad_token=pad, model_max_length=77)


def _letters() -> list[str]:
    """Return the character that stands for each byte, in the order of CLIP's vocabulary.

    Source: Radford et al. 2019 (GPT-2), section 2.2; openai/CLIP, clip/simple_tokenizer.py, bytes_to_unicode.
    """
    visible = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [byte for byte in range(256) if byte not in visible]
    return [chr(byte) for byte in visible] + [chr(256 + k) for k in range(len(hidden))]


def _cached(class_: str) -> Any:
    """Load a tokenizer from the cache of Hugging Face's libraries, None if it has none."""
    home = Path(os.environ.get("HF_HUB_CACHE") or Path(os.environ.get("HF_HOME", "~/.cache/huggingface")) / "hub")
    names = CLIP if class_ == "CLIPTokenizer" else T5
    for name in names:
        for folder in sorted(home.expanduser().glob(f"models--{name}/snapshots/*")):
            for place in (folder / "tokenizer", folder):
                if (place / "merges.txt").exists() or (place / "tokenizer.json").exists():
                    return load_tokenizer(place, class_, folder)
    return None
