"""The only way to draw: the engine admits jobs, runs the network for many samples at once, and advances each.

A step takes the states of all admitted samples, groups those that can share a network call, makes one call, and hands
each sample its x0. Samples of one call may differ in prompt, level, sampler, number of steps, guidance scale and
adapters. Memory and time are the caller's: `step` returns after one call, so that a server or a loop stays in charge.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any

import torch
from torch import Tensor

from unnoise.components import Components
from unnoise.diffusion.inpainting import composite, painted_at
from unnoise.diffusion.noise import draw
from unnoise.diffusion.prediction import expand
from unnoise.diffusion.process import share
from unnoise.errors import InputError, NonFiniteError
from unnoise.generation.batch import Batch, Row, compatible
from unnoise.generation.decode import decode
from unnoise.generation.job import Job
from unnoise.generation.metadata import CallShape
from unnoise.generation.prepare import Prepared, first_state, prepare
from unnoise.generation.record import metadata_of
from unnoise.generation.sample import Sample
from unnoise.sampling.state import State, query

ADVICE = {  # on NaN or infinity out of a network of this dtype
    "float16": "float16 ends at 65504: use dtype bfloat16 or float32",
    "bfloat16": "use dtype float32, or a lower guidance_scale",
    "float32": "use a lower guidance_scale, or look for broken weights with unnoise check",
}


@dataclass(frozen=True, slots=True)
class Ticket:
    """Name one sample: the job that it belongs to, and its place in it."""

    job: int
    index: int


@dataclass(frozen=True, slots=True, eq=False)
class Live:
    """A sample that is being drawn.

    Args:
        ticket: its name.
        prepared: its job with conditioning.
        row: what its network calls need.
        state: where it stands; None before its first call.
        calls: the shapes of its calls so far.
    """

    ticket: Ticket
    prepared: Prepared
    row: Row
    state: State[Tensor] | None = None
    calls: tuple[CallShape, ...] = ()

    @property
    def job(self) -> Job:
        """The job."""
        return self.prepared.job

    @property
    def done(self) -> float:
        """The share of its steps that are done."""
        if self.state is None:
            return 0.0
        return (self.state.i + self.state.stage / self.job.sampler.queries) / (len(self.state.grid) - 1)

    @property
    def repeated(self) -> CallShape | None:
        """The shape that its next call repeats, of a replay."""
        past = sum(shape.calls for shape in self.calls)
        for shape in self.job.repeats:
            past -= shape.calls
            if past < 0:
                return shape
        if self.job.repeats:
            raise InputError("metadata: calls: fewer network calls than the sampler makes")
        return None


@dataclass(frozen=True, slots=True, eq=False)
class FiniteRows:
    """Whether the rows of a network call are finite, on its way to the CPU; reading it later lets no device wait.

    Args:
        lives: the samples, where they stood before the call.
        finite: (B,), on the CPU.
        copied: what to wait for before `finite` is read.
    """

    lives: Sequence[Live]
    finite: Tensor
    copied: torch.Event | None

    @classmethod
    def of(cls, answers: Tensor, lives: Sequence[Live]) -> "FiniteRows":
        """Check the answers (B, *d) of a call, and start to copy the result."""
        finite = answers.flatten(1).isfinite().all(1).to("cpu", non_blocking=answers.device.type == "cuda")
        copied = torch.Event(answers.device.type) if answers.device.type == "cuda" else None
        if copied is not None:
            copied.record()
        return cls(lives, finite, copied)

    def errors(self) -> Iterator[tuple[Ticket, NonFiniteError]]:
        """List the samples with NaN or infinity."""
        if self.copied is not None:
            self.copied.synchronize()
        for live, finite in zip(self.lives, self.finite.tolist(), strict=True):
            if not finite and live.state is not None:
                state, dtype, seed = live.state, live.job.settings.dtype, live.job.draws[live.ticket.index].seed
                yield (
                    live.ticket,
                    NonFiniteError(
                        f"step {state.i} of {len(state.grid) - 1}, sigma {state.level:g}, dtype {dtype}: "
                        f"NaN or infinity in the sample of seed {seed}; {ADVICE[dtype]}"
                    ),
                )


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """What one step did.

    Args:
        tickets: the samples of the network call.
        x0: their current guesses (B, *d).
        finished: samples that are complete, by ticket.
        failed: the error of each sample that cannot go on, by ticket.
    """

    tickets: tuple[Ticket, ...] = ()
    x0: Tensor | None = None
    finished: dict[Ticket, Sample] = field(default_factory=dict)
    failed: dict[Ticket, Exception] = field(default_factory=dict)


class Engine:
    """Draw the samples of any number of jobs on one model. Nothing runs but in `step`."""

    def __init__(self, components: Components) -> None:
        self.components = components
        self._live: dict[Ticket, Live] = {}
        self._numbers = count()
        self._batch: tuple[tuple[Any, ...], Batch] | None = None
        self._served: dict[Any, int] = {}
        self._steps = 0
        self._unread: deque[FiniteRows] = deque()
        self._failed: dict[Ticket, Exception] = {}

    @property
    def idle(self) -> bool:
        """Whether no sample is left to draw."""
        return not self._live and not self._failed

    def admit(self, job: Job) -> tuple[Ticket, ...]:
        """Take a job. Its prompts and images are encoded now; its samples are drawn by `step`.

        Raises:
            InputError: an input is missing, does not fit, or cannot act.
        """
        prepared, number = prepare(self.components, job), next(self._numbers)
        tickets = tuple(Ticket(number, index) for index in range(len(job.draws)))
        for ticket in tickets:
            row = Row(job.settings, prepared.conditioning[job.draws[ticket.index].prompt], job.adapters)
            self._live[ticket] = Live(ticket, prepared, row)
        return tickets

    def progress(self, ticket: Ticket) -> float:
        """Return the share of a sample's steps that are done; 1 for one that has left the engine."""
        return self._live[ticket].done if ticket in self._live else 1.0

    def cancel(self, *tickets: Ticket) -> None:
        """Drop samples; the others go on."""
        for ticket in tickets:
            self._live.pop(ticket, None)

    def pause(self, ticket: Ticket) -> Live:
        """Take a sample out, as a value that `resume` takes, in this engine or another of the same model.

        Raises:
            InputError: the engine has no such sample.
        """
        self._read(0)
        if ticket in self._failed:
            raise self._failed.pop(ticket)
        if ticket not in self._live:
            raise InputError(f"{ticket}: is not being drawn")
        return self._live.pop(ticket)

    def resume(self, live: Live) -> Ticket:
        """Take a paused sample back, and return its new ticket."""
        ticket = Ticket(next(self._numbers), live.ticket.index)
        self._live[ticket] = replace(live, ticket=ticket)
        return ticket

    def step(self) -> Step:
        """Make one network call for as many samples as can share it, and advance each.

        Returns:
            What was done; nothing where no sample is left.
        """
        chosen = self._choose()
        if not chosen:
            return Step(failed=self._taken())
        started = [self._started(live) for live in chosen]
        states = [live.state for live in started if live.state is not None]
        batch = self._batch_of(started)
        steps = [_step_of(live.job.settings.grid, state) for live, state in zip(started, states, strict=True)]
        levels, ends = [state.level for state in states], [state.step[1] for state in states]
        answers, shapes = batch(torch.cat([state.x for state in states]), levels, steps, ends)
        step = Step(tuple(live.ticket for live in started), answers)
        self._unread.append(FiniteRows.of(answers, started))
        ended: list[Ticket] = []
        for live, state, x0, shape in zip(started, states, answers.split(1), shapes, strict=True):
            try:
                after = self._advanced(live, state, x0, shape)
            except InputError as error:
                self._failed[live.ticket] = error
                del self._live[live.ticket]
                continue
            self._live[live.ticket] = after
            if after.state is not None and after.state.done:
                ended.append(live.ticket)
        self._read(0 if ended or answers.device.type == "cpu" else 1)
        self._finish([self._live[ticket] for ticket in ended if ticket in self._live], step)
        step.failed.update(self._taken())
        return step

    def _read(self, kept: int) -> None:
        """Drop samples with NaN or infinity, of all network calls but the last `kept`."""
        while len(self._unread) > kept:
            for ticket, error in self._unread.popleft().errors():
                if self._live.pop(ticket, None) is not None:
                    self._failed[ticket] = error

    def _taken(self) -> dict[Ticket, Exception]:
        failed, self._failed = self._failed, {}
        return failed

    def _choose(self) -> list[Live]:
        """Choose samples that can share a call: of the kind that has waited longest, the oldest first."""
        groups: dict[Any, list[Live]] = {}
        for live in self._live.values():
            key = live.ticket if live.job.repeats else compatible(live.row, live.prepared.shape)
            groups.setdefault(key, []).append(live)
        if not groups:
            return []
        self._steps += 1
        key = min(groups, key=lambda one: self._served.get(one, 0))
        self._served = {one: self._served.get(one, 0) for one in groups} | {key: self._steps}
        limit = min(live.job.batch for live in groups[key])
        return groups[key][:limit]

    def _started(self, live: Live) -> Live:
        if live.state is not None:
            return live
        return replace(live, state=first_state(self.components, live.prepared, live.ticket.index))

    def _batch_of(self, started: Sequence[Live]) -> Batch:
        """Return the batch of these samples: the last one, where it had the same."""
        repeated = started[0].repeated
        key = (tuple(live.ticket for live in started), repeated)
        if self._batch is None or self._batch[0] != key:
            self._batch = key, Batch(self.components, [live.row for live in started], repeated)
        return self._batch[1]

    def _advanced(self, live: Live, state: State[Tensor], x0: Tensor, shape: CallShape) -> Live:
        """Advance one sample by its x0."""
        x0 = self._inpainted(live.prepared, x0, state)
        one = live.job.draws[live.ticket.index]
        sampler = live.job.sampler
        noise = draw([one.seed], query(sampler, state), state.x) if sampler.stochastic else None
        return replace(live, state=sampler.advance(state, x0, noise), calls=_joined(live.calls, shape))

    def _inpainted(self, prepared: Prepared, x0: Tensor, state: State[Tensor]) -> Tensor:
        """Put the known image into x0 where nothing is painted."""
        known, mask = prepared.known, prepared.mask
        if known is None or mask is None:
            return x0
        if prepared.job.settings.mask_mode == "differential":
            level = torch.full((1,), state.level, device=x0.device)
            mask = painted_at(mask, expand(share(self.components.denoiser.process, level), x0))
        return composite(x0, known, mask)

    def _finish(self, ended: Sequence[Live], step: Step) -> None:
        """Decode samples of the same job together, and let them go."""
        for live in ended:
            del self._live[live.ticket]
        for number in dict.fromkeys(live.ticket.job for live in ended):
            self._decode([live for live in ended if live.ticket.job == number], step)

    def _decode(self, together: Sequence[Live], step: Step) -> None:
        """Decode samples; where NaN or infinity comes out, each alone, so that a broken one fails alone."""
        try:
            step.finished.update(self._decoded(together))
        except NonFiniteError as error:
            if len(together) == 1:
                step.failed[together[0].ticket] = _placed(error, together[0])
            else:
                for live in together:
                    self._decode([live], step)

    def _decoded(self, together: Sequence[Live]) -> dict[Ticket, Sample]:
        prepared = together[0].prepared
        rows = torch.cat([live.state.x for live in together if live.state is not None])
        places = [(len(rows), k) for k in range(len(rows))]
        if prepared.job.repeats and prepared.job.replay is not None:
            places = [prepared.job.replay.decoded]
            rows = rows.expand(places[0][0], *rows.shape[1:])
        media = decode(self.components, prepared.job.settings, rows, prepared.images)
        return {
            live.ticket: Sample(
                media[place[1]],
                rows[place[1]],
                metadata_of(self.components, prepared, live.ticket.index, live.calls, place),
            )
            for live, place in zip(together, places, strict=True)
        }


def _step_of(grid: Sequence[float], state: State[Tensor]) -> int:
    """Return the step of a request's grid at which a state stands; RePaint goes back and takes steps again."""
    here = state.grid[state.i]
    return sum(level >= here for level in grid) - 1


def _placed(error: NonFiniteError, live: Live) -> NonFiniteError:
    """Add to an error of decoding where the sample stood."""
    grid, one = live.job.settings.grid, live.job.draws[live.ticket.index]
    return NonFiniteError(
        f"after step {len(grid) - 1} of {len(grid) - 1}, sigma {grid[-1]:g}, {error} (the sample of seed {one.seed})"
    )


def _joined(calls: tuple[CallShape, ...], shape: CallShape) -> tuple[CallShape, ...]:
    """Add a call to a history, in which equal shapes in a row are counted."""
    if calls and replace(calls[-1], calls=1) == shape:
        return (*calls[:-1], replace(shape, calls=calls[-1].calls + 1))
    return (*calls, shape)
