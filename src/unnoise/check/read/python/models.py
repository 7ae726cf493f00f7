"""Recognise the models and dtypes in a script."""

from unnoise.check.read.python.values import Name, Value
from unnoise.check.subject import Located
from unnoise.check.syntax import Places
from unnoise.families.identity import Identity
from unnoise.families.names import by_checkpoint, by_name

TYPES = {"float16": "float16", "half": "float16", "bfloat16": "bfloat16", "float32": "float32", "float": "float32"}
HUBS = ("https://huggingface.co/", "https://hf.co/", "http://huggingface.co/")


def identify(name: str) -> Identity:
    """Recognise a model by a repository, a file, a folder or an address; Identity() where it is unknown."""
    for hub in HUBS:
        name = name.removeprefix(hub)
    repository = "/".join(name.split("/")[:2])
    for words in (name.rsplit("/", 1)[-1] if "." in name.rsplit("/", 1)[-1] else "", name, repository):
        if words and (found := by_name(words)).known:
            return found
    return Identity()


def identify_base(name: str) -> Identity:
    """Recognise a base model as `identify` does, else as a fine-tune or a merge."""
    published = identify(name)
    return published if published.known else by_checkpoint(name)


def number_type(places: Places, value: Value | None) -> Located[str] | None:
    """Return the name of a dtype of torch."""
    if value is None or not isinstance(value.what, Name | str):
        return None
    last = value.what.last if isinstance(value.what, Name) else value.what.removeprefix("torch.")
    return Located(TYPES[last], places.at(value.node)) if last in TYPES else None
