"""Muon: momentum whose matrices are made orthogonal before they are added, so that every direction moves equally far.

    m = lerp(m, g, 1 - momentum)
    u = orthogonal(lerp(g, m, momentum))
    w = w - rate*0.2*sqrt(max(rows, columns))*u

A convolution is a matrix with a row for each output. The factor gives u the size of a step of Adam, so that one rate
serves both. torch.optim.Muon is the same method for matrices alone and refuses convolutions.
Source: Jordan et al. 2024, "Muon"; Liu et al. 2025, "Muon is scalable for LLM training", eq. 4 (the factor).
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

STEPS = 5
COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # of the quintic that brings singular values near 1; Jordan et al. 2024
SIZE = 0.2  # root mean square of a step of Adam at rate 1; Liu et al. 2025, section 2.2


def hidden(parts: nn.Module) -> frozenset[str]:
    """Name the weights that Muon is for: of linear maps and convolutions, not the first and the last of a net."""
    layers = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
    found = (name for name, module in parts.named_modules() if isinstance(module, layers))
    return frozenset(f"{name}.weight" for name in found if name.rpartition(".")[2] not in ("enter", "leave"))


def orthogonal(matrix: Tensor) -> Tensor:
    """Bring the singular values of a matrix (rows, columns) near 1, about 0.7 to 1.2, and keep its singular vectors."""
    a, b, c = COEFFICIENTS
    x = matrix.bfloat16()
    if tall := x.shape[0] > x.shape[1]:
        x = x.T
    x = x / (x.norm() + 1e-7)
    for _ in range(STEPS):
        square = x @ x.T
        x = torch.addmm(x, torch.addmm(square, square, square, beta=b, alpha=c), x, beta=a)
    return (x.T if tall else x).to(matrix.dtype)


class Muon(torch.optim.Optimizer):
    """Step weights of two or more axes. momentum: share of the running mean that is kept, 0 to 1."""

    def __init__(self, parameters: Iterable[nn.Parameter], rate: float, momentum: float = 0.95) -> None:
        super().__init__(parameters, {"lr": rate, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    self._move(weight, weight.grad, group["lr"], group["momentum"])

    def _move(self, weight: Tensor, gradient: Tensor, rate: float, momentum: float) -> None:
        kept = self.state[weight]
        if not kept:
            kept["momentum"] = torch.zeros_like(weight)
        running = kept["momentum"].lerp_(gradient, 1 - momentum)
        ahead = gradient.lerp(running, momentum).flatten(1)
        weight.add_(orthogonal(ahead).reshape(weight.shape), alpha=-rate * SIZE * max(ahead.shape) ** 0.5)
