"""The change that one module of a LoRA file makes to one weight.

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
        """Return what is added to a weight (out, in, ...), in its shape and in float32. Only DoRA reads its values.

        Raises InputError for a weight of another shape.
        """

    def count(self) -> int:
        """Return the number of parameters."""


@dataclass(frozen=True, slots=True, eq=False)
class LowRank:
    """scale·B·A. down: A, (rank, in, *kernel); up: B, (out, rank)."""

    down: Tensor
    up: Tensor
    scale: float = 1.0

    @property
    def rank(self) -> int:
        """The number of rows of A."""
        return len(self.down)

    def change(self, weight: Tensor) -> Tensor:
        """Return scale·B·A."""
        return _shaped(self.scale * self.up.float() @ self.down.float().flatten(1), weight)

    def count(self) -> int:
        """Return the size of A and B."""
        return self.down.numel() + self.up.numel()

    def rows(self, index: Tensor) -> "LowRank":
        """Return the change of some rows of the weight."""
        return replace(self, up=self.up[index])


@dataclass(frozen=True, slots=True, eq=False)
class LoHa:
    """scale·(B1·A1)∘(B2·A2). left: B, (out, rank); right: A, (rank, in·kernel).

    cores: (rank, rank, *kernel), one for each factor, which is then core·left·right, with left (rank, out).
    """

    left: tuple[Tensor, Tensor]
    right: tuple[Tensor, Tensor]
    cores: tuple[Tensor, Tensor] | None = None
    scale: float = 1.0

    def change(self, weight: Tensor) -> Tensor:
        """Return the element-wise product of both factors."""
        cores = self.cores or (None, None)
        first, second = (
            _factor(left, right, core) for left, right, core in zip(self.left, self.right, cores, strict=True)
        )
        return _shaped(self.scale * first * second, weight)

    def count(self) -> int:
        """Return the size of all factors."""
        return sum(part.numel() for part in (*self.left, *self.right, *(self.cores or ())))


@dataclass(frozen=True, slots=True, eq=False)
class LoKr:
    """scale·W1⊗W2, the Kronecker product. first: (o1, i1); second: (o2, i2, *kernel) or (o2, i2·kernel)."""

    first: Tensor
    second: Tensor
    scale: float = 1.0

    def change(self, weight: Tensor) -> Tensor:
        """Return the Kronecker product."""
        return _shaped(self.scale * torch.kron(self.first.float(), self.second.float().flatten(1)), weight)

    def count(self) -> int:
        """Return the size of both factors."""
        return self.first.numel() + self.second.numel()


@dataclass(frozen=True, slots=True, eq=False)
class FullDelta:
    """A full difference, (out, in, *kernel)."""

    difference: Tensor

    def change(self, weight: Tensor) -> Tensor:
        """Return the difference."""
        return _shaped(self.difference.float(), weight)

    def count(self) -> int:
        """Return its size."""
        return self.difference.numel()


@dataclass(frozen=True, slots=True, eq=False)
class Dora:
    """m·(W + D)/‖W + D‖ - W, where D is the inner change. magnitude: m, of (out) rows or (1, in, ...) columns."""

    inner: Delta
    magnitude: Tensor

    def change(self, weight: Tensor) -> Tensor:
        """Return the change that gives every row, or column, its magnitude."""
        base = weight.float()
        updated = base + self.inner.change(weight)
        trailing = [1] * (weight.ndim - 1)
        by_column = self.magnitude.ndim > 1 and len(self.magnitude) == 1 and self.magnitude.shape[1] > 1
        if by_column and self.magnitude.numel() != len(weight):
            norm = updated.transpose(0, 1).flatten(1).norm(dim=1).reshape(1, -1, *trailing[1:])
        else:
            norm = updated.flatten(1).norm(dim=1).reshape(-1, *trailing)
        if self.magnitude.numel() != norm.numel():
            raise InputError(
                f"magnitude {list(self.magnitude.shape)}: one value for each row of a weight {list(weight.shape)}"
            )
        return self.magnitude.float().reshape(norm.shape) * updated / norm - base

    def count(self) -> int:
        """Return the size of the inner change and the magnitudes."""
        return self.inner.count() + self.magnitude.numel()


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Some rows of a change that is not of low rank, where the weight in the file has `total` rows."""

    inner: Delta
    index: Tensor
    total: int

    def change(self, weight: Tensor) -> Tensor:
        """Return the change of those rows."""
        return self.inner.change(weight.new_empty(self.total, *weight.shape[1:]))[self.index]

    def count(self) -> int:
        """Return the share of these rows in the size of the inner change."""
        return self.inner.count() * len(self.index) // self.total


def rows(delta: Delta, first: int, last: int, total: int) -> Delta:
    """Return the change of rows first to last of a fused weight of `total` rows; a `last` above it continues at row 0.

    Raises InputError where the change has another number of rows.
    """
    index = torch.arange(first, last) % total
    values = delta.up if isinstance(delta, LowRank) else delta.magnitude.flatten() if isinstance(delta, Dora) else None
    if values is not None and len(values) != total:
        raise InputError(f"a change of {len(values)} rows, for a fused layer of {total}")
    if isinstance(delta, LowRank):
        return delta.rows(index)
    if isinstance(delta, Dora):
        return Dora(rows(delta.inner, first, last, total), delta.magnitude.flatten()[index])
    return Rows(delta, index, total)


def _factor(left: Tensor, right: Tensor, core: Tensor | None) -> Tensor:
    if core is None:
        return left.float() @ right.float().flatten(1)
    return torch.einsum("ij...,jr,ip->pr...", core.float(), right.float(), left.float()).flatten(1)


def _shaped(change: Tensor, weight: Tensor) -> Tensor:
    if change.numel() != weight.numel() or len(change) != len(weight):
        raise InputError(
            f"a change of {change.numel()} numbers in {len(change)} rows, for a weight {list(weight.shape)}"
        )
    return change.reshape(weight.shape)
