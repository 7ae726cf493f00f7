"""What acts in a run once adapters, and what a model is published with, are counted in."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from unnoise.check.subject import Config, Model, Place, Run, Subject
from unnoise.check.tables import effective, shipped
from unnoise.files.families.facts import facts
from unnoise.files.families.identity import Identity

# Words by which distilled models are known: a text that has one may load weights that no name tells.
FEW = re.compile(r"lightning|turbo|lcm|hyper|dmd|schnell|sprint|distill|flash|tcd|causvid|lightx2v", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Schedule:
    """Join a scheduler of diffusers with the model it serves, and the run that uses it, where there is one."""

    config: Config
    identity: Identity
    run: Run | None = None

    @property
    def place(self) -> Place:
        return self.config.place

    def get(self, key: str) -> Any:
        """Give a setting as it acts; None where that is not known."""
        return effective(self.config, key, self.identity)


def schedules(subject: Subject) -> Iterator[Schedule]:
    """List the schedulers that a subject sets up: those of its folders, and those of its runs."""
    own = subject.models[0].identity if len(subject.models) == 1 else Identity()
    for config in subject.configs if subject.script is None else ():  # a script says itself what serves what
        if config.role == "scheduler":
            yield Schedule(config, own)
    seen: set[tuple[Place, Identity]] = set()
    for run in subject.runs:
        if run.schedule is not None and (run.schedule.place, identity(run)) not in seen:
            seen.add((run.schedule.place, identity(run)))
            yield Schedule(run.schedule, identity(run), run)


def identity(run: Run) -> Identity:
    """Give what the run's model is; Identity() where that is not known."""
    return run.model.identity if run.model else Identity()


def acting(run: Run) -> Schedule | None:
    """Give the scheduler that acts in a run of diffusers: the one it sets, or the one its model is published with."""
    if run.schedule is not None:
        return Schedule(run.schedule, identity(run), run)
    own = run.model.configs.get("scheduler") if run.model else None
    if own is not None:
        return Schedule(own, identity(run), run)
    known = shipped(identity(run)) if run.tool == "diffusers" else None
    if known is None or run.model is None:
        return None
    return Schedule(Config(run.place, "scheduler", known.class_, {}, complete=False), identity(run), run)


def distilled(run: Run) -> str:
    """Name what makes the run one of few steps, a variant of its model or of an adapter; "" where nothing does."""
    if run.facts is not None and run.facts.distilled == "steps":
        return str(identity(run))
    return next((use.adapter.name for use in run.adapters if _is_few(use.adapter)), "")


def _is_few(adapter: Model) -> bool:
    known = facts(adapter.identity)
    return known is not None and known.distilled == "steps"


def may_be_distilled(run: Run, subject: Subject) -> bool:
    """Say whether anything near a run is named as distilled models are, though nothing proves it."""
    names = [use.adapter.name for use in run.adapters] + ([run.model.name] if run.model else [])
    texts = subject.texts.values() if run.tool == "diffusers" else ()
    return bool(distilled(run)) or any(FEW.search(text) for text in (*names, *texts))
