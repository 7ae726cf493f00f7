"""Data of one's own, as rows of the batch of a step: tensors, a Dataset, batches of an iterable, or a function."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, default_collate

from unnoise.data.dataset import ImageDataset
from unnoise.data.samples import ImageSamples
from unnoise.data.shuffle import SAMPLE, nth_row
from unnoise.diffusion.noise import numbers
from unnoise.errors import InputError, quoted
from unnoise.generation.own_net import NetInputs, net_inputs
from unnoise.spaces.space import Affine, measure

MEASURED, VALUES = 4096, 1 << 24  # samples, or numbers, of which shift and scale are measured where not all are there
FIRST = -1  # the step of the samples that a function draws to be measured
LEAST = 1e-3  # of the largest deviation: a channel that varies less has no scale of its own
Batch = tuple[Tensor, NetInputs | None]
DrawBatch = Callable[[int, torch.Generator], Any]


class OwnData(Protocol):
    """Samples of one's own."""

    count: int | None  # None if unknown
    description: str  # by which a run is resumed only on the same data

    def first(self) -> Batch:
        """Return samples to measure; all where they are in memory."""

    def rows(self, step: int, rows: range, batch: int) -> Batch:
        """Return some rows of the batch of a step."""


def own_data(data: Any, seed: int, batch: int) -> OwnData:
    """Return data of any kind that `unnoise.train.fit` takes.

    Raises InputError for another kind, for a shape or values that cannot be trained on.
    """
    if isinstance(data, ImageDataset):
        data = ImageSamples(data)
    if hasattr(data, "__array__") or _is_pair(data):  # a tensor has it, too
        return _InMemory(checked(data), seed)
    if isinstance(data, IterableDataset):
        data = DataLoader(data, batch)
    if isinstance(data, Iterable) and not (hasattr(data, "__getitem__") and hasattr(data, "__len__")):
        return _Batches(data)
    if hasattr(data, "__getitem__") and hasattr(data, "__len__"):
        return _Indexed(data, seed)
    if callable(data):
        return _Drawn(data, seed)
    raise InputError(
        f"data {quoted(data)}: a tensor (N, *d), a pair (x, cond), a Dataset, an iterable of batches, or a function "
        f"(n, generator) -> x"
    )


def _is_pair(data: Any) -> bool:
    return isinstance(data, tuple | list) and len(data) == 2 and hasattr(data[0], "__array__")


def checked(batch: Any, where: str = "data") -> Batch:
    """Return x (B, *d) in float32 and the conditioning of a batch: x, (x, cond). Raises InputError."""
    x, cond = (batch[0], batch[1]) if isinstance(batch, tuple | list) and len(batch) == 2 else (batch, None)
    if isinstance(batch, tuple | list) and len(batch) == 1:
        x = batch[0]
    try:
        x = torch.as_tensor(x)
    except (TypeError, ValueError, RuntimeError):
        raise InputError(f"{where} {quoted(x)}: x must be a tensor (N, *d)") from None
    if x.ndim == 0 or x.is_complex() or len(x) == 0:
        raise InputError(f"{where}: {x.dtype} of shape {tuple(x.shape)}; real numbers (N, *d), N at least 1")
    x = x.detach().float()
    if not x.isfinite().all():
        row = int((~x.isfinite()).flatten(1).any(1).nonzero()[0]) if x.ndim > 1 else int((~x.isfinite()).nonzero()[0])
        raise InputError(f"{where}: NaN or infinity in sample {row}; every number must be finite")
    inputs = None if cond is None else net_inputs(cond, f"{where}: cond")
    if inputs is not None and len(inputs) != len(x):
        raise InputError(f"{where}: cond of {len(inputs)} rows for {len(x)} samples; one row for each")
    return x, inputs


def measured(x: Tensor) -> Affine:
    """Measure shift and scale of each channel, or of all values where a channel hardly varies.

    x: (N, *d). Raises InputError for data that is constant.
    """
    if x.ndim > 1:
        try:
            shift, scale = measure(lambda data: data, [x])
            if min(scale) > LEAST * max(scale):
                return Affine(len(scale), shift, scale)
        except InputError:
            pass
    try:
        shift, scale = measure(lambda data: data, [x.reshape(len(x), 1, -1)])
    except InputError:
        raise InputError(f"data: every value is {x.flatten()[0]:g}; nothing can be learnt of it") from None
    return Affine(1, shift, scale)


class _InMemory:
    """Tensors; every sample once an epoch, in a new order."""

    def __init__(self, whole: Batch, seed: int) -> None:
        (self.x, self.cond), self.seed = whole, seed
        self.count: int | None = len(self.x)
        tensors = [self.x] if self.cond is None else [self.x, *self.cond.tensors.values()]
        digest = hashlib.sha256(b"".join(one.contiguous().numpy().tobytes() for one in tensors)).hexdigest()
        self.description = f"{tuple(self.x.shape)} {digest[:12]}"

    def first(self) -> Batch:
        return self.x, self.cond

    def rows(self, step: int, rows: range, batch: int) -> Batch:
        index = [nth_row(self.seed, step * batch + row, len(self.x)) for row in rows]
        return self.x[index], None if self.cond is None else self.cond.rows(index)


class _Indexed:
    """A Dataset with a length; every sample once an epoch, in a new order."""

    def __init__(self, dataset: Any, seed: int) -> None:
        self.dataset, self.seed = dataset, seed
        self.count: int | None = len(dataset)
        if self.count == 0:
            raise InputError("data: a Dataset of 0 samples; at least 1")
        self.description = f"{type(dataset).__name__} of {self.count}"

    def first(self) -> Batch:
        assert self.count is not None
        return self._at(range(0, self.count, -(-self.count // MEASURED)))

    def rows(self, step: int, rows: range, batch: int) -> Batch:
        assert self.count is not None
        return self._at([nth_row(self.seed, step * batch + row, self.count) for row in rows])

    def _at(self, index: Iterable[int]) -> Batch:
        return checked(default_collate([self.dataset[i] for i in index]))


class _Batches:
    """Batches of an iterable, a DataLoader for example, again from its start where it ends.

    Its order is its own: a run that resumes reads past what was trained on.
    """

    def __init__(self, batches: Iterable[Any]) -> None:
        self.batches, self.description = batches, type(batches).__name__
        self.count: int | None = None
        self.stream = self._endless()
        first = next(self.stream)
        assert first is not None
        self.step, self.ahead, self.current = -1, first, first

    def first(self) -> Batch:
        while len(self.ahead[0]) < MEASURED and self.ahead[0].numel() < VALUES:
            more = next(self.stream)
            if more is None:
                break
            self.ahead = _joined(self.ahead, more)
        return self.ahead

    def rows(self, step: int, rows: range, batch: int) -> Batch:
        while self.step < step:
            while len(self.ahead[0]) < batch:
                more = next(self.stream)
                self.ahead = self.ahead if more is None else _joined(self.ahead, more)
            self.current, self.ahead = _cut(self.ahead, slice(batch)), _cut(self.ahead, slice(batch, None))
            self.step += 1
        return _cut(self.current, slice(rows.start, rows.stop))

    def _endless(self) -> Iterator[Batch | None]:
        """Yield the batches again and again, and None after the last of each pass."""
        while True:
            found = False
            for number, batch in enumerate(self.batches):
                found = True
                yield checked(batch, f"data: batch {number}")
            if not found:
                raise InputError("data: the iterable has no batches, or ended and cannot be read again; give a list")
            yield None


class _Drawn:
    """A function (n, generator) that draws n samples."""

    def __init__(self, function: DrawBatch, seed: int) -> None:
        self.function, self.seed = function, seed
        self.count: int | None = None
        self.description = getattr(function, "__qualname__", type(function).__name__)
        self.drawn: tuple[tuple[int, int], Batch] | None = None

    def first(self) -> Batch:
        return self._draw(FIRST, MEASURED)

    def rows(self, step: int, rows: range, batch: int) -> Batch:
        if self.drawn is None or self.drawn[0] != (step, batch):
            self.drawn = (step, batch), self._draw(step, batch)
        return _cut(self.drawn[1], slice(rows.start, rows.stop))

    def _draw(self, step: int, count: int) -> Batch:
        generator = torch.Generator().manual_seed(int(numbers(self.seed, SAMPLE, step).integers(2**63)))
        found = checked(self.function(count, generator), "data: the function")
        if len(found[0]) != count:
            raise InputError(f"data: the function returned {len(found[0])} samples, {count} were asked for")
        return found


def _cut(batch: Batch, rows: slice) -> Batch:
    return batch[0][rows], None if batch[1] is None else batch[1].rows(rows)


def _joined(a: Batch, b: Batch) -> Batch:
    """Join two batches. Raises InputError where they do not fit each other."""
    if a[0].shape[1:] != b[0].shape[1:] or (a[1] is None) != (b[1] is None):
        raise InputError(f"data: batches of {_shown(a)} and of {_shown(b)}; all must be the same")
    if a[1] is None or b[1] is None:
        return torch.cat([a[0], b[0]]), None
    cond: Mapping[str, Tensor] = {name: torch.cat([value, b[1].tensors[name]]) for name, value in a[1].tensors.items()}
    return torch.cat([a[0], b[0]]), NetInputs(cond)


def _shown(batch: Batch) -> str:
    return f"{tuple(batch[0].shape[1:])} {'with' if batch[1] else 'without'} conditioning"
