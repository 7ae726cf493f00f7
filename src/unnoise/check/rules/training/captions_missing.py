"""Images of a training folder have no caption and are trained on the class name, or on an empty prompt.

Why: sd-scripts reads the caption of an image from a file with one extension, ".caption" by default. Without that file
it prints a warning and trains without a caption. A folder with captions in ".txt" is trained 100 % without captions.
Shown: the number of images without a caption of the expected extension.
Instead: set the extension of the captions, or write the missing ones.
Fix: none; the captions are your choice.
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
    message = f"images of this folder have no {data.extension} file and are trained without a caption"
    suggestion = "write the captions, or set caption_extension to their extension"
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
