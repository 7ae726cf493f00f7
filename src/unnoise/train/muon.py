"""Muon: momentum whose matrices are orthogonalized before the update, so that every direction moves equally far.

    m = lerp(m, g, 1 - momentum)
    u = orthogonalize(lerp(g, m, momentum))
    w = w - learning_rate*0.2*sqrt(max(rows, columns))*u

A convolution is a matrix with one row per output channel. The factor gives u the size of a step of Adam, so that both
optimizers use one learning rate. torch.optim.Muon is the same method, and refuses convolutions.
Source: Jordan et al. 2024, "Muon"; Liu et al. 2025, "Muon is scalable for LLM training", eq. 4 (the factor).
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from unnoise.devices import narrow_dtype
from unnoise.train.sharded_checkpoint import own_part, whole

STEPS = 5
COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # of a quintic that maps singular values close to 1; Jordan et al. 2024
WIDE = 3  # sides of a matrix whose steps are taken of its square, as a ratio
SIZE = 0.2  # root mean square of a step of Adam at learning rate 1; Liu et al. 2025, section 2.2


def hidden_weights(networks: nn.Module) -> frozenset[str]:
    """Return the names of the weights for Muon: linear and convolution layers, except the first and last of a net."""
    layers = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
    found = (name for name, module in networks.named_modules() if isinstance(module, layers))
    return frozenset(f"{name}.weight" for name in found if name.rpartition(".")[2] not in ("enter", "leave"))


def orthogonalize(matrix: Tensor, narrow: bool = True) -> Tensor:
    """Map the singular values of a matrix (rows, columns) to about 0.7 to 1.2, with the same singular vectors.

    A step maps x to p(s)·x with s = x·x^T and p(s) = a + b·s + c·s^2, and so s to p(s)·s·p(s). Steps of s cost less
    where it is much smaller than x, as for a convolution. They need float32, which takes less time for them than
    bfloat16 does for steps of x.

    narrow: compute steps of x in bfloat16, where the device has it. Two matrices that differ in the last bits of
        float32 then differ in those of bfloat16.
    """
    short, long = sorted(matrix.shape)
    squares = long >= WIDE * short
    x = matrix.to(narrow_dtype(matrix.device)) if narrow and not squares else matrix.float()
    if tall := x.shape[0] > x.shape[1]:
        x = x.T
    x = x / (x.norm() + 1e-7)
    x = _steps_of_the_square(x) if squares else _steps(x)
    return (x.T if tall else x).to(matrix.dtype)


def _steps(x: Tensor) -> Tensor:
    a, b, c = COEFFICIENTS
    for _ in range(STEPS):
        square = x @ x.T
        x = torch.addmm(x, torch.addmm(square, square, square, beta=b, alpha=c), x, beta=a)
    return x


def _steps_of_the_square(x: Tensor) -> Tensor:
    square = x @ x.T
    product = factor = _polynomial(square)
    for _ in range(STEPS - 1):
        square = factor @ square @ factor
        factor = _polynomial(square)
        product = factor @ product
    return product @ x


def _polynomial(square: Tensor) -> Tensor:
    a, b, c = COEFFICIENTS
    found = torch.addmm(square, square, square, beta=b, alpha=c)
    found.diagonal().add_(a)
    return found


class Muon(torch.optim.Optimizer):
    """Update weights of two or more axes.

    Args:
        momentum: decay of the running mean of the gradient, 0 to 1.
        narrow: see `orthogonalize`.
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter] | Iterable[dict[str, Any]],
        learning_rate: float,
        momentum: float = 0.95,
        narrow: bool = True,
    ) -> None:
        super().__init__(parameters, {"lr": learning_rate, "momentum": momentum})
        self.narrow = narrow

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    self._update(weight, weight.grad, group["lr"], group["momentum"])

    def _update(self, weight: Tensor, gradient: Tensor, learning_rate: float, momentum: float) -> None:
        state = self.state[weight]
        if not state:
            state["momentum"] = torch.zeros_like(weight)
        running = state["momentum"].lerp_(gradient, 1 - momentum)
        ahead = whole(gradient.lerp(running, momentum)).flatten(1)
        update = own_part(orthogonalize(ahead, self.narrow).reshape(weight.shape), weight)
        own_part(weight, weight).add_(update, alpha=-learning_rate * SIZE * max(ahead.shape) ** 0.5)
