"""Read a file of weights by its header: its type, its parts, and the few numbers that rules need."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from math import isfinite
from pathlib import Path, PurePath
from typing import Any, Literal

from unnoise.check.read.stated_training import with_stated
from unnoise.check.subject import Located, Location, NamedModel, ReadFault, Role, Subject, Training, Trouble, Weights
from unnoise.errors import InputError
from unnoise.families import own
from unnoise.families.identity import Identity
from unnoise.families.lora import Lora, base_of, read_lora
from unnoise.families.names import by_name
from unnoise.families.tensors import recognise, refined, unwrapped
from unnoise.formats.gguf import is_gguf, read_weights_header
from unnoise.formats.header import LONGEST, Entry, Header
from unnoise.formats.json_text import json_value
from unnoise.formats.open_file import open_file
from unnoise.formats.read_values import read_values

Tensors = Mapping[str, Entry]
Values = Mapping[str, tuple[float, ...]]
Format = Literal["safetensors", "gguf"]
FileRole = tuple[Role, tuple[str, ...]]  # the role of a file, and its parts
CARD = "unnoise"  # the key of this program's own card
ALPHAS = 5000  # read at most; the largest files have about 3,000
SAMPLED, NUMBERS = 6, 16  # tensors of each half of a LoRA that are read, and their first numbers
# Tensors whose numbers identify the prediction type.   Source: ComfyUI, comfy/supported_models.py, SDXL.model_type;
# Forge, sd_models_config.py
MARKERS = ("ztsnr", "v_pred", "edm_mean", "edm_std", "edm_vpred.sigma_max", "edm_vpred.sigma_min")
NORM = "output_blocks.11.1.transformer_blocks.0.norm1.bias"
STARTS: Mapping[str, tuple[str, ...]] = {
    "denoiser": ("model.diffusion_model.", "diffusion_model.", "net.", "unet."),
    "vae": ("first_stage_model.", "vae.", "autoencoder."),
    "text": ("cond_stage_model.", "conditioner.embedders.", "text_encoder", "text_encoders.", "text."),
}
VAE = re.compile(r"(?:encoder|decoder)\.(?:conv_in|conv1|conv_out|layers\.0|up_blocks\.0|middle\.0)\b")
TEXT = re.compile(
    r"(?:text_model\.(?:encoder|embeddings)|encoder\.block\.\d+\.layer|transformer\.resblocks|model\.layers)\."
)
CONTROL = ("control_model.", "controlnet_", "lllite_", "control_add_embedding.", "controlnet_cond_embedding.")
CONTEXTS = {768: ("sd1", ""), 1024: ("sd2", ""), 2048: ("sdxl", "")}
EMBEDDED = {(768,): "sd1", (1024,): "sd2", (768, 1280): "sdxl"}
HALVES = (re.compile(r"lora_(?:down|A)\b|lora\.down|hada_|lokr_"), re.compile(r"lora_(?:up|B)\b|lora\.up"))
LINE = 500  # longest setting in metadata, in characters


def read_weights(path: str) -> Subject:
    """Read a safetensors or GGUF file: its header and a few numbers; a fault if it is not valid."""
    try:
        gguf = is_gguf(path)
        header = read_weights_header(path)
        header = replace(header, tensors=unwrapped(header.tensors))
        lora = read_lora(header.tensors, header.metadata)
        values = {} if gguf else _values(path, header, lora)
        return _describe(header, path, values, "gguf" if gguf else "safetensors", lora)
    except OSError as error:
        return _faulty(path, "unreadable", f"cannot be read: {error.strerror or error}")
    except InputError as error:
        message = str(error).removeprefix(f"{path}: ")
        message = _cut(path) or message
        return _faulty(path, "unreadable" if message.startswith("cannot be read") else "broken", message)


def describe(header: Header, path: str, values: Values | None = None, format: Format = "safetensors") -> Subject:
    """Describe a file of weights.

    Args:
        header: of the file
        path: of the file
        values: the numbers that were read from it, by tensor

    Returns:
        its subject
    """
    return _describe(header, path, values or {}, format, read_lora(header.tensors, header.metadata))


def _describe(header: Header, path: str, values: Values, format: Format, lora: Lora | None) -> Subject:
    place, name = Location(path), PurePath(path).name
    if CARD in header.metadata and lora is None:
        return _own(header, path, values)
    role_and_parts: FileRole = ("lora", _lora_parts(lora)) if lora else _role(header.tensors)
    if own.CONTROL in header.metadata:
        role_and_parts = "controlnet", ()
    role, parts = role_and_parts
    identity = base_of(lora, header.metadata) if lora else _identity(role, header, name)
    identity = with_stated(identity, Path(path)) if role in ("checkpoint", "denoiser") else identity
    weights = Weights(place, role, identity, header, format, parts, lora, values)
    model = NamedModel(name, place, identity, weights)
    trainings = (_training(header.metadata, model),) if any(key.startswith("ss_") for key in header.metadata) else ()
    return Subject(path=path, models=(model,), weights=(weights,), trainings=trainings)


def _faulty(path: str, kind: Trouble, message: str) -> Subject:
    return Subject(path=path, faults=(ReadFault(kind, Location(path), message),))


def _own(header: Header, path: str, values: Values) -> Subject:
    from unnoise.check.read.recipe import read_card

    model = read_card(header, path)
    _, parts = _role(header.tensors)
    weights = Weights(Location(path), "checkpoint", model.identity, header, "safetensors", parts, None, values)
    return Subject(path=path, tool="unnoise", models=(replace(model, weights=weights),), weights=(weights,))


def _lora_parts(lora: Lora) -> tuple[str, ...]:
    parts = {module.part for module in lora.modules.values()}
    return tuple(sorted({"denoiser" if part == "denoiser" else "text" for part in parts}))


def _role(tensors: Tensors) -> FileRole:
    """Identify the role of a file by its tensor names, and the parts of a checkpoint."""
    if any(name.startswith(CONTROL) for name in tensors):
        return "controlnet", ()
    if _widths(tensors):
        return "embedding", ()
    parts = tuple(part for part, starts in STARTS.items() if any(name.startswith(starts) for name in tensors))
    if len(parts) > 1:
        return "checkpoint", parts
    if parts == ("vae",) or (not parts and any(VAE.match(name) for name in tensors)):
        return "vae", ("vae",)
    if parts == ("text",) or (not parts and any(TEXT.match(name) for name in tensors)):
        return "text", ("text",)
    if parts or recognise(tensors, {}).known:
        return "denoiser", ("denoiser",)
    return "unknown", ()


def _identity(role: str, header: Header, name: str) -> Identity:
    if role == "controlnet":
        return own.base_identity(header.metadata) if own.CONTROL in header.metadata else _control(header.tensors)
    if role == "embedding":
        widths = _widths(header.tensors)
        known_by = f"{' and '.join(map(str, widths))} wide"
        return Identity(EMBEDDED[widths], known_by=known_by) if widths in EMBEDDED else Identity()
    return refined(recognise(header.tensors, header.metadata), by_name(name))


def _control(tensors: Tensors) -> Identity:
    """Identify the family of a ControlNet by the width of its prompts."""
    for name, entry in tensors.items():
        into = entry.shape[1] if len(entry.shape) == 2 else 0
        if into in CONTEXTS and name.endswith(("attn2.to_k.weight", "attn2_to_k.down.0.weight")):
            return Identity(*CONTEXTS[into], known_by=f"{name}: {into} in")
    return Identity()


def _widths(tensors: Tensors) -> tuple[int, ...]:
    """Return the widths of a textual inversion, a file with one or two small tables; () for other files."""
    if not 0 < len(tensors) <= 4 or any(len(entry.shape) not in (1, 2) for entry in tensors.values()):
        return ()
    named = {"emb_params", "clip_l", "clip_g"} & set(tensors)
    tokens = all(name.startswith("<") or re.fullmatch(r"[\w-]{1,64}", name) for name in tensors)
    widths = tuple(sorted(entry.shape[-1] for entry in tensors.values()))
    few = all(len(entry.shape) == 1 or entry.shape[0] <= 256 for entry in tensors.values())
    return widths if few and (named or (len(tensors) == 1 and tokens and set(widths) <= {768, 1024, 1280})) else ()


def _values(path: str, header: Header, lora: Lora | None) -> dict[str, tuple[float, ...]]:
    tensors = header.tensors
    if lora is None:
        listed = [name for name in tensors if name in MARKERS or name.endswith(NORM)]
        return read_values(path, tensors, listed[:20])
    alphas = [module.alpha for module in lora.modules.values() if module.alpha]
    sampled: list[str] = []
    for half in HALVES:
        names = [name for name in tensors if half.search(name)]
        sampled += names[:: max(len(names) // SAMPLED, 1)][:SAMPLED]
    return read_values(path, tensors, alphas[:ALPHAS], 1) | read_values(path, tensors, sampled, NUMBERS)


def _training(metadata: Mapping[str, str], base: NamedModel) -> Training:
    """Return the training in the metadata of sd-scripts, under the names of its arguments."""
    settings = {
        key.removeprefix("ss_"): Located(_value(value), Location(base.place.path, (key,)))
        for key, value in metadata.items()
        if key.startswith("ss_") and value != "None" and len(value) <= LINE
    }
    of = NamedModel(metadata.get("ss_sd_model_name", "")[:LINE], base.place, base.identity)
    return Training(base.place, "kohya", settings, of)


def _value(text: str) -> Any:
    """Read a setting as sd-scripts writes it: the text of a Python value."""
    if text in ("True", "False"):
        return text == "True"
    for kind in (int, float):
        try:
            number = kind(text)
        except ValueError:
            continue
        return number if isfinite(number) else text
    return text


def _cut(path: str) -> str:
    """Return how a safetensors file is truncated, in words; "" where it is not."""
    try:
        return next(_ends(path), "")
    except (OSError, ValueError, RecursionError):
        return ""


def _ends(path: str) -> Iterator[str]:
    with open_file(path) as file:
        length = int.from_bytes(file.read(8), "little")
        size = file.seek(0, 2)
        if size < 8 or length > LONGEST:
            return
        if 8 + length > size:
            yield f"is cut short: it has {size} bytes, its header alone ends at byte {8 + length}"
        file.seek(8)
        content = json_value(file.read(length).decode())
    last = max(_spans(content), default=(0, ""))
    if 8 + length + last[0] > size:
        yield f"is cut short: it has {size} bytes, the tensor {last[1][:80]!r} ends at byte {8 + length + last[0]}"


def _spans(content: Any) -> Iterator[tuple[int, str]]:
    for name, entry in content.items() if isinstance(content, dict) else ():
        offsets = entry.get("data_offsets") if isinstance(entry, dict) else None
        if isinstance(offsets, list) and len(offsets) == 2 and type(offsets[1]) is int:
            yield offsets[1], name
