"""Consistency distillation: a network that maps any point of a path of the probability flow to the end of that path.

**The function.** In the unit frame x = signal*x0 + spread*eps, and a teacher D(x, sigma) = E[x0 | x] defines the flow

    dx = D*d(signal) + eps*d(spread),    eps = (x - signal*D)/spread

whose paths lead from N(0, I) to the data. Let Phi(x, t) be the end of the path through x at level t. It is the only
function with

    Phi(x_t, t) = Phi(x_r, r)  for two points of one path,    and    Phi(x, 0) = x.

The student f is the x0 of an ordinary denoiser, of kind v: f = signal*x - spread*F. At level 0 it is x, whatever F is,
so the second condition always holds, and only the first is trained. Where f = Phi, one call from noise is a sample.

**The loss** (ECT). Draw t with ln t ~ N(level_mean, level_std^2), a point x_t = signal*x0 + spread*eps of the data, and
one step of the teacher from t to r < t, of DDIM, which is Euler's method along the flow:

    x_r = (spread_r/spread_t)*x_t + signal_r*(1 - r/t)*D(x_t, t)
    loss = distance(f(x_t, t), stop_gradient(f(x_r, r))) / (t - r)

with equal weights in both calls. With consistency.teacher = false there is no step: x_r has the x0 and the eps of x_t.
This is the same step with x0 for D(x_t, t) = E[x0 | x_t], so its expectation is the same at first order in t - r, and
its variance is larger (Song et al. 2023, theorem 2). The distance is e^2, the mean square over a sample;
sqrt(e^2 + c^2) - c, the pseudo-Huber distance; or e^2/(stop_gradient(e^2) + c^2), which weighs each sample by the
inverse of its error. Dividing by t - r makes the loss a rate, which does not vanish as r approaches t.

**From diffusion to consistency.** The first gap is wide: r = t*(1 - n(t)/gap), cut at 0, with n(t) = 1 + 8*sigmoid(-t)
in levels of data of deviation 0.5. With gap = 2 the lower levels have r = 0, and there the loss is that of denoising,
which the weights of the teacher solve; at high levels r = t/2. The gap then doubles at even parts of the run, the last
of which has gap*2^doublings, so that the error of the step and that of the target fall together. A level r below the
lowest of the process is 0, as no sampler stops between.

**The limit of small steps** (sCM, `continuous`). With the angle a = atan(sigma), signal = cos a, spread = sin a:

    df/da = -cos a*(F - dx/da) - sin a*(x + dF/da)       along the flow, where dx/da is v of the teacher or of the data

and f is Phi where df/da = 0. Since f changes by -sin a for each unit of F, the loss that lets F follow g = cos a*df/da,

    loss = |F - stop_gradient(F + g/(|g| + 0.1))|^2,     g = -cos^2 a*(F - dx/da) - w*cos a*sin a*(x + dF/da),

descends on it. |g| is a root mean square, so that 0.1 means the same for any size of data. w rises from 0 to 1 over
tangent_warmup steps; at 0 the loss is that of velocity matching. cos a*sin a*dF/da is one forward-mode derivative, of
F(x, sigma) along (cos a*sin a*dx/da, sigma), since d(sigma)/da = 1 + sigma^2 and cos a*sin a = sigma/(1 + sigma^2). It
is computed in float32 with the math kernel of attention, the only one with a forward derivative.

**Guidance** enters through D and v alone: the scale is drawn evenly in its logarithm for each row, the teacher's
prediction has it, and the student takes it as an input.

**Samples.** f from noise is a sample in one call. More calls re-noise: x at the next level of `grid` from f and fresh
noise, and f again (sampling.samplers.consistency); each call repairs what the one before got wrong at its level.

Source: Song et al. 2023 (consistency models), theorem 1 and algorithms 1 to 3; Geng et al. 2024 (ECT), section 3 and
appendix A; Song & Dhariwal 2023 (pseudo-Huber), section 3.3; Lu & Song 2024 (sCM), section 4 and algorithm 1; Luo et
al. 2023 (LCM), section 4.2 (guidance).
"""

import warnings
from functools import partial

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from unnoise.diffusion.conditioning import Conditioning
from unnoise.diffusion.loss import sigma_lognormal
from unnoise.diffusion.prediction import expand, from_x0, mix, signal, spread, target
from unnoise.distill.consistency_options import ConsistencyOptions
from unnoise.distill.recipe import DistillRecipe
from unnoise.distill.rows import DrawnRows, RowSource
from unnoise.distill.task import DistillTask
from unnoise.distill.teacher import Teacher
from unnoise.errors import InputError
from unnoise.pipeline import Pipeline
from unnoise.train.validation import LevelLosses, level_edges
from unnoise.train.weights import eager

SLOW, DATA_DEVIATION = 8.0, 0.5  # of n(t); Geng et al. 2024, appendix A, in levels of data of deviation 0.5
TANGENT = 0.1  # added to the size of a tangent; Lu & Song 2024, section 4.1
LOWEST, HIGHEST = 1e-4, 1e6  # levels that are trained
AS_V = ("v", "flow")  # kinds of which `continuous` computes F


class ConsistencyTask(DistillTask):
    """Train a consistency function, see the head of this file."""

    def __init__(
        self, recipe: DistillRecipe, teacher: Teacher, student: Pipeline, rows: RowSource, prompts: list[str]
    ) -> None:
        super().__init__(recipe, teacher, student, rows, prompts)
        assert recipe.consistency is not None
        self.options = recipe.consistency
        if self.options.continuous and student.card.kind not in AS_V:
            raise InputError(
                f"consistency.continuous true: teacher {recipe.teacher!r} predicts {student.card.kind}, and a "
                f"derivative needs {' or '.join(AS_V)}; leave it out"
            )
        quantiles = partial(sigma_lognormal, mean=self.options.level_mean, std=self.options.level_std)
        self.levels: LevelLosses | None = LevelLosses(level_edges(quantiles))

    def loss(self, step: int, rows: range) -> Tensor:
        """Return the loss of some rows of a batch, see `Task`."""
        drawn, options = self.rows(step, rows), self.options
        assert drawn.x0 is not None
        assert self.levels is not None
        sigma = sigma_lognormal(drawn.u[:, 0], options.level_mean, options.level_std)
        sigma = sigma.clamp(max(LOWEST, self.teacher.sigma_min), min(HIGHEST, self.teacher.sigma_max))
        x = mix(drawn.x0, drawn.noise, sigma)
        losses = (self._tangent_loss if options.continuous else self._pair_loss)(step, drawn, x, sigma)
        self.levels.add(drawn.u[:, 0], losses)
        return losses

    def _pair_loss(self, step: int, drawn: DrawnRows, x: Tensor, here: Tensor) -> Tensor:
        """Compare the ends from x at level `here` and from the next point of its path."""
        there = self.next_level(here, step)
        if self.options.teacher:
            nearer = self.teacher.step(x, here, there, drawn.cond, drawn.guidance)
        else:
            assert drawn.x0 is not None
            nearer = mix(drawn.x0, drawn.noise, there)
        cond = drawn.student()
        with torch.no_grad():
            end = torch.where(expand(there, x) == 0, nearer, self.denoiser(nearer, there, cond))
        square = (self.denoiser(x, here, cond) - end).square().flatten(1).mean(1)
        return distance(self.options, square) / (here - there)

    def next_level(self, here: Tensor, step: int) -> Tensor:
        """Return the level r of each t, (B,): 0 where it is below the lowest of the process."""
        doubled = int((self.options.doublings + 1) * step / self.recipe.fit.steps)
        slowed = 1 + SLOW * torch.sigmoid(-here * DATA_DEVIATION)
        there = here * (1 - slowed / (self.options.gap * 2**doubled)).clamp(min=0)
        return torch.where(there < max(LOWEST, self.teacher.sigma_min), 0.0, there)

    def _tangent_loss(self, step: int, drawn: DrawnRows, x: Tensor, sigma: Tensor) -> Tensor:
        """Compare F with F + g; the value is |g|^2, its gradient that of the consistency loss without a gap."""
        cond = drawn.student()
        if self.options.teacher:
            x0 = self.teacher.x0(x, sigma, drawn.cond, drawn.guidance)
            velocity = from_x0("v", x0.float(), x, sigma)
        else:
            assert drawn.x0 is not None
            velocity = target("v", drawn.x0, drawn.noise, sigma)
        out = self._f(x, sigma, cond)
        with torch.no_grad():
            tangent = self._tangent(step, (x, sigma), velocity, cond)
            rms = expand(tangent.square().flatten(1).mean(1).sqrt(), x)
            right = out.detach() + tangent / (rms + TANGENT)
        return (out - right).square().flatten(1).mean(1)

    def _tangent(self, step: int, at: tuple[Tensor, Tensor], velocity: Tensor, cond: Conditioning) -> Tensor:
        """Return g at a point x and its level, from one forward derivative along the path."""
        x, sigma = at
        share = min(1.0, (step + 1) / (self.options.tangent_warmup + 1))
        cos, both = expand(signal(sigma), x), expand(signal(sigma) * spread(sigma), x)
        with (
            warnings.catch_warnings(action="ignore", category=DeprecationWarning),  # of torch's own derivatives
            torch.autocast(x.device.type, enabled=False),
            sdpa_kernel(SDPBackend.MATH),
            eager(self.networks),
        ):
            found: tuple[Tensor, Tensor] = torch.func.jvp(
                lambda x, sigma: self._f(x, sigma, cond), at, (both * velocity, sigma)
            )  # type: ignore[assignment]
        out, moved = found
        tangent: Tensor = -cos.square() * (out - velocity) - share * (both * x + moved)
        return tangent

    def _f(self, x: Tensor, sigma: Tensor, cond: Conditioning) -> Tensor:
        """Return the student's prediction as v, F of the head of this file, in float32."""
        out = self.denoiser.predict(x, sigma, cond).to(x.dtype)
        if self.denoiser.kind == "v":
            return out
        s, p = expand(signal(sigma), x), expand(spread(sigma), x)
        return ((s - p) * x + out) / (s + p)


def distance(options: ConsistencyOptions, square: Tensor) -> Tensor:
    """Return the distance of two ends from its mean square: (B,)."""
    if options.loss == "square":
        return square
    if options.loss == "huber":
        return (square + options.huber**2).sqrt() - options.huber
    return square / (square.detach() + options.huber**2)
