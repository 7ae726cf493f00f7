"""Trainings of sd-scripts and of diffusers' example scripts: their TOML and their command lines."""

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from unnoise.check.read.dataset import datasets_of
from unnoise.check.subject import Located, Location, NamedModel, ReadFault, Subject, Tool, Training
from unnoise.families.identity import Identity
from unnoise.families.names import by_name

BASE = "pretrained_model_name_or_path"
LONGEST = 1 << 18  # characters of a shell text that are read
LETTERS = 1000  # characters of one value
WORDS = 5000  # of one command
NAMES = 500  # constants of one file
MOST = 200  # trainings of one file
KEYS = 2000  # settings of one training
# The family of each script of sd-scripts; "" where --v2 selects Stable Diffusion 1 or 2.
SD_SCRIPTS: Mapping[str, str] = {
    "train_network.py": "", "train_db.py": "", "fine_tune.py": "", "train_textual_inversion.py": "",
    "train_textual_inversion_XTI.py": "", "train_control_net.py": "",
    "sdxl_train.py": "sdxl", "sdxl_train_network.py": "sdxl", "sdxl_train_textual_inversion.py": "sdxl",
    "sdxl_train_control_net.py": "sdxl", "sdxl_train_control_net_lllite.py": "sdxl",
    "sd3_train.py": "sd3", "sd3_train_network.py": "sd3",
    "flux_train.py": "flux1", "flux_train_network.py": "flux1", "flux_train_control_net.py": "flux1",
    "lumina_train.py": "lumina2", "lumina_train_network.py": "lumina2",
    "hunyuan_image_train_network.py": "hunyuan-image", "anima_train.py": "anima", "anima_train_network.py": "anima",
}  # fmt: skip
# The family of each example script of diffusers; "" where the base decides.
EXAMPLES: Mapping[str, str] = {
    "train_text_to_image.py": "", "train_text_to_image_lora.py": "", "train_text_to_image_sdxl.py": "sdxl",
    "train_text_to_image_lora_sdxl.py": "sdxl", "train_dreambooth.py": "", "train_dreambooth_lora.py": "",
    "train_dreambooth_lora_sdxl.py": "sdxl", "train_dreambooth_lora_sdxl_advanced.py": "sdxl",
    "train_dreambooth_lora_sd15_advanced.py": "sd1", "train_dreambooth_sd3.py": "sd3",
    "train_dreambooth_lora_sd3.py": "sd3", "train_dreambooth_flux.py": "flux1",
    "train_dreambooth_lora_flux.py": "flux1", "train_dreambooth_lora_flux_advanced.py": "flux1",
    "train_dreambooth_lora_flux_kontext.py": "flux1", "train_dreambooth_lora_flux2.py": "flux2",
    "train_dreambooth_lora_lumina2.py": "lumina2", "train_dreambooth_lora_sana.py": "sana",
    "train_dreambooth_lora_hidream.py": "hidream", "train_dreambooth_lora_qwen_image.py": "qwen-image",
    "train_dreambooth_lora_z_image.py": "z-image", "train_controlnet.py": "", "train_controlnet_sdxl.py": "sdxl",
    "train_controlnet_sd3.py": "sd3", "train_controlnet_flux.py": "flux1", "train_control_flux.py": "flux1",
    "train_control_lora_flux.py": "flux1", "train_t2i_adapter_sdxl.py": "sdxl", "textual_inversion.py": "",
    "textual_inversion_sdxl.py": "sdxl", "train_instruct_pix2pix.py": "", "train_instruct_pix2pix_sdxl.py": "sdxl",
    "train_custom_diffusion.py": "", "train_unconditional.py": "", "train_lcm_distill_sd_wds.py": "",
    "train_lcm_distill_sdxl_wds.py": "sdxl", "train_lcm_distill_lora_sd_wds.py": "",
    "train_lcm_distill_lora_sdxl.py": "sdxl", "train_lcm_distill_lora_sdxl_wds.py": "sdxl",
}  # fmt: skip
NETWORKS: Mapping[str, str] = {
    "networks.lora_flux": "flux1", "networks.lora_sd3": "sd3", "networks.lora_lumina": "lumina2",
    "networks.lora_anima": "anima", "networks.lora_hunyuan_image": "hunyuan-image",
}  # fmt: skip

Settings = dict[str, Located[Any]]


def read_toml(content: Mapping[str, Any], path: str, text: str) -> Subject:
    """Read a configuration of sd-scripts: of a training, flat or in sections, or of data sets."""
    if isinstance(content.get("datasets"), list):
        trainings = [_training(settings, path) for settings in _sets(content, path)]
    else:
        trainings = [_training(_flat(content, path), path)]
    return _subject(path, text, trainings)


def read_command(text: str, path: str) -> Subject:
    """Read the commands of a shell text that run a training script.

    Args:
        text: of the file; it is not run, and only its own variables are read
        path: of the file

    Returns:
        a training for each command; a fault where no command runs a known script
    """
    trainings: list[Training] = []
    constants: dict[str, Word] = {}
    for words in _commands(text[:LONGEST], path):
        _assign(words, constants)
        words = [_replaced(word, constants) for word in words]
        at = next((i for i, word in enumerate(words) if _script(word.text)), None)
        if at is not None and len(trainings) < MOST:
            script = _script(words[at].text)
            settings = _launch(words[:at]) | _arguments(words[at + 1 :])
            trainings.append(_training(settings, path, script, words[at].place))
    if not trainings:
        place = Location(path)
        return Subject(path=path, faults=(ReadFault("unknown", place, "runs no known training script"),))
    return _subject(path, text, trainings)


def _subject(path: str, text: str, trainings: Sequence[Training]) -> Subject:
    tool = trainings[0].tool if trainings else "kohya"
    found = tuple(datasets_of(trainings, path))
    return Subject(path=path, tool=tool, trainings=tuple(trainings), datasets=found, texts={path: text})


def _training(settings: Settings, path: str, script: str = "", place: Location | None = None) -> Training:
    tool: Tool = "diffusers" if script in EXAMPLES else "kohya"
    setting = settings.get(BASE)
    if setting is None or not isinstance(setting.value, str):
        return Training(place or Location(path), tool, settings, None, script)
    base = NamedModel(setting.value[:LETTERS], setting.place, _base(setting.value[:LETTERS], settings, script))
    return Training(place or Location(path), tool, settings, base, script)


def _base(name: str, settings: Settings, script: str) -> Identity:
    """Identify the base by its name, else by its training script."""
    known = by_name(name)
    if known.known:
        return known
    family = SD_SCRIPTS.get(script) or EXAMPLES.get(script) or NETWORKS.get(str(_value(settings, "network_module")), "")
    if family == "flux1" and _value(settings, "model_type") == "chroma":
        return Identity("chroma", known_by="--model_type chroma")
    if family:
        return Identity(family, known_by=f"trained with {script or _value(settings, 'network_module')}")
    if _value(settings, "v2") is True:
        return Identity("sd2", known_by="--v2")
    return Identity("sd1", known_by=f"{script} without --v2") if script in SD_SCRIPTS else Identity()


def _value(settings: Mapping[str, Located[Any]], key: str) -> Any:
    setting = settings.get(key)
    return setting.value if setting else None


def _plain(text: str) -> Any:
    if re.fullmatch(r"[+-]?\d{1,18}", text):
        return int(text)
    if re.fullmatch(r"[+-]?(\d{1,40}\.?\d{0,40}|\.\d{1,40})([eE][+-]?\d{1,3})?", text):
        return float(text)
    return text


def _flat(content: Mapping[str, Any], path: str) -> Settings:
    """Join the sections of a configuration into one, as sd-scripts does; the last value of a key counts."""
    settings: Settings = {}
    for key, value in list(content.items())[:KEYS]:
        if isinstance(value, dict):
            inner = list(value.items())[:KEYS]
            settings |= {name: Located(item, Location(path, (key, name))) for name, item in inner}
        else:
            settings[key] = Located(value, Location(path, (key,)))
    return settings


def _sets(content: Mapping[str, Any], path: str) -> Iterator[Settings]:
    """Return the settings of each subset, with those of its data set and of [general]."""
    general = _settings(content.get("general"), Location(path, ("general",)))
    left = MOST
    for i, one in enumerate(content["datasets"][:MOST]):
        common = general | _settings(one, Location(path, ("datasets", i)))
        subsets = one.get("subsets") if isinstance(one, dict) else None
        for j, subset in enumerate(subsets[:left] if isinstance(subsets, list) else []):
            left -= 1
            yield common | _settings(subset, Location(path, ("datasets", i, "subsets", j)))


def _settings(table: Any, at: Location) -> Settings:
    if not isinstance(table, dict):
        return {}
    plain = [(key, value) for key, value in list(table.items())[:KEYS] if key != "subsets"]
    return {key: Located(value, Location(at.path, (*at.keys, key))) for key, value in plain}


@dataclass(frozen=True, slots=True)
class Word:
    """Hold a word of a command: without quotes, as written, and its place."""

    text: str
    raw: str
    place: Location


TOKEN = re.compile(
    r"(?P<gap>[ \t\f\v]+|[\\^`]\r?\n)|(?P<note>#[^\n]*)|(?P<end>\r?\n|;|&&?|\|\|?)"
    r"|(?P<word>(?:\"(?:\\.|[^\"\\])*\"|'[^']*'|\\[^\r\n]|[^\s;&|\"'\\]|[\\\"'](?!\r?\n))+)|(?P<rest>.)",
    re.DOTALL,
)
# A backslash before a letter belongs to a Windows path; it has no meaning in a shell.
PIECE = re.compile(r"\"((?:\\.|[^\"\\])*)\"|'([^']*)'|\\([^\w.])|([^\"'\\]+|.)", re.DOTALL)
NAME = re.compile(r"(?:\$\{(\w{1,80})\}|\$(\w{1,80})|%(\w{1,80})%)")


def _commands(text: str, path: str) -> Iterator[list[Word]]:
    """Split a shell text into commands, and these into words."""
    starts = [0, *(match.end() for match in re.finditer("\n", text))]
    words: list[Word] = []
    for token in TOKEN.finditer(text):
        if token.lastgroup == "word" and len(words) < WORDS:
            raw = token.group()
            words.append(Word(_unquoted(raw), raw, _place(path, starts, token.start(), token.end())))
        elif token.lastgroup == "end" and words:
            yield words
            words = []
    if words:
        yield words


def _unquoted(raw: str) -> str:
    if raw.isalnum() or not any(mark in raw for mark in "\"'\\"):
        return raw
    parts = []
    for double, single, escaped, bare in PIECE.findall(raw):
        parts.append(re.sub(r"\\([\"\\$`])", r"\1", double) or single or escaped or bare)
    return "".join(parts)


def _place(path: str, starts: Sequence[int], start: int, end: int) -> Location:
    first, last = bisect_right(starts, start), bisect_right(starts, end)
    return Location(path, (), first, start - starts[first - 1], last, end - starts[last - 1])


def _assign(words: Iterable[Word], constants: dict[str, Word]) -> None:
    """Store `NAME=value`, also after `export` or `set`, unless it depends on other commands."""
    for word in words:
        name, equals, raw = word.raw.partition("=")
        if word.raw in ("export", "set", "declare", "local"):
            continue
        if not equals or not re.fullmatch(r"\$?\w{1,80}", name):
            return
        value = Word(_unquoted(raw)[:LETTERS], raw, _behind(word, len(name) + 1))
        constants.pop(name.lstrip("$"), None)
        if "`" not in raw and "$(" not in raw and len(constants) < NAMES:
            constants[name.lstrip("$")] = _replaced(value, constants)


def _behind(word: Word, letters: int) -> Location:
    place = word.place
    return Location(place.path, (), place.line, (place.column or 0) + letters, place.end_line, place.end_column)


def _replaced(word: Word, constants: Mapping[str, Word]) -> Word:
    """Replace variables by their values; a word that is one variable has the place of its assignment."""
    if not constants or word.raw[:1] == "'" or not any(mark in word.raw for mark in "$%"):
        return word
    whole = NAME.fullmatch(word.text)
    if whole and (found := constants.get(whole[1] or whole[2] or whole[3])):
        return Word(found.text, found.raw, found.place)
    start = re.match(r"--\w+=", word.raw)
    if start and (inner := _replaced(_tail(word, start.end()), constants)) and inner.raw != word.raw[start.end() :]:
        return Word(start.group() + inner.text, start.group() + inner.raw, inner.place)

    def value(match: re.Match[str]) -> str:
        known = constants.get(match[1] or match[2] or match[3])
        return known.text if known else match[0]

    return Word(NAME.sub(value, word.text)[:LETTERS], word.raw, word.place)


def _tail(word: Word, letters: int) -> Word:
    return Word(_unquoted(word.raw[letters:]), word.raw[letters:], _behind(word, letters))


def _script(text: str) -> str:
    name = PurePosixPath(text.replace("\\", "/")).name
    return name if name in SD_SCRIPTS or name in EXAMPLES else ""


def _launch(words: Sequence[Word]) -> Settings:
    """Return the options of `accelerate launch` that it passes on to the script."""
    return {key: value for key, value in _arguments(words).items() if key == "mixed_precision"}


def _arguments(words: Sequence[Word]) -> Settings:
    """Read `--name value`, `--name=value`, `--name a b` as a list, and `--name` as True."""
    settings: Settings = {}
    at = 0
    while at < len(words) and len(settings) < KEYS:
        word, at = words[at], at + 1
        match = re.match(r"--?([A-Za-z][\w-]{0,80})(=?)", word.text)
        if match is None:
            continue
        name = match[1].replace("-", "_")
        if match[2]:
            settings[name] = Located(_plain(word.text[match.end() : match.end() + LETTERS]), _argument_place(word))
            continue
        end = at
        while end < len(words) and not re.match(r"--?[A-Za-z]", words[end].text):
            end += 1
        settings[name] = _values(word, words[at:end])
        at = end
    return settings


def _argument_place(word: Word) -> Location:
    """Return the place after the "=" of `--name=value`; a value from a constant has its own place already."""
    start = re.match(r"--?[\w-]+=", word.raw)
    width = (word.place.end_column or 0) - (word.place.column or 0)
    one_line = word.place.line == word.place.end_line
    return _behind(word, start.end()) if start and (not one_line or width == len(word.raw)) else word.place


def _values(name: Word, words: Sequence[Word]) -> Located[Any]:
    if not words:
        return Located(True, name.place)
    if len(words) == 1:
        return Located(_plain(words[0].text[:LETTERS]), words[0].place)
    first, last = words[0].place, words[-1].place
    place = Location(first.path, (), first.line, first.column, last.end_line, last.end_column)
    return Located([_plain(word.text[:LETTERS]) for word in words[:KEYS]], place)
