"""The change that one module of a LoRA file makes to one weight.

    LoRA  s·B·A    LoHa  s·(B1·A1)∘(B2·A2)    LoKr  s·W1⊗W2    DoRA  m·(W + D)/‖W + D‖ - W        s = alpha/rank

Source: Hu et al. 2021 (LoRA), section 4.1; Hyeon-Woo et al. 2022 (FedPara); Yeh et al. 2024 (LyCORIS), section 3; Liu
et al. 2024 (DoRA), eq. 5.
"""

from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from unnoise.errors import InputError

TINY = torch.finfo(torch.float32).tiny  # the least norm of a row, so that a row of zeros stays zero


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
class Replacement:
    """New values of a weight, (out, in, *kernel) or (channels)."""

    value: Tensor

    def change(self, weight: Tensor) -> Tensor:
        """Return the difference of the new values and the weight."""
        return _shaped(self.value.float(), weight) - weight.float()

    def count(self) -> int:
        """Return its size."""
        return self.value.numel()


@dataclass(frozen=True, slots=True, eq=False)
class Dora:
    """m·(W + D)/‖W + D‖ - W, where D is the inner change.

    Args:
        inner: D.
        magnitude: m, of as many values as the axis has.
        axis: of the weight whose every index has a magnitude: 0 is the rows (outputs), 1 the columns (inputs).
    """

    inner: Delta
    magnitude: Tensor
    axis: Literal[0, 1] = 0

    def change(self, weight: Tensor) -> Tensor:
        """Return the change that gives every row, or column, its magnitude."""
        base = weight.float()
        updated = base + self.inner.change(weight)
        if self.magnitude.numel() != weight.shape[self.axis]:
            raise InputError(
                f"{self.magnitude.numel()} magnitudes of {('outputs', 'inputs')[self.axis]}, for a weight "
                f"{list(weight.shape)}"
            )
        shape = [-1 if k == self.axis else 1 for k in range(weight.ndim)]
        norm = updated.movedim(self.axis, 0).flatten(1).norm(dim=1).reshape(shape)
        return self.magnitude.float().reshape(norm.shape) * updated / norm.clamp_min(TINY) - base

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


def on_device(delta: Delta, device: torch.device) -> Delta:
    """Return a change whose tensors are on the device of the weight that it changes."""

    def moved(value: Any) -> Any:
        if isinstance(value, Tensor):
            return value.to(device)
        if isinstance(value, tuple):
            return tuple(map(moved, value))
        inner: Any = value
        return on_device(inner, device) if is_dataclass(value) else value

    parts: Any = delta
    return replace(parts, **{field.name: moved(getattr(delta, field.name)) for field in fields(parts)})


def rows(delta: Delta, first: int, last: int, total: int) -> Delta:
    """Return the change of rows first to last of a fused weight of `total` rows; a `last` above it continues at row 0.

    Raises InputError where the change has another number of rows.
    """
    if isinstance(delta, Dora) and delta.axis:
        raise InputError("magnitudes of the inputs of a fused layer, which is split here; merge it with its own tool")
    index = torch.arange(first, last) % total
    values = _values_of_rows(delta)
    if values is not None and len(values) != total:
        raise InputError(f"a change of {len(values)} rows, for a fused layer of {total}")
    if isinstance(delta, LowRank):
        return delta.rows(index)
    if isinstance(delta, Dora):
        return Dora(rows(delta.inner, first, last, total), delta.magnitude.flatten()[index])
    if isinstance(delta, Replacement):
        return Replacement(delta.value[index])
    return Rows(delta, index, total)


def bias_rows(bias: Tensor, first: int, last: int, total: int) -> Tensor:
    """Return the part of a fused layer's bias as `rows` does of its weight. Raises InputError for another length."""
    if len(bias) != total:
        raise InputError(f"a bias of {len(bias)}, for a fused layer of {total} outputs")
    return bias[torch.arange(first, last) % total]


def _values_of_rows(delta: Delta) -> Tensor | None:
    """Return a tensor with one entry for each row of the change, None for a kind that has none."""
    if isinstance(delta, LowRank):
        return delta.up
    if isinstance(delta, Dora):
        return delta.magnitude.flatten()
    return delta.value if isinstance(delta, Replacement) else None


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
