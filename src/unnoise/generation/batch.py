"""One network call for samples of any prompt, level, sampler, guidance and adapter weight."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from unnoise.adapters.lora.hooks import ActiveAdapters, PerSampleLora
from unnoise.adapters.lora.read import Adapter
from unnoise.components import Components
from unnoise.diffusion.conditioning import Conditioning, collate
from unnoise.diffusion.denoiser import Denoiser
from unnoise.diffusion.guidance import extrapolate, rescaled
from unnoise.diffusion.jump import place
from unnoise.diffusion.prediction import expand
from unnoise.diffusion.tiling import tiled
from unnoise.generation.loras import Loras, key_of
from unnoise.generation.metadata import CallShape, Settings
from unnoise.generation.prompt_rows import PromptRows

NARROW = {"bfloat16": torch.bfloat16, "float16": torch.float16}
Numbers = Callable[[Sequence[float], Tensor], Tensor]  # (a number for each row, (B, *d)) -> (B, 1, ..., 1)
OVERLAP = 4  # tiles overlap by 1/OVERLAP of their side


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """What a network call needs of one sample, apart from x and its level.

    Args:
        settings: of the sample.
        conditioning: its rows, by step.
        adapters: LoRA adapters with their weights.
    """

    settings: Settings
    conditioning: PromptRows
    adapters: Loras = ()

    def is_guided(self, sigma: float) -> bool:
        """Whether the network also runs without the prompt at this level, as it always does for AND."""
        return self.guides(sigma) or bool(self.conditioning.weights)

    def guides(self, sigma: float) -> bool:
        """Whether guidance acts at this level."""
        low, high = self.settings.interval
        return self.roles > 1 and self.settings.guided and low <= sigma <= high

    @property
    def roles(self) -> int:
        """The number of rows of a guided sample."""
        return len(self.conditioning.turns[0])


def compatible(row: Row, shape: tuple[int, ...]) -> tuple[Any, ...]:
    """Return what two samples must have in common to share a network call."""
    fields, joined = frozenset(row.conditioning.turns[0][0].given()) - {"mask"}, len(row.conditioning.weights)
    return shape, row.settings.dtype, row.settings.tile, fields, joined, row.roles - max(0, joined - 1) > 2


@dataclass(frozen=True, slots=True)
class Plan:
    """The rows of one network call.

    Args:
        rows: sample and role of each row; role 0 has the prompt, the others are what guidance compares it with.
        best: the row of each sample that has the prompt.
        others: by role from 1, the row of each guided sample.
    """

    rows: tuple[tuple[int, int], ...]
    best: tuple[int, ...]
    others: tuple[tuple[int, ...], ...]


def plan_call(samples: int, guided: Sequence[int], roles: int, repeated: CallShape | None = None) -> Plan:
    """Lay out a call.

    Args:
        samples: how many samples take part.
        guided: those that guidance acts on.
        roles: rows of each guided sample beside the one with the prompt.
        repeated: the shape of a former call, whose every row is filled with sample 0.
    """
    if repeated is not None:
        rows, again = repeated.rows, repeated.guided
        others = tuple((rows + role * again + repeated.place,) for role in range(roles) if guided)
        filled = ((0, 0),) * rows + tuple((0, role + 1) for role in range(roles) for _ in range(again))
        return Plan(filled, (repeated.row,), others)
    again = len(guided)
    rows_of = tuple((k, 0) for k in range(samples)) + tuple((k, role + 1) for role in range(roles) for k in guided)
    compared = [tuple(samples + role * again + i for i in range(again)) for role in range(roles) if again]
    return Plan(rows_of, tuple(range(samples)), tuple(compared))


@dataclass(frozen=True, slots=True, eq=False)
class Bound:
    """A layout with its conditioning, and its indices on the device, for as many calls as it fits.

    Args:
        rows, best, guided: the sample of each row, the row of each sample, the guided samples.
        others: of each role, the row of each guided sample.
    """

    plan: Plan
    cond: Conditioning
    rows: Tensor
    best: Tensor
    guided: Tensor
    others: tuple[Tensor, ...]
    _known: dict[tuple[float, ...], Tensor] = field(default_factory=dict)

    @classmethod
    def of(cls, plan: Plan, cond: Conditioning, guided: Sequence[int], device: torch.device) -> "Bound":
        """Put the indices of a layout on a device."""
        rows, best, own, *others = (
            torch.tensor(index, dtype=torch.int64, device=device)
            for index in ([sample for sample, _ in plan.rows], plan.best, guided, *plan.others)
        )
        return cls(plan, cond, rows, best, own, tuple(others))

    def numbers(self, values: Sequence[float], like: Tensor) -> Tensor:
        """Return one number for each row of `like`, copied to the device where it has not been before."""
        key = tuple(values)
        if key not in self._known:
            self._known[key] = torch.tensor(key, device=like.device)
        return expand(self._known[key], like)


class Batch:
    """Samples that share their network calls for as long as none of them ends.

    Args:
        components: the model.
        rows: the samples.
        repeated: the shape of a former call that is repeated for one sample; None to compute freely.
    """

    def __init__(self, components: Components, rows: Sequence[Row], repeated: CallShape | None = None) -> None:
        self.components, self.rows, self.repeated = components, rows, repeated
        sets = {tuple((key_of(adapter), weight) for adapter, weight in row.adapters) for row in rows}
        self.mixed = len(sets) > 1 if repeated is None else repeated.mixed
        self._adapters = _union(rows) if self.mixed else rows[0].adapters
        self._active = ActiveAdapters(components, self._adapters) if self._adapters else None
        self._bound: dict[tuple[tuple[int, ...], ...], Bound] = {}

    @torch.no_grad()
    def __call__(
        self, x: Tensor, sigma: Sequence[float], steps: Sequence[int], ends: Sequence[float]
    ) -> tuple[Tensor, list[CallShape]]:
        """Run the network once.

        Args:
            x: (B, *d), a row for each sample.
            sigma: the level of each sample.
            steps: the step of each sample, from 0.
            ends: the level at which the step of each sample ends, for a network that takes it.

        Returns:
            x0 (B, *d), guided, and the shape of the call as the metadata of each sample records it.
        """
        guided = [k for k, (row, level) in enumerate(zip(self.rows, sigma, strict=True)) if row.is_guided(level)]
        turns = tuple(row.conditioning.turn(step) for row, step in zip(self.rows, steps, strict=True))
        bound = self._planned(tuple(guided), turns)
        levels = torch.tensor(
            [sigma[sample] for sample, _ in bound.plan.rows],
            dtype=torch.promote_types(x.dtype, torch.float32), device=x.device,
        )  # fmt: skip
        cond = bound.cond
        if self.components.denoiser.takes_end:
            cond = replace(cond, end=place(levels.new_tensor([ends[sample] for sample, _ in bound.plan.rows])))
        answers = self._run(x.index_select(0, bound.rows), levels, cond)
        x0 = answers.index_select(0, bound.best)
        if guided:
            chosen, here = [self.rows[k] for k in guided], [sigma[k] for k in guided]
            others = [answers.index_select(0, rows) for rows in bound.others]
            pushed = _guide(chosen, here, bound.numbers, x0.index_select(0, bound.guided), others)
            x0 = x0.index_copy(0, bound.guided, pushed)
        return x0, [self._shape(k, guided, bound.cond) for k in range(len(self.rows))]

    def _planned(self, guided: tuple[int, ...], turns: tuple[int, ...]) -> Bound:
        """Return the layout of a call and its conditioning, which change only where guided samples or prompts do."""
        if (guided, turns) not in self._bound:
            roles = max(row.roles for row in self.rows) - 1
            if self.repeated is not None and self.repeated.guided:
                roles = max(roles, 1)  # of its neighbours, where this sample is not guided
            plan = plan_call(len(self.rows), guided, roles, self.repeated)
            cond = collate([self._conditioning(sample, role, turns[sample]) for sample, role in plan.rows])
            if self.repeated is not None:
                cond = _padded(cond, self.repeated)
            self._bound = {(guided, turns): Bound.of(plan, cond, guided, self.components.device)}
        return self._bound[guided, turns]

    def _conditioning(self, sample: int, role: int, turn: int) -> Conditioning:
        row = self.rows[sample]
        cond = row.conditioning.turns[turn][min(role, row.roles - 1)]
        if not self.mixed or not self._adapters:
            return cond
        weights = {key_of(adapter): weight for adapter, weight in row.adapters}
        scales = [weights.get(key_of(adapter), 0.0) for adapter, _ in self._adapters]
        return replace(cond, adapter_scales=torch.tensor([scales], device=self.components.device))

    def _run(self, x: Tensor, sigma: Tensor, cond: Conditioning) -> Tensor:
        """Run the network on all rows of a call, in tiles where the samples ask for them."""
        settings, denoiser = self.rows[0].settings, self.components.denoiser
        if self.mixed and self._active is not None:
            denoiser = Denoiser(PerSampleLora(denoiser.net, self._active), denoiser.process, denoiser.kind)
        denoise = denoiser.bind(cond)
        if settings.tile is not None:
            side = settings.tile // self.components.space.factor
            denoise = tiled(denoise, (side, side), (side // OVERLAP, side // OVERLAP))
        narrow = None if settings.dtype == self.components.dtype else NARROW[settings.dtype]
        applied = nullcontext() if self._active is None else self._active.on()
        with applied, torch.autocast(x.device.type, narrow, enabled=narrow is not None):
            return denoise(x, sigma)

    def _shape(self, sample: int, guided: Sequence[int], cond: Conditioning) -> CallShape:
        if self.repeated is not None:
            return replace(self.repeated, calls=1)
        place = guided.index(sample) if sample in guided else -1
        tokens = 0 if cond.tokens is None else cond.tokens.shape[1]
        return CallShape(1, len(self.rows), sample, len(guided), place, tokens, cond.mask is not None, self.mixed)


def _guide(
    rows: Sequence[Row], sigma: Sequence[float], numbers: Numbers, best: Tensor, others: Sequence[Tensor]
) -> Tensor:
    """Apply classifier-free guidance: null + scale*(best - null), or InstructPix2Pix's with an image, then rescale.

    Where AND joins prompts, best is first null + sum of weight*(prompt - null), all without the text in null.
    Source: Liu et al. 2022, "Compositional visual generation with composable diffusion models", eq. 11.
    """

    def scale(name: str) -> Tensor:
        return numbers(
            [getattr(row.settings, name) or 0.0 if row.guides(s) else 1.0 for row, s in zip(rows, sigma, strict=True)],
            best,
        )

    weights = [row.conditioning.weights for row in rows]
    if more := max(0, len(weights[0]) - 1):
        null, joined, others = others[0], [best, *others[-more:]], others[:-more]
        best = null + sum(
            numbers(each, best) * (one - null) for each, one in zip(zip(*weights, strict=True), joined, strict=True)
        )
    if len(others) == 1:
        pushed = extrapolate(scale("guidance_scale"), best, others[0])
    else:
        near, base = others
        pushed = extrapolate(scale("image_guidance"), near, base) + scale("guidance_scale") * (best - near)
    return rescaled(pushed, best, numbers([row.settings.guidance_rescale for row in rows], best))


def _union(rows: Sequence[Row]) -> tuple[tuple[Adapter, float], ...]:
    """List the adapters of all samples once, each with weight 1."""
    found = {key_of(adapter): adapter for row in rows for adapter, _ in row.adapters}
    return tuple((adapter, 1.0) for adapter in found.values())


def _padded(cond: Conditioning, shape: CallShape) -> Conditioning:
    """Pad tokens with zeros to the length of a former call, with a mask where that had one."""
    if cond.tokens is None or not shape.masked:
        return cond
    more = max(0, shape.tokens - cond.tokens.shape[1])
    mask = cond.tokens.new_ones(cond.tokens.shape[:2], dtype=torch.bool) if cond.mask is None else cond.mask
    return replace(cond, tokens=F.pad(cond.tokens, (0, 0, 0, more)), mask=F.pad(mask, (0, more)))
