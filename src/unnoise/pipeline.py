"""A model that people use: generate, edit, sweep, plan, replay; every way draws through the engine."""

import os
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from inspect import Parameter, Signature
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from unnoise.components import Components
from unnoise.errors import InputError, InputWarning, checked_path, quoted
from unnoise.generation.axes import combinations
from unnoise.generation.decode import preview_images
from unnoise.generation.engine import Engine, Step, Ticket
from unnoise.generation.images import RawImages
from unnoise.generation.job import Job
from unnoise.generation.loras import by_adapters, read_loras
from unnoise.generation.metadata import Metadata
from unnoise.generation.option import described
from unnoise.generation.options import OPTIONS
from unnoise.generation.record import difference, job_again
from unnoise.generation.request import Request, request_of
from unnoise.generation.resolve import resolve
from unnoise.generation.sample import Callback, Sample
from unnoise.generation.sweep import Sweep
from unnoise.progress import ProgressBar

Watch = Callable[[Step, float], bool | None]  # (what the engine did, share of the whole work); False cancels


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Pipeline(Components):
    """A model with all that is needed to draw. `unnoise.load` makes one."""

    @classmethod
    def of(cls, components: Components) -> "Pipeline":
        """Make a pipeline of the components of a model."""
        return cls(**{field.name: getattr(components, field.name) for field in fields(components)})

    def __repr__(self) -> str:
        count = sum(parameter.numel() for net in self.networks().values() for parameter in net.parameters())
        sizes = ", ".join(f"{width}x{height}" for width, height in self.card.advice.sizes[:3])
        return (
            f"Pipeline({self.card.name!r}, {self.card.family}, {self.card.modality}{sizes and f' {sizes}'}, "
            f"{count / 1e6:.1f} M parameters, {self.dtype} on {self.device})"
        )

    def to(self, device: str | torch.device) -> "Pipeline":
        """Move every network to a device, and return the pipeline. Raises InputError if it does not work."""
        from unnoise.devices import known_device

        place = known_device(device)
        for net in (*self.networks().values(), *self.diffusers_networks.values(), self.denoiser):
            net.to(place)
        return self

    def generate(
        self, prompt: str | Sequence[str] | None = None, *, callback: Callback | None = None, **options: Any
    ) -> list[Sample]:
        """Draw n samples of each prompt, prompt by prompt; sample k of a prompt has seed + k.

        Args:
            prompt: one prompt or several; an empty one draws from the unconditional model. It can be left out for a
                model without text or classes.
            callback: called as callback(calls, x0) after each network call, with the number of calls so far and the
                current x0 (B, *d) of its samples; where it returns False, the samples that are complete are returned.
            options: see below.

        Returns:
            The samples.

        Raises:
            InputError: an option is unknown, out of range, or cannot act.
            NonFiniteError: the network or the decoder returned NaN or infinity.
        """
        if prompt is None and not self.card.prompted:
            prompt = ""
        return self.run(request_of(_listed(prompt), **options), watch=_counted(callback))

    def preview(self, x0: Tensor) -> list[Image.Image]:
        """Decode the x0 (B, *d) of a callback while images are drawn, by the small decoder where the model has one."""
        return preview_images(self, x0)

    def edit(self, image: Any, prompt: str = "", *, callback: Callback | None = None, **options: Any) -> list[Sample]:
        """Change an image: as a whole, where a mask paints, or around it; `generate` with the image first."""
        return self.generate(prompt, callback=callback, image=image, **options)

    def sweep(self, prompt: str | Sequence[str], **options: Any) -> Sweep:
        """Draw a table: every option may be a list of values, and every combination is drawn with the same seed.

        Args:
            prompt: one prompt or several.
            options: those of `generate`; a list sweeps an option. Explicit levels of a schedule are a tuple.

        Returns:
            The samples with their axes; `.sheet()` lays them out as one labelled image.
        """
        axes, requests = combinations(_listed(prompt), options)
        return Sweep(axes, tuple(self.run(*requests)))

    def run(self, *requests: Request, watch: Watch | None = None) -> list[Sample]:
        """Draw requests together, and return their samples in order."""
        return self.draw(
            [resolve(part, self) for request in requests for part in by_adapters(request)],
            watch,
            requests[0].output.progress,
        )

    def draw(self, jobs: Sequence[Job], watch: Watch | None = None, progress: bool = True) -> list[Sample]:
        """Draw jobs together through one engine, and return their samples in order."""
        engine = Engine(self)
        tickets = [ticket for job in jobs for ticket in engine.admit(job)]
        found: dict[Ticket, Sample] = {}
        with ProgressBar(f"drawing {len(tickets)}", progress and watch is None) as bar:
            while not engine.idle:
                step = engine.step()
                for error in step.failed.values():
                    raise error
                found.update(step.finished)
                share = sum(map(engine.progress, tickets)) / len(tickets)
                bar(share)
                if watch is not None and watch(step, share) is False:
                    engine.cancel(*tickets)
        return [found[ticket] for ticket in tickets if ticket in found]

    def plan(self, prompt: str | Sequence[str] = "", **options: Any) -> Job:
        """Fill in every default of a request, and draw nothing. Raises InputError as `generate` does."""
        return resolve(request_of(_listed(prompt), **options), self)

    def replay(
        self,
        sample: Metadata | Sample | str | os.PathLike[str],
        *,
        lora: Any = (),
        partial: bool = False,
        **images: Any,
    ) -> Sample:
        """Draw a sample again: on the same machine and versions, equal to the bit.

        Args:
            sample: its metadata, the sample, or its file.
            lora: the adapters that it was drawn with; their weights are those of the metadata.
            partial: as for `generate`.
            images: image, mask, invert_mask, control_image, ip_adapter_image, where it was drawn with them.

        Raises:
            InputError: the model, an adapter or an image is another one, or the noise was given by a caller.
        """
        metadata = _metadata(sample)
        for name in images:
            if name not in ("image", "mask", "invert_mask", "control_image", "ip_adapter_image"):
                raise InputError(f"{name}: not an input of replay; everything else is in the metadata")
        if other := difference(metadata, self):
            warnings.warn(other, InputWarning, stacklevel=2)
        adapters = read_loras(lora, self, partial, metadata.adapters)
        job = job_again(metadata, self, RawImages(**images), adapters, repeat=True)
        return self.draw([job])[0]


def _listed(prompt: str | Sequence[str] | None) -> tuple[str, ...]:
    if not isinstance(prompt, Sequence):
        raise InputError(f"prompt {prompt!r}: must be text, or a list of texts")
    return (prompt,) if isinstance(prompt, str) else tuple(prompt)


def _counted(callback: Callback | None) -> Watch | None:
    """Call back with the number of network calls so far and the x0 of the last."""
    if callback is None:
        return None
    if not callable(callback):
        raise InputError(f"callback {quoted(callback)}: must be a function of the number of calls and x0")
    calls = 0

    def watch(step: Step, share: float) -> bool | None:
        nonlocal calls
        calls += 1
        return None if step.x0 is None else callback(calls, step.x0)

    return watch


def _metadata(sample: Metadata | Sample | str | os.PathLike[str]) -> Metadata:
    if isinstance(sample, Metadata):
        return sample
    if isinstance(sample, Sample):
        return sample.metadata
    from unnoise.generation.media.files import read_metadata

    return read_metadata(checked_path("replay", sample))


def _describe_options() -> None:
    """Give `generate` the signature and the help of the options, which are declared in one place."""
    keywords, lines = [], []
    for kind in OPTIONS:
        for field in fields(kind):
            keywords.append(Parameter(field.name, Parameter.KEYWORD_ONLY, default=field.default, annotation=field.type))
            lines.append(f"            {field.name}: {described(kind)[field.name].help}")
    own = [
        Parameter("self", Parameter.POSITIONAL_OR_KEYWORD),
        Parameter("prompt", Parameter.POSITIONAL_OR_KEYWORD, default=None),
    ]
    own.append(Parameter("callback", Parameter.KEYWORD_ONLY, default=None))
    generate: Any = Pipeline.generate
    generate.__signature__ = Signature([*own, *keywords])
    generate.__doc__ = str(generate.__doc__).replace("            options: see below.", "\n".join(lines))


_describe_options()
