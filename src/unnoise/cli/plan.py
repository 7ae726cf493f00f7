"""`unnoise plan`: memory and time of a request, before any weight is read."""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from unnoise.cli.busy import busy
from unnoise.cli.options import HelpView, arguments, values
from unnoise.cli.torch_import import import_torch
from unnoise.generation.option import described
from unnoise.generation.options import SamplingOptions
from unnoise.generation.request import request_of

if TYPE_CHECKING:
    import torch

    from unnoise.estimate.memory import MemoryEstimate
    from unnoise.generation.metadata import Settings
    from unnoise.pipeline import Pipeline

SIDE, ROUNDS = 1024, 3  # of the matrix products that measure this machine
REACHED = 0.6  # of that speed, by a U-Net of Stable Diffusion 1.5 on two cores, bench/foreign.py


PLANNED = (  # options of `generate` that decide memory or time
    "size", "n", "batch", "steps", "guidance_scale", "frames", "seconds", "dtype", "vae_dtype", "sampler", "schedule",
)  # fmt: skip
UNPLANNED = tuple(name for name in described(SamplingOptions) if name not in PLANNED)
PlanArguments = arguments(SamplingOptions, HelpView(), leave_out=UNPLANNED)
DEFAULTS = PlanArguments()


def plan(
    model: Annotated[str, Parameter(help="Name, .safetensors file, or folder in the layout of diffusers.")],
    /,
    *,
    options: Annotated[Any, Parameter(name="*")] = DEFAULTS,
    components: Annotated[str | None, Parameter(help="Folder with what a single file lacks.")] = None,
    prediction_type: Annotated[Literal["eps", "v", "flow"] | None, Parameter(help="What the network predicts.")] = None,
    device: Annotated[str, Parameter(help="auto is the best there is; cpu, cuda, cuda:1, mps, xpu.")] = "cpu",
    as_json: Annotated[bool, Parameter(name="--json", negative="", help="Print one JSON object.")] = False,
) -> int:
    """Estimate a request: weights, activations at their peak, operations of a step, and whether it fits.

    Only headers and shapes are read. Where the request does not fit, a smaller one is named, and the exit code is 1.
    """
    request = request_of("", **values(options))
    with busy(f"measuring {model}"):
        import_torch()
        import torch

        from unnoise.devices import available, known_device
        from unnoise.estimate.memory import estimate_memory, narrowed, smaller
        from unnoise.generation.resolve import resolve
        from unnoise.loading import meta

        place = known_device(device)
        pipeline = meta(model, components=components, prediction_type=prediction_type)
        sampling = request.sampling
        if pipeline.card.family != "unnoise" and (sampling.dtype, sampling.vae_dtype) != (None, None):
            own = None if sampling.vae_dtype is None else getattr(torch, sampling.vae_dtype)
            narrowed(pipeline, getattr(torch, sampling.dtype or "float32"), own)
        job = resolve(request, pipeline)
        made, samples = job.settings, len(job.draws)
        estimate = estimate_memory(pipeline, made, samples, job.batch, place.type)
        free = available(place)
        fits = estimate.fits(free)
        others = () if fits else smaller(pipeline, made, estimate, samples, place.type)
        less = next((one for one in others if one.fits(free)), None)
        rate = speed(place, getattr(torch, made.dtype))
    found = PlanReport(estimate, free, fits, less, rate)
    print(json.dumps(found.facts(made)) if as_json else "\n".join(found.lines(pipeline, made)))
    return 0 if fits else 1


@dataclass(frozen=True, slots=True)
class PlanReport:
    """An estimate. free: bytes; smaller: a request that fits; rate: operations a second that a network reaches here."""

    estimate: "MemoryEstimate"
    free: int | None
    fits: bool
    smaller: "MemoryEstimate | None"
    rate: float

    def lines(self, pipeline: "Pipeline", plan: "Settings") -> Iterator[str]:
        """Write the estimate for people."""
        from unnoise.devices import size

        card, estimate = pipeline.card, self.estimate
        extent = f"{plan.size[0]}x{plan.size[1]}" if plan.seconds is None else f"{plan.seconds:g} s"
        extent += f", {plan.frames} frames" if plan.frames is not None else ""
        beside = "" if plan.vae_dtype in (None, estimate.dtype) else f", autoencoder in {plan.vae_dtype}"
        yield f"{card.name}: {extent}, {estimate.batch} at once, {estimate.dtype}{beside}"
        weights = ", ".join(f"{name} {size(count)}" for name, count in estimate.weights.items())
        yield f"weights     {size(sum(estimate.weights.values()))}: {weights}"
        for stage in estimate.stages:
            work = f"{stage.cost.flops / 1e9:.3g} GFLOP"
            copies = f", and {size(stage.copies)} of weights in another layout" if stage.copies else ""
            yield f"{stage.name:11} {size(stage.cost.peak)} of activations{copies}; {work}, {stage.calls} times"
        per_step = next(stage.cost.flops for stage in estimate.stages if stage.name == "step") / self.rate
        yield f"a step      about {per_step:.2g} s here, an estimate from the speed of this device"
        needed = estimate.needed - estimate.program
        text = f"{size(needed)} beside the program" + ("" if self.free is None else f", {size(self.free)} are free")
        yield f"needs       {text}: {'fits' if self.fits else 'does not fit'}"
        if self.smaller is not None:
            less = self.smaller
            yield f"would fit   {less.batch} at once in {less.dtype}: {size(less.needed - less.program)}"
        elif not self.fits:
            yield "would fit   nothing smaller of this model and size"

    def facts(self, settings: "Settings") -> dict[str, object]:
        """Return the estimate as JSON types."""
        estimate = self.estimate
        stages = {
            one.name: {"peak": one.cost.peak, "flops": one.cost.flops, "calls": one.calls, "copies": one.copies}
            for one in estimate.stages
        }
        less = self.smaller
        return {
            "weights": dict(estimate.weights),
            "stages": stages,
            "batch": estimate.batch,
            "dtype": estimate.dtype,
            "vae_dtype": settings.vae_dtype,
            "needed": estimate.needed - estimate.program,
            "free": self.free,
            "fits": self.fits,
            "instead": less and {"batch": less.batch, "dtype": less.dtype, "needed": less.needed - less.program},
        }


def speed(device: "torch.device", dtype: "torch.dtype") -> float:
    """Measure matrix products for about 0.1 s, and return the operations a second that a network reaches."""
    import torch

    one = torch.ones(SIDE, SIDE, device=device, dtype=dtype)
    times = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        float((one @ one)[0, 0])
        times.append(time.perf_counter() - began)
    return REACHED * 2 * SIDE**3 / min(times)
