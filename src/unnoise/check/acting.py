"""What acts in a run once adapters, and what a model is published with, are counted in."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from unnoise.check.subject import Config, Place, Run, Subject
from unnoise.check.tables import effective, shipped
from unnoise.families.facts import Facts, facts
from unnoise.families.identity import Identity

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


@dataclass(frozen=True, slots=True)
class Few:
    """Name the model or adapter that makes a run one of few steps, with what is known of it."""

    name: str
    variant: str
    facts: Facts


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


def few_steps(run: Run) -> Few | None:
    """Give what is distilled to few steps in a run: an adapter on its model, or the model; None where nothing is."""
    for use in run.adapters:
        found = _base_of(run, use.adapter.identity) or use.adapter.facts
        if found is not None and found.distilled == "steps" and (use.strength is None or use.strength.value > 0):
            return Few(use.adapter.name, use.adapter.identity.variant, found)
    if run.model is not None and run.facts is not None and run.facts.distilled == "steps":
        return Few(run.model.name, run.model.identity.variant, run.facts)
    return None


def _base_of(run: Run, adapter: Identity) -> Facts | None:
    """Give the facts of an adapter whose name tells only a way of distilling, on the family of the model."""
    if adapter.known or not adapter.variant or run.model is None:
        return None
    return facts(Identity(run.model.identity.family, adapter.variant))


def may_be_distilled(run: Run, subject: Subject) -> bool:
    """Say whether anything near a run is named as distilled models are, though nothing proves it."""
    names = [use.adapter.name for use in run.adapters] + ([run.model.name] if run.model else [])
    texts = subject.texts.values() if run.tool == "diffusers" else ()
    return few_steps(run) is not None or any(FEW.search(text) for text in (*names, *texts))
