"""What a call of a network costs, from shapes alone: it runs on the meta device, where nothing is computed or held.

Every tensor that an operation makes counts from then until nothing holds it, and so does what the kernels of the device
need while they work. On the CPU that is oneDNN's own copies of what it is given, as torch's allocator was seen to make
them (torch 2.13, AVX-512; what bfloat16 takes depends on the machine and is tried out there, see `narrow`); of other
devices nothing is known and only tensors count. Weights do not count.
"""

import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import group_norm, scaled_dot_product_attention
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from unnoise.errors import InputError
from unnoise.estimate.bfloat16 import Bfloat16, bfloat16

aten = torch.ops.aten
FLASH = aten._scaled_dot_product_flash_attention_for_cpu
PRODUCTS = (aten.addmm.default, aten.mm.default, aten.bmm.default, aten.baddbmm.default)
CONVOLUTIONS = (aten.convolution.default, aten._convolution.default)
NORMS = (aten.native_layer_norm.default, aten.native_group_norm.default)
ANY = (aten.any.default, aten.any.dim)
NARROWED = ("conv1d", "conv2d", "conv3d", "linear", "matmul", "__matmul__", "bmm", "baddbmm", "addmm", "mm")
LANES = 16  # channels of a block of oneDNN's layouts
UNANSWERED = (RuntimeError, NotImplementedError, TypeError, ValueError, LookupError, AttributeError)


@dataclass(frozen=True, slots=True)
class Cost:
    """Say what a call takes: bytes at its peak beside the weights, floating-point operations, bytes moved by the rest.

    moved: read and written by operations that are not products, whose time is that of the memory.
    """

    peak: int = 0
    flops: int = 0
    moved: int = 0


@dataclass(frozen=True, slots=True)
class Kernels:
    """Say which kernels will run.

    device: "cpu", "cuda", ...; kept: weights that their layers keep in oneDNN's layout, see `foreign.packed`;
    narrow: what autocast narrows products to; halves: how the CPU computes in bfloat16, None for how this one does.
    """

    device: str = "cpu"
    kept: frozenset[int] = frozenset()
    narrow: torch.dtype | None = None
    halves: Bfloat16 | None = None

    def keeps(self, weight: Tensor) -> bool:
        """Say whether a weight, or a view of it, is kept in another layout."""
        return self.device == "cpu" and _place(weight) in self.kept


def kept(weights: Iterable[Tensor]) -> frozenset[int]:
    """Name the weights that layers keep in oneDNN's layout."""
    return frozenset(map(_place, weights))


def cost(call: Callable[[], object], kernels: Kernels = Kernels()) -> Cost:
    """Measure a call on the meta device; what it makes and returns counts as well.

    Raises InputError where it asks for values, which are not there.
    """
    if kernels.device == "cpu" and kernels.halves is None:
        kernels = replace(kernels, halves=bfloat16())  # before the modes below, which would take the tries for the call
    meter = _Meter(kernels)
    try:
        with torch.no_grad(), ExitStack() as stack:
            stack.enter_context(meter)
            stack.enter_context(_Chosen(kernels))
            call()
    except InputError:
        raise
    except UNANSWERED as error:
        raise InputError(f"costs: cannot be told without the weights: {str(error).partition(chr(10))[0]}") from None
    return Cost(meter.peak, meter.flops, meter.moved)


class _Meter(TorchDispatchMode):
    """Count what operations make, and when it goes."""

    def __init__(self, kernels: Kernels) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.kernels = kernels
        self.live = self.peak = self.flops = self.moved = 0
        self.last: Any = None

    def __torch_dispatch__(
        self, func: Any, types: object, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is aten._local_scalar_dense.default and args[0].is_meta:
            return torch.full((), self.last not in ANY, dtype=args[0].dtype).item()  # all are alike, none is odd
        out, self.last = func(*args, **kwargs), func
        if self.kernels.device == "cpu":
            out = _as_on_cpu(func, args, out)
        given = {_place(tensor): tensor for tensor in _tensors((args, kwargs))}
        made = {_place(tensor): tensor for tensor in _tensors(out) if _place(tensor) not in given}
        for tensor in made.values():
            self._hold(tensor)
        extra = workspace(func, args, out, self.kernels) if self.kernels.device == "cpu" else 0
        self.peak = max(self.peak, self.live + extra)
        flops = _flops(func, args, kwargs, out)
        self.flops += flops
        if not flops and (made or func._schema.is_mutable):
            self.moved += sum(map(_size, (*given.values(), *made.values())))
        return out

    def _hold(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        size = storage.nbytes()
        self.live += size

        def gone() -> None:
            self.live -= size

        weakref.finalize(storage, gone).atexit = False


class _Chosen(TorchFunctionMode):
    """Choose what the device would choose and the meta device does not: fused attention, layouts, narrow products."""

    def __init__(self, kernels: Kernels) -> None:
        super().__init__()
        self.kernels = kernels

    def __torch_function__(
        self, func: Any, types: object, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if self.kernels.narrow is not None and (
            func is scaled_dot_product_attention or getattr(func, "__name__", "") in NARROWED
        ):
            args, kwargs = self._narrowed(args), {name: self._narrowed((value,))[0] for name, value in kwargs.items()}
        if func is scaled_dot_product_attention:
            return _attention(*args, **kwargs)
        if func is group_norm and self.kernels.device == "cpu" and _channels_last(args[0]):
            return torch.empty_like(args[0])
        if func is torch.conv2d and self.kernels.keeps(args[1]):
            args = (args[0].contiguous(memory_format=torch.channels_last), *args[1:])
        return func(*args, **kwargs)

    def _narrowed(self, values: tuple[Any, ...]) -> tuple[Any, ...]:
        wide = (isinstance(value, Tensor) and value.is_floating_point() for value in values)
        return tuple(value.to(self.kernels.narrow) if is_ else value for is_, value in zip(wide, values, strict=True))


def _attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """Attend as a fused kernel does, without a table of scores, where its shapes let it."""
    fused = query.ndim == 4 and query.shape[-1] == value.shape[-1] and query.shape[1] == key.shape[1]
    if not fused or dropout_p:
        more: dict[str, Any] = {"scale": scale, "enable_gqa": enable_gqa}
        return scaled_dot_product_attention(query, key, value, attn_mask, dropout_p, is_causal, **more)
    if attn_mask is not None and attn_mask.dtype == torch.bool:
        attn_mask = torch.empty_like(attn_mask, dtype=query.dtype)
    found: Tensor = FLASH(query, key, value, 0.0, is_causal, attn_mask=attn_mask, scale=scale)[0]
    return found


def _as_on_cpu(func: Any, args: tuple[Any, ...], out: Any) -> Any:
    """Lay an answer out as the CPU does where the meta device does not: what is given decides, also of one row."""
    first = args[0] if args else None
    if not isinstance(first, Tensor) or not isinstance(out, Tensor):
        return out
    if func in CONVOLUTIONS and _channels_last(first):
        return torch.empty_like(out, memory_format=torch.channels_last)
    if out.shape == first.shape and out.stride()[1:] == first.stride()[1:]:
        return out.as_strided(out.shape, first.stride())
    return out


def workspace(func: Any, args: tuple[Any, ...], out: Any, kernels: Kernels) -> int:
    """Give the bytes that a kernel of the CPU needs beside what it is given and answers."""
    if func in CONVOLUTIONS:
        return _convolution(args[0], args[1], out, kernels)
    if func in PRODUCTS:
        other = args[2] if func in (aten.addmm.default, aten.baddbmm.default) else args[1]
        return _product(other, out, kernels) if other.dtype == torch.bfloat16 else 0
    if func is FLASH.default:
        return _flash(args[0], args[1])
    if func in NORMS:
        return 0 if _laid_out(args[0]) else _size(args[0])
    return 0


def _product(other: Tensor, out: Tensor, kernels: Kernels) -> int:
    """Give the copies of a product in bfloat16: of what is multiplied with, or of what is summed, a table a thread."""
    halves = kernels.halves or Bfloat16()
    if halves.sums:
        tables = out.shape[0] if out.ndim == 3 else 1
        return 4 * (out.numel() // max(tables, 1)) * min(tables, torch.get_num_threads())
    return _size(other) if halves.packs and not kernels.keeps(other) else 0


def _convolution(x: Tensor, weight: Tensor, out: Tensor, kernels: Kernels) -> int:
    """Give the copies in a blocked layout: of input, weights and output, and then of the output in both."""
    answer, last = _size(out), _channels_last(x)
    halves = kernels.halves or Bfloat16()
    wide = 0
    if x.dtype == torch.bfloat16:
        point = prod(weight.shape[2:]) == 1
        if halves.patches:
            again = _size(weight) if last and not point else 0
            return again + (0 if point and x.shape[2:] == out.shape[2:] else _patches(weight, out))
        if point and (halves.rows if last else halves.points):
            wide = 4 * torch.get_num_threads() * (out.numel() // max(len(out), 1))
    if last:
        return wide + (0 if kernels.keeps(weight) else _size(weight))
    if x.dtype == torch.bfloat16:
        return max(_size(x) + _size(weight) + wide, 2 * answer)
    blocked = answer * _up(out.shape[1], LANES) // out.shape[1]
    return max(_size(x) + _size(weight) + blocked - answer, blocked)


def _patches(weight: Tensor, out: Tensor) -> int:
    """Give the size of all patches side by side, of one group."""
    return len(out) * prod(weight.shape[1:]) * prod(out.shape[2:]) * weight.element_size()


def _flash(query: Tensor, key: Tensor) -> int:
    """Give the blocks of scores and answers of each thread, and packed keys and values for narrow numbers.

    Source: pytorch, aten/src/ATen/native/cpu/FlashAttentionKernel.cpp, cpu_flash_attention.
    """
    length, width = query.shape[-2:]
    rows = min(length, 256 if length >= 768 else 64 if length >= 192 else 32)
    columns = min(512, key.shape[-2])
    threads = torch.get_num_threads()
    block = 4 * threads * rows * (columns + width + 2)
    return block if query.dtype == torch.float32 else block + 2 * threads * rows * columns + 2 * _size(key)


def _flops(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> int:
    if func is FLASH.default:
        query, key, value = args[:3]
        return int(2 * prod(query.shape[:-1]) * key.shape[-2] * (query.shape[-1] + value.shape[-1]))
    count = flop_registry.get(func._overloadpacket)
    return 0 if count is None else int(count(*args, **kwargs, out_val=out))


def _tensors(tree: object) -> Iterator[Tensor]:
    return (leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor))


def _place(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata


def _size(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def _up(count: int, unit: int) -> int:
    return -(-count // unit) * unit


def _channels_last(x: Tensor) -> bool:
    """Say whether torch takes the channels of x to lie together, which the stride of a single row decides as well."""
    if x.ndim != 4 or x.is_contiguous() or not x.is_contiguous(memory_format=torch.channels_last):
        return False
    return x.stride(0) >= x[0].numel()


def _laid_out(x: Tensor) -> bool:
    return x.is_contiguous() or _channels_last(x)
