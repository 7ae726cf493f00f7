"""From a drawn sample to its metadata, and from metadata to the job that draws it again."""

import hashlib
from dataclasses import fields, replace
from functools import cache
from importlib.metadata import version
from typing import Any

import numpy as np
import PIL
import torch

from unnoise import __version__
from unnoise.adapters.lora.read import Adapter
from unnoise.card import OWN, Card
from unnoise.components import Components
from unnoise.devices import environment
from unnoise.errors import InputError, check_whole
from unnoise.formats.strict_json import dump
from unnoise.generation import limits, size_inputs
from unnoise.generation.choose_sampler import sampler_of
from unnoise.generation.images import RawImages, fitted, opened
from unnoise.generation.job import Draw, Job, Replay
from unnoise.generation.loras import Loras
from unnoise.generation.metadata import INPUTS, AppliedAdapter, CallShape, Metadata, Settings
from unnoise.generation.options import ControlOptions, EditOptions, OutputOptions, SamplingOptions
from unnoise.generation.prepare import Prepared
from unnoise.generation.request import Request
from unnoise.generation.resolve import settle

SAME = (  # options that metadata has under the same name
    "distilled_guidance", "image_guidance", "prompt_weighting", "frames", "seconds", "variation", "variation_seed",
    "blend_prompt", "blend_share", "tile", "dtype", "vae_dtype", *size_inputs.NAMES,
)  # fmt: skip


SHOWN = 40  # letters of a value from metadata in a message
ATTACHED = ("control", "ip_adapter")  # that a model may be loaded with


def versions(components: Components) -> dict[str, str]:
    """Return the versions of what decides the bits of a sample."""
    own = {"unnoise": __version__, "torch": str(torch.__version__), "numpy": np.__version__, "pillow": PIL.__version__}
    return own if components.card.family == OWN else own | _foreign_versions()


@cache
def _foreign_versions() -> dict[str, str]:
    return {name: version(name) for name in ("diffusers", "transformers")}


def difference(metadata: Metadata, components: Components) -> str:
    """Describe in what this program and machine differ from those that drew a sample, empty where they do not."""
    there, here = metadata.versions | metadata.environment, versions(components)
    if metadata.environment:  # which former versions did not record
        here |= surroundings(components)
    found = [
        f"{name} {there.get(name, 'unknown')[:SHOWN]}, here {value}"
        for name, value in here.items()
        if there.get(name) != value
    ]
    return f"drawn with {'; '.join(found)}: bytes may differ" if found else ""


def surroundings(components: Components) -> dict[str, str]:
    """Return what decides the bits of a sample, apart from versions."""
    return environment(components.device) | components.layout


def training_of(card: Card) -> str:
    """Return a hash of what files other than the weights state: process, prediction type, and the scale of latents."""
    stated = f"{card.kind}\n{dump(card.process)}\n{dump(card.space)}"
    return hashlib.sha256(stated.encode()).hexdigest()[:16]


def metadata_of(
    components: Components, prepared: Prepared, index: int, calls: tuple[CallShape, ...], decoded: tuple[int, int]
) -> Metadata:
    """Write down how a sample was made."""
    job, one = prepared.job, prepared.job.draws[index]
    shared: dict[str, Any] = {field.name: getattr(job.settings, field.name) for field in fields(Settings)}
    shared |= prepared.hashes(index)
    shared |= {
        name: components.attached.get(name, "unsaved") for name in ATTACHED if shared[f"{name}_image"] is not None
    }
    return Metadata(
        **shared,
        model=components.card.name,
        fingerprint=components.card.fingerprint,
        training=training_of(components.card),
        prompt=one.prompt,
        seed=one.seed,
        variation_seed=one.variation_seed,
        device=components.device.type,
        image_size=None if job.images.image is None else job.images.image.size,
        versions=versions(components),
        environment=surroundings(components),
        calls=calls,
        decoded=decoded,
        adapters=tuple(
            AppliedAdapter(adapter.name, adapter.fingerprint, weight, adapter.network)
            for adapter, weight in job.adapters
        ),
    )


def job_again(metadata: Metadata, components: Components, images: RawImages, adapters: Loras, repeat: bool) -> Job:
    """Make the job that draws one sample again.

    Args:
        metadata: of the sample.
        components: the model that drew it.
        images: the image inputs of the sample, as a person gave them.
        adapters: the adapters of the sample, in any order; their weights are the metadata's.
        repeat: whether network calls have the shapes of the former ones, which makes the result equal to the bit.

    Raises:
        InputError: the model or an adapter is another one, the noise was given by a caller, or a field is out of range.
    """
    if metadata.fingerprint != components.card.fingerprint:
        raise InputError(
            f"metadata: drawn by {metadata.model!r} with weights {metadata.fingerprint[:12]}; these are "
            f"{components.card.fingerprint[:12] or 'unsaved'} of {components.card.name!r}"
        )
    _check_attached(metadata, components)
    if metadata.training not in ("", training_of(components.card)):
        raise InputError(
            f"metadata: drawn with another process, prediction type or scale of latents than {components.card.name!r} "
            f"has; load it as it was loaded then, with the same scheduler config and prediction_type"
        )
    if metadata.noise is not None:
        raise InputError("metadata: the starting noise was given by a caller, and metadata does not contain it")
    if repeat and not metadata.calls:
        raise InputError("metadata: calls: empty; it takes the shape of one network call at least")
    sampler = sampler_of(metadata.sampler)
    _check(metadata, components)
    raw = opened(replace(images, outpaint=metadata.outpaint, control_resize=metadata.control_resize))
    return Job(
        settings=Settings(**{field.name: getattr(metadata, field.name) for field in fields(Settings)}),
        sampler=sampler,
        draws=(Draw(metadata.prompt, metadata.seed, metadata.variation_seed),),
        batch=1,
        images=raw if metadata.image_size is None else fitted(raw, metadata.image_size),
        adapters=_matched(metadata, adapters),
        replay=Replay(
            calls=metadata.calls if repeat else (),
            decoded=metadata.decoded,
            hashes={name: getattr(metadata, name) for name in INPUTS},
        ),
    )


def _check(metadata: Metadata, components: Components) -> None:
    """Raise InputError for a field that no request could have."""
    guided = metadata.guided
    request = Request(
        (metadata.prompt,),
        SamplingOptions(
            negative_prompt=metadata.negative_prompt,
            guidance_scale=metadata.guidance_scale,
            schedule=metadata.grid,
            sampler=sampler_of(metadata.sampler),
            seed=metadata.seed,
            size=metadata.size if components.card.modality != "audio" else None,
            guidance_interval=metadata.interval if guided else None,
            guidance_rescale=metadata.guidance_rescale if guided else None,
            **{name: getattr(metadata, name) for name in SAME},
        ),
        EditOptions(
            **{name: getattr(metadata, name) for name in ("outpaint", "source_prompt", "feather", "mask_mode")}
        ),
        ControlOptions(
            control_scale=metadata.control_scale,
            control_resize=metadata.control_resize,
            ip_adapter_scale=metadata.ip_adapter_scale,
        ),
        output=OutputOptions(decoder=metadata.decoder),
    )
    EditOptions(strength=metadata.strength, resample=metadata.resample)
    settle(request, components, request.sampling.size, has_image=False)
    if metadata.image_size is not None:
        limits.check_size(metadata.image_size)
    width, height = metadata.size
    for shape in metadata.calls:
        check_whole("calls", shape.calls, 1, limits.STEPS * limits.RESAMPLES)
        check_whole("calls.rows", shape.rows, 1, max(1, limits.AREA // max(1, width * height)))
        check_whole("calls.row", shape.row, 0, shape.rows - 1)
        check_whole("calls.guided", shape.guided, 0, shape.rows)
        check_whole("calls.place", shape.place, -1, shape.guided - 1)
        check_whole("calls.tokens", shape.tokens, 0, limits.LETTERS)
    check_whole("decoded", metadata.decoded[0], 1, max((shape.rows for shape in metadata.calls), default=1))
    check_whole("decoded", metadata.decoded[1], 0, metadata.decoded[0] - 1)


def _check_attached(metadata: Metadata, components: Components) -> None:
    """Raise InputError where the model lacks the control or the IP-Adapter of the sample, or has another one."""
    for name in ATTACHED:
        there, here = getattr(metadata, name), components.attached.get(name)
        if there is not None and there != here:
            found = f"this one is {here[:12]}" if here else "the model was loaded without one"
            raise InputError(f"{name}: the sample was drawn with the {name} {there[:12]}; {found}")


def _matched(metadata: Metadata, adapters: Loras) -> Loras:
    """Give each adapter of the metadata that is given its weight. Raises InputError where they are others."""
    given: dict[tuple[str, str], Adapter] = {(adapter.fingerprint, adapter.network): adapter for adapter, _ in adapters}
    for one in metadata.adapters:
        if (one.fingerprint, one.network) not in given:
            where = f" for {one.network}" if one.network else ""
            raise InputError(
                f"lora: the sample was drawn with {one.name!r} of {one.fingerprint[:12]}{where}; give that file"
            )
    if len(given) != len(metadata.adapters):
        raise InputError(f"lora: {len(given)} given, and the sample was drawn with {len(metadata.adapters)}")
    return tuple((given[one.fingerprint, one.network], one.weight) for one in metadata.adapters)
