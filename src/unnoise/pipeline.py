"""From words to pictures, films and sounds: card, model, space and text encoder, and the one call that uses them."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from PIL import Image
from torch import Tensor

from unnoise.components import Components
from unnoise.diffusion.conditioning import Conditioning
from unnoise.diffusion.denoiser import Denoise
from unnoise.errors import InputError
from unnoise.generation.edit_options import Change, Soft
from unnoise.generation.engine import ImageConditioning, Row, bound, render
from unnoise.generation.limits import STRENGTH
from unnoise.generation.metadata import Metadata, from_level
from unnoise.generation.options import Request
from unnoise.generation.prepare import Mask, PreparedInputs, RawInputs, given
from unnoise.generation.resolve import Plan, decide, sampler_of
from unnoise.generation.sample import Callback, Sample
from unnoise.sampling.state import Sampler
from unnoise.text.prompt_weighting import PromptWeighting

if TYPE_CHECKING:
    from unnoise.adapters.lora.read import Adapter, Loras

BATCH = 8
BATCH_AREA = 1 << 20  # pixels of all pictures of a batch, where the caller does not say how many
NO_PICTURES = RawInputs()


@dataclass(frozen=True, slots=True, eq=False)
class Pipeline(Components):
    """A model that draws; `unnoise.load` makes one."""

    @classmethod
    def of(cls, components: Components) -> "Pipeline":
        """Make a pipeline of the components of a model."""
        return cls(**{field.name: getattr(components, field.name) for field in fields(components)})

    def generate(
        self,
        prompt: str | Sequence[str],
        *,
        negative: str = "",
        steps: int | None = None,
        weight: float | None = None,
        sampler: str | Sampler[Any, Any] | None = None,
        grid: str | Sequence[float] | None = None,
        seed: int | None = None,
        noise: Tensor | None = None,
        size: int | tuple[int, int] | None = None,
        n: int = 1,
        image: Image.Image | None = None,
        mask: Mask | None = None,
        strength: float | None = None,
        between: tuple[float, float] | None = None,
        rescale: float | None = None,
        distilled_guidance: float | None = None,
        image_guidance: float | None = None,
        prompt_weighting: PromptWeighting = "refuse",
        frames: int | None = None,
        seconds: float | None = None,
        feather: int | None = None,
        soft: Soft = "blend",
        repaint: int | None = None,
        expand: tuple[int, int, int, int] | None = None,
        origin: str | None = None,
        tile: int | None = None,
        variation: float | None = None,
        variation_seed: int | None = None,
        toward: str | None = None,
        toward_share: float | None = None,
        control_image: Image.Image | None = None,
        control_scale: float | None = None,
        look: Image.Image | None = None,
        ip_adapter_scale: float | None = None,
        lora: "Loras" = (),
        batch: int | None = None,
        dtype: str | None = None,
        watch: Callback | None = None,
    ) -> list[Sample]:
        """Draw n samples of each prompt, prompt by prompt; sample k of a prompt has seed + k.

        What is None is as the model's card advises, and a seed is random. An empty prompt is the unconditional model.
        weight: null + weight*(cond - null), 1 = off, with the negative prompt as null; between: the levels where it
        acts; rescale: 0 ... 1; embedded: guidance that a distilled network takes as an input; grid: a name, or every
        level, descending; noise: the start in the unit frame, (samples, *x0) or one of them; size: (width, height) or
        one for both; image: a picture to be changed; strength: how far, above 0 to 1; mask: see below; image_weight:
        guidance towards a picture that the network sees, 1 = off; emphasis: what "(word:1.3)" is, `refuse`, `weigh` or
        `literal`; frames, seconds: of a film, of a sound; batch: samples computed at once; dtype: of the network,
        narrower than its weights; watch(share, x0): called after each network call.

        A mask says what to KEEP of the image: WHITE or 1 = KEEP, BLACK or 0 = PAINT, the inverse of what most programs
        take. It is a picture in shades of grey or a tensor (height, width); kept pixels come back bit for bit, and what
        lies between is blended. feather, soft, repaint, expand, origin, tile, variation, toward, hint_weight and
        look_weight are what `Change` says. hint: a picture whose shapes are followed; look: one that is resembled, each
        for a model that was loaded with a control or a look. lora: adapters, by name, by file, or as
        `unnoise.adapters.lora.read.read` gave them, one, several, or several with their weights.
        Raises InputError for an argument that is out of range or cannot act, NonFiniteError where the network fails.
        """
        request = Request(
            prompts=(prompt,) if isinstance(prompt, str) else tuple(prompt),
            negative=negative,
            steps=steps,
            weight=weight,
            sampler=sampler,
            grid=grid if grid is None or isinstance(grid, str) else tuple(grid),
            seed=seed,
            size=(size, size) if isinstance(size, int) else size,
            n=n,
            between=between,
            rescale=rescale,
            batch=batch,
            dtype=dtype,
            distilled_guidance=distilled_guidance,
            image_guidance=image_guidance,
            prompt_weighting=prompt_weighting,
            strength=strength,
            frames=frames,
            seconds=seconds,
            change=Change(
                feather=feather,
                soft=soft,
                repaint=repaint,
                expand=expand,
                origin=origin,
                tile=tile,
                variation=variation,
                variation_seed=variation_seed,
                toward=toward,
                toward_share=toward_share,
                control_scale=control_scale,
                ip_adapter_scale=ip_adapter_scale,
            ),
        )
        worn = _weighed(lora, self) if lora else ()
        return self.fulfil(request, RawInputs(noise, image, mask, control_image, look, worn), watch)

    def fulfil(self, request: Request, handed: RawInputs = NO_PICTURES, watch: Callback | None = None) -> list[Sample]:
        """Draw what a request asks for, as `generate` does. Raises InputError and NonFiniteError as it does."""
        request = self.completed(request, handed)
        plan = self.plan(request)
        first = secrets.randbits(32) if request.seed is None else request.seed
        rows = [row for text in request.prompts for row in rows_of(text, first, request)]
        at_once = batch_of(request, plan)
        if handed.noise is not None and request.seed is not None and not plan.sampler.stochastic:
            raise InputError(
                "seed: with a given noise only a stochastic sampler draws, and this one is not; leave it out"
            )
        return render(self, plan, rows, at_once, self._given(handed, plan, len(rows)), watch)

    def completed(self, request: Request, handed: RawInputs) -> Request:
        """Settle what a picture that is handed in decides: the size, and how far it is changed."""
        image, change = handed.image, request.change
        if image is not None:
            left, above, right, below = change.expand or (0, 0, 0, 0)
            sides = image.width + left + right, image.height + above + below
            size = up_to(sides[0], self.factor), up_to(sides[1], self.factor)
            if request.size not in (None, size):
                raise InputError(
                    f"size {request.size}: the image is {sides[0]}x{sides[1]}; bring it to that size before"
                )
            request = replace(request, size=size)
        begins = image is not None and self.image_conditioner is None
        if begins and request.strength is None and not isinstance(request.grid, tuple):
            whole = handed.mask is not None or change.expand is not None or change.origin is not None
            request = replace(request, strength=1.0 if whole else STRENGTH)
        return request

    def plan(self, request: Request) -> Plan:
        """Decide how a request is fulfilled, and do nothing yet. Raises InputError where it cannot be."""
        return decide(request, self.card, self.denoiser.process, self.factor, self.dtype)

    def replay(self, recipe: Metadata, handed: RawInputs = NO_PICTURES) -> Sample:
        """Make a sample again: on the same machine and versions, equal to the bit.

        handed: the pictures and adapters, where the recipe says that it began with them. Raises InputError where the
        recipe is of another model, began with a noise that was handed in, or with other pictures or adapters.
        """
        if recipe.fingerprint != self.card.fingerprint:
            raise InputError(
                f"recipe of model {recipe.model!r} with weights {recipe.fingerprint[:12]}: these are "
                f"{self.card.fingerprint[:12] or 'unsaved'} of {self.card.name!r}"
            )
        if recipe.noise is not None:
            raise InputError("recipe: the picture began with a noise that was handed in, which it does not hold")
        if not 0 <= recipe.row < recipe.rows:
            raise InputError(f"recipe: row {recipe.row} of {recipe.rows}")
        guided = recipe.weight != 1 or recipe.image_guidance not in (None, 1)
        request = Request(
            (recipe.prompt,),
            recipe.negative,
            weight=recipe.weight,
            sampler=sampler_of(recipe.sampler),
            grid=tuple(from_level(level) for level in recipe.grid),
            seed=recipe.seed,
            size=recipe.size if self.card.modality != "audio" else None,
            between=(from_level(recipe.between[0]), from_level(recipe.between[1])) if guided else None,
            rescale=recipe.rescale if guided else None,
            batch=recipe.rows,
            dtype=recipe.dtype,
            distilled_guidance=recipe.distilled_guidance,
            image_guidance=recipe.image_guidance,
            prompt_weighting=recipe.prompt_weighting,
            frames=recipe.frames,
            seconds=recipe.seconds,
            change=recipe.change,
        )
        plan = replace(self.plan(request), strength=recipe.strength)
        rows = [Row(recipe.prompt, recipe.seed, recipe.change.variation_seed)] * recipe.rows
        began = self._given(replace(handed, noise=None, adapters=_same_adapters(recipe, handed)), plan, len(rows))
        sums = began.sums(0)
        for what in ("image", "mask", "hint", "look"):
            wanted, found = getattr(recipe, what), getattr(sums, what)
            if wanted != found:
                other = "none" if found is None else "another"
                raise InputError(
                    f"{what}: the picture began with one of sha256 {str(wanted)[:12]}, and {other} is given"
                )
        return render(self, plan, rows, recipe.rows, began, None)[recipe.row]

    def _given(self, handed: RawInputs, plan: Plan, rows: int) -> PreparedInputs:
        net = self.denoiser.net
        for name, reads in (("control_image", "control"), ("look", "image_encoder")):
            if getattr(handed, name) is not None and getattr(net, reads, None) is None:
                raise InputError(
                    f"{name}: {self.card.name!r} reads none; load it with a {reads}: load(..., {reads}=FILE)"
                )
            if getattr(handed, name) is None and getattr(net, reads, None) is not None:
                raise InputError(f"{name}: this model was loaded with a {reads}, and no picture for it is given")
        return given(handed, (rows, *self.shape(plan)), plan, self.image_conditioner, self.device)

    def shape(self, plan: Plan) -> tuple[int, ...]:
        """Give the shape of one x0."""
        width, height = plan.size
        if plan.seconds is not None:
            return self.space.shape(plan.seconds)
        return self.space.shape(height, width) if plan.frames is None else self.space.shape(height, width, plan.frames)

    def denoise(
        self,
        plan: Plan,
        conds: Sequence[Conditioning],
        negative: Conditioning | None,
        beside: ImageConditioning | None = None,
    ) -> Denoise:
        """Bind the conditions of a batch, one a row, guided and in the precision that a plan says."""
        return bound(self, plan, conds, negative, beside or ImageConditioning())


def batch_of(request: Request, plan: Plan) -> int:
    """Say how many samples are computed at once."""
    return request.batch or max(1, min(BATCH, BATCH_AREA // max(1, plan.size[0] * plan.size[1])))


def rows_of(prompt: str, first: int, request: Request) -> list[Row]:
    """List the samples of a prompt: each with a seed of its own; variations share it, and differ in where they go."""
    other = request.change.variation_seed
    if other is not None:
        return [Row(prompt, first, other + k) for k in range(request.n)]
    return [Row(prompt, first + k) for k in range(request.n)]


def up_to(side: int, factor: int) -> int:
    """Give the least multiple of a factor that a side fits into."""
    return -(-side // factor) * factor


def _weighed(lora: "Loras", pipeline: Pipeline) -> "tuple[tuple[Adapter, float], ...]":
    from unnoise.adapters.lora.read import load_adapters

    return load_adapters(lora, pipeline)


def _same_adapters(recipe: Metadata, handed: RawInputs) -> "tuple[tuple[Adapter, float], ...]":
    """Give each adapter of a recipe its weight. Raises InputError where they are not those that are handed in."""
    held = {adapter.fingerprint: adapter for adapter, _ in handed.adapters}
    for worn in recipe.adapters:
        if worn.fingerprint not in held:
            raise InputError(
                f"lora: the picture was drawn with {worn.name!r} of {worn.fingerprint[:12]}: give that file"
            )
    if len(held) != len(recipe.adapters):
        raise InputError(f"lora: {len(held)} are given, and the picture was drawn with {len(recipe.adapters)}")
    return tuple((held[worn.fingerprint], worn.weight) for worn in recipe.adapters)
