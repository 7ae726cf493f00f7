"""The conditioning of a sample by step: prompts that change in the course of the steps, prompts that AND joins."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import chain

import torch

from unnoise.diffusion.conditioning import Conditioning, collate
from unnoise.errors import InputError
from unnoise.generation.metadata import Settings
from unnoise.text.encode import TextConditioner
from unnoise.text.prompt_schedule import JoinedPrompt, parts, schedule
from unnoise.text.prompt_syntax import found, split_adapters

Added = Callable[[Conditioning, bool], Conditioning]


@dataclass(frozen=True, slots=True, eq=False)
class PromptRows:
    """The conditioning of a sample.

    Args:
        turns: what the network calls of a step need: one row with the prompt, then the rows that guidance compares it
            with, then a row for each further prompt that AND joins.
        order: the turn of each step, or one for all steps.
        weights: of the prompts that AND joins; none for a single prompt.
    """

    turns: tuple[tuple[Conditioning, ...], ...]
    order: tuple[int, ...] = (0,)
    weights: tuple[float, ...] = ()

    def turn(self, step: int) -> int:
        """Return the number of the turn of a step, counted from 0."""
        return self.order[min(step, len(self.order) - 1)]


@dataclass(frozen=True, slots=True)
class ReadPrompt:
    """A prompt and a negative prompt by step: the texts of each turn, the negative one last."""

    texts: tuple[tuple[str, ...], ...]
    order: tuple[int, ...]
    weights: tuple[float, ...]

    @property
    def prompts(self) -> tuple[str, ...]:
        """Every text but the negative ones."""
        return tuple(chain.from_iterable(texts[:-1] for texts in self.texts))


def read_prompt(prompt: str, settings: Settings) -> ReadPrompt:
    """Apply the grammar of AND and of schedules to a prompt and to the negative prompt, where it is asked for.

    Raises InputError for what neither can have.
    """
    joined: tuple[JoinedPrompt, ...] = (JoinedPrompt((prompt,)),)
    negative: tuple[str, ...] = (settings.negative_prompt,)
    if settings.prompt_weighting == "apply":
        joined = parts(split_adapters(prompt)[0], settings.steps)
        negative = schedule(_single("negative_prompt", settings.negative_prompt), settings.steps)
        for name in ("blend_prompt", "source_prompt"):
            _constant(name, getattr(settings, name) or "", settings.steps)
    schedules = [*(part.texts for part in joined), negative]
    steps = max(map(len, schedules))
    by_step = list(zip(*(texts * (steps if len(texts) == 1 else 1) for texts in schedules), strict=True))
    turns = tuple(dict.fromkeys(by_step))
    weights = () if len(joined) == 1 else tuple(part.weight for part in joined)
    return ReadPrompt(turns, tuple(map(turns.index, by_step)), weights)


class EncodedText:
    """The texts of a job, each encoded once.

    Args:
        encoder: of the model.
        settings: of the job.
        added: (row, whether it has the prompt) -> the row with what the job adds to it.
    """

    def __init__(self, encoder: TextConditioner, settings: Settings, added: Added) -> None:
        self.encoder, self.settings, self.added = encoder, settings, added
        self._prompts: dict[str, Conditioning] = {}
        self._negatives: dict[str, tuple[Conditioning, ...]] = {}

    def encode(self, prompts: list[str]) -> None:
        """Encode prompts, blended where the job asks for it."""
        settings = self.settings
        rows = self.encoder(prompts, settings.prompt_weighting)
        if settings.blend_prompt is not None and settings.blend_share is not None:
            end = self.encoder([settings.blend_prompt], settings.prompt_weighting)[0]
            rows = [_blended(row, end, settings.blend_share) for row in rows]
        self._prompts = {prompt: self.added(row, True) for prompt, row in zip(prompts, rows, strict=True)}

    def rows(self, read: ReadPrompt) -> PromptRows:
        """Return the rows of a prompt, by turn."""
        turns = tuple(
            (self._prompts[first], *self._others(negative, bool(more)), *(self._prompts[one] for one in more))
            for first, *more, negative in read.texts
        )
        return PromptRows(turns, read.order, read.weights)

    def _others(self, negative: str, joined: bool) -> tuple[Conditioning, ...]:
        """Return the rows that guidance, or AND, compares a prompt with."""
        if not self.settings.guided and not joined:
            return ()
        if negative not in self._negatives:
            row = self.added(self.encoder.negative(negative, self.settings.prompt_weighting), False)
            self._negatives[negative] = (row,)
            if self.settings.image_guidance is not None and row.image is not None:
                self._negatives[negative] = row, replace(row, image=torch.zeros_like(row.image))
        return self._negatives[negative]


def _single(name: str, prompt: str) -> str:
    """Return a prompt that AND and adapters cannot act on. Raises InputError where it has them."""
    for piece in found(prompt):
        if piece == "AND" or piece.startswith("<"):
            raise InputError(f"{name}: {piece!r} acts in the prompt only; leave it out of {name}")
    return prompt


def _constant(name: str, prompt: str, steps: int) -> None:
    """Raise InputError where a prompt that is encoded once would change from step to step."""
    if len(schedule(_single(name, prompt), steps)) > 1:
        raise InputError(f"{name}: '[from:to:when]' and '[a|b]' act in the prompt and the negative_prompt only")


def _blended(first: Conditioning, second: Conditioning, share: float) -> Conditioning:
    """Blend the features of two prompts. Raises InputError where their shapes differ."""
    pair = collate([first, second])
    mixed = {
        name: value.any(0, keepdim=True) if value.dtype == torch.bool else torch.lerp(value[:1], value[1:], share)
        for name, value in pair.given().items()
    }
    return Conditioning(**mixed)
