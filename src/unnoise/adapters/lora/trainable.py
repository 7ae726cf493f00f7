"""An adapter in training: A and B of each layer as parameters, added to the outputs of the layers.

B is zero at first, so that training starts at the base model.   Source: Hu et al. 2021 (LoRA), section 4.1; Liu et al.
2024 (DoRA), eq. 5 and section 4.3 (the norm is a constant of the gradient).
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unnoise.adapters.lora.delta import Delta, Dora, LowRank
from unnoise.adapters.lora.dropout import mixed, row_dropout
from unnoise.adapters.lora.hooks import apply_up, apply_weight
from unnoise.adapters.uncompiled import uncompiled
from unnoise.errors import InputError


class TrainableLora(nn.Module):
    """The parameters of an adapter.

    Args:
        roots: the networks by name.
        layers: the layers "root.path" to adapt.
        rank: rows of A, at most the sides of the layer's weight.
        alpha: B·A is multiplied by alpha/rank.
        dropout: the probability that a value of A's input is dropped, 0 to 1.
        dora: also learn the magnitude of each row of a weight.

    row_keys: int32 numbers (R,) of the rows that are computed, which decide their dropout; set before each pass.
    """

    def __init__(
        self,
        roots: Mapping[str, nn.Module],
        layers: Sequence[str],
        rank: int,
        alpha: float,
        dropout: float = 0.0,
        dora: bool = False,
    ) -> None:
        super().__init__()
        self.dropout, self.row_keys = dropout, torch.zeros(1, dtype=torch.int32)
        self.modules_ = [(name, roots[name.partition(".")[0]].get_submodule(name.partition(".")[2])) for name in layers]
        self.down, self.up, self.magnitude = nn.ParameterList(), nn.ParameterList(), nn.ParameterList()
        self.scales: list[float] = []
        for _, module in self.modules_:
            weight: Any = module.weight
            own_rank = min(rank, len(weight), weight[0].numel())
            down = torch.empty(own_rank, *weight.shape[1:])  # drawn on the CPU: the same on every device
            nn.init.kaiming_uniform_(down, a=math.sqrt(5))
            self.down.append(nn.Parameter(down.to(weight.device)))
            self.up.append(nn.Parameter(torch.zeros(len(weight), own_rank, device=weight.device)))
            self.scales.append(alpha / rank)
            if dora:
                self.magnitude.append(nn.Parameter(weight.detach().float().flatten(1).norm(dim=1)))

    @contextmanager
    def on(self) -> Iterator[None]:
        """Add the branches to the layers within the block."""
        with ExitStack() as hooks, uncompiled():
            for k, (_, module) in enumerate(self.modules_):
                hooks.callback(module.register_forward_hook(self._hook(k)).remove)
            yield

    def deltas(self) -> dict[str, Delta]:
        """Return the trained changes by layer."""
        found: dict[str, Delta] = {}
        for k, (name, _) in enumerate(self.modules_):
            low = LowRank(self.down[k].detach().clone(), self.up[k].detach().clone(), self.scales[k])
            found[name] = Dora(low, self.magnitude[k].detach().clone()) if len(self.magnitude) else low
        return found

    @torch.no_grad()
    def start_from(self, deltas: Mapping[str, Delta], where: str) -> None:
        """Take the values of an adapter as the first ones; layers that it lacks start at the base.

        Raises:
            InputError: it changes other layers, has another rank, or is not of the same kind.
        """
        names = [name for name, _ in self.modules_]
        beyond = sorted(set(deltas) - set(names))
        if beyond:
            raise InputError(f"{where}: changes {len(beyond)} layers that targets leaves out, such as {beyond[0]}")
        for k, (name, module) in enumerate(self.modules_):
            if name in deltas:
                self._start_layer(k, deltas[name], module, f"{where}: {name}")

    def _start_layer(self, k: int, delta: Delta, module: Any, where: str) -> None:
        low = delta.inner if isinstance(delta, Dora) else delta
        if not isinstance(low, LowRank):
            raise InputError(
                f"{where}: a {type(low).__name__}; a training starts from a LoRA, so resize it to one first"
            )
        if isinstance(delta, Dora) and not len(self.magnitude):
            raise InputError(f"{where}: a DoRA; set dora = true, or resize it to a LoRA first")
        if low.rank != len(self.down[k]):
            raise InputError(f"{where}: rank {low.rank}, and the recipe has {len(self.down[k])}; set rank = {low.rank}")
        self.down[k].copy_(low.down.reshape(self.down[k].shape))
        self.up[k].copy_(low.up * (low.scale / self.scales[k]))
        if len(self.magnitude):
            updated = module.weight.float() + low.change(module.weight).to(module.weight.device)
            self.magnitude[k].copy_(
                delta.magnitude.reshape(-1) if isinstance(delta, Dora) else updated.flatten(1).norm(dim=1)
            )

    def _hook(self, k: int) -> Any:
        """Make the hook of a layer. The branch is computed in float32 (autocast aside), whatever the layer's dtype."""

        def add(module: Any, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
            x = inputs[0].to(self.down[k].dtype)
            if self.dropout and self.training:
                x = row_dropout(x, self.dropout, mixed(self.row_keys + k))
            inner = apply_weight(module, x, self.down[k])
            up = self.scales[k] * self.up[k]
            more = F.linear(inner, up) if isinstance(module, nn.Linear) else apply_up(inner, up)
            changed = self._dora_output(k, module, output, more) if len(self.magnitude) else output + more
            return changed.to(output.dtype)

        return add

    def _dora_output(self, k: int, module: Any, output: Tensor, more: Tensor) -> Tensor:
        low = LowRank(self.down[k].detach(), self.up[k].detach(), self.scales[k])
        norm = (module.weight.float() + low.change(module.weight)).flatten(1).norm(dim=1)
        trailing = [] if isinstance(module, nn.Linear) else [1] * (output.ndim - 2)
        share = (self.magnitude[k] / norm).to(output.dtype).reshape(-1, *trailing)
        bias = 0.0 if module.bias is None else module.bias.to(output.dtype).reshape(-1, *trailing)
        return share * (output - bias + more) + bias
