"""Cached latents or text features are older than their image or caption.

Why: sd-scripts checks only the shape of a cache on disk. An image or caption that is edited after caching is used in 0
steps; the old version is used in every step.
Shown: the number of caches that are older than their source.
Instead: delete them; the next run creates them again.
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
        message = "caches of this folder are older than their images or captions"
        suggestion = "delete them; the next run creates them again"
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
