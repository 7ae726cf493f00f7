"""Memory and work of a request, stage by stage, before any weight is read."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from unnoise.card import OWN
from unnoise.devices import available
from unnoise.diffusion.conditioning import Conditioning, collate
from unnoise.estimate.cost_model import Cost, Kernels, cost, kept
from unnoise.generation.choose_sampler import sampler_of
from unnoise.generation.images import PreparedImages
from unnoise.generation.metadata import Settings
from unnoise.generation.prepare import JobConditioning, shape_of
from unnoise.integrations.diffusers.dtypes import AUTOENCODER, autoencoder_dtype, narrow
from unnoise.integrations.diffusers.onednn import DTYPES, LEAST, PackedConv2d, PackedLinear, release
from unnoise.pipeline import Pipeline
from unnoise.sampling.state import calls

ROOM = 0.8  # of the free memory that weights and their copies may take, as integrations/diffusers/load.py has it


@dataclass(frozen=True, slots=True)
class MemoryStage:
    """One stage. calls: its runs for a request; copies: bytes of weight copies that stay from then on."""

    name: str
    cost: Cost
    calls: int
    copies: int = 0


@dataclass(frozen=True, slots=True)
class MemoryEstimate:
    """The bytes that a request needs.

    Args:
        weights: by network.
        stages: in the order in which they run.
        batch: samples in one network call.
        dtype: of the weights.
        program: the process without any model.
    """

    weights: Mapping[str, int]
    stages: tuple[MemoryStage, ...]
    batch: int
    dtype: str
    program: int = 0

    @property
    def needed(self) -> int:
        """The peak over all stages."""
        copies = accumulate(stage.copies for stage in self.stages)
        peaks = (held + stage.cost.peak for held, stage in zip(copies, self.stages, strict=True))
        return self.program + sum(self.weights.values()) + max(peaks)

    def fits(self, free: int | None) -> bool:
        """Return whether the request fits into free bytes, the program aside; None means no limit."""
        return free is None or self.needed - self.program <= free


def estimate_memory(
    pipeline: Pipeline, settings: Settings, samples: int, batch: int, device: str = "cpu"
) -> MemoryEstimate:
    """Estimate the memory of a request.

    Args:
        pipeline: on the meta device.
        settings: of the request.
        samples: in all.
        batch: in one network call.
        device: that runs it.

    Raises:
        InputError: the estimate needs the weights.
    """
    nets = pipeline.networks()
    weights = {role: sum(map(_bytes, (*net.parameters(), *net.buffers()))) for role, net in nets.items()}
    copies = {role: list(_copied(net)) if device == "cpu" else [] for role, net in nets.items()}
    free = available(torch.device(device))
    total = sum(weights.values()) + sum(_bytes(weight) for role in copies for weight in copies[role])
    if free is not None and total >= ROOM * free:
        copies = {role: [] for role in nets}
    if settings.dtype != pipeline.dtype:
        copies["net"] = []  # under autocast layers work on weights that are narrowed at each call
    kernels = Kernels(device, kept(weight for role in copies for weight in copies[role]))
    stages = _stages(pipeline, settings, min(batch, samples), kernels)
    batches = -(-samples // batch)
    times = {
        "text": 1 + settings.guided,
        "image": 1,
        "step": batches * calls(sampler_of(settings.sampler), settings.grid),
        "decoding": batches,
    }
    after = {"step": "net", "decoding": "autoencoder"}
    found = tuple(
        MemoryStage(name, one, times[name], sum(map(_bytes, copies.get(after.get(name, ""), []))))
        for name, one in stages
    )
    return MemoryEstimate(weights, found, min(batch, samples), pipeline.dtype, resident() if device == "cpu" else 0)


def narrowed(pipeline: Pipeline, dtype: torch.dtype, vae_dtype: torch.dtype | None = None) -> None:
    """Convert the networks of a foreign model on the meta device, as loading in these dtypes does."""
    nets = pipeline.diffusers_networks
    for net in nets.values():
        narrow(net, dtype)
    if AUTOENCODER in nets:
        config: Any = nets[AUTOENCODER].config
        narrow(nets[AUTOENCODER], autoencoder_dtype(config, pipeline.card.family, dtype, vae_dtype))


def smaller(
    pipeline: Pipeline, settings: Settings, request: MemoryEstimate, samples: int, device: str = "cpu"
) -> Iterator[MemoryEstimate]:
    """Yield smaller requests: half the batch, and so on, then the same in bfloat16."""
    for dtype in ("", "bfloat16"):
        if dtype and (pipeline.card.family == OWN or pipeline.dtype != "float32"):
            return
        if dtype:
            narrowed(pipeline, torch.bfloat16)
            settings = replace(settings, dtype="bfloat16")
        batch = request.batch if dtype else request.batch // 2
        while batch:
            yield estimate_memory(pipeline, settings, samples, batch, device)
            batch //= 2


def resident() -> int:
    """Return the resident memory of this process in bytes, 0 where it is unknown."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError, AttributeError):
        return 0


def _stages(pipeline: Pipeline, settings: Settings, batch: int, kernels: Kernels) -> Iterator[tuple[str, Cost]]:
    """Run each stage on the meta device, with the result of the one before."""
    cond = Conditioning()
    with torch.device("meta"):
        if pipeline.text_encoder is not None:
            encoder, read = pipeline.text_encoder, list[Conditioning]()
            yield "text", cost(lambda: read.extend(encoder([""])), kernels)
            cond = read[0]
        images = PreparedImages()
        if pipeline.image_conditioner is not None:
            encode, (width, height) = pipeline.image_conditioner.encode, settings.size
            images = PreparedImages(torch.empty(1, 3, height, width), torch.empty(1, 1, height, width))
            yield "image", cost(lambda: encode(torch.empty(1, 3, height, width), images.mask), kernels)
        row = JobConditioning(pipeline, settings, images).added(cond, prompted=True)
        shape, rows = shape_of(pipeline, settings), batch * _rows(settings)
        narrow = None if settings.dtype == pipeline.dtype else getattr(torch, settings.dtype)

        def step() -> Tensor:
            cond = collate([row] * rows)
            if pipeline.denoiser.takes_end:
                cond = replace(cond, end=torch.zeros(rows))
            return pipeline.denoiser(torch.empty(rows, *shape), torch.ones(rows), cond)

        for net in pipeline.networks().values():
            release(net)
        yield "step", cost(step, replace(kernels, narrow=narrow))
        yield "decoding", cost(lambda: pipeline.decode(torch.empty(batch, *shape), settings.decoder), kernels)


def _rows(settings: Settings) -> int:
    """Return how many rows of a network call one sample has."""
    return 1 if not settings.guided else 2 if settings.image_guidance is None else 3


def _copied(net: nn.Module) -> Iterator[Tensor]:
    """List the weights of which a network's layers keep copies in oneDNN's layout."""
    packed = (module for module in net.modules() if isinstance(module, PackedLinear | PackedConv2d))
    for module in packed:
        if module.weight.numel() >= LEAST and module.weight.dtype in DTYPES:
            yield module.weight


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()
