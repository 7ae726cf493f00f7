"""From a job to what its network calls need: prompts, images and adapters become conditioning; noise becomes states."""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import torch
from torch import Tensor

from unnoise.adapters.lora.hooks import ActiveAdapters
from unnoise.components import Components
from unnoise.diffusion.conditioning import Conditioning
from unnoise.diffusion.denoiser import Denoise
from unnoise.diffusion.inpainting import fill, to_cells
from unnoise.diffusion.inversion import invert
from unnoise.diffusion.noise import START, draw
from unnoise.diffusion.prediction import mix
from unnoise.diffusion.slerp import slerp
from unnoise.errors import InputError
from unnoise.generation.images import PreparedImages, prepare_images, sha256
from unnoise.generation.job import Job
from unnoise.generation.metadata import Settings
from unnoise.generation.prompt_rows import EncodedText, PromptRows, read_prompt
from unnoise.generation.size_inputs import numbers
from unnoise.sampling.samplers.ddim import DDIM
from unnoise.sampling.samplers.restart import repaints
from unnoise.sampling.state import State, start

STRETCHES = 10  # into which RePaint divides the steps that it takes again


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """A job with everything that its network calls need.

    Args:
        job: the job.
        shape: of one x0.
        conditioning: of each prompt its rows, by step.
        images: the image inputs.
        known, mask: x0 (1, *d) that is kept, and where it is painted (1), on latent cells.
        begin: x (1, *d) at which an edit begins, before noise is added or after inversion.
        noise: starting noise (draws, *d) that the caller gave.
    """

    job: Job
    shape: tuple[int, ...]
    conditioning: Mapping[str, PromptRows]
    images: PreparedImages
    known: Tensor | None = None
    mask: Tensor | None = None
    begin: Tensor | None = None
    noise: Tensor | None = None

    def hashes(self, index: int) -> dict[str, str | None]:
        """Return the sha256 of the inputs of one sample."""
        return {**self.images.hashes(), "noise": None if self.noise is None else sha256(self.noise[index])}


@torch.no_grad()
def prepare(components: Components, job: Job) -> Prepared:
    """Encode prompts and images of a job.

    Raises:
        InputError: an input is missing, does not fit, or cannot act.
    """
    settings, conditioner = job.settings, components.image_conditioner
    _check(components, job)
    inpaints = conditioner is None or not conditioner.masked
    images = prepare_images(job.images, settings.size, conditioner, not inpaints, components.device)
    shape = shape_of(components, settings)
    noise = _noise(job, (len(job.draws), *shape), components.device)
    known = mask = begin = None
    if images.image is not None:
        if images.mask is not None and inpaints:
            known = components.space.encode(fill(images.image, images.mask))
            mask = to_cells(images.mask, components.space.factor)
        if conditioner is None or settings.strength not in (None, 1):
            begin = components.space.encode(images.image)
    with text_adapters(components, job):
        conditioning = _conditioning(components, job, images)
        prepared = Prepared(job, shape, conditioning, images, known, mask, begin, noise)
        if settings.source_prompt is not None:
            prepared = replace(prepared, begin=_inverted(components, prepared))
    _check_hashes(prepared)
    return prepared


def _check_hashes(prepared: Prepared) -> None:
    """Raise InputError where a replay is given other inputs than its metadata names."""
    if prepared.job.replay is None:
        return
    found = prepared.hashes(0)
    for name, wanted in prepared.job.replay.hashes.items():
        if wanted != found[name]:
            given = "none" if found[name] is None else "another"
            raise InputError(f"{name}: the metadata names one of sha256 {str(wanted)[:12]}, and {given} is given")


def text_adapters(components: Components, job: Job) -> AbstractContextManager[None]:
    """Apply the job's adapters to every network that runs within the block."""
    return ActiveAdapters(components, job.adapters).on() if job.adapters else nullcontext()


def shape_of(components: Components, settings: Settings) -> tuple[int, ...]:
    """Return the shape of one x0."""
    width, height = settings.size
    if settings.seconds is not None:
        return components.space.shape(settings.seconds)
    if settings.frames is not None:
        return components.space.shape(height, width, settings.frames)
    return components.space.shape(height, width)


@torch.no_grad()
def first_state(components: Components, prepared: Prepared, index: int) -> State[Tensor]:
    """Return the state in which a sample starts."""
    settings = prepared.job.settings
    grid = settings.grid
    if settings.source_prompt is not None and prepared.begin is not None:
        x = prepared.begin
    else:
        x = _start_noise(components, prepared, index)
        if prepared.begin is not None:
            x = mix(prepared.begin, x, torch.full((1,), grid[0], device=x.device))
    if settings.resample is not None:
        grid = repaints(grid, max(1, settings.steps // STRETCHES), settings.resample)
    return start(x, grid)


def _start_noise(components: Components, prepared: Prepared, index: int) -> Tensor:
    one = prepared.job.draws[index]
    if prepared.noise is not None:
        return prepared.noise[index : index + 1]
    like = torch.empty(1, *prepared.shape, device=components.device)
    x = draw([one.seed], START, like)
    share = prepared.job.settings.variation
    if share is None or one.variation_seed is None:
        return x
    return slerp(x, draw([one.variation_seed], START, like), share)


def _conditioning(components: Components, job: Job, images: PreparedImages) -> dict[str, PromptRows]:
    """Encode each text once, and the negative prompt where it acts."""
    settings, encoder = job.settings, components.text_encoder
    extra = JobConditioning(components, settings, images)
    prompts = dict.fromkeys(one.prompt for one in job.draws)
    if encoder is None:
        row = extra.added(Conditioning(), prompted=True)
        return {prompt: PromptRows(((row,),)) for prompt in prompts}
    text = EncodedText(encoder, settings, extra.added)
    reads = {prompt: read_prompt(prompt, settings) for prompt in prompts}
    text.encode(list(dict.fromkeys(chain.from_iterable(read.prompts for read in reads.values()))))
    return {prompt: text.rows(read) for prompt, read in reads.items()}


class JobConditioning:
    """What a job adds to the conditioning of every prompt: image channels, controls, guidance that is an input."""

    def __init__(self, components: Components, settings: Settings, images: PreparedImages) -> None:
        self.settings, self.images, self.device = settings, images, components.device
        self.dtype: torch.dtype = getattr(torch, components.dtype)
        self.size_inputs = components.size_inputs
        conditioner = components.image_conditioner
        self.image = None
        if conditioner is not None and images.image is not None:
            self.image = conditioner.encode(images.image, images.mask)
        self.ip_adapter: tuple[Tensor, Tensor] | None = None
        if images.ip_adapter_image is not None:
            encoder: Any = components.denoiser.net.image_encoder
            self.ip_adapter = encoder.features(images.ip_adapter_image), encoder.nothing(images.ip_adapter_image)

    def added(self, row: Conditioning, prompted: bool) -> Conditioning:
        """Add to one row. prompted: whether the row has the prompt; without it, no IP-Adapter image acts."""
        settings, one = self.settings, torch.ones(1, device=self.device)
        if row.tokens is not None:
            row = replace(row, tokens=row.tokens.to(self.dtype))  # once, not at every step
        if settings.distilled_guidance is not None:
            row = replace(row, distilled_guidance=one * settings.distilled_guidance)
        if settings.seconds is not None:
            row = replace(row, vector=torch.tensor([[0.0, settings.seconds]], device=self.device))
        if self.size_inputs:
            sizes = numbers(settings, self.size_inputs, prompted)
            row = replace(row, sizes=torch.tensor([sizes], device=self.device))
        if self.image is not None:
            row = replace(row, image=self.image)
        if self.images.control_image is not None:
            scale = 1.0 if settings.control_scale is None else settings.control_scale
            row = replace(row, control_image=self.images.control_image, control_scale=one * scale)
        if self.ip_adapter is not None:
            scale = 1.0 if settings.ip_adapter_scale is None else settings.ip_adapter_scale
            tokens = self.ip_adapter[0 if prompted else 1]
            row = replace(row, ip_adapter_tokens=tokens, ip_adapter_scale=tokens.new_full((1,), scale))
        return row


def _inverted(components: Components, prepared: Prepared) -> Tensor:
    """Find the noise that the image comes from, with its source prompt and without guidance."""
    settings, encoder = prepared.job.settings, components.text_encoder
    if prepared.begin is None or settings.source_prompt is None:
        raise InputError("source_prompt: acts on an image, and none is given")
    row = Conditioning() if encoder is None else encoder([settings.source_prompt], settings.prompt_weighting)[0]
    extra = JobConditioning(components, settings, replace(prepared.images, image=None))
    denoise: Denoise = components.denoiser.bind(extra.added(row, prompted=True))
    return invert(DDIM(), denoise, prepared.begin, settings.grid)


def _noise(job: Job, shape: tuple[int, ...], device: torch.device) -> Tensor | None:
    noise = job.noise
    if noise is None:
        return None
    if not isinstance(noise, Tensor):
        raise InputError(f"noise {type(noise).__name__}: a tensor of shape {list(shape)}")
    starts = noise[None] if noise.ndim == len(shape) - 1 else noise
    if starts.shape != shape or not starts.isfinite().all():
        raise InputError(f"noise {list(noise.shape)}: must be finite and of shape {list(shape)} for this request")
    return starts.to(device, torch.float32)


def _check(components: Components, job: Job) -> None:
    """Raise InputError for what acts only with an input that is missing, or that the model cannot use."""
    _check_guides(components, job)
    _check_edit(components, job)
    settings = job.settings
    if settings.tile is not None and (components.image_conditioner or job.images.control_image is not None):
        raise InputError("tile: tiles do not cut image channels or a control_image; leave tile out")
    if settings.blend_prompt is not None and components.text_encoder is None:
        raise InputError(f"blend_prompt: {components.card.name!r} has no text encoder")
    for option in ("source_prompt", "variation"):
        if job.noise is not None and getattr(settings, option) is not None:
            raise InputError(f"{option}: determines the noise, which is given; leave one of them out")
    if settings.variation is not None and settings.source_prompt is not None:
        raise InputError("variation: determines the noise, and so does source_prompt; leave one of them out")


def _check_guides(components: Components, job: Job) -> None:
    """Check the images of a control and of an IP-Adapter."""
    net, name = components.denoiser.net, components.card.name
    guides = (("control", "control", "control"), ("ip_adapter", "image_encoder", "ip_adapter"))
    for guide, attribute, argument in guides:
        given = getattr(job.images, f"{guide}_image") is not None
        loaded = getattr(net, attribute, None) is not None
        scale = getattr(job.settings, f"{guide}_scale")
        if given and not loaded:
            option = f"--{argument.replace('_', '-')}"
            raise InputError(
                f"{guide}_image: {name!r} was loaded without {argument}; use load(..., {argument}=...) or {option}"
            )
        if loaded and not given:
            raise InputError(f"{guide}_image: none is given, and {name!r} was loaded with {argument}")
        if guide == "control" and job.settings.control_resize != "crop" and not given:
            raise InputError(f"control_resize {job.settings.control_resize}: acts on control_image, which is not given")
        if scale is not None and not given:
            raise InputError(f"{guide}_scale {scale:g}: acts on {guide}_image, which is not given")


def _check_edit(components: Components, job: Job) -> None:
    """Check the image that is edited, and the options that act on it."""
    settings, images, conditioner, name = job.settings, job.images, components.image_conditioner, components.card.name
    if images.image is None:
        for option in ("strength", "outpaint", "source_prompt"):
            if getattr(settings, option) is not None:
                raise InputError(f"{option} {getattr(settings, option)!r}: acts on an image, and none is given")
        if conditioner is not None:
            raise InputError(f"image: {name!r} edits images, and none is given")
        if images.mask is not None:
            raise InputError("mask: acts on an image, and none is given")
    elif components.card.modality != "image":
        raise InputError(f"image: {name!r} makes {components.card.modality}, and edits no images")
    masked = images.mask is not None or settings.outpaint is not None
    if conditioner is not None and conditioner.masked and not masked:
        raise InputError(
            f"mask: {name!r} is an inpainting model and needs one; white (1) is painted, black (0) is kept"
        )
    along = {"resample": settings.resample, "feather": settings.feather, "mask_mode": settings.mask_mode != "blend"}
    for option, acts in along.items():
        if acts and not masked:
            raise InputError(f"{option}: acts along a mask, and none is given")
    if images.invert_mask and images.mask is None:
        raise InputError("invert_mask: acts on a mask, and none is given")
    if settings.source_prompt is not None and components.denoiser.takes_end:
        raise InputError(
            f"source_prompt: inversion rises to the noise, and {name!r} is distilled to jumps that descend"
        )
    if settings.source_prompt is not None and (conditioner is not None or job.sampler.stochastic):
        raise InputError("source_prompt: inversion needs a deterministic sampler and a model without image channels")
