"""Images of a training folder without a caption: they are trained on the name of the class, or on nothing.

Why: sd-scripts looks for a caption beside each image under one ending, ".caption" by default. Where there is none it
prints a warning and trains on without. A folder whose captions end in ".txt" is trained 100 % uncaptioned.
Shown: how many images have no caption under the ending that is looked for.
Instead: name the ending that the captions have, or write those that are missing.
Fix: none; the captions are yours.
Source: kohya-ss/sd-scripts, library/train_util.py, DreamBoothDataset: "Training will continue without captions";
bmaltais/kohya_ss#988; kohya-ss/sd-scripts#533.
"""

from collections.abc import Iterator
from dataclasses import replace

from unnoise.check.examples import toml
from unnoise.check.rule import WARN, Finding, Needs, Rule
from unnoise.check.subject import Dataset, Location, Subject

RULE = Rule(id="UN509", name="captions-missing", severity=WARN, needs=Needs.DATA, checks="dataset")


def check(data: Dataset) -> Iterator[Finding]:
    missing = len(data.without_caption)
    if not missing:
        return
    others = f", such as {data.without_caption[0]}" if missing < data.pictures else ""
    message = f"images of this folder have no caption that ends in {data.extension}, and are trained without"
    suggestion = "write them, or name the ending that they have: caption_extension"
    yield Finding(RULE, data.place, message, f"{missing} of {data.pictures} images without{others}", "0", suggestion)


def bad() -> Subject:
    return _subject(without_caption=("01.png", "02.png"))


def good() -> Subject:
    return _subject(without_caption=())


def _subject(without_caption: tuple[str, ...]) -> Subject:
    subject = toml(
        """
        [[datasets]]
        resolution = 512
        [[datasets.subsets]]
        image_dir = "cats"
        """
    )
    place = Location(subject.path, ("datasets", 0, "subsets", 0, "image_dir"))
    return replace(subject, datasets=(Dataset(place, 2, without_caption, ()),))
