"""Distribution matching: samples of a few calls are moved to where the teacher finds them more likely.

The distribution. Let q be the distribution of the student's samples x0 of a prompt, p the teacher's, and q_sigma,
p_sigma those of x = signal*x0 + spread*noise. The gradient of KL(q_sigma | p_sigma) by a sample is that of
log q_sigma - log p_sigma at its x, times signal. A denoiser knows it, by Tweedie's formula (x0-hat = E[x0 | x]):

    grad log q_sigma(x) = (signal*x0-hat_q(x) - x)/spread^2

So up to a positive factor that depends on sigma alone, a sample has to move against

    fake(x) - real(x)            fake = x0-hat_q,  real = x0-hat_p

which is zero at every x just where q = p. `real` is the teacher. `fake` is a second network, of the teacher's weights
at first, which is trained all the time as an ordinary denoiser on the samples of the student, while the student stays.
Each row divides by its own mean|x0 - real(x)|, so that every level gives a step of about the same size.

Guidance. The teacher of a guidance scale w predicts real + (w - 1)*(real - null), so that what is matched is

    fake(x) - real(x)  -  (w - 1)*(real(x) - null(x))

The second part is what sharpens the samples of few calls, and it adds what is missing at the level where it is taken.
It is taken at an own level, above that of the student's call, whose image has the coarser levels already; the first
part corrects errors of every kind, at all levels.

Diversity. KL(q | p) punishes a sample where p has none, and not a mode of p that q leaves out: samples of a prompt come
to resemble each other. The first of several calls decides what a sample will be, so it is not matched at all. From
noise x at the first level it has to jump to where the teacher is at the second, z, after `anchor_steps` steps of DDIM.
A jump ends at (spread'/spread)*x + (signal' - spread'/sigma)*x0, so its error is that of the prediction against

    x0 = (z - (spread'/spread)*x) / (signal' - spread'/sigma)

From sigma = inf, where x is the noise, an error of x0 is one of the flow  noise - x0  as well, whose target reads
(noise - y)/(1 - place') for z = (signal' + spread')*y. What follows starts from the end of this jump without a gradient
to the first call. One call alone has no such anchor; the input `end` tells it from the first of several.

A step trains one network: the student in one of fake_updates + 1, and the other in those between. A step draws a number
of calls, and one of them after the first, whose prediction is the sample: earlier ones have no gradient. Without an
anchor the first call is drawn as the others are, which is DMD2.

Source: Yin et al. 2024 (DMD2), arXiv 2405.14867, sections 3 and 4.5; DP-DMD, arXiv 2602.03139 (the anchor, its weight);
Liu et al. 2025 (Decoupled DMD), arXiv 2511.22677, section 4 and table 1 (levels of the guidance).
"""

from itertools import pairwise
from typing import Final

import torch
from torch import Tensor

from unnoise.diffusion.denoiser import Denoiser
from unnoise.diffusion.loss import loss as denoising_loss
from unnoise.diffusion.noise import numbers
from unnoise.diffusion.prediction import expand, mix
from unnoise.distill.match_options import MatchOptions
from unnoise.distill.plain_student import trained_part
from unnoise.distill.recipe import DistillRecipe
from unnoise.distill.rows import DrawnRows, RowSource
from unnoise.distill.student import build_student
from unnoise.distill.task import DistillTask
from unnoise.distill.teacher import Teacher
from unnoise.pipeline import Pipeline
from unnoise.sampling.level import move, place, signal, spread

CALLS: Final = 33  # the first coordinate of the streams that draw a number of calls
LEAST: Final = 1e-3  # of the size of an error that divides


class MatchTask(DistillTask):
    """Train a student and the denoiser of its samples in turn.

    fake: the denoiser of the samples; None makes one of the teacher's weights.
    """

    def __init__(
        self,
        recipe: DistillRecipe,
        teacher: Teacher,
        student: Pipeline,
        rows: RowSource,
        prompts: list[str],
        fake: Denoiser | None = None,
    ) -> None:
        super().__init__(recipe, teacher, student, rows, prompts)
        assert recipe.match is not None
        self.options: MatchOptions = recipe.match
        self.fake = build_student(recipe, teacher.pipeline).denoiser if fake is None else fake
        self.networks["fake"] = trained_part(self.fake.net)
        names = (f"fake.{name}" for name, _ in self.networks["fake"].named_parameters())
        self.learning_rate_multiples = dict.fromkeys(names, self.options.fake_learning_rate)

    def loss(self, step: int, rows: range) -> Tensor:
        """Return the loss of some rows of a batch, see `Task`: of the student, or of the denoiser of its samples."""
        drawn = self.rows(step, rows)
        grid, last = self.calls(step)
        if step % (self.options.fake_updates + 1):
            return self._fake_loss(drawn, grid, last)
        first, sample = self.samples(drawn, grid, last)
        losses = matching_loss(sample, self.direction(sample, drawn, grid[last]))
        if last and self.options.anchor:
            error = first - self.anchor(drawn, grid[0], grid[1])
            losses = losses + self.options.anchor * error.square().flatten(1).mean(1)
        return losses

    def calls(self, step: int) -> tuple[tuple[float, ...], int]:
        """Draw the levels of the calls of a step, and which of them, from 0, predicts its samples."""
        stream = numbers(self.recipe.seed, CALLS, step)
        steps = self.recipe.steps[int(stream.integers(len(self.recipe.steps)))]
        least = 1 if steps > 1 and self.options.anchor else 0
        grid = (self.teacher.sigma_max, *self.options.sampling(steps)[1])
        return grid, least + int(stream.integers(steps - least))

    def samples(self, drawn: DrawnRows, grid: tuple[float, ...], last: int) -> tuple[Tensor, Tensor]:
        """Return the predictions of x0 of the first call, and of the last one, which starts without a gradient."""
        x, predictions = drawn.noise, list[Tensor]()
        for k, (here, there) in enumerate(pairwise(grid[: last + 2])):
            with torch.set_grad_enabled(k in (0, last) and torch.is_grad_enabled()):
                predictions.append(self._call(x, drawn, here, there))
            x = move(x, predictions[-1].detach(), here, there)
        return predictions[0], predictions[-1]

    def _call(self, x: Tensor, drawn: DrawnRows, here: float, there: float) -> Tensor:
        end = full(place(there), x) if self.denoiser.takes_end else None
        found: Tensor = self.denoiser(x, full(here, x), drawn.student(end))
        return found

    def _fake_loss(self, drawn: DrawnRows, grid: tuple[float, ...], last: int) -> Tensor:
        with torch.no_grad():
            _, sample = self.samples(drawn, grid, last)
        return denoising_loss(self.fake, sample, drawn.again(0), self.level(drawn.u[:, 0]), drawn.student(), "v")

    @torch.no_grad()
    def anchor(self, drawn: DrawnRows, here: float, there: float) -> Tensor:
        """Return the x0 of the jump from the noise to where the teacher is at the level `there`."""
        x, steps = drawn.noise, self.options.anchor_steps
        inner = [between(here, there, k / steps) for k in range(1, steps)]
        for one, next_one in pairwise((here, *inner, there)):
            x = self.teacher.step(x, full(one, x), full(next_one, x), drawn.cond, drawn.guidance)
        return jump(drawn.noise, x, here, there)

    @torch.no_grad()
    def direction(self, sample: Tensor, drawn: DrawnRows, call: float) -> Tensor:
        """Return what samples have to move against. call: the level of the call that predicted them."""
        teacher, guided = self.teacher, self.teacher.guided
        sigma = self.level(drawn.u[:, 0])
        x = mix(sample, drawn.again(0), sigma)
        fake = self.fake(x, sigma, drawn.student())
        if not guided or not self.options.decoupled:
            real = teacher.x0(x, sigma, drawn.cond, drawn.guidance)
            return (fake - real) / size(sample - real)
        real = teacher.denoiser(x, sigma, drawn.cond)
        sigma = self.level(drawn.u[:, 1], above=call)
        x = mix(sample, drawn.again(1), sigma)
        led = teacher.x0(x, sigma, drawn.cond, drawn.guidance)
        plain = teacher.denoiser(x, sigma, drawn.cond)
        return (fake - real) / size(sample - real) - (led - plain) / size(sample - led)

    def level(self, u: Tensor, above: float = 0.0) -> Tensor:
        """Map uniform numbers (B,) to levels of the options, above a level that is below the highest of them.

        The highest is at most that of the process, so that none is above the level of the first call.
        """
        shift, top = self.options.shift, self.teacher.sigma_max
        low, high = (t / (t + shift * (1 - t)) for t in self.options.levels)
        high, least = min(high, place(top / shift)), place(above / shift)
        t = torch.lerp(u.new_tensor(max(low, least) if least < high else low), u.new_tensor(high), u)
        return (shift * t / (1 - t)).clamp(self.teacher.sigma_min, top)


def matching_loss(sample: Tensor, direction: Tensor) -> Tensor:
    """Return a loss of each row whose gradient by its sample (B, *d) is the direction, over the number of elements."""
    return (sample - (sample - direction).detach()).square().flatten(1).mean(1) / 2


def jump(x: Tensor, z: Tensor, here: float, there: float) -> Tensor:
    """Return the x0 with which `move` carries x from one level to z at a lower one."""
    return (z - spread(there) / spread(here) * x) / (signal(there) - spread(there) / here)


def size(error: Tensor) -> Tensor:
    """Return the mean magnitude of each row, as (B, 1, ..., 1)."""
    return expand(error.abs().flatten(1).mean(1).clamp(min=LEAST), error)


def full(value: float, like: Tensor) -> Tensor:
    """Return a number for each row of like: (B,)."""
    return torch.full((len(like),), value, device=like.device)


def between(here: float, there: float, share: float) -> float:
    """Return the level at a share of the way between two in place, sigma/(1 + sigma)."""
    at = place(here) + share * (place(there) - place(here))
    return at / (1 - at)
