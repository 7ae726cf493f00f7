"""From options and card to a job: every default is filled in, and nothing is computed yet."""

import secrets
import warnings
from dataclasses import asdict
from math import inf

from unnoise.card import OWN, Advice, Card, Decoder, Part
from unnoise.components import Components, Dtype
from unnoise.errors import InputError, InputWarning, check_number
from unnoise.generation import limits, size_inputs
from unnoise.generation.choose_sampler import classes, route
from unnoise.generation.images import RawImages, drawn_size, opened, resized
from unnoise.generation.job import AnySampler, Draw, Job
from unnoise.generation.loras import adapters_of
from unnoise.generation.metadata import Level, Settings, to_level
from unnoise.generation.options import SamplingOptions
from unnoise.generation.prompt_notes import check_prompts
from unnoise.generation.request import Request
from unnoise.generation.size_inputs import drawn_at_once
from unnoise.generation.student_notes import check_student
from unnoise.sampling.samplers.restart import RePaint
from unnoise.sampling.state import calls

EDITS = ("outpaint", "source_prompt", "feather", "mask_mode", "resample")  # options that are settings as they are
CONTROLS = ("control_scale", "control_resize", "ip_adapter_scale")  # likewise
BATCH = 8  # samples in one network call, where the caller does not say how many
BATCH_AREA = 1 << 20  # pixels of all samples of a call, likewise


def resolve(request: Request, components: Components) -> Job:
    """Fill every default of a request: what was asked for, else the card's advice, else the library's best.

    Raises:
        InputError: the model cannot do what is asked for.
    """
    raw = request.edit
    images = RawImages(
        raw.image,
        raw.mask,
        request.control.control_image,
        request.control.ip_adapter_image,
        raw.invert_mask,
        raw.outpaint,
        request.control.control_resize,
    )
    images = resized(opened(images), request.sampling.size)
    size = drawn_size(images, components.factor) or request.sampling.size
    adapters = adapters_of(request, components)
    if (adapters or images.ip_adapter_image is not None) and components.layout["compiled"] == "yes":
        warnings.warn("compile: a request with a LoRA or an IP-Adapter runs uncompiled", InputWarning, stacklevel=2)
    sampler, settings = settle(request, components, size, images.image is not None)
    check_prompts(request, components)
    check_student(request, settings, components.card)
    if request.sampling.noise is not None and request.sampling.seed is not None and not sampler.stochastic:
        raise InputError(f"seed {request.sampling.seed}: noise is given, and this sampler draws none; leave seed out")
    return Job(
        settings=settings,
        sampler=sampler,
        draws=_draws(request),
        batch=request.sampling.batch or default_batch(settings.size),
        images=images,
        noise=request.sampling.noise,
        adapters=adapters,
    )


def default_batch(size: tuple[int, int]) -> int:
    """Return how many samples go into one network call, where the caller does not say."""
    return max(1, min(BATCH, BATCH_AREA // max(1, size[0] * size[1])))


def _draws(request: Request) -> tuple[Draw, ...]:
    """List the samples: sample k has seed + k; variations share the seed and differ in where they go."""
    options = request.sampling
    first = secrets.randbits(32) if options.seed is None else options.seed
    towards = options.variation_seed
    if towards is not None:
        return tuple(Draw(prompt, first, towards + k) for prompt in request.prompts for k in range(options.n))
    return tuple(Draw(prompt, first + k) for prompt in request.prompts for k in range(options.n))


def settle(
    request: Request, components: Components, size: tuple[int, int] | None, has_image: bool
) -> tuple[AnySampler, Settings]:
    """Make every choice. size: that is drawn, None for the card's."""
    options, card, process = request.sampling, components.card, components.denoiser.process
    _check_advice(advice := card.advice)
    scale = _guidance_scale(request, card)
    image_guidance = _image_guidance(options.image_guidance, card)
    guided = scale != 1 or image_guidance not in (None, 1)
    _check_unguided(options, guided)
    rescale = advice.guidance_rescale if options.guidance_rescale is None else options.guidance_rescale
    strength = _strength(request, has_image and components.image_conditioner is None)
    guidance_acts = guided or advice.distilled_guidance is not None
    sampler, grid = route(request, card, process, strength, size, guidance_acts)
    if request.edit.resample is not None:
        sampler = RePaint()
    elif type(sampler).__name__ in classes():
        calls(sampler, grid)  # on numbers: a sampler that cannot walk these levels is refused before anything runs
    drawn = _size(request, card, components.factor, size)
    tile = _tile(options.tile, card, components.factor)
    sizes = size_inputs.settled(options, components.size_inputs, drawn_at_once(drawn, tile), guided, card.name)
    settings = Settings(
        negative_prompt=options.negative_prompt,
        size=drawn,
        sampler=Part(type(sampler).__name__, asdict(sampler)),  # type: ignore[call-overload]
        levels=tuple(map(to_level, grid)),
        guidance_scale=float(scale),
        guidance_interval=_interval(options, advice, guided),
        guidance_rescale=float(rescale) if guided else 0.0,
        dtype=_dtype(options.dtype, components),
        vae_dtype=_vae_dtype(options.vae_dtype, components),
        distilled_guidance=_distilled_guidance(request, card, scale),
        image_guidance=image_guidance,
        prompt_weighting=options.prompt_weighting,
        frames=_frames(options.frames, card),
        seconds=_seconds(options.seconds, card),
        variation=options.variation,
        blend_prompt=options.blend_prompt,
        blend_share=_blend_share(request),
        tile=tile,
        strength=strength,
        decoder=_decoder(request.output.decoder, card),
        **{name: getattr(request.edit, name) for name in EDITS},
        **{name: getattr(request.control, name) for name in CONTROLS},
        **sizes,
    )
    return sampler, settings


def _check_unguided(options: SamplingOptions, guided: bool) -> None:
    if not guided and (options.negative_prompt or options.guidance_interval or options.guidance_rescale):
        raise InputError(
            "negative_prompt, guidance_interval, guidance_rescale: act through guidance, and guidance_scale is 1 (off)"
        )


def _interval(options: SamplingOptions, advice: Advice, guided: bool) -> tuple[Level, Level]:
    """Settle the levels between which guidance acts."""
    low, high = options.guidance_interval or advice.guidance_interval
    return (to_level(low), to_level(inf if high is None else high)) if guided else (0.0, "inf")


def _strength(request: Request, starts_from_image: bool) -> float | None:
    """Settle the strength: 1 where a mask, an outpaint or a source prompt already says what changes."""
    edit = request.edit
    if edit.strength is not None or not starts_from_image or isinstance(request.sampling.schedule, tuple):
        return edit.strength
    return 1.0 if (edit.mask, edit.outpaint, edit.source_prompt) != (None, None, None) else limits.STRENGTH


def _blend_share(request: Request) -> float | None:
    if request.sampling.blend_prompt is None:
        return None
    return 0.5 if request.sampling.blend_share is None else request.sampling.blend_share


def _check_advice(advice: Advice) -> None:
    """Raise InputError for a card whose advice is out of range."""
    try:
        check_number("steps", advice.steps, 1, limits.STEPS)
        check_number("guidance_scale", advice.guidance_scale, 0, limits.GUIDANCE)
        check_number("guidance_rescale", advice.guidance_rescale, 0, 1)
        low, high = advice.guidance_interval
        limits.check_levels("guidance_interval", (low, inf if high is None else high))
        for size in advice.sizes:
            limits.check_size(size)
    except InputError as error:
        raise InputError(f"the card's advice: {error}") from None


def _guidance_scale(request: Request, card: Card) -> float:
    given = request.sampling.guidance_scale
    if not card.prompted:
        if any(request.prompts) or given not in (None, 1):
            raise InputError(f"prompt: {card.name!r} has no text encoder; use an empty prompt and no guidance_scale")
        return 1.0
    return card.advice.guidance_scale if given is None else given


def _distilled_guidance(request: Request, card: Card, scale: float) -> float | None:
    """Settle the guidance that is an input of a distilled network; classifier-free guidance is another thing."""
    own, given = card.advice.distilled_guidance, request.sampling.distilled_guidance
    if own is None and given is not None:
        raise InputError(f"distilled_guidance {given:g}: {card.name!r} has no such input; use guidance_scale")
    if own is not None and request.sampling.guidance_scale not in (None, 1) and not request.sampling.negative_prompt:
        raise InputError(
            f"guidance_scale {scale:g}: {card.name!r} takes its guidance as an input; use distilled_guidance "
            f"{scale:g}. Classifier-free guidance runs it twice a step, and acts only with a negative_prompt"
        )
    return own if given is None else float(given)


def _image_guidance(given: float | None, card: Card) -> float | None:
    own = card.advice.image_guidance
    if own is None and given is not None:
        raise InputError(f"image_guidance {given:g}: {card.name!r} has no guidance towards an image")
    return own if given is None else float(given)


def _dtype(given: str | None, components: Components) -> Dtype:
    own = components.dtype
    if given is not None and given != own and own != "float32":
        raise InputError(
            f"dtype {given!r}: {components.card.name!r} was loaded in {own}; use load(..., dtype={given!r})"
        )
    return own if given is None else given  # type: ignore[return-value]


def _vae_dtype(given: str | None, components: Components) -> Dtype | None:
    own = components.vae_dtype
    if given not in (None, own):
        loaded = "it has no autoencoder" if own is None else f"its autoencoder was loaded in {own}"
        how = "" if own is None or components.card.family == OWN else f"; use load(..., vae_dtype={given!r})"
        raise InputError(f"vae_dtype {given!r}: {components.card.name!r}: {loaded}{how}")
    return own


def _decoder(given: Decoder | None, card: Card) -> Decoder:
    if given == "small" and card.preview is None:
        raise InputError(f"decoder 'small': {card.name!r} has no small decoder; use full, or leave it out")
    return given or card.advice.decoder


def _frames(given: int | None, card: Card) -> int | None:
    """Settle the frames of a video, which are stride*k + 1."""
    own, stride = card.advice.frames, card.advice.stride
    if own is None and given is not None:
        raise InputError(f"frames {given}: {card.name!r} makes no video")
    frames = own if given is None else given
    if frames is not None and (frames - 1) % stride:
        near = (frames - 1) // stride * stride + 1
        raise InputError(
            f"frames {frames}: {card.name!r} makes {stride}*k + 1 frames, such as {near} or {near + stride}"
        )
    return frames


def _seconds(given: float | None, card: Card) -> float | None:
    own = card.advice.seconds
    if own is None and given is not None:
        raise InputError(f"seconds {given:g}: {card.name!r} makes no audio")
    return own if given is None else float(given)


def _tile(tile: int | None, card: Card, factor: int) -> int | None:
    if tile is not None and (card.modality != "image" or tile % factor):
        raise InputError(f"tile {tile}: a multiple of {factor}, for a model of images")
    return tile


def _size(request: Request, card: Card, factor: int, size: tuple[int, int] | None) -> tuple[int, int]:
    if card.modality == "audio":
        if size is not None:
            raise InputError(f"size {size[0]}x{size[1]}: {card.name!r} makes audio; use seconds")
        return 0, 0
    if size is None and not card.advice.sizes:
        raise InputError(f"size: the card of {card.name!r} has no default; give one")
    width, height = size or card.advice.sizes[0]
    if width % factor or height % factor or not width * height:
        raise InputError(f"size {width}x{height}: both sides must be multiples of {factor} for {card.name!r}")
    together, count = request.sampling.batch or 1, len(request.prompts) * request.sampling.n
    if together * width * height > limits.AREA:
        raise InputError(f"batch {together} of {width}x{height}: at most {limits.AREA} pixels in one network call")
    if count * width * height > limits.TOTAL:
        most = limits.TOTAL // (width * height)
        raise InputError(f"{count} samples of {width}x{height}: at most {most} in one request")
    return width, height
