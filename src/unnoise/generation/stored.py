"""A paused sample as a file: its state as tensors, everything else as metadata; resumed on any process or machine."""

import json
import os
from pathlib import Path

import torch
from torch import Tensor

from unnoise.components import Components
from unnoise.errors import InputError, check_whole
from unnoise.formats.header import read_header
from unnoise.formats.json_text import json_object
from unnoise.formats.tensors import read_tensors, write_tensors
from unnoise.generation.batch import Row
from unnoise.generation.engine import Live, Ticket
from unnoise.generation.images import RawImages
from unnoise.generation.job import AnySampler
from unnoise.generation.loras import Loras
from unnoise.generation.metadata import from_json, to_json
from unnoise.generation.prepare import first_state, prepare
from unnoise.generation.record import job_again, metadata_of
from unnoise.sampling.state import State, start

KEY, PLACE = "unnoise.paused", "unnoise.place"  # of metadata, and of the place in the grid, in the file's header


def save(path: str | os.PathLike[str], components: Components, live: Live) -> None:
    """Write a sample that `Engine.pause` returned, atomically.

    Args:
        path: a .safetensors file.
        components: the model that draws it.
        live: the sample; one that has not begun is started.

    Raises:
        InputError: the file cannot be written.
    """
    state = live.state or first_state(components, live.prepared, live.ticket.index)
    tensors = {"x": state.x, **{f"memory.{k}": one for k, one in enumerate(state.memory)}}
    metadata = metadata_of(components, live.prepared, live.ticket.index, live.calls, (1, 0))
    place = json.dumps({"i": state.i, "stage": state.stage, "level": repr(state.level)})
    write_tensors(
        path,
        {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()},
        {"format": "pt", KEY: to_json(metadata), PLACE: place},
    )


def load(
    path: str | os.PathLike[str], components: Components, images: RawImages | None = None, adapters: Loras = ()
) -> Live:
    """Read a paused sample, for `Engine.resume`.

    Args:
        path: a file that `save` wrote.
        components: the model that it was drawn with.
        images: its image inputs, which the file does not contain.
        adapters: its adapters.

    Raises:
        InputError: the file is not sound, or the model or an input is another one.
    """
    header = read_header(Path(path))
    if KEY not in header.metadata or PLACE not in header.metadata:
        raise InputError(f"{path}: not a paused sample; its header lacks {KEY}")
    metadata = from_json(header.metadata[KEY], f"{path}: metadata")
    job = job_again(metadata, components, images or RawImages(), adapters, repeat=False)
    prepared = prepare(components, job)
    begun = first_state(components, prepared, 0)
    tensors = {name: tensor.clone().to(components.device) for name, tensor in read_tensors(Path(path), header)}
    state = _state(str(path), job.sampler, begun, tensors, header.metadata[PLACE])
    row = Row(job.settings, prepared.conditioning[metadata.prompt], job.adapters)
    return Live(Ticket(0, 0), prepared, row, state, metadata.calls)


def _state(
    path: str, sampler: AnySampler, begun: State[Tensor], tensors: dict[str, Tensor], place: str
) -> State[Tensor]:
    """Put a state together. Raises InputError where no run of this sampler on this grid could stand there."""
    try:
        found = json_object(place)
        i, stage, level = found["i"], found["stage"], float(found["level"])
    except (ValueError, KeyError, TypeError):
        raise InputError(f"{path}: {PLACE}: must have the numbers i, stage and level") from None
    check_whole(f"{path}: i", i, 0, len(begun.grid) - 2)
    check_whole(f"{path}: stage", stage, 0, sampler.queries - 1)
    walked = start(0.0, begun.grid)  # the same run, on a number
    while not walked.done and (walked.i, walked.stage) != (i, stage):
        walked = sampler.advance(walked, 0.0, 0.0 if sampler.stochastic else None)
    if level != walked.level:
        raise InputError(f"{path}: level {level:g}: must be {walked.level:g} at step {i}, stage {stage}")
    memory = [f"memory.{k}" for k in range(len(walked.memory))]
    if set(tensors) != {"x", *memory}:
        raise InputError(f"{path}: tensors {', '.join(sorted(tensors))}: must be {', '.join(['x', *memory])}")
    for tensor in tensors.values():
        if tensor.shape != begun.x.shape or not bool(torch.isfinite(tensor).all()):
            raise InputError(f"{path}: its tensors must be finite and of shape {list(begun.x.shape)}")
    return State(begun.grid, i, tensors["x"], level, stage, tuple(tensors[name] for name in memory))
