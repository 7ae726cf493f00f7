"""The cost of a network call, from shapes alone: the call runs on the meta device, which allocates nothing.

A tensor counts from its creation until nothing refers to it. The scratch memory of kernels counts while they run. On
the CPU that is oneDNN's copies of its inputs, as observed in torch's allocator (torch 2.13, AVX-512; `bfloat16.py`
probes what bfloat16 takes). For other devices only tensors count. Weights do not count.
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
    """The cost of a call.

    Args:
        peak: bytes at the peak, without weights.
        flops: floating-point operations.
        moved: bytes read and written by operations other than matrix products.
    """

    peak: int = 0
    flops: int = 0
    moved: int = 0


@dataclass(frozen=True, slots=True)
class Kernels:
    """The kernels that will run.

    Args:
        device: "cpu", "cuda", ...
        kept: weights of which layers keep a copy in oneDNN's layout, see integrations/diffusers/onednn.py.
        narrow: the dtype of autocast, None without it.
        halves: how the CPU computes in bfloat16, None to probe this one.
    """

    device: str = "cpu"
    kept: frozenset[int] = frozenset()
    narrow: torch.dtype | None = None
    halves: Bfloat16 | None = None

    def keeps(self, weight: Tensor) -> bool:
        """Return whether a layer keeps a copy of a weight, or of the tensor it is a view of."""
        return self.device == "cpu" and _place(weight) in self.kept


def kept(weights: Iterable[Tensor]) -> frozenset[int]:
    """Return the keys of weights of which layers keep a copy in oneDNN's layout."""
    return frozenset(map(_place, weights))


def cost(call: Callable[[], object], kernels: Kernels = Kernels()) -> Cost:
    """Measure a call on the meta device, its result included. Raises InputError for a call that needs values."""
    if kernels.device == "cpu" and kernels.halves is None:
        kernels = replace(kernels, halves=bfloat16())  # before the modes below, which would count the probe
    meter = _Meter(kernels)
    try:
        with torch.no_grad(), ExitStack() as stack:
            stack.enter_context(meter)
            stack.enter_context(_Chosen(kernels))
            call()
    except InputError:
        raise
    except UNANSWERED as error:
        raise InputError(f"cost: cannot be estimated without the weights: {str(error).partition(chr(10))[0]}") from None
    return Cost(meter.peak, meter.flops, meter.moved)


class _Meter(TorchDispatchMode):
    """Count tensors from creation to release."""

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
            return torch.full(
                (), self.last not in ANY, dtype=args[0].dtype
            ).item()  # as if all values were equal, and none odd
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
    """Choose what the device chooses and the meta device does not: fused attention, layouts, narrow products."""

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
    """Run attention as the fused kernel, which stores no scores, where the shapes allow it."""
    fused = query.ndim == 4 and query.shape[-1] == value.shape[-1] and query.shape[1] == key.shape[1]
    if not fused or dropout_p:
        more: dict[str, Any] = {"scale": scale, "enable_gqa": enable_gqa}
        return scaled_dot_product_attention(query, key, value, attn_mask, dropout_p, is_causal, **more)
    if attn_mask is not None and attn_mask.dtype == torch.bool:
        attn_mask = torch.empty_like(attn_mask, dtype=query.dtype)
    found: Tensor = FLASH(query, key, value, 0.0, is_causal, attn_mask=attn_mask, scale=scale)[0]
    return found


def _as_on_cpu(func: Any, args: tuple[Any, ...], out: Any) -> Any:
    """Give an output the layout that the CPU gives it: that of the input, also for a single row."""
    first = args[0] if args else None
    if not isinstance(first, Tensor) or not isinstance(out, Tensor):
        return out
    if func in CONVOLUTIONS and _channels_last(first):
        return torch.empty_like(out, memory_format=torch.channels_last)
    if out.shape == first.shape and out.stride()[1:] == first.stride()[1:]:
        return out.as_strided(out.shape, first.stride())
    return out


def workspace(func: Any, args: tuple[Any, ...], out: Any, kernels: Kernels) -> int:
    """Return the bytes that a CPU kernel needs beside its inputs and outputs."""
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
    """Return the bytes of a bfloat16 matrix product: a copy of the second factor, or float32 outputs."""
    halves = kernels.halves or Bfloat16()
    if halves.sums:
        tables = out.shape[0] if out.ndim == 3 else 1
        return 4 * (out.numel() // max(tables, 1)) * min(tables, torch.get_num_threads())
    return _size(other) if halves.packs and not kernels.keeps(other) else 0


def _convolution(x: Tensor, weight: Tensor, out: Tensor, kernels: Kernels) -> int:
    """Return the bytes of blocked copies of input, weights and output, or of the output in both layouts."""
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
    """Return the bytes of all patches of one group."""
    return len(out) * prod(weight.shape[1:]) * prod(out.shape[2:]) * weight.element_size()


def _flash(query: Tensor, key: Tensor) -> int:
    """Return the bytes of the blocks of each thread, and of packed keys and values for narrow dtypes.

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
    """Return whether torch treats x as channels-last, which the stride of a single row decides as well."""
    if x.ndim != 4 or x.is_contiguous() or not x.is_contiguous(memory_format=torch.channels_last):
        return False
    return x.stride(0) >= x[0].numel()


def _laid_out(x: Tensor) -> bool:
    return x.is_contiguous() or _channels_last(x)
