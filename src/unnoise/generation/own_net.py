"""One's own network, called as net(x, time) or net(x, time, cond), as a network of this program."""

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_type_hints

import torch
from torch import Tensor, nn

from unnoise.diffusion.conditioning import Conditioning, same_inputs
from unnoise.errors import InputError, nearest, quoted

ALONE = ""  # the name of a conditioning that is one tensor


@dataclass(frozen=True, slots=True, eq=False)
class NetInputs:
    """The conditioning of one's own network, one row for each row of x: one tensor, or several by name.

    tensors: by name; the only one may be ALONE.
    """

    tensors: Mapping[str, Tensor]

    def __len__(self) -> int:
        return len(next(iter(self.tensors.values())))

    def rows(self, index: Tensor | slice | Sequence[int]) -> "NetInputs":
        """Return the rows at an index."""
        return NetInputs({name: value[index] for name, value in self.tensors.items()})

    def to(self, device: torch.device) -> "NetInputs":
        """Move to a device."""
        return NetInputs({name: value.to(device) for name, value in self.tensors.items()})

    @property
    def value(self) -> Tensor | dict[str, Tensor]:
        """What a network gets: the tensor, or a dict of tensors."""
        return self.tensors[ALONE] if ALONE in self.tensors else dict(self.tensors)

    @property
    def conditioning(self) -> Conditioning:
        """What a network of this program gets. Raises InputError for a name that is not of `Conditioning`."""
        known = Conditioning.__dataclass_fields__
        for name in self.tensors:
            if name != ALONE and name not in known:
                raise InputError(f"cond {name!r}: the net takes a Conditioning; {nearest(name, known)}")
        alone = {"vector" if value.is_floating_point() else "label": value for value in self.tensors.values()}
        return Conditioning(**(alone if ALONE in self.tensors else self.tensors))


def net_inputs(cond: Any, where: str = "cond") -> NetInputs:
    """Return conditioning that a person gave: a tensor, an array, a sequence of numbers, or a dict of these.

    Raises InputError for anything else, and where the numbers of rows differ.
    """
    given = cond if isinstance(cond, Mapping) else {ALONE: cond}
    tensors = {str(name): _tensor(value, f"{where}[{name!r}]" if name else where) for name, value in given.items()}
    counts = {name: len(value) for name, value in tensors.items()}
    if len(set(counts.values())) != 1:
        raise InputError(f"{where}: rows {counts or 'none'}; at least one tensor, and the same number of rows in each")
    return NetInputs(tensors)


def _tensor(value: Any, where: str) -> Tensor:
    try:
        tensor = torch.as_tensor(value)
    except (TypeError, ValueError, RuntimeError):
        raise InputError(f"{where} {quoted(value)}: a tensor of numbers, one row for each sample") from None
    if tensor.ndim == 0 or tensor.is_complex() or tensor.dtype == torch.bool:
        raise InputError(f"{where}: {tensor.dtype} of shape {tuple(tensor.shape)}; numbers, one row for each sample")
    if not tensor.is_floating_point():
        return tensor.long()
    if not tensor.isfinite().all():
        raise InputError(f"{where}: has NaN or infinity; every number must be finite")
    return tensor.float()


class OwnNet(nn.Module):
    """A network with the signature of this program around one's own. How it is called is decided once, by `forward`.

    A third argument that is annotated as `Conditioning` gets one; any other gets the tensor, or the dict of tensors.
    """

    def __init__(self, net: nn.Module, conditioned: bool) -> None:
        super().__init__()
        self.net, self.conditioned = net, conditioned
        self.takes_conditioning = _third(net) is Conditioning
        self.factor = int(getattr(net, "factor", 1))
        same_inputs(self, net)

    def forward(self, x: Tensor, time: Tensor, cond: NetInputs | Conditioning) -> Tensor:
        """Run the net. x: (B, *d); time: (B,); cond: B rows, or an empty Conditioning."""
        if self.takes_conditioning:
            out: Tensor = self.net(x, time, cond.conditioning if isinstance(cond, NetInputs) else cond)
        elif isinstance(cond, NetInputs) and self.conditioned:
            out = self.net(x, time, cond.value)
        else:
            out = self.net(x, time)
        return out


def own_net(net: Any, conditioned: bool) -> OwnNet:
    """Wrap one's own network. Raises InputError unless its `forward` fits data with or without conditioning."""
    if not isinstance(net, nn.Module):
        raise InputError(f"net {quoted(net)}: a torch.nn.Module, called as net(x, time) or net(x, time, cond)")
    needed, most = _counts(net)
    given = 3 if conditioned or _third(net) is Conditioning else 2
    if not needed <= given <= most:
        what = "has conditioning" if conditioned else "has none"
        raise InputError(
            f"net {type(net).__name__}: takes {needed if needed == most else f'{needed} to {most:g}'} arguments, and "
            f"the data {what}; it is called as net(x, time{', cond' * conditioned})"
        )
    return OwnNet(net, conditioned)


def _counts(net: nn.Module) -> tuple[int, float]:
    """Return the least and the largest number of positional arguments."""
    found = inspect.signature(net.forward).parameters.values()
    positional = [one for one in found if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)]
    most = float("inf") if any(one.kind is one.VAR_POSITIONAL for one in found) else len(positional)
    return sum(one.default is one.empty for one in positional), most


def _third(net: nn.Module) -> object:
    """Return the annotation of the third argument of a network, None if there is none."""
    names = [*inspect.signature(net.forward).parameters]
    try:
        return get_type_hints(net.forward).get(names[2]) if len(names) > 2 else None
    except (NameError, TypeError, AttributeError):  # an annotation that is no name of its module
        return None
