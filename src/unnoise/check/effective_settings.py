"""The settings in effect in a run: its own, those of its adapters and the published ones of its model."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from unnoise.check.subject import Config, GenerationRun, Location, Subject, Use
from unnoise.check.tables import effective, shipped
from unnoise.families.facts import Facts, facts
from unnoise.families.identity import Identity

HALF = 0.5  # strength up to which a distilled LoRA leaves room for guidance and more steps
MOST_PART = 0.8  # the same with more steps than its own
RESET = "register_to_config("  # changes the settings of a scheduler that exists
# Words in names of distilled models: a text with one may load distilled weights under another name.
FEW = re.compile(
    r"lightning|turbo|lcm|hyper|dmd|schnell|sprint|distill|flash|tcd|causvid|lightx2v|accvid|(?<!dif)fusion-?i?x|mastermodel|rapid",
    re.IGNORECASE,
)
# The same in names alone: of few steps, or of merges with a distilled LoRA inside: Phr00t/WAN2.2-14B-Rapid-AllInOne.
MERGED = re.compile(r"rapid|remix|(?<!\d)1?\d[-_ ]?steps?(?![a-z])", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class EffectiveSchedule:
    """Join a scheduler of diffusers with its model.

    Args:
        config: of the scheduler
        identity: of the model
        run: that uses the scheduler, if one does
    """

    config: Config
    identity: Identity
    run: GenerationRun | None = None

    @property
    def place(self) -> Location:
        return self.config.place

    def get(self, key: str) -> Any:
        """Return a setting with defaults and published settings applied; None where it is not known."""
        return effective(self.config, key, self.identity)


@dataclass(frozen=True, slots=True)
class FewStepModel:
    """Hold the distilled model or adapter of a few-step run.

    Args:
        name, variant, facts: of it
        weak: it is an adapter at half its strength or less, which only shortens the way of the undistilled model
        mixed: it is an adapter below its strength in a run of more steps than its own, which is a choice between both
    """

    name: str
    variant: str
    facts: Facts
    weak: bool = False
    mixed: bool = False


def schedules(subject: Subject) -> Iterator[EffectiveSchedule]:
    """List the schedulers of a subject, each once: those of its folders, then those of its runs."""
    own = subject.models[0].identity if len(subject.models) == 1 else Identity()
    for config in subject.configs if subject.script is None else ():  # a script sets its schedulers itself
        if config.role == "scheduler":
            yield EffectiveSchedule(config, own)
    listed: set[tuple[Location, Identity]] = set()
    for run in subject.runs:
        if run.schedule is not None and (run.schedule.place, identity(run)) not in listed:
            listed.add((run.schedule.place, identity(run)))
            yield EffectiveSchedule(run.schedule, identity(run), run)


def made_schedules(subject: Subject) -> Iterator[EffectiveSchedule]:
    """List the schedulers that a script makes and no known run uses, as in a training or for another program."""
    if subject.script is None or any(RESET in line for line in subject.script.lines):
        return
    used = {run.schedule.place for run in subject.runs if run.schedule is not None}
    for config in subject.configs:
        if config.role == "scheduler" and config.class_ and config.place not in used:
            yield EffectiveSchedule(config, config.of)


def identity(run: GenerationRun) -> Identity:
    """Return the identity of the run's model; Identity() where it is not known."""
    return run.model.identity if run.model else Identity()


def effective_schedule(run: GenerationRun) -> EffectiveSchedule | None:
    """Return the scheduler of a run of diffusers: its own, else the published one of its model."""
    if run.schedule is not None:
        return EffectiveSchedule(run.schedule, identity(run), run)
    own = run.model.configs.get("scheduler") if run.model else None
    if own is not None:
        return EffectiveSchedule(own, identity(run), run)
    known = shipped(identity(run)) if run.tool == "diffusers" else None
    if known is None or run.model is None:
        return None
    return EffectiveSchedule(Config(run.place, "scheduler", known.class_, {}, complete=False), identity(run), run)


def few_step_adapters(run: GenerationRun) -> Iterator[tuple[Use, Facts]]:
    """List the adapters of a run that are distilled to few steps, each with the facts of its family and variant."""
    for use in run.adapters:
        found = _base_of(run, use.adapter.identity) or use.adapter.facts
        if found is not None and found.distilled == "steps" and (use.strength is None or use.strength.value > 0):
            yield use, found


def is_weak(use: Use) -> bool:
    """Return whether an adapter runs at a strength that does not make the model one of few steps."""
    return use.strength is not None and use.strength.value <= HALF


def few_steps(run: GenerationRun) -> FewStepModel | None:
    """Return the adapter or model of a run that is distilled to few steps; None where neither is."""
    for use, found in sorted(few_step_adapters(run), key=lambda pair: is_weak(pair[0])):
        strength, most = use.strength, found.steps[1] if found.steps else None
        longer = run.steps is not None and most is not None and run.steps.value > most
        mixed = strength is not None and strength.value <= MOST_PART and longer
        return FewStepModel(use.adapter.name, use.adapter.identity.variant, found, is_weak(use), mixed)
    if run.model is not None and run.facts is not None and run.facts.distilled == "steps":
        return FewStepModel(run.model.name, run.model.identity.variant, run.facts)
    return None


def _base_of(run: GenerationRun, adapter: Identity) -> Facts | None:
    """Return the facts of an adapter whose name states only its distillation, for the family of the model."""
    if adapter.known or not adapter.variant or run.model is None:
        return None
    return facts(Identity(run.model.identity.family, adapter.variant))


def may_be_distilled(run: GenerationRun, subject: Subject) -> bool:
    """Return whether a name or text of a run suggests a distilled model without proof.

    Args:
        run: the run
        subject: with the text of the script

    Returns:
        True also for a few-step run, and for a LoRA that a node of an unknown extension of ComfyUI loads
    """
    names = [use.adapter.name for use in run.adapters] + ([run.model.name] if run.model else [])
    names += [
        value.value for key, value in run.others.items() if "lora" in key.lower() and isinstance(value.value, str)
    ]
    texts = subject.texts.values() if run.tool == "diffusers" else ()
    named = any(MERGED.search(name) for name in names)
    return named or few_steps(run) is not None or any(FEW.search(text) for text in (*names, *texts))
