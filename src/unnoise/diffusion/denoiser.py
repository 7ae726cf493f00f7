"""The only place where frames meet: a raw net in its native clock becomes a denoiser in the unit frame."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from itertools import chain
from typing import Protocol

import torch
from torch import Tensor, nn

from unnoise.diffusion.prediction import Kind, expand, known_kind, to_x0
from unnoise.diffusion.process import Process
from unnoise.errors import InputError


class Denoise(Protocol):
    """What samplers' drivers and wrappers see of a model."""

    def __call__(self, x: Tensor, sigma: Tensor) -> Tensor:
        """Give the expected x0. x: (B, *d) in the unit frame; sigma: (B,) in [0, inf] -> x0: (B, *d)."""


@dataclass(frozen=True, slots=True, eq=False)
class Conditioning:
    """The conditions of a batch; what a net does not use stays None. All None: length 0, fits any batch.

    tokens: (B, L, C); mask: (B, L) bool, True = a real token; vector: (B, C); label: (B,) int64; weight: (B,), guidance
    that a distilled net takes as an input; image: (B, c, *d), what a net sees beside x, on its cells; hint: (B, c, *D),
    a picture whose shapes a control follows, and hint_weight: (B,); look: (B, L, C), features of a picture that the
    result is to resemble, and look_weight: (B,); adapters: (B, K), how much each row wears of each of K adapters.
    """

    tokens: Tensor | None = None
    mask: Tensor | None = None
    vector: Tensor | None = None
    label: Tensor | None = None
    weight: Tensor | None = None
    image: Tensor | None = None
    hint: Tensor | None = None
    hint_weight: Tensor | None = None
    look: Tensor | None = None
    look_weight: Tensor | None = None
    adapters: Tensor | None = None

    def __post_init__(self) -> None:
        sizes = {name: len(value) for name, value in self.given().items()}
        if len(set(sizes.values())) > 1:
            raise InputError(f"cond: rows differ: {', '.join(f'{name} {size}' for name, size in sizes.items())}")
        if self.mask is not None and (self.tokens is None or self.mask.shape != self.tokens.shape[:2]):
            raise InputError(f"mask {tuple(self.mask.shape)}: (B, L) of tokens: (B, L, C)")

    def __len__(self) -> int:
        return next((len(value) for value in self.given().values()), 0)

    def given(self) -> dict[str, Tensor]:
        """Name the fields that are not None."""
        every = ((field.name, getattr(self, field.name)) for field in fields(self))
        return {name: value for name, value in every if value is not None}

    def rows(self, index: Tensor | slice | Sequence[int]) -> "Conditioning":
        """Pick rows, also repeatedly: rows([0] * 4) makes a batch of four from the first."""
        pick = index if isinstance(index, Tensor | slice) else list(index)
        return Conditioning(**{name: value[pick] for name, value in self.given().items()})

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> "Conditioning":
        """Move to a device; dtype acts on floating numbers only."""
        return Conditioning(
            **{
                name: value.to(device=device, dtype=dtype if value.is_floating_point() else None)
                for name, value in self.given().items()
            }
        )


def collate(conds: Sequence[Conditioning]) -> Conditioning:
    """Stack the rows of several conds; tokens are padded with zeros to the longest, with a mask that says so.

    Raises InputError where a field is given in one cond and missing in another, or its widths differ.
    """
    names = {frozenset(cond.given()) - {"mask"} for cond in conds}
    if len(names) > 1:
        raise InputError(f"cond: all or none of a batch have {', '.join(sorted(frozenset.union(*names)))}")
    if "tokens" in next(iter(names), frozenset()):
        conds = _padded(conds)
    parts = [cond.given() for cond in conds]
    try:
        return Conditioning(**{name: torch.cat([part[name] for part in parts]) for name in chain(*parts[:1])})
    except RuntimeError as error:
        raise InputError(f"cond: widths differ within a batch ({error})") from error


def _padded(conds: Sequence[Conditioning]) -> list[Conditioning]:
    """Bring tokens to one length and give all a mask, unless all have one length and none has a mask."""
    tokens = [cond.tokens for cond in conds if cond.tokens is not None]
    lengths = {part.shape[1] for part in tokens}
    if len(lengths) == 1 and all(cond.mask is None for cond in conds):
        return list(conds)
    padded = []
    for cond, part in zip(conds, tokens, strict=True):
        real = part.new_ones(part.shape[:2], dtype=torch.bool) if cond.mask is None else cond.mask
        more = max(lengths) - part.shape[1]
        longer = nn.functional.pad(part, (0, 0, 0, more))
        padded.append(replace(cond, tokens=longer, mask=nn.functional.pad(real, (0, more))))
    return padded


class Denoiser(nn.Module):
    """A net, the process it was trained on and the kind of its prediction: a denoiser in the unit frame.

    net(x: (B, *d) in the native frame, time: (B,), cond: Cond) -> out: (B, *d).
    A level above the process's sigma_max is answered as sigma_max is: the net has seen nothing noisier. Below
    sigma_min only the clock stays at its end, so that at sigma = 0 the answer is x (kinds eps, v and flow).
    """

    def __init__(self, net: nn.Module, process: Process, kind: Kind) -> None:
        super().__init__()
        known_kind(kind)
        self.net, self.process, self.kind = net, process, kind

    def predict(self, x: Tensor, sigma: Tensor, cond: Conditioning) -> Tensor:
        """Ask the net. x: (B, *d) in the unit frame; sigma: (B,) in [0, inf] -> out: (B, *d) of its kind.

        Raises InputError when sigma or cond does not have B rows, or the net answers with another shape.
        """
        if sigma.shape != x.shape[:1]:
            raise InputError(f"sigma {tuple(sigma.shape)}: one level for each of the {len(x)} rows of x")
        if len(cond) not in (0, len(x)):
            raise InputError(f"cond of {len(cond)} rows: as many as x, {len(x)}")
        time = self.process.time(sigma)
        a, b = self.process.scales(time)
        clock = time.to(torch.promote_types(x.dtype, torch.float32))
        out: Tensor = self.net(expand(torch.hypot(a, b), x) * x, clock, cond)
        if out.shape != x.shape:
            raise InputError(f"net: answers {tuple(out.shape)} where x is {tuple(x.shape)}")
        return out

    def forward(self, x: Tensor, sigma: Tensor, cond: Conditioning) -> Tensor:
        """Give the expected x0. x: (B, *d) in the unit frame; sigma: (B,) in [0, inf] -> x0: (B, *d).

        Raises InputError where `predict` does, and for kind eps at inf if the process goes there.
        """
        sigma = sigma.clamp(max=self.process.sigma_max)
        return to_x0(self.kind, self.predict(x, sigma, cond), x, sigma)

    def bind(self, cond: Conditioning) -> Denoise:
        """Fix the conditions."""

        def denoise(x: Tensor, sigma: Tensor) -> Tensor:
            return self(x, sigma, cond)

        return denoise
