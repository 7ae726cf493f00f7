"""Cached latents or text features that are older than the image or caption they were made from.

Why: sd-scripts takes a cache on disk as valid by its shape alone. An image that was edited, or a caption that was
rewritten, after the cache was made is trained at 0 steps: the old one is, at every step.
Shown: how many caches are older than their source.
Instead: delete them; the next run makes them anew.
Fix: none; delete the files.
Source: kohya-ss/sd-scripts, library/strategy_base.py, _default_is_disk_cached_latents_expected, which compares sizes;
bmaltais/kohya_ss#1629; Nerogar/OneTrainer#1134.
"""

from collections.abc import Iterator
from dataclasses import replace

from unnoise.check.examples import toml
from unnoise.check.rule import WARN, Finding, Needs, Rule
from unnoise.check.subject import Dataset, Location, Subject

RULE = Rule(id="UN510", name="stale-cache", severity=WARN, needs=Needs.DATA, checks="dataset")


def check(data: Dataset) -> Iterator[Finding]:
    if data.stale:
        count = len(data.stale)
        message = "caches of this folder are older than the images or captions that they stand for"
        suggestion = "delete them, so that they are made anew"
        measured = f"{count} stale cache{'s' if count > 1 else ''}, such as {data.stale[0]}"
        yield Finding(RULE, data.place, message, measured, "0", suggestion)


def bad() -> Subject:
    return _subject(stale=("01_0512x0512_sd.npz",))


def good() -> Subject:
    return _subject(stale=())


def _subject(stale: tuple[str, ...]) -> Subject:
    subject = toml(
        """
        [[datasets]]
        resolution = 512
        [[datasets.subsets]]
        image_dir = "cats"
        """
    )
    place = Location(subject.path, ("datasets", 0, "subsets", 0, "image_dir"))
    return replace(subject, datasets=(Dataset(place, 2, (), stale),))
