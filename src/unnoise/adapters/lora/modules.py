"""Build the change of one module of a LoRA file from its tensors: of the weight, and of the bias.

Source: KohakuBlueleaf/LyCORIS, lycoris/modules; huggingface/peft, tuners/lora; comfyanonymous/ComfyUI, comfy/lora.py.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from unnoise.adapters.lora.delta import Delta, Dora, FullDelta, LoHa, LoKr, LowRank, Replacement
from unnoise.adapters.lora.scales import Scales
from unnoise.errors import InputError

Tensors = Mapping[str, Tensor]
Factor = Callable[[int], float]  # alpha/rank by rank
Built = tuple[Delta, int, float]  # the change, its rank (0 without one), and the factor alpha/rank that it contains

SETS: Mapping[frozenset[str], str] = {  # the kind of a module by its tensors without alpha, magnitudes and biases
    frozenset({"down", "up"}): "low",
    frozenset({"down", "mid", "up"}): "low",
    frozenset({"hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b"}): "loha",
    frozenset({"hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b", "hada_t1", "hada_t2"}): "loha",
    frozenset({"diff"}): "full",
    frozenset({"w_norm"}): "full",
    frozenset({"set_weight"}): "set",
}
BIASES = ("diff_b", "b_norm", "up_bias")
MAGNITUDES = ("scale", "magnitude")
WHOLE = ("diff", "w_norm", "set_weight")  # tensors in the shape of the weight, which a norm has one side of
SCALED = ("down", "mid", "up")  # tensors that fp8 files store with a factor


@dataclass(frozen=True, slots=True, eq=False)
class Change:
    """The change of one layer.

    Args:
        weight: None where only the bias changes.
        bias: the difference of the bias, (out); None where there is none.
        rank: 0 for a kind without one.
        factor: alpha/rank.
    """

    weight: Delta | None
    bias: Tensor | None
    rank: int
    factor: float


def change_of(where: str, name: str, halves: Tensors, scales: Scales) -> Change:
    """Build the change of one module.

    Args:
        where: the start of every message.
        name: of the module in the file.
        halves: its tensors by role, in float32.
        scales: of the file.

    Raises:
        InputError: the tensors are of no known kind, or do not match.
    """
    alpha = _alpha(where, halves.get("alpha"))
    weights = {half: _dequantised(where, half, halves) for half in halves if not _is_beside(half, halves)}
    if not weights and any(half in BIASES for half in halves) and not any(half in MAGNITUDES for half in halves):
        return Change(None, _bias(where, halves, None), 0, 1.0)
    kind = SETS.get(frozenset(weights)) or ("lokr" if all(half.startswith("lokr_") for half in weights) else "")
    if not weights or not kind:
        raise InputError(
            f"{where}: contains {', '.join(sorted(weights or halves))}, which is not LoRA, LoHa, LoKr, DoRA or a "
            f"difference"
        )
    try:
        delta, rank, factor = BUILDERS[kind](weights, lambda rank: scales.of(name, _ranked(where, rank), alpha))
    except (RuntimeError, IndexError) as error:
        raise InputError(f"{where}: its tensors do not match: {str(error).splitlines()[0]}") from None
    return Change(_decomposed(where, delta, halves), _bias(where, halves, factor), rank, factor)


def _is_beside(half: str, halves: Tensors) -> bool:
    """Whether a tensor is not one of the weight's own."""
    return half == "alpha" or half in (*BIASES, *MAGNITUDES) or (half.endswith("_scale") and half[:-6] in halves)


def _alpha(where: str, stored: Tensor | None) -> float | None:
    if stored is None:
        return None
    if stored.numel() != 1:
        raise InputError(f"{where}: alpha of shape {list(stored.shape)}; must be one number")
    return float(stored)


def _dequantised(where: str, half: str, halves: Tensors) -> Tensor:
    """Return a tensor times its factor, of which fp8 files have one, or one for each row."""
    value, factor = halves[half], halves.get(f"{half}_scale") if half in SCALED else None
    if not value.is_floating_point():
        raise InputError(f"{where}: {half} is {str(value.dtype).removeprefix('torch.')}; must be floating point")
    if value.ndim < (1 if half in WHOLE else 2):
        raise InputError(f"{where}: {half} is of shape {list(value.shape)}; a factor has two sides at least")
    if factor is None:
        return value
    if factor.numel() not in (1, len(value)):
        raise InputError(f"{where}: {half} has a scale of shape {list(factor.shape)}; must be one number, or one a row")
    return value * factor.reshape(-1, *[1] * (value.ndim - 1))


def _ranked(where: str, rank: int) -> int:
    if rank < 1:
        raise InputError(f"{where}: rank 0; it must be at least 1")
    return rank


def _decomposed(where: str, delta: Delta, halves: Tensors) -> Delta:
    """Return the change with the magnitudes of DoRA, if there are any."""
    found = [half for half in MAGNITUDES if half in halves]
    if not found:
        return delta
    shape = tuple(halves[found[0]].shape)
    axis = magnitude_axis(shape, found[0] == "magnitude")
    if len(found) > 1 or axis is None:
        raise InputError(
            f"{where}: magnitudes of shape {list(shape)}; one tensor with one value for each row or column"
        )
    return Dora(delta, halves[found[0]].flatten(), axis)


def magnitude_axis(shape: tuple[int, ...], peft: bool) -> Literal[0, 1] | None:
    """Return the axis of a weight that magnitudes are along: 0 is its outputs, 1 its inputs, None is no such shape.

    LyCORIS stores (out, 1, ...) or (1, in, ...); PEFT (out), and (1, out, 1, 1) for a convolution.

    Args:
        shape: of the magnitudes.
        peft: whether they have PEFT's name, lora_magnitude_vector.
    """
    wide = [k for k, side in enumerate(shape) if side != 1]
    if not shape or len(wide) > 1 or wide > [1]:
        return None
    return 1 if wide == [1] and not (peft and len(shape) > 2) else 0


def _bias(where: str, halves: Tensors, factor: float | None) -> Tensor | None:
    """Return the difference of the bias. factor: of lora_B.bias, None where there is no B."""
    if "up_bias" in halves and factor is None:
        raise InputError(f"{where}: contains lora_B.bias without lora_B.weight")
    parts = [
        halves[half].flatten() * (factor if factor and half == "up_bias" else 1.0) for half in BIASES if half in halves
    ]
    if len({len(part) for part in parts}) > 1:
        raise InputError(f"{where}: its differences of the bias have different lengths")
    return sum(parts[1:], parts[0]) if parts else None


def _low(tensors: Tensors, scale: Factor) -> Built:
    down, up = tensors["down"], tensors["up"]
    rank, factor = len(down), scale(len(down))
    if "mid" in tensors:  # Tucker decomposition: (rank, rank, *kernel) between two 1 x 1 convolutions
        mid = tensors["mid"]
        down = (mid.permute(0, *range(2, mid.ndim), 1) @ down.flatten(1)).movedim(-1, 1)
    return LowRank(down, up.flatten(1), factor), rank, factor


def _loha(tensors: Tensors, scale: Factor) -> Built:
    left = tensors["hada_w1_a"], tensors["hada_w2_a"]
    right = tensors["hada_w1_b"], tensors["hada_w2_b"]
    cores = (tensors["hada_t1"], tensors["hada_t2"]) if "hada_t1" in tensors else None
    rank = len(right[0])
    factor = scale(rank)
    return LoHa(left, right, cores, factor), rank, factor


def _lokr(tensors: Tensors, scale: Factor) -> Built:
    """Two full factors have no rank, and alpha has no effect.   Source: LyCORIS, lycoris/modules/lokr.py."""
    first, rank = _side(tensors, "lokr_w1", 0)
    second, rank = _side(tensors, "lokr_w2", rank)
    factor = scale(rank) if rank else 1.0
    return LoKr(first, second, factor), rank, factor


def _side(tensors: Tensors, name: str, rank: int) -> tuple[Tensor, int]:
    if name in tensors:
        return tensors[name], rank
    if f"{name}_a" not in tensors or f"{name}_b" not in tensors:
        raise RuntimeError(f"{name} is missing")
    left, right = tensors[f"{name}_a"], tensors[f"{name}_b"]
    if name == "lokr_w2" and "lokr_t2" in tensors:
        core = tensors["lokr_t2"]
        product = (left.T @ (core.permute(0, *range(2, core.ndim), 1) @ right).flatten(1)).reshape(
            left.shape[1], *core.shape[2:], right.shape[1]
        )
        return product.movedim(-1, 1), len(right)
    return left @ right.flatten(1), len(right)


def _full(tensors: Tensors, scale: Factor) -> Built:
    (difference,) = tensors.values()
    return FullDelta(difference), 0, 1.0


def _set(tensors: Tensors, scale: Factor) -> Built:
    return Replacement(tensors["set_weight"]), 0, 1.0


BUILDERS: Mapping[str, Callable[[Tensors, Factor], Built]] = {
    "low": _low,
    "loha": _loha,
    "lokr": _lokr,
    "full": _full,
    "set": _set,
}
