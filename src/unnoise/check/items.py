"""The items of a subject that rules check: runs, schedulers, adapters, masks and others, each listed once a subject."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from unnoise.check.effective_settings import schedules
from unnoise.check.rule import Checks, Rule
from unnoise.check.subject import GenerationRun, Mask, Subject, Tool, Use, Weights
from unnoise.families.identity import Identity
from unnoise.families.lora import Lora

Item = tuple[Any, ...]  # the arguments of one call of a check function


@dataclass(frozen=True, slots=True)
class RunAdapter:
    """Hold an adapter that a tool applies to a base; kind: "lora", "controlnet", "embedding" or "ip_adapter"."""

    use: Use
    tool: Tool
    kind: str

    @property
    def adapter(self) -> Identity:
        return self.use.adapter.identity

    @property
    def base(self) -> Identity:
        return self.use.base.identity if self.use.base else Identity()

    @property
    def lora(self) -> Lora | None:
        return self.use.adapter.weights.lora if self.use.adapter.weights else None


class Items:
    """List the items of one subject for any number of rules.

    Args:
        subject: what is checked
    """

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        self._listed: dict[Checks, list[Item]] = {}

    def of(self, rule: Rule) -> Sequence[Item]:
        """List the arguments of every call of a rule's check function.

        Args:
            rule: defines the items it checks, their tools, and whether it receives the subject too

        Returns:
            one tuple of arguments per call
        """
        if rule.checks not in self._listed:
            self._listed[rule.checks] = list(LISTS[rule.checks](self._subject))
        found = self._listed[rule.checks]
        if rule.tools:
            found = [item for item in found if item[0].tool in rule.tools]
        return [(*item, self._subject) for item in found] if rule.with_subject else found


def loaded(subject: Subject, kind: str) -> Iterator[RunAdapter]:
    """List the adapters of one kind that a subject applies to a base, each once.

    Args:
        subject: what is checked
        kind: "lora", "controlnet", "embedding" or "ip_adapter"

    Returns:
        the adapters, those of the subject before those of its runs
    """
    pairs: list[tuple[Use, Tool]] = [(use, subject.tool) for use in subject.uses]
    pairs += [(use, run.tool) for run in subject.runs for use in run.adapters]
    listed: set[object] = set()
    for use, tool in pairs:
        key = (use.place, use.adapter.name, use.base.name if use.base else "")
        if key not in listed and _kind(use) == kind:
            listed.add(key)
            yield RunAdapter(use, tool, kind)


def _kind(use: Use) -> str:
    adapter = use.adapter
    if use.kind != "lora":
        return use.kind
    if adapter.weights and adapter.weights.role != "unknown":
        return adapter.weights.role
    if any("ControlNet" in config.class_ for config in adapter.configs.values()):
        return "controlnet"
    return next((kind for kind in ("controlnet", "embedding") if kind in adapter.configs), "lora")


def lora_files(subject: Subject) -> Iterator[tuple[Weights, Lora]]:
    """List the files of the subject that are LoRAs."""
    for weights in subject.weights:
        if weights.lora is not None:
            yield weights, weights.lora


def _masks(subject: Subject) -> Iterator[tuple[GenerationRun | None, Mask]]:
    """List the masks of a subject, each with the run that uses it, or None."""
    yield from ((run, run.mask) for run in subject.runs if run.mask is not None)
    yield from ((None, mask) for mask in subject.masks)


def _alone(items: Iterable[Any]) -> list[Item]:
    return [(item,) for item in items]


LISTS: Mapping[Checks, Callable[[Subject], Iterable[Item]]] = {
    "subject": lambda subject: [(subject,)],
    "run": lambda subject: _alone(subject.runs),
    "schedule": lambda subject: _alone(schedules(subject)),
    "training": lambda subject: _alone(subject.trainings),
    "weights": lambda subject: _alone(subject.weights),
    "script": lambda subject: _alone([subject.script] if subject.script else []),
    "lora file": lora_files,
    "lora": lambda subject: _alone(loaded(subject, "lora")),
    "controlnet": lambda subject: _alone(loaded(subject, "controlnet")),
    "embedding": lambda subject: _alone(loaded(subject, "embedding")),
    "mask": _masks,
    "dataset": lambda subject: _alone(subject.datasets),
    "measured": lambda subject: _alone(subject.measured),
    "fault": lambda subject: _alone(subject.faults),
}
