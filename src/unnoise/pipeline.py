"""From words to pictures: a card, a model, a space and a text encoder as one value, and the one call that uses them."""

import hashlib
import secrets
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import PIL
import torch
from PIL import Image
from torch import Tensor, nn

from unnoise import __version__
from unnoise.diffusion.draw import START, draw
from unnoise.diffusion.guide import cfg
from unnoise.diffusion.model import Cond, Denoise, Model, collate
from unnoise.diffusion.run import run
from unnoise.errors import NotFinite, Refusal
from unnoise.files.card import Card, Part
from unnoise.files.plan import Plan, decide, sampler_of
from unnoise.files.recipe import Recipe, from_level, to_level
from unnoise.files.request import Request
from unnoise.sampling.state import Sampler, State, start
from unnoise.spaces.latent import Latent
from unnoise.spaces.space import Space
from unnoise.text.encode import PromptEncoder

Watch = Callable[[float, Tensor], None]  # (share of the work done in 0 ... 1, the current guess of x0)
BATCH = 8
BATCH_AREA = 1 << 20  # pixels of all pictures of a batch, where the caller does not say how many


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """One picture, its x0 (c, h, w) in coordinates of the model's space, and the recipe that makes it again."""

    image: Image.Image
    x0: Tensor
    recipe: Recipe


@dataclass(frozen=True, slots=True)
class Row:
    """One picture of a batch, before it is one."""

    prompt: str
    seed: int


@dataclass(frozen=True, slots=True, eq=False)
class Pipeline:
    """A model with all that is needed to use it; `unnoise.load` makes one, `generate` uses it."""

    card: Card
    model: Model
    space: Space
    text: PromptEncoder | None = None

    @property
    def device(self) -> torch.device:
        """Say where the weights are."""
        return next(self.model.parameters()).device

    @property
    def factor(self) -> int:
        """Give the number of pixels that both sides of a picture must be a multiple of."""
        return self.space.factor * int(getattr(self.model.net, "factor", 1))

    def networks(self) -> dict[str, nn.Module]:
        """Name the networks, as their tensors are named in a file."""
        found: dict[str, nn.Module] = {"net": self.model.net}
        if isinstance(self.space, Latent) and isinstance(self.space.autoencoder, nn.Module):
            found["autoencoder"] = self.space.autoencoder
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
        between: tuple[float, float] | None = None,
        rescale: float | None = None,
        batch: int | None = None,
        dtype: str = "float32",
        watch: Watch | None = None,
    ) -> list[Sample]:
        """Draw n pictures of each prompt, prompt by prompt; sample k of a prompt has seed + k.

        What is None is as the model's card advises, and a seed is random. An empty prompt is the unconditional model.
        weight: null + weight*(cond - null), 1 = off, with the negative prompt as null; between: the levels where it
        acts; rescale: 0 ... 1; grid: a name, or every level, descending; noise: the start in the unit frame,
        (pictures, c, h, w) or (c, h, w); size: (width, height) or one for both; batch: pictures computed at once;
        dtype: of the network, float32 or bfloat16; watch(share, x0): called after each network call.
        Raises Refusal for an argument that is out of range or cannot act, NotFinite where the network fails.
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
        )
        return self.fulfil(request, noise, watch)

    def fulfil(self, request: Request, noise: Tensor | None = None, watch: Watch | None = None) -> list[Sample]:
        """Draw what a request asks for, as `generate` does. Raises Refusal and NotFinite as it does."""
        plan = self.plan(request)
        first = secrets.randbits(32) if request.seed is None else request.seed
        rows = [Row(text, first + k) for text in request.prompts for k in range(request.n)]
        at_once = request.batch or max(1, min(BATCH, BATCH_AREA // (plan.size[0] * plan.size[1])))
        return self._samples(plan, rows, at_once, self._starts(noise, plan, request), watch)

    def plan(self, request: Request) -> Plan:
        """Decide how a request is fulfilled, and do nothing yet. Raises Refusal where it cannot be."""
        return decide(request, self.card, self.model.process, self.factor)

    def replay(self, recipe: Recipe) -> Sample:
        """Make a picture again: on the same machine and versions, equal to the bit.

        Raises Refusal where the recipe is of another model or began with a noise that was handed in.
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
        guided = recipe.weight != 1
        request = Request(
            (recipe.prompt,),
            recipe.negative,
            weight=recipe.weight,
            sampler=sampler_of(recipe.sampler),
            grid=tuple(from_level(level) for level in recipe.grid),
            seed=recipe.seed,
            size=recipe.size,
            between=(from_level(recipe.between[0]), from_level(recipe.between[1])) if guided else None,
            rescale=recipe.rescale if guided else None,
            batch=recipe.rows,
            dtype=recipe.dtype,
        )
        plan = decide(request, self.card, self.model.process, self.factor)
        rows = [Row(recipe.prompt, recipe.seed)] * recipe.rows
        return self._samples(plan, rows, recipe.rows, None, None)[recipe.row]

    def _starts(self, noise: Tensor | None, plan: Plan, request: Request) -> Tensor | None:
        if noise is None:
            return None
        if request.seed is not None and not plan.sampler.stochastic:
            raise Refusal("seed: with a given noise only a stochastic sampler draws, and this one is not; leave it out")
        shape = (len(request.prompts) * request.n, *self._shape(plan))
        starts = noise[None] if noise.ndim == len(shape) - 1 else noise
        if starts.shape != shape or not starts.isfinite().all():
            raise Refusal(f"noise {list(noise.shape)}: finite, and {list(shape)} for this size and number of pictures")
        return starts.to(self.device, torch.float32)

    def _shape(self, plan: Plan) -> tuple[int, ...]:
        return self.space.shape(plan.size[1], plan.size[0])

    @torch.no_grad()
    def _samples(
        self, plan: Plan, rows: list[Row], batch: int, starts: Tensor | None, watch: Watch | None
    ) -> list[Sample]:
        asked = [plan.negative] if plan.weight != 1 else []
        texts = list(dict.fromkeys([*asked, *(row.prompt for row in rows)]))
        conds = dict(zip(texts, self.text(texts), strict=True)) if self.text else dict.fromkeys(texts, Cond())
        found: list[Sample] = []
        for at in range(0, len(rows), batch):
            part = rows[at : at + batch]
            seeds = [row.seed for row in part]
            x = torch.empty(len(part), *self._shape(plan), device=self.device)
            x = draw(seeds, START, x) if starts is None else starts[at : at + batch]
            denoise = self.denoise(plan, [conds[row.prompt] for row in part], conds.get(plan.negative))
            looked = _share(watch, at / len(rows), len(part) / len(rows), plan)
            x0 = run(plan.sampler, denoise, start(x, plan.grid), draw, seeds, looked)
            data = self.space.decode(x0)
            if not data.isfinite().all():
                raise NotFinite(f"decoding: NaN or infinity in {data.dtype}, from a finite x0 of seeds {seeds}")
            for k, (row, image) in enumerate(zip(part, _images(data), strict=True)):
                noise = None if starts is None else _sha256(x[k])
                found.append(Sample(image, x0[k], self._recipe(plan, row, (k, len(part)), noise)))
        return found

    def denoise(self, plan: Plan, conds: Sequence[Cond], negative: Cond | None) -> Denoise:
        """Bind the conditions of a batch, one a row, guided and in the precision that a plan says."""
        cond = collate(conds)
        if plan.weight == 1 or negative is None:
            guided = self.model.bind(cond)
        else:
            guided = cfg(self.model, cond, negative, plan.weight, plan.between, plan.rescale)
        if plan.dtype == "float32":
            return guided

        def narrow(x: Tensor, sigma: Tensor) -> Tensor:
            with torch.autocast(x.device.type, torch.bfloat16):
                return guided(x, sigma)

        return narrow

    def _recipe(self, plan: Plan, row: Row, place: tuple[int, int], noise: str | None) -> Recipe:
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
            noise=noise,
        )


def versions() -> dict[str, str]:
    """Name what decides the bits of a picture."""
    return {"unnoise": __version__, "torch": str(torch.__version__), "numpy": np.__version__, "pillow": PIL.__version__}


def _share(watch: Watch | None, done: float, part: float, plan: Plan) -> Callable[[State[Tensor], Tensor], None] | None:
    """Tell a watcher the share of the whole work that is done, where `part` of it is this batch."""
    if watch is None:
        return None

    def looked(state: State[Tensor], x0: Tensor) -> None:
        within = (state.i + (state.stage + 1) / plan.sampler.queries) / (len(plan.grid) - 1)
        watch(done + part * within, x0)

    return looked


def _images(data: Tensor) -> list[Image.Image]:
    """Turn data (B, 1 or 3, H, W) in [-1, 1] into pictures of 8 bits."""
    whole = ((data.float() + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
    return [Image.fromarray(np.ascontiguousarray(one.squeeze(2) if one.shape[2] == 1 else one)) for one in whole]


def _sha256(values: Tensor) -> str:
    return hashlib.sha256(values.cpu().contiguous().numpy().tobytes()).hexdigest()
