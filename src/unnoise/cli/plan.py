"""`unnoise plan`: what a request takes of this machine, before any weight is read."""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from unnoise.cli.options import size_of
from unnoise.cli.progress import saying
from unnoise.cli.torch_import import import_torch
from unnoise.generation.options import Request

if TYPE_CHECKING:
    import torch

    from unnoise.estimate.memory import MemoryEstimate
    from unnoise.generation.resolve import Plan
    from unnoise.pipeline import Pipeline

SIDE, ROUNDS = 1024, 3  # of the products of matrices that tell how fast this machine is
REACHED = 0.6  # of that speed that a U-Net of Stable Diffusion 1.5 reaches on two cores, bench/foreign.py


@dataclass(frozen=True, slots=True)
class PlanOptions:
    """What would be drawn."""

    size: Annotated[str | None, Parameter(help="Size in pixels: WIDTHxHEIGHT, or one number for both.")] = None
    n: Annotated[int, Parameter(name="-n", help="Samples.")] = 1
    batch: Annotated[int | None, Parameter(help="Samples computed at once.")] = None
    steps: Annotated[int | None, Parameter(help="Steps, 1 to 1000.")] = None
    guidance: Annotated[float | None, Parameter(help="Guidance, 1 is off; it doubles the rows of a step.")] = None
    frames: Annotated[int | None, Parameter(help="Frames of a film.")] = None
    seconds: Annotated[float | None, Parameter(help="Seconds of a sound.")] = None
    dtype: Annotated[str | None, Parameter(help="Numbers of the weights: float32, bfloat16 or float16.")] = None

    def request(self) -> Request:
        """Make the request. Raises InputError for an option out of range."""
        return Request(
            ("",),
            steps=self.steps,
            weight=self.guidance,
            size=size_of(self.size),
            n=self.n,
            batch=self.batch,
            frames=self.frames,
            seconds=self.seconds,
            dtype=self.dtype,
        )


ONE = PlanOptions()


def plan(
    model: Annotated[str, Parameter(help="Name, .safetensors file, or folder in the layout of diffusers.")],
    /,
    *,
    wanted: Annotated[PlanOptions, Parameter(name="*")] = ONE,
    parts: Annotated[str | None, Parameter(help="Folder that has what a single file lacks.")] = None,
    predicts: Annotated[Literal["eps", "v"] | None, Parameter(help="What it answers with, if nothing says it.")] = None,
    device: Annotated[str, Parameter(help="cpu, cuda, ...")] = "cpu",
    as_json: Annotated[bool, Parameter(name="--json", negative="", help="Print one JSON object.")] = False,
) -> int:
    """Say what a request takes: weights, activations at their peak, operations of a step, and whether it fits.

    Headers and shapes are enough; no weight is read. Where it does not fit, what would is said, and the exit code is 1.
    """
    request = wanted.request()
    with saying(f"measuring {model}"):
        import_torch()
        import torch

        from unnoise.devices import available, known_device
        from unnoise.estimate.memory import budget, narrowed, smaller
        from unnoise.loading import meta
        from unnoise.pipeline import batch_of

        place = known_device(device)
        pipeline = meta(model, components=parts, prediction_type=predicts)
        if pipeline.card.family != "unnoise" and wanted.dtype is not None:
            narrowed(pipeline, getattr(torch, wanted.dtype))
        made = pipeline.plan(request)
        asked = budget(pipeline, made, request.n, batch_of(request, made), place.type)
        free = available(place)
        fits = asked.fits(free)
        others = () if fits else smaller(pipeline, made, asked, request.n, place.type)
        instead = next((one for one in others if one.fits(free)), None)
        rate = speed(place, getattr(torch, made.dtype))
    found = PlanReport(asked, free, fits, instead, rate)
    print(json.dumps(found.facts()) if as_json else "\n".join(found.lines(pipeline, made)))
    return 0 if fits else 1


@dataclass(frozen=True, slots=True)
class PlanReport:
    """What was found. free: bytes; instead: what would fit; rate: operations a second that a network may reach here."""

    asked: "MemoryEstimate"
    free: int | None
    fits: bool
    instead: "MemoryEstimate | None"
    rate: float

    def lines(self, pipeline: "Pipeline", plan: "Plan") -> Iterator[str]:
        """Write it for people."""
        from unnoise.devices import size

        card, asked = pipeline.card, self.asked
        extent = f"{plan.size[0]}x{plan.size[1]}" if plan.seconds is None else f"{plan.seconds:g} s"
        extent += f", {plan.frames} frames" if plan.frames is not None else ""
        yield f"{card.name}: {extent}, {asked.batch} at once, {asked.dtype}"
        weights = ", ".join(f"{name} {size(count)}" for name, count in asked.weights.items())
        yield f"weights     {size(sum(asked.weights.values()))}: {weights}"
        for stage in asked.stages:
            work = f"{stage.cost.flops / 1e9:.3g} GFLOP"
            copies = f", and {size(stage.copies)} of weights in another layout" if stage.copies else ""
            yield f"{stage.name:11} {size(stage.cost.peak)} of activations{copies}; {work}, {stage.calls} times"
        per_step = next(stage.cost.flops for stage in asked.stages if stage.name == "step") / self.rate
        yield f"a step      about {per_step:.2g} s here, an estimate from the speed of this device"
        needed = asked.needed - asked.program
        told = f"{size(needed)} beside the program" + ("" if self.free is None else f", {size(self.free)} are free")
        yield f"needs       {told}: {'fits' if self.fits else 'does not fit'}"
        if self.instead is not None:
            less = self.instead
            yield f"would fit   {less.batch} at once in {less.dtype}: {size(less.needed - less.program)}"
        elif not self.fits:
            yield "would fit   nothing smaller of this model and size"

    def facts(self) -> dict[str, object]:
        """Give it as JSON types."""
        asked = self.asked
        stages = {
            one.name: {"peak": one.cost.peak, "flops": one.cost.flops, "calls": one.calls, "copies": one.copies}
            for one in asked.stages
        }
        less = self.instead
        return {
            "weights": dict(asked.weights),
            "stages": stages,
            "batch": asked.batch,
            "dtype": asked.dtype,
            "needed": asked.needed - asked.program,
            "free": self.free,
            "fits": self.fits,
            "instead": less and {"batch": less.batch, "dtype": less.dtype, "needed": less.needed - less.program},
        }


def speed(device: "torch.device", dtype: "torch.dtype") -> float:
    """Measure products of matrices, about 0.1 s, and give the operations a second that a network may reach."""
    import torch

    one = torch.ones(SIDE, SIDE, device=device, dtype=dtype)
    times = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        float((one @ one)[0, 0])
        times.append(time.perf_counter() - began)
    return REACHED * 2 * SIDE**3 / min(times)
