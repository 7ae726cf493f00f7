"""Load a tokenizer from a copy of its files that holds nothing but what a tokenizer needs.

transformers opens the files that a tokenizer's config names, wherever they are, so the folder itself is never given to
it.
"""

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from unnoise.errors import InputError, InputWarning, quoted
from unnoise.formats.json_text import json_object
from unnoise.formats.open_file import read_bytes
from unnoise.integrations.diffusers.table import TOKENIZERS, class_of

LONGEST: Final = 64 << 20  # bytes of a file; the largest tokenizer.json has 35 MB
FILES: Final = (
    "tokenizer.json", "vocab.json", "merges.txt", "spiece.model", "tokenizer.model", "added_tokens.json",
    "special_tokens_map.json", "tokenizer_config.json",
)  # fmt: skip
TOKENS: Final = frozenset({
    "bos_token", "eos_token", "unk_token", "pad_token", "sep_token", "cls_token", "mask_token",
    "additional_special_tokens", "extra_special_tokens", "added_tokens_decoder",
})  # fmt: skip
FLAGS: Final = frozenset({
    "add_bos_token", "add_eos_token", "add_prefix_space", "clean_up_tokenization_spaces", "do_lower_case", "legacy",
    "spaces_between_special_tokens", "split_special_tokens",
})  # fmt: skip
# What changes nothing here: prompts are padded and cut by this program, and no template of a chat is used.
METADATA: Final = frozenset({
    "name_or_path", "tokenizer_class", "processor_class", "chat_template", "special_tokens_map_file",
    "tokenizer_file", "device_map", "backend", "is_local", "local_files_only", "init_inputs", "max_length",
    "pad_to_multiple_of", "pad_token_type_id", "stride", "truncation_strategy", "truncation", "padding", "use_fast",
    "model_input_names", "sp_model_kwargs", "use_default_system_prompt", "errors", "add_dummy_prefix_space",
    "model_specific_special_tokens", "image_token", "boi_token", "eoi_token", "padding_side", "truncation_side",
    "transformers_version",
})  # fmt: skip
IDS: Final = 1 << 22  # the largest number of a token
TEXT: Final = 1000  # letters of a token


def load_tokenizer(place: Path, class_: str, root: Path | None = None) -> Any:
    """Load a tokenizer.

    Args:
        place: its folder.
        class_: of the closed table.
        root: the folder that its files must lie in, links followed; `place` if None.

    Raises:
        InputError: a file is missing, damaged or lies elsewhere, or a setting has another type.
    """
    kind = class_of(class_, TOKENIZERS)
    with TemporaryDirectory(prefix="unnoise-tokenizer-") as copy:
        for name in FILES:
            if (place / name).exists():
                (Path(copy) / name).write_bytes(
                    _checked(place / name, read_bytes(place / name, LONGEST, root or place))
                )
        try:
            found = kind.from_pretrained(copy, local_files_only=True)
        except BaseException as error:  # each tokenizer raises other errors; a panic of Rust is no Exception
            if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
                raise
            raise InputError(f"{place}: not a valid {class_}: {str(error).partition(chr(10))[0]}") from None
    found.name_or_path = str(place)
    return found


def _checked(path: Path, content: bytes) -> bytes:
    """Return the content of a file without settings that are not a tokenizer's. Raises InputError for a damaged one."""
    if path.suffix != ".json":
        return content
    try:
        # the scores of a vocabulary can be infinite
        table = json_object(content.decode("utf-8-sig"), strict=path.name != "tokenizer.json")
    except ValueError as error:
        raise InputError(f"{path}: not JSON: {error}") from None
    if path.name == "tokenizer_config.json":
        return json.dumps(_settings(path, table)).encode()
    if path.name == "special_tokens_map.json":
        return json.dumps({name: value for name, value in table.items() if _is_token(path, name, value)}).encode()
    if path.name in ("vocab.json", "added_tokens.json"):
        for name, number in table.items():
            if type(number) is not int or not 0 <= number <= IDS:
                raise InputError(f"{path}: token {quoted(name)}: number {quoted(number)}: a whole number to {IDS}")
    return content


def _settings(path: Path, table: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    unknown = []
    for name, value in table.items():
        if (
            (name in FLAGS and isinstance(value, bool | None))
            or (name == "extra_ids" and type(value) is int and 0 <= value <= TEXT)
            or (name == "model_max_length" and (value is None or _is_length(value)))
            or _is_token(path, name, value)
        ):
            found[name] = value
        elif name in FLAGS or name in ("extra_ids", "model_max_length"):
            raise InputError(f"{path}: {name} {quoted(value)}: of another type or too large")
        elif name not in METADATA and value is not None:
            unknown.append(name)
    if unknown:
        names = ", ".join(quoted(name) for name in sorted(unknown)[:5])
        message = f"{path}: {len(unknown)} settings are not of a tokenizer and have no effect: {names}"
        warnings.warn(message, InputWarning, stacklevel=2)
    return found


def _is_length(value: Any) -> bool:
    """Return whether a value is a whole number of tokens; 1e30 stands for no limit."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= 1e31 and value % 1 == 0


def _is_token(path: Path, name: str, value: Any) -> bool:
    """Return whether a setting is a token or several. Raises InputError for one of another type."""
    if name not in TOKENS:
        return False
    every = value if isinstance(value, list) else list(value.items()) if name == "added_tokens_decoder" else [value]
    for one in every:
        number, token = one if isinstance(one, tuple) else ("0", one)
        content = token.get("content") if isinstance(token, dict) else token
        numbered = number.isdecimal() and len(number) < 8 and int(number) <= IDS
        if not numbered or not (content is None or (isinstance(content, str) and len(content) <= TEXT)):
            raise InputError(f"{path}: {name} {quoted(one)}: expected tokens of at most {TEXT} letters")
    return True
