"""Read any file. Its content selects the reader; its extension does so only where the content cannot."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from unnoise.check.read.file_kinds import LONGEST, PICKLES, SHELLS, YAMLS
from unnoise.check.subject import Location, ReadFault, Subject, Trouble
from unnoise.errors import InputError
from unnoise.formats.json_text import json_value, toml_table
from unnoise.formats.open_file import open_file

COMMANDS = ("accelerate launch", "python ", "sd-cli", "--sampling-method")  # in texts of shell commands
START = 64  # bytes that identify the type of a file


def read(path: Path, texts: Mapping[str, str] = MappingProxyType({})) -> Subject:
    """Read a file or a folder of diffusers.

    Args:
        path: of the file or folder
        texts: by path, read in place of what is in the files

    Returns:
        its subject; unreadable parts are faults in it, and no file raises
    """
    try:
        if path.is_dir():
            return _read_folder(path, texts)
        return read_text(texts[str(path)], path) if str(path) in texts else _read_file(path)
    except InputError as error:
        return fault("unreadable", path, str(error).removeprefix(f"{path}: "))
    except OSError as error:
        return fault("unreadable", path, f"cannot be read: {error.strerror or error}")
    except (ValueError, RecursionError, MemoryError) as error:
        return fault("broken", path, f"cannot be read: {type(error).__name__}: {str(error)[:200]}")


def fault(kind: Trouble, path: Path, message: str, line: int | None = None, column: int | None = None) -> Subject:
    """Return the subject of a file that could not be read."""
    place = Location(str(path), line=line, column=column)
    return Subject(path=str(path), faults=(ReadFault(kind, place, message),))


def _read_folder(path: Path, texts: Mapping[str, str]) -> Subject:
    from unnoise.check.read.tree import open_folder

    return open_folder(path, texts)


def _read_file(path: Path) -> Subject:
    with open_file(path) as file:
        start = file.read(START)
    if start.startswith((b"\x89PNG", b"\xff\xd8\xff")) or start[:4] + start[8:12] == b"RIFFWEBP":
        from unnoise.check.read.picture import read_picture

        return read_picture(str(path))
    if start.startswith(b"GGUF") or _may_be_safetensors(start, path):
        from unnoise.check.read.weights import read_weights

        return read_weights(str(path))
    if _may_be_pickle(start, path):
        return fault("pickle", path, "is a pickle, which can run code when it is opened; it was not opened")
    return _read_text(path)


def _may_be_safetensors(start: bytes, path: Path) -> bool:
    return (start[8:9] == b"{" and start[6:8] == b"\0\0") or path.suffix.lower() in (".safetensors", ".sft")


def _may_be_pickle(start: bytes, path: Path) -> bool:
    protocol = len(start) > 1 and start[0] == 0x80 and 2 <= start[1] <= 5
    return protocol or (path.suffix.lower() in PICKLES and not start.lstrip().startswith((b"{", b"[")))


def _read_text(path: Path) -> Subject:
    with open_file(path) as file:
        content = file.read(LONGEST + 1)
    if len(content) > LONGEST:
        return fault("unknown", path, f"is of no known kind, and more than {LONGEST} bytes long")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        return fault("unknown", path, f"is neither of a known kind nor a text: byte {error.start} is not UTF-8")
    return read_text(text, path)


def read_text(text: str, path: Path) -> Subject:
    """Read a text by its content: JSON, a notebook, TOML, a script, commands or infotext.

    Args:
        text: of the file
        path: its extension decides where the content does not

    Returns:
        its subject
    """
    suffix = path.suffix.lower()
    if suffix in (".json", ".ipynb") or (text.lstrip()[:1] == "{" and suffix != ".py"):
        return _read_json(text, path)
    if suffix == ".toml":
        return _read_toml(text, path)
    if suffix in YAMLS:
        return _read_yaml(text, path)
    if suffix in (".py", ".pyw") or (suffix not in SHELLS and ("import diffusers" in text or "from diffusers" in text)):
        from unnoise.check.read.script import read_script

        return read_script(text, str(path))
    if suffix in SHELLS or any(word in text for word in COMMANDS) or re.match(r"#!.*\b(ba|z)?sh\b", text):
        from unnoise.check.read.commands import read_commands

        return read_commands(text, str(path))
    if "Steps: " in text:
        from unnoise.check.read.infotext import read_infotext

        return read_infotext(text, str(path))
    return fault("unknown", path, "is of no known kind")


def _read_json(text: str, path: Path) -> Subject:
    try:
        content = json_value(text, strict=False)
    except json.JSONDecodeError as error:
        return fault("broken", path, f"is not JSON: {error.msg}", error.lineno, error.colno - 1)
    except ValueError as error:
        return fault("broken", path, f"is JSON that cannot be read: {error}")
    if not isinstance(content, dict):
        return fault("unknown", path, "is JSON of no known kind")
    if isinstance(content.get("cells"), list):
        from unnoise.check.read.notebook import read_notebook

        return read_notebook(text, str(path))
    if "_class_name" in content or "_diffusers_version" in content:
        from unnoise.check.read.folder import read_folder

        return read_folder(str(path.parent), {path.name: text}, {}, ())
    return _read_object(content, text, path)


def _read_object(content: dict[str, Any], text: str, path: Path) -> Subject:
    if "fingerprint" in content and "sampler" in content and "grid" in content:
        from unnoise.check.read.recipe import read_recipe

        return read_recipe(text, str(path))
    if "app_version" in content or "positive_prompt" in content:
        from unnoise.check.read.invokeai import read_metadata

        return read_metadata(content, str(path))
    if (trained := _read_training(content, text, str(path))) is not None:
        return trained
    from unnoise.check.read.picture import read_generation

    return read_generation(content, str(path), text)


def _read_training(content: dict[str, Any], text: str, path: str) -> Subject | None:
    """Read the configuration of a trainer; None for any other object."""
    from unnoise.check.read.trainers import ai_toolkit, kohya_gui, onetrainer, simpletuner

    for trainer in (kohya_gui, onetrainer, simpletuner):
        if trainer.is_config(content):
            return trainer.read_config(content, text, path)
    if "job" in content and "config" in content:
        from unnoise.check.read.flat import flat

        settings = flat(content, path)
        return ai_toolkit.read_job(settings, text, path) if ai_toolkit.is_job(settings) else None
    return None


def _read_yaml(text: str, path: Path) -> Subject:
    from unnoise.check.read.trainers import ai_toolkit
    from unnoise.check.read.yaml_settings import yaml_settings

    settings = yaml_settings(text, str(path))
    if ai_toolkit.is_job(settings):
        return ai_toolkit.read_job(settings, text, str(path))
    return fault("unknown", path, "is YAML of no known kind")


def _read_toml(text: str, path: Path) -> Subject:
    try:
        content = toml_table(text)
    except ValueError as error:
        found = [int(word.rstrip(",)")) for word in str(error).split() if word.rstrip(",)").isdigit()]
        line, column = (found[-2], found[-1] - 1) if len(found) > 1 else (None, None)
        return fault("broken", path, f"is not TOML: {error}", line, column)
    from unnoise.check.read.kohya import read_toml
    from unnoise.check.read.recipe import identify_toml, read_training

    reader = {"unnoise": read_training, "kohya": read_toml}.get(identify_toml(content))
    return reader(content, str(path), text) if reader else fault("unknown", path, "is TOML of no known kind")
