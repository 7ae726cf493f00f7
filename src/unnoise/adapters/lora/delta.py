"""What one module of a LoRA file adds to one weight, and how it is computed for x without making that weight.

    LoRA  s·B·A    LoHa  s·(B1·A1)∘(B2·A2)    LoKr  s·W1⊗W2    DoRA  m·(W + D)/‖W + D‖ - W        s = alpha/rank

Source: Hu et al. 2021 (LoRA), section 4.1; Hyeon-Woo et al. 2022 (FedPara); Yeh et al. 2024 (LyCORIS), section 3; Liu
et al. 2024 (DoRA), eq. 5.
"""

from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from unnoise.errors import InputError


class Delta(Protocol):
    """The change of one weight at strength 1."""

    def change(self, weight: Tensor) -> Tensor:
        """Give what is added to a weight (out, in, ...), in its shape and in float32. Raises InputError for another shape.

        All but DoRA only ask the weight for its shape.
        """

    def count(self) -> int:
        """Give how many numbers it holds."""


@dataclass(frozen=True, slots=True, eq=False)
class LowRank:
    """scale·B·A. down: A, (rank, in, *kernel); up: B, (out, rank)."""

    down: Tensor
    up: Tensor
    scale: float = 1.0

    @property
    def rank(self) -> int:
        """Rows of A."""
        return len(self.down)

    def change(self, weight: Tensor) -> Tensor:
        """Give scale·B·A."""
        made = self.scale * self.up.float() @ self.down.float().flatten(1)
        return _shaped(made, weight)

    def count(self) -> int:
        """Count A and B."""
        return self.down.numel() + self.up.numel()

    def rows(self, which: Tensor) -> "LowRank":
        """Take the change of some rows of the weight."""
        return replace(self, up=self.up[which])


@dataclass(frozen=True, slots=True, eq=False)
class LoHa:
    """scale·(B1·A1)∘(B2·A2). left: B, (out, rank); right: A, (rank, in·kernel).

    cores: (rank, rank, *kernel), None or one for each factor, which is core·left·right then, with left (rank, out).
    """

    left: tuple[Tensor, Tensor]
    right: tuple[Tensor, Tensor]
    cores: tuple[Tensor, Tensor] | None = None
    scale: float = 1.0

    def change(self, weight: Tensor) -> Tensor:
        """Give the product of both factors, number by number."""
        cores = self.cores or (None, None)
        one, other = (
            _factor(left.float(), right.float(), core)
            for left, right, core in zip(self.left, self.right, cores, strict=True)
        )
        return _shaped(self.scale * one * other, weight)

    def count(self) -> int:
        """Count all factors."""
        return sum(part.numel() for part in (*self.left, *self.right, *(self.cores or ())))


@dataclass(frozen=True, slots=True, eq=False)
class LoKr:
    """scale·W1⊗W2, each whole or a product of two. first: (o1, i1); second: (o2, i2, *kernel) or (o2, i2·kernel)."""

    first: Tensor
    second: Tensor
    scale: float = 1.0

    def change(self, weight: Tensor) -> Tensor:
        """Give Kronecker's product."""
        made = torch.kron(self.first.float(), self.second.float().flatten(1))
        return _shaped(self.scale * made, weight)

    def count(self) -> int:
        """Count both factors."""
        return self.first.numel() + self.second.numel()


@dataclass(frozen=True, slots=True, eq=False)
class FullDelta:
    """A difference as it is, (out, in, *kernel)."""

    difference: Tensor

    def change(self, weight: Tensor) -> Tensor:
        """Give it."""
        return _shaped(self.difference.float(), weight)

    def count(self) -> int:
        """Count it."""
        return self.difference.numel()


@dataclass(frozen=True, slots=True, eq=False)
class Dora:
    """m·(W + D)/‖W + D‖ - W, D being the inner change. magnitude: m, of (out) rows or (1, in, ...) columns."""

    inner: Delta
    magnitude: Tensor

    def change(self, weight: Tensor) -> Tensor:
        """Give what brings every row, or column, to its magnitude."""
        base = weight.float()
        turned = base + self.inner.change(weight)
        behind = [1] * (weight.ndim - 1)
        by_column = self.magnitude.ndim > 1 and len(self.magnitude) == 1 and self.magnitude.shape[1] > 1
        if by_column and self.magnitude.numel() != len(weight):
            norm = turned.transpose(0, 1).flatten(1).norm(dim=1).reshape(1, -1, *behind[1:])
        else:
            norm = turned.flatten(1).norm(dim=1).reshape(-1, *behind)
        if self.magnitude.numel() != norm.numel():
            raise InputError(
                f"magnitude {list(self.magnitude.shape)}: one for each row of a weight {list(weight.shape)}"
            )
        return self.magnitude.float().reshape(norm.shape) * turned / norm - base

    def count(self) -> int:
        """Count the inner change and the magnitudes."""
        return self.inner.count() + self.magnitude.numel()


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Some rows of a change that is not of low rank: the weight in the file is wider, of `of` rows."""

    inner: Delta
    which: Tensor
    of: int

    def change(self, weight: Tensor) -> Tensor:
        """Give those rows."""
        return self.inner.change(weight.new_empty(self.of, *weight.shape[1:]))[self.which]

    def count(self) -> int:
        """Count these rows' share."""
        return self.inner.count() * len(self.which) // self.of


def rows(delta: Delta, first: int, last: int, of: int) -> Delta:
    """Take the change of some rows of a fused weight of `of` rows, which go on at the first row where `last` is above.

    Raises InputError where the change has another number of rows.
    """
    which = torch.arange(first, last) % of
    held = delta.up if isinstance(delta, LowRank) else delta.magnitude.flatten() if isinstance(delta, Dora) else None
    if held is not None and len(held) != of:
        raise InputError(f"{len(held)} rows, of a fused layer of {of}")
    if isinstance(delta, LowRank):
        return delta.rows(which)
    if isinstance(delta, Dora):
        return Dora(rows(delta.inner, first, last, of), delta.magnitude.flatten()[which])
    return Rows(delta, which, of)


def _factor(left: Tensor, right: Tensor, core: Tensor | None) -> Tensor:
    if core is None:
        return left.float() @ right.float().flatten(1)
    return torch.einsum("ij...,jr,ip->pr...", core.float(), right.float(), left.float()).flatten(1)


def _shaped(made: Tensor, weight: Tensor) -> Tensor:
    if made.numel() != weight.numel() or len(made) != len(weight):
        raise InputError(f"a change of {made.numel()} numbers in {len(made)} rows, for a weight {list(weight.shape)}")
    return made.reshape(weight.shape)
