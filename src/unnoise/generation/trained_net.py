"""A network that was trained in Python, and its file."""

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, is_dataclass
from typing import Any

from torch import nn

from unnoise.card import CLASSES, Part
from unnoise.diffusion import process as processes
from unnoise.diffusion.denoiser import Denoiser
from unnoise.diffusion.process import Process
from unnoise.errors import InputError
from unnoise.formats.header import read_header
from unnoise.formats.strict_json import Strict, dump, parse
from unnoise.formats.tensors import read_tensors, write_tensors
from unnoise.generation.own_net import own_net
from unnoise.sampling.kinds import Kind
from unnoise.spaces.space import Affine

KEY = "unnoise.net"  # of the facts in the header of a file


@dataclass(frozen=True, slots=True)
class NetFacts(Strict):
    """All that is needed to draw from a network, apart from its class and weights.

    Args:
        process, kind: of the denoiser.
        shape: of one sample.
        shift, scale: between x0, of zero mean and unit variance, and the data.
        names: of the conditioning; ("",) for one tensor, () for none.
        classes: the number of classes of each integer conditioning, by name; 0 if unknown.
        dropped: whether the conditioning was left out in part of the training, which guidance needs.
        figures: of the training.
    """

    process: Part
    kind: Kind
    shape: tuple[int, ...]
    shift: tuple[float, ...]
    scale: tuple[float, ...]
    names: tuple[str, ...] = ()
    classes: dict[str, Any] = field(default_factory=dict)
    dropped: bool = False
    figures: dict[str, Any] = field(default_factory=dict)

    @property
    def affine(self) -> Affine:
        """Between x0 and the data."""
        return Affine(len(self.shift), self.shift, self.scale)


@dataclass(frozen=True, slots=True, eq=False)
class TrainedNet:
    """A network that was trained in Python: `unnoise.sample` draws from it. `unnoise.train.fit` makes one."""

    denoiser: Denoiser
    facts: NetFacts

    @property
    def net(self) -> nn.Module:
        """One's own network, with the averaged weights."""
        own: nn.Module = self.denoiser.net.net  # type: ignore[assignment]
        return own

    @property
    def figures(self) -> Mapping[str, Any]:
        """Figures of the training."""
        return self.facts.figures

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write weights and facts as safetensors. The class of the net is not stored: `load_net` is given a new one."""
        weights = {name: value.detach().cpu().contiguous() for name, value in self.net.state_dict().items()}
        write_tensors(path, weights, {"format": "pt", KEY: dump(self.facts)})


def trained_net(net: nn.Module, process: Process, facts: NetFacts) -> TrainedNet:
    """Put a network, its process and its facts together."""
    return TrainedNet(Denoiser(own_net(net, bool(facts.names)), process, facts.kind), facts)


def load_net(path: str | os.PathLike[str], net: nn.Module, process: Process | None = None) -> TrainedNet:
    """Load a network that `TrainedNet.save` wrote.

    Args:
        net: a new network of the same class and arguments; its weights are replaced.
        process: one's own, where the training had one that is not of this program.

    Raises:
        InputError: it is another file, or of another network.
    """
    header = read_header(path)
    if KEY not in header.metadata:
        raise InputError(f"{path}: no network that TrainedNet.save wrote; unnoise.load opens model files")
    facts = parse(NetFacts, header.metadata[KEY], str(path))
    try:
        net.load_state_dict({name: value.clone() for name, value in read_tensors(path, header)})
    except RuntimeError as error:
        raise InputError(f"{path}: is of another network than {type(net).__name__}: {error}") from None
    return trained_net(net.eval(), process or _process(facts.process, str(path)), facts)


def part_of(process: Process) -> Part:
    """Name a process with its fields."""
    return Part(type(process).__name__, asdict(process) if is_dataclass(process) else {})


def _process(part: Part, where: str) -> Process:
    if part.class_ not in CLASSES["process"]:
        raise InputError(f"{where}: was trained with one's own process {part.class_}: give it, as process=")
    try:
        made: Process = getattr(processes, part.class_)(
            **{name: tuple(value) if isinstance(value, list) else value for name, value in part.args.items()}
        )
    except TypeError as error:
        raise InputError(f"{where}: process {part.class_}: {error}") from None
    return made
