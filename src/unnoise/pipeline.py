"""From words to pictures, films and sounds: card, model, space and text encoder, and the one call that uses them."""

import secrets
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import PIL
import torch
from PIL import Image
from torch import Tensor, nn

from unnoise import __version__
from unnoise.diffusion.draw import START, draw
from unnoise.diffusion.guide import cfg, instruct
from unnoise.diffusion.keep import keep
from unnoise.diffusion.model import Cond, Denoise, Model, collate
from unnoise.diffusion.predict import mix
from unnoise.diffusion.run import run
from unnoise.errors import NotFinite, Refusal
from unnoise.files.card import Card, Part
from unnoise.files.plan import Dtype, Plan, decide, sampler_of
from unnoise.files.recipe import Recipe, from_level, to_level
from unnoise.files.request import STRENGTH, Request
from unnoise.given import Given, Mask, Sight, Sums, edited, given
from unnoise.sample import Sample, Watch, made_of, share
from unnoise.sampling.state import Sampler, start
from unnoise.spaces.space import Space
from unnoise.text.emphasis import Emphasis
from unnoise.text.encode import Reader

BATCH = 8
BATCH_AREA = 1 << 20  # pixels of all pictures of a batch, where the caller does not say how many
NARROW = {"bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True, slots=True)
class Row:
    """One sample of a batch, before it is one."""

    prompt: str
    seed: int


@dataclass(frozen=True, slots=True, eq=False)
class Pipeline:
    """A model with all that is needed to use it; `unnoise.load` makes one, `generate` uses it.

    sight: what its network sees of a picture beside x, which such a model cannot do without.
    """

    card: Card
    model: Model
    space: Space
    text: Reader | None = None
    sight: Sight | None = None

    @property
    def device(self) -> torch.device:
        """Say where the weights are."""
        return next(self.model.parameters()).device

    @property
    def dtype(self) -> Dtype:
        """Say in which numbers the network is held."""
        found = next(parameter.dtype for parameter in self.model.parameters() if parameter.is_floating_point())
        return str(found).removeprefix("torch.")  # type: ignore[return-value]

    @property
    def factor(self) -> int:
        """Give the number of pixels that both sides of a picture must be a multiple of."""
        return self.space.factor * int(getattr(self.model.net, "factor", 1))

    def networks(self) -> dict[str, nn.Module]:
        """Name the networks, as their tensors are named in a file."""
        found: dict[str, nn.Module] = {"net": self.model.net}
        autoencoder = getattr(self.space, "autoencoder", None)
        if isinstance(autoencoder, nn.Module):
            found["autoencoder"] = autoencoder
        if self.text is not None:
            found["text"] = self.text.net
        return found

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
        embedded: float | None = None,
        image_weight: float | None = None,
        emphasis: Emphasis = "refuse",
        frames: int | None = None,
        seconds: float | None = None,
        batch: int | None = None,
        dtype: str | None = None,
        watch: Watch | None = None,
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
        lies between is blended.
        Raises Refusal for an argument that is out of range or cannot act, NotFinite where the network fails.
        """
        if image is not None and size is None:
            size = image.size
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
            embedded=embedded,
            image_weight=image_weight,
            emphasis=emphasis,
            strength=strength,
            frames=frames,
            seconds=seconds,
        )
        return self.fulfil(request, noise, image, mask, watch)

    def fulfil(
        self,
        request: Request,
        noise: Tensor | None = None,
        image: Image.Image | None = None,
        mask: Mask | None = None,
        watch: Watch | None = None,
    ) -> list[Sample]:
        """Draw what a request asks for, as `generate` does. Raises Refusal and NotFinite as it does."""
        begins = image is not None and self.sight is None
        if begins and request.strength is None and not isinstance(request.grid, tuple):
            request = replace(request, strength=STRENGTH if mask is None else 1.0)
        plan = self.plan(request)
        first = secrets.randbits(32) if request.seed is None else request.seed
        rows = [Row(text, first + k) for text in request.prompts for k in range(request.n)]
        at_once = batch_of(request, plan)
        if noise is not None and request.seed is not None and not plan.sampler.stochastic:
            raise Refusal("seed: with a given noise only a stochastic sampler draws, and this one is not; leave it out")
        handed = self._given(noise, image, mask, plan, len(rows))
        return self._samples(plan, rows, at_once, handed, watch)

    def plan(self, request: Request) -> Plan:
        """Decide how a request is fulfilled, and do nothing yet. Raises Refusal where it cannot be."""
        return decide(request, self.card, self.model.process, self.factor, self.dtype)

    def replay(self, recipe: Recipe, image: Image.Image | None = None, mask: Mask | None = None) -> Sample:
        """Make a sample again: on the same machine and versions, equal to the bit.

        image, mask: what was handed in, where the recipe says that it began with them. Raises Refusal where the recipe
        is of another model, began with a noise that was handed in, or with another image or mask than these.
        """
        if recipe.fingerprint != self.card.fingerprint:
            raise Refusal(
                f"recipe of model {recipe.model!r} with weights {recipe.fingerprint[:12]}: these are "
                f"{self.card.fingerprint[:12] or 'unsaved'} of {self.card.name!r}"
            )
        if recipe.noise is not None:
            raise Refusal("recipe: the picture began with a noise that was handed in, which it does not hold")
        if not 0 <= recipe.row < recipe.rows:
            raise Refusal(f"recipe: row {recipe.row} of {recipe.rows}")
        guided = recipe.weight != 1 or recipe.image_weight not in (None, 1)
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
            embedded=recipe.embedded,
            image_weight=recipe.image_weight,
            emphasis=recipe.emphasis,
            frames=recipe.frames,
            seconds=recipe.seconds,
        )
        plan = replace(self.plan(request), strength=recipe.strength)
        rows = [Row(recipe.prompt, recipe.seed)] * recipe.rows
        handed = self._given(None, image, mask, plan, len(rows))
        for what, began in (("image", recipe.image), ("mask", recipe.mask)):
            if getattr(handed.sums(0), what) != began:
                given = "another" if getattr(handed, what) is not None else "none"
                raise Refusal(f"{what}: the picture began with one of sha256 {str(began)[:12]}, and {given} is given")
        return self._samples(plan, rows, recipe.rows, handed, None)[recipe.row]

    def _given(
        self, noise: Tensor | None, image: Image.Image | None, mask: Mask | None, plan: Plan, rows: int
    ) -> Given:
        return given(noise, image, mask, (rows, *self.shape(plan)), plan, self.sight, self.device)

    def shape(self, plan: Plan) -> tuple[int, ...]:
        """Give the shape of one x0."""
        width, height = plan.size
        if plan.seconds is not None:
            return self.space.shape(plan.seconds)
        return self.space.shape(height, width) if plan.frames is None else self.space.shape(height, width, plan.frames)

    @torch.no_grad()
    def _samples(
        self, plan: Plan, rows: list[Row], batch: int, handed: Given, watch: Watch | None
    ) -> list[Sample]:
        texts = list(dict.fromkeys(row.prompt for row in rows))
        conds = dict.fromkeys(texts, Cond())
        negative: Cond | None = None
        if self.text is not None:
            conds = dict(zip(texts, self.text(texts, plan.emphasis), strict=True))
            negative = self.text.negative(plan.negative, plan.emphasis) if plan.guided else None
        edit = edited(handed, plan, self.space, self.sight)
        found: list[Sample] = []
        for at in range(0, len(rows), batch):
            part = rows[at : at + batch]
            seeds = [row.seed for row in part]
            x = torch.empty(len(part), *self.shape(plan), device=self.device)
            x = draw(seeds, START, x) if handed.noise is None else handed.noise[at : at + batch]
            if edit.begun is not None:
                x = mix(edit.begun.expand_as(x), x, torch.full((len(x),), plan.grid[0], device=x.device))
            denoise = self.denoise(plan, [conds[row.prompt] for row in part], negative, edit.seen)
            if edit.known is not None and edit.mask is not None:
                denoise = keep(denoise, edit.known.expand_as(x), edit.mask)
            looked = share(watch, at / len(rows), len(part) / len(rows), plan)
            x0 = run(plan.sampler, denoise, start(x, plan.grid), draw, seeds, looked)
            data = self.space.decode(x0)
            if not data.isfinite().all():
                raise NotFinite(f"decoding: NaN or infinity in {data.dtype}, from a finite x0 of seeds {seeds}")
            data = handed.pasted(data, soft=edit.known is None)
            every = made_of(data, plan, self.card.advice.fps, getattr(self.space, "rate", 0))
            for k, (row, made) in enumerate(zip(part, every, strict=True)):
                found.append(Sample(made, x0[k], self._recipe(plan, row, (k, len(part)), handed.sums(at + k))))
        return found

    def denoise(
        self, plan: Plan, conds: Sequence[Cond], negative: Cond | None, seen: Tensor | None = None
    ) -> Denoise:
        """Bind the conditions of a batch, one a row, guided and in the precision that a plan says.

        seen: (1, c, h, w), what the network sees of a picture.
        """
        cond = _told(collate(conds), plan, seen, getattr(torch, self.dtype))
        negative = negative and _told(negative, plan, seen, getattr(torch, self.dtype))
        if not plan.guided or negative is None:
            guided = self.model.bind(cond)
        elif plan.image_weight is not None and negative.image is not None:
            null = replace(negative, image=torch.zeros_like(negative.image))
            weights = plan.weight, plan.image_weight
            guided = instruct(self.model, cond, negative, null, *weights, plan.between, plan.rescale)
        else:
            guided = cfg(self.model, cond, negative, plan.weight, plan.between, plan.rescale)
        if plan.dtype == self.dtype:
            return guided

        def narrow(x: Tensor, sigma: Tensor) -> Tensor:
            with torch.autocast(x.device.type, NARROW[plan.dtype]):
                return guided(x, sigma)

        return narrow

    def _recipe(self, plan: Plan, row: Row, place: tuple[int, int], sums: Sums) -> Recipe:
        return Recipe(
            model=self.card.name,
            fingerprint=self.card.fingerprint,
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
            device=self.device.type,
            row=place[0],
            rows=place[1],
            versions=versions(),
            noise=sums.noise,
            image=sums.image,
            mask=sums.mask,
            strength=plan.strength,
            embedded=plan.embedded,
            image_weight=plan.image_weight,
            emphasis=plan.emphasis,
            frames=plan.frames,
            seconds=plan.seconds,
        )


def _told(cond: Cond, plan: Plan, seen: Tensor | None, dtype: torch.dtype) -> Cond:
    """Add to conditions what is told beside text: guidance that is an input, the ends of a sound, a picture.

    dtype: of the network, to which text is brought once, and not at every step.
    """
    rows, device = len(cond), next((value.device for value in cond.given().values()), None)
    if cond.tokens is not None:
        cond = replace(cond, tokens=cond.tokens.to(dtype))
    if plan.embedded is not None:
        cond = replace(cond, weight=torch.full((rows,), plan.embedded, device=device))
    if plan.seconds is not None:
        cond = replace(cond, vector=torch.tensor([[0.0, plan.seconds]], device=device).expand(rows, 2))
    if seen is not None:
        cond = replace(cond, image=seen.expand(rows, *seen.shape[1:]))
    return cond


def batch_of(request: Request, plan: Plan) -> int:
    """Say how many samples are computed at once."""
    return request.batch or max(1, min(BATCH, BATCH_AREA // max(1, plan.size[0] * plan.size[1])))


def versions() -> dict[str, str]:
    """Name what decides the bits of a picture."""
    return {"unnoise": __version__, "torch": str(torch.__version__), "numpy": np.__version__, "pillow": PIL.__version__}

