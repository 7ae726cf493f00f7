"""An adapter that is being trained: A and B of each layer as parameters, added to the layers' answers.

B begins at zero, so that the model begins as its base.   Source: Hu et al. 2021 (LoRA), section 4.1; Liu et al. 2024
(DoRA), eq. 5 and section 4.3 (the norm is taken as a constant of the gradient).
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unnoise.adapters.lora.delta import Delta, Dora, LowRank
from unnoise.adapters.lora.hooks import applied, raised


class TrainableLora(nn.Module):
    """The parameters of an adapter for the layers "root.path" of some networks.

    rank: rows of A, at most what a layer allows; alpha: A and B count alpha/rank; dropout: share of a layer's inputs
    that A does not see; dora: each row of a weight also learns its magnitude.
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
        self.dropout = dropout
        self.modules_ = [(name, roots[name.partition(".")[0]].get_submodule(name.partition(".")[2])) for name in layers]
        self.down, self.up, self.magnitude = nn.ParameterList(), nn.ParameterList(), nn.ParameterList()
        self.scales: list[float] = []
        for _, module in self.modules_:
            weight: Any = module.weight
            here = min(rank, len(weight), weight[0].numel())
            down = torch.empty(here, *weight.shape[1:], device=weight.device)
            nn.init.kaiming_uniform_(down, a=math.sqrt(5))
            self.down.append(nn.Parameter(down))
            self.up.append(nn.Parameter(torch.zeros(len(weight), here, device=weight.device)))
            self.scales.append(alpha / rank)
            if dora:
                self.magnitude.append(nn.Parameter(weight.detach().float().flatten(1).norm(dim=1)))

    @contextmanager
    def on(self) -> Iterator[None]:
        """Add the branches to the layers for as long as the block lasts."""
        with ExitStack() as hooks:
            for k, (_, module) in enumerate(self.modules_):
                hooks.callback(module.register_forward_hook(self._hook(k)).remove)
            yield

    def deltas(self) -> dict[str, Delta]:
        """Give what was learned, by layer."""
        found: dict[str, Delta] = {}
        for k, (name, _) in enumerate(self.modules_):
            low = LowRank(self.down[k].detach().clone(), self.up[k].detach().clone(), self.scales[k])
            found[name] = Dora(low, self.magnitude[k].detach().clone()) if len(self.magnitude) else low
        return found

    def _hook(self, k: int) -> Any:
        def add(module: Any, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
            x = F.dropout(inputs[0], self.dropout, self.training)
            inner = applied(module, x, self.down[k])
            up = self.scales[k] * self.up[k]
            more = F.linear(inner, up) if isinstance(module, nn.Linear) else raised(inner, up)
            return self._turned(k, module, output, more) if len(self.magnitude) else output + more

        return add

    def _turned(self, k: int, module: Any, output: Tensor, more: Tensor) -> Tensor:
        low = LowRank(self.down[k].detach(), self.up[k].detach(), self.scales[k])
        norm = (module.weight.float() + low.change(module.weight)).flatten(1).norm(dim=1)
        behind = [] if isinstance(module, nn.Linear) else [1] * (output.ndim - 2)
        share = (self.magnitude[k] / norm).to(output.dtype).reshape(-1, *behind)
        bias = 0.0 if module.bias is None else module.bias.to(output.dtype).reshape(-1, *behind)
        return share * (output - bias + more) + bias
