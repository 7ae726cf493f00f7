"""The processes of one training, as `torchrun` starts them: who this one is, and what all of them agree on.

Small things go through the key-value store that the processes share, whose waits end as soon as one process fails.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from time import sleep

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous

from unnoise import __version__
from unnoise.data.dataset import ImageDataset
from unnoise.devices import environment
from unnoise.errors import CollapseError, InputError, NonFiniteError, OutputError
from unnoise.train.stop import PeerFailed

VARIABLES = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")  # of torchrun
FAILED = "failed"  # the key that the first process sets whose work fails
GLOO = "gloo"  # in the errors of lost connections, which name gloo's own source files
SHORTEST, LONGEST = 0.001, 0.1  # seconds between two looks at the store


@dataclass(frozen=True)
class World:
    """The processes of a training.

    Args:
        rank: of this one, from 0.
        size: how many there are.
        store: what they share; None for one process.
        settled: `started` joins no others.
    """

    rank: int = 0
    size: int = 1
    store: Store | None = None
    settled: bool = False
    turns: Iterator[int] = field(default_factory=count, repr=False)

    @property
    def name(self) -> str:
        """This process, for a message."""
        return f"process {self.rank} of {self.size}"

    def barrier(self) -> None:
        """Wait until every process is here, however long one takes."""
        if self.store is None:
            return
        turn = self._turn()
        if self.store.add(f"{turn}/here", 1) == self.size:
            self.store.set(f"{turn}/all", "")
        self._wait(f"{turn}/all")

    @contextmanager
    def first(self) -> Iterator[None]:
        """Run the block in process 0, and then in the others: what the first writes, they find."""
        turn = self._turn()
        if self.store is not None and self.rank:
            self._wait(f"{turn}/done")
        yield
        if self.store is not None and not self.rank:
            self.store.set(f"{turn}/done", "")

    def agree(self, facts: Mapping[str, str]) -> None:
        """Compare facts by name. Raises InputError in process 0 where another process has another value of one."""
        if self.store is None:
            return
        turn = self._turn()
        if self.rank:
            self.store.set(f"{turn}/{self.rank}", json.dumps(dict(facts)))
            return self._wait(f"{turn}/agreed")
        for rank in range(1, self.size):
            self._wait(f"{turn}/{rank}")
            _compare(facts, json.loads(self.store.get(f"{turn}/{rank}")), rank)
        self.store.set(f"{turn}/agreed", "")

    def gathered(self, values: Sequence[float]) -> list[list[float]]:
        """Return the numbers of every process, in the order of their ranks; each has equally many."""
        if self.store is None:
            return [list(values)]
        own = torch.tensor(values, dtype=torch.float64)
        every = own.new_empty(self.size, len(own))
        dist.all_gather(list(every), own)
        found: list[list[float]] = every.tolist()
        return found

    def largest(self, value: int) -> int:
        """Return the largest of the numbers of all processes."""
        return value if self.store is None else int(max(row[0] for row in self.gathered([value])))

    def total(self, part: Tensor) -> Tensor:
        """Return the sum of a tensor over all processes."""
        if self.store is not None:
            dist.all_reduce(part)
        return part

    @property
    def split(self) -> tuple[int, int, Callable[[Tensor], Tensor]]:
        """The rank, the number of processes, and the sum over them: what a split computation needs."""
        return self.rank, self.size, self.total

    def once(self, work: Callable[[], object]) -> None:
        """Do work in process 0, while the others wait."""
        with self.first():
            if self.rank == 0:
                work()

    def same(self, make: Callable[[], str]) -> str:
        """Return the text that process 0 makes, as if it were alone, in all processes."""
        if self.store is None:
            return make()
        turn = self._turn()
        if self.rank == 0:
            with _alone():
                text = make()
            self.store.set(f"{turn}/said", text)
        self._wait(f"{turn}/said")
        return self.store.get(f"{turn}/said").decode()

    def _turn(self) -> int:
        """Count what is agreed: every process comes to the same points in the same order."""
        return next(self.turns)

    def _wait(self, key: str) -> None:
        assert self.store is not None
        pause = SHORTEST
        while not self.store.check([key]):
            if self.store.check([FAILED]):
                raise PeerFailed
            sleep(pause)
            pause = min(2 * pause, LONGEST)


_world = World()


def world() -> World:
    """Return the processes of this training: this one alone, unless it has joined others."""
    return _world


def run_facts(dataset: ImageDataset, device: torch.device) -> dict[str, str]:
    """Return what must be the same in all processes: versions, what decides the last bits, and the data."""
    return {**machine_facts(device), **_data_facts(dataset)}


def machine_facts(device: torch.device) -> dict[str, str]:
    """Return what must be the same in all processes of a training without images."""
    return {"unnoise": __version__, "torch": torch.__version__, **environment(device)}


def _data_facts(dataset: ImageDataset) -> dict[str, str]:
    digest = hashlib.sha256(repr((dataset.captions, dataset.concepts, dataset.labels, dataset.sizes)).encode())
    if dataset.digests is not None:
        digest.update(dataset.digests.tobytes())
    data = f"{len(dataset)} images, sha256 {digest.hexdigest()[:12]}"
    return {f"data {dataset.name!r}": data}


def restarted() -> bool:
    """Return whether torchrun has started this process again after one failed."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) > 0


def own_device(name: str) -> str:
    """Return the device of this process, by name: where there are several on a machine, each takes its own card.

    Raises:
        InputError: the processes would share a device that cannot be shared.
    """
    if _world.size == 1 or name == "cpu" or (name == "auto" and not torch.cuda.is_available()):
        return name
    if name not in ("auto", "cuda"):
        raise InputError(
            f"device {name!r}: {_world.size} processes train on cpu, or on cuda, each on a card of its own"
        )
    card, cards = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
    if card >= cards:
        raise InputError(f"device {name!r}: {_world.name} needs card {card} of its own; this machine has {cards}")
    torch.cuda.set_device(card)
    return f"cuda:{card}"


@contextmanager
def started() -> Iterator[World]:
    """Join the processes that torchrun started, for the block; this process alone without torchrun.

    Within the block of another call, or of `joined`, the same processes.

    Raises:
        InputError: torchrun's environment is incomplete.
        PeerFailed: as `joined` does.
    """
    if _world.settled or os.environ.get("WORLD_SIZE", "1") == "1":
        yield _world
        return
    if dist.is_initialized():
        raise InputError("torch.distributed is initialised already: leave that to unnoise, which joins the processes")
    missing = [name for name in VARIABLES if not os.environ.get(name)]
    if missing:
        raise InputError(f"WORLD_SIZE is set, {', '.join(missing)} not: torchrun sets them all, see docs/training.md")
    store, rank, size = next(rendezvous("env://"))
    store = PrefixStore(f"start {os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)}", store)
    with joined(store, rank, size) as found:
        yield found


@contextmanager
def joined(store: Store, rank: int, size: int) -> Iterator[World]:
    """Join processes that share a store, for the block. An error of the block is raised in the first process it is in.

    Raises:
        PeerFailed: another process failed first.
    """
    global _world
    before, _world = _world, World(rank, size, PrefixStore("unnoise", store), True)
    try:
        dist.init_process_group(
            "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo",
            store=PrefixStore("group", store),
            rank=rank,
            world_size=size,
        )
        yield _world
        _world.barrier()
    except BaseException as error:
        raise _first_error(_world, error) from error
    finally:
        _world = before
        if dist.is_initialized():
            # The end of a group holds Python's lock and waits for gloo's thread, which needs it once more to drop the
            # tensors of the last collective. Without the lock for this long, that is done before.
            sleep(LONGEST)
            with suppress(RuntimeError):
                dist.destroy_process_group()


@contextmanager
def _alone() -> Iterator[None]:
    """Compute in this process for the block, whatever it has joined."""
    global _world
    before, _world = _world, World(settled=True)
    try:
        yield
    finally:
        _world = before


def _first_error(world: World, error: BaseException) -> BaseException:
    """Return the error that a process raises: its own if it is the first that fails."""
    assert world.store is not None
    with suppress(RuntimeError):  # where the process that holds the store is gone
        if world.store.add(FAILED, 1) > 1:
            return PeerFailed()
    if isinstance(error, InputError | OutputError | NonFiniteError | CollapseError):
        return type(error)(f"{world.name}: {error}")
    if isinstance(error, dist.DistError) or (isinstance(error, RuntimeError) and GLOO in str(error)):
        return PeerFailed(f"{world.name}: another process has ended; continue the run with --resume")
    return error


def _compare(own: Mapping[str, str], other: Mapping[str, str], rank: int) -> None:
    for name in [*own, *other]:
        if own.get(name) != other.get(name):
            raise InputError(
                f"{name} is {other.get(name, 'absent')} in process {rank}, {own.get(name, 'absent')} in process 0: "
                f"all processes of a training need the same"
            )
