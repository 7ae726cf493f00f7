"""Draw the samples of a plan: read the prompts, begin with noise or a picture, run the sampler, look at the result."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import PIL
import torch
from torch import Tensor

from unnoise import __version__
from unnoise.card import Part
from unnoise.diffusion.conditioning import Conditioning, collate
from unnoise.diffusion.denoiser import Denoise
from unnoise.diffusion.guidance import cfg, instruct
from unnoise.diffusion.inpainting import keep, keep_by_level
from unnoise.diffusion.inversion import invert
from unnoise.diffusion.loop import run
from unnoise.diffusion.noise import START, draw
from unnoise.diffusion.prediction import mix
from unnoise.diffusion.process import share as share_of
from unnoise.diffusion.slerp import slerp
from unnoise.diffusion.tiling import tiled
from unnoise.errors import InputError, NonFiniteError
from unnoise.generation.metadata import AppliedAdapter, Metadata, to_level
from unnoise.generation.prepare import EncodedInputs, InputHashes, PreparedInputs, encoded
from unnoise.generation.resolve import Plan
from unnoise.generation.sample import Callback, Made, Sample, made_of, share
from unnoise.sampling.samplers.ddim import DDIM
from unnoise.sampling.samplers.restart import repaints
from unnoise.sampling.state import start

if TYPE_CHECKING:
    from unnoise.pipeline import Pipeline

NARROW = {"bfloat16": torch.bfloat16, "float16": torch.float16}
OVERLAP = 4  # windows of tiles overlap by a share of 1/OVERLAP of their side
JUMPS = 10  # stretches of steps that RePaint takes again


@dataclass(frozen=True, slots=True)
class Row:
    """One sample of a batch, before it is one. other: seed of the noise that a variation goes towards."""

    prompt: str
    seed: int
    other: int | None = None


@torch.no_grad()
def render(
    pipeline: "Pipeline", plan: Plan, rows: Sequence[Row], batch: int, handed: PreparedInputs, watch: Callback | None
) -> list[Sample]:
    """Draw rows, `batch` at once. Raises NonFiniteError where the network or the decoder fails."""
    with wearing(pipeline, handed):
        conds, negative = _read(pipeline, plan, rows)
        known = encoded(handed, plan, pipeline.space, pipeline.image_conditioner)
        begun = known.begun if plan.change.origin is None else _inverted(pipeline, plan, known, handed)
        found: list[Sample] = []
        for at in range(0, len(rows), batch):
            part = rows[at : at + batch]
            x = _noise(pipeline, plan, part, handed.noise if handed.noise is None else handed.noise[at : at + batch])
            if plan.change.origin is not None and begun is not None:
                x = begun.expand_as(x)
            elif begun is not None:
                x = mix(begun.expand_as(x), x, torch.full((len(x),), plan.grid[0], device=x.device))
            denoise = _kept(pipeline, plan, known, bound(pipeline, 
                plan, [conds[row.prompt] for row in part], negative, ImageConditioning(known.seen, handed.control_image, handed.look)
            ))  # fmt: skip
            looked = share(watch, at / len(rows), len(part) / len(rows), plan)
            x0 = run(plan.sampler, denoise, start(x, walked(plan)), draw, [row.seed for row in part], looked)
            made = _made(pipeline, plan, x0, handed, soft=known.known is None)
            for k, (row, one) in enumerate(zip(part, made, strict=True)):
                recipe = _recipe(pipeline, plan, row, (k, len(part)), handed.sums(at + k), handed)
                found.append(Sample(one, x0[k], recipe))
    return found


def wearing(pipeline: "Pipeline", handed: PreparedInputs) -> AbstractContextManager[None]:
    """Wear the adapters that were handed in."""
    if not handed.adapters:
        return nullcontext()
    from unnoise.adapters.lora.hooks import ActiveAdapters

    return ActiveAdapters(pipeline, handed.adapters).on()


def walked(plan: Plan) -> tuple[float, ...]:
    """Give the levels that a run passes: those of the plan, some of them again where the painted is to agree."""
    times = plan.change.repaint
    return plan.grid if times is None else repaints(plan.grid, max(1, (len(plan.grid) - 1) // JUMPS), times)


def _read(pipeline: "Pipeline", plan: Plan, rows: Sequence[Row]) -> tuple[dict[str, Conditioning], Conditioning | None]:
    """Read each prompt once, and the negative one where it is asked for."""
    texts = list(dict.fromkeys(row.prompt for row in rows))
    if pipeline.text_encoder is None:
        return dict.fromkeys(texts, Conditioning()), None
    conds = dict(zip(texts, pipeline.text_encoder(texts, plan.prompt_weighting), strict=True))
    if plan.change.toward is not None and plan.change.toward_share is not None:
        end = pipeline.text_encoder([plan.change.toward], plan.prompt_weighting)[0]
        conds = {text: between(cond, end, plan.change.toward_share) for text, cond in conds.items()}
    return conds, pipeline.text_encoder.negative(plan.negative, plan.prompt_weighting) if plan.guided else None


def between(first: Conditioning, second: Conditioning, share: float) -> Conditioning:
    """Go from the features of one prompt to those of another, by a share of the way. Raises InputError if they differ."""
    pair = collate([first, second])
    mixed = {
        name: value.any(0, keepdim=True) if value.dtype == torch.bool else torch.lerp(value[:1], value[1:], share)
        for name, value in pair.given().items()
    }
    return Conditioning(**mixed)


def _noise(pipeline: "Pipeline", plan: Plan, part: Sequence[Row], noise: Tensor | None) -> Tensor:
    """Give the starting noise of a batch."""
    if noise is not None:
        return noise
    like = torch.empty(len(part), *pipeline.shape(plan), device=pipeline.device)
    x = draw([row.seed for row in part], START, like)
    others = [row.other for row in part if row.other is not None]
    return x if plan.change.variation is None else slerp(x, draw(others, START, like), plan.change.variation)


def _inverted(pipeline: "Pipeline", plan: Plan, known: EncodedInputs, handed: PreparedInputs) -> Tensor:
    """Find the noise that a picture comes from, with what it shows as the prompt and without guidance."""
    text = pipeline.text_encoder
    if known.begun is None or plan.change.origin is None:
        raise InputError("origin: acts on an image, and none is given")
    cond = Conditioning() if text is None else text([plan.change.origin], plan.prompt_weighting)[0]
    plain = replace(plan, weight=1.0, image_guidance=None)
    denoise = bound(pipeline, plain, [cond], None, ImageConditioning(None, handed.control_image, handed.look))
    return invert(DDIM(), denoise, known.begun, plan.grid)


def _kept(pipeline: "Pipeline", plan: Plan, known: EncodedInputs, denoise: Denoise) -> Denoise:
    """Cut what is too large into windows, and keep what is known."""
    change = plan.change
    if change.tile is not None:
        side = change.tile // pipeline.space.factor
        denoise = tiled(denoise, (side, side), (side // OVERLAP, side // OVERLAP))
    if known.known is None or known.mask is None:
        return denoise
    kept, mask, process = known.known, known.mask, pipeline.denoiser.process

    def asked(x: Tensor, sigma: Tensor) -> Tensor:
        whole = kept.expand_as(x)
        if change.soft == "levels":
            return keep_by_level(denoise, whole, mask, lambda level: share_of(process, level))(x, sigma)
        return keep(denoise, whole, mask)(x, sigma)

    return asked


def _made(pipeline: "Pipeline", plan: Plan, x0: Tensor, handed: PreparedInputs, soft: bool) -> Sequence[Made]:
    data = pipeline.space.decode(x0)
    if not data.isfinite().all():
        raise NonFiniteError(f"decoding: NaN or infinity in {data.dtype}, from a finite x0")
    feather = pipeline.space.factor // 2 if plan.change.feather is None else plan.change.feather
    data = handed.pasted(data, soft, feather)
    return made_of(data, plan, pipeline.card.advice.fps, getattr(pipeline.space, "rate", 0))


@dataclass(frozen=True, slots=True, eq=False)
class ImageConditioning:
    """Hold what a network is told beside text: pictures of one row, None where it is not.

    seen: (1, c, h, w) on the cells of x; hint: (1, 3, H, W) in [0, 1]; look: (1, 3, h, w) in [-1, 1].
    """

    seen: Tensor | None = None
    control_image: Tensor | None = None
    look: Tensor | None = None


def bound(
    pipeline: "Pipeline",
    plan: Plan,
    conds: Sequence[Conditioning],
    negative: Conditioning | None,
    beside: ImageConditioning,
) -> Denoise:
    """Bind the conditions of a batch, one a row, guided and in the precision that a plan says."""
    model, dtype = pipeline.denoiser, getattr(torch, pipeline.dtype)
    cond = _told(collate(conds), plan, beside, dtype)
    negative = negative and _told(negative, plan, beside, dtype)
    if beside.look is not None:
        cond, negative = _resembling(pipeline, plan, beside.look, cond, negative)
    if not plan.guided or negative is None:
        guided = model.bind(cond)
    elif plan.image_guidance is not None and negative.image is not None:
        null = replace(negative, image=torch.zeros_like(negative.image))
        weights = plan.weight, plan.image_guidance
        guided = instruct(model, cond, negative, null, *weights, plan.between, plan.rescale)
    else:
        guided = cfg(model, cond, negative, plan.weight, plan.between, plan.rescale)
    if plan.dtype == pipeline.dtype:
        return guided

    def narrow(x: Tensor, sigma: Tensor) -> Tensor:
        with torch.autocast(x.device.type, NARROW[plan.dtype]):
            return guided(x, sigma)

    return narrow


def _told(cond: Conditioning, plan: Plan, beside: ImageConditioning, dtype: torch.dtype) -> Conditioning:
    """Add to conditions what is told beside text: guidance that is an input, the ends of a sound, pictures.

    dtype: of the network, to which text is brought once, and not at every step.
    """
    rows, device = len(cond), next((value.device for value in cond.given().values()), None)
    if cond.tokens is not None:
        cond = replace(cond, tokens=cond.tokens.to(dtype))
    if plan.distilled_guidance is not None:
        cond = replace(cond, distilled_guidance=torch.full((rows,), plan.distilled_guidance, device=device))
    if plan.seconds is not None:
        cond = replace(cond, vector=torch.tensor([[0.0, plan.seconds]], device=device).expand(rows, 2))
    if beside.seen is not None:
        cond = replace(cond, image=beside.seen.expand(rows, *beside.seen.shape[1:]))
    if beside.control_image is not None:
        weight = 1.0 if plan.change.control_scale is None else plan.change.control_scale
        control_image = beside.control_image.expand(rows, *beside.control_image.shape[1:])
        cond = replace(cond, control_image=control_image, control_scale=torch.full((rows,), weight, device=device))
    return cond


def _resembling(
    pipeline: "Pipeline", plan: Plan, look: Tensor, cond: Conditioning, negative: Conditioning | None
) -> tuple[Conditioning, Conditioning | None]:
    """Add the features of a picture to be resembled, and to the negative prompt those of none."""
    weight = 1.0 if plan.change.ip_adapter_scale is None else plan.change.ip_adapter_scale
    eye: Any = pipeline.denoiser.net.image_encoder

    def told(one: Conditioning, features: Tensor) -> Conditioning:
        wide = features.expand(len(one), *features.shape[1:])
        return replace(one, ip_adapter_tokens=wide, ip_adapter_scale=wide.new_full((len(one),), weight))

    return told(cond, eye.features(look)), negative and told(negative, eye.nothing(look))


def _recipe(
    pipeline: "Pipeline", plan: Plan, row: Row, place: tuple[int, int], sums: InputHashes, handed: PreparedInputs
) -> Metadata:
    return Metadata(
        model=pipeline.card.name,
        fingerprint=pipeline.card.fingerprint,
        prompt=row.prompt,
        negative=plan.negative,
        seed=row.seed,
        size=plan.size,
        sampler=Part(type(plan.sampler).__name__, asdict(plan.sampler)),  # type: ignore[call-overload]
        grid=tuple(to_level(sigma) for sigma in plan.grid),
        weight=plan.weight,
        between=(to_level(plan.between[0]), to_level(plan.between[1])),
        rescale=plan.rescale,
        dtype=plan.dtype,
        device=pipeline.device.type,
        row=place[0],
        rows=place[1],
        versions=versions(),
        **asdict(sums),
        strength=plan.strength,
        distilled_guidance=plan.distilled_guidance,
        image_guidance=plan.image_guidance,
        prompt_weighting=plan.prompt_weighting,
        frames=plan.frames,
        seconds=plan.seconds,
        change=plan.change if row.other is None else replace(plan.change, variation_seed=row.other),
        adapters=tuple(AppliedAdapter(one.name, one.fingerprint, float(weight)) for one, weight in handed.adapters),
    )


def versions() -> dict[str, str]:
    """Name what decides the bits of a picture."""
    return {"unnoise": __version__, "torch": str(torch.__version__), "numpy": np.__version__, "pillow": PIL.__version__}
