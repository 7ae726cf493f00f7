"""Imitation of a teacher's velocity along the student's own path (pi-Flow): no data, no second network, no derivative.

**The student.** One call at x of level `here` returns a whole policy for the jump to level `there`: n points of x0,
spread evenly over the jump in place = sigma/(1 + sigma), between which x0 is linear. With y = x/(signal + spread),

    dy/d(place) = (y - x0(place))/place

is integrated in closed form (`diffusion.jump`), so that a path of any number of points costs one call, and a step of
DDIM with the effective prediction ends where the path does. The student takes the end of the jump and the guidance
scale as inputs. At first its points are n copies of the teacher's x0: it is the teacher, which moves straight.

**The loss.** At parts of the jump, x is taken from the student's own path, without a gradient, and there the student's
velocity is compared with the teacher's, guided. With the same y both differ by their x0 alone:

    loss = mean over the parts of  |x0_student(place) - x0_teacher(x(place), place)|^2 / max(place, floor)^2

Where it is 0 the student's path has the teacher's velocity everywhere, so it is the teacher's path, by the uniqueness
of the solution. As the path is the student's own, an error is seen and corrected where it leads, which regression on
the teacher's paths cannot do. The parts are (k + u)/inner, k = 0 .. inner - 1, with one uniform u: each is uniform over
the jump, and together they cover it. Without the floor the weight has no finite mean as place goes to 0.

**Which jumps.** Each number of calls of the recipe has its grid, and each jump of a grid is trained: a row draws one.
Its x is what the student reaches from pure noise in the calls before, without a gradient. So no data is needed, and the
student is trained exactly where it is run.

**Warm start** (`ends`). In the first steps of a run x is taken from a path of the teacher at the start of the jump, and
the effective x0 of the jump is compared with the one that leads to the end of the jump on that path. Paths are a
function of the recipe, are computed when they are first needed, are used again, and are dropped after these steps.

**A student without points** (a LoRA, a network of another program) moves straight, x0(place) is constant, and the loss
is least where it is the mean of the teacher's along the jump. As it does not take the end of the jump either, it is
trained for one number of calls.

Source: Chen et al. 2025 (pi-Flow, arXiv 2510.14974), algorithm 1 and sections 3.2 to 3.4 (policy, on-policy imitation,
data-free training).
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

import torch
from torch import Tensor

from unnoise.diffusion.conditioning import Conditioning
from unnoise.diffusion.jump import Jump, place
from unnoise.diffusion.prediction import expand, signal, spread
from unnoise.distill.recipe import DistillRecipe
from unnoise.distill.rows import DrawnRows, RowSource
from unnoise.distill.task import DistillTask
from unnoise.distill.teacher import Teacher
from unnoise.pipeline import Pipeline
from unnoise.sampling import level as levels
from unnoise.sampling.samplers.ipndm import IPNDM
from unnoise.sampling.state import start

ORDER = 2  # of the teacher's own paths


class ImitateTask(DistillTask):
    """Train a student on the velocity of its teacher, see the head of this file."""

    def __init__(
        self, recipe: DistillRecipe, teacher: Teacher, student: Pipeline, rows: RowSource, prompts: list[str]
    ) -> None:
        super().__init__(recipe, teacher, student, rows, prompts)
        assert recipe.imitate is not None
        self.options = recipe.imitate
        self.grids = [(teacher.sigma_max, *self.options.sampling(steps)[1]) for steps in recipe.steps]
        longest = max(map(len, self.grids))
        padded = [[*grid, *(longest - len(grid)) * (0.0,)] for grid in self.grids]
        self.table = torch.tensor(padded, dtype=torch.float64)
        each = [[(g, k) for k in range(len(grid) - 1)] for g, grid in enumerate(self.grids)]
        self.jumps = torch.tensor([jump for one in each for jump in one])
        shares = [1 / len(one) if self.options.jumps == "calls" else 1.0 for one in each for _ in one]
        self.quantiles = torch.tensor(shares).cumsum(0) / sum(shares)
        self.paths: dict[tuple[int, range], dict[float, Tensor]] = {}

    def loss(self, step: int, rows: range) -> Tensor:
        """Return the loss of some rows of a batch, see `Task`."""
        if step < self.options.ends:
            return self._ends_loss(step, rows)
        self.clear_cache()
        drawn = self.rows(step, rows)
        grids, jumps = self._drawn_jumps(drawn)
        x = self._walked(drawn, grids, jumps)
        jump = self._jump(x, drawn.student(), self.table[grids, jumps], self.table[grids, jumps + 1])
        own, total = replace(jump, points=jump.points.detach()), x.new_zeros(len(x))
        for k in range(self.options.inner):
            part = (k + drawn.u[:, 1]) / self.options.inner
            with torch.no_grad():
                right = self.teacher.x0(own.at(part), own.sigma(part), drawn.cond, drawn.guidance)
            total = total + self._error(jump.x0(part), right, jump.place(part))
        return total / self.options.inner

    def clear_cache(self) -> None:
        """Drop the paths of the teacher, see `Task`."""
        self.paths.clear()

    def _error(self, x0: Tensor, right: Tensor, at: Tensor) -> Tensor:
        """Return the squared error of the velocity at a place, from that of x0: (B,)."""
        return (x0 - right).square().flatten(1).mean(1) / at.to(x0.dtype).clamp(min=self.options.floor).square()

    def _drawn_jumps(self, drawn: DrawnRows) -> tuple[Tensor, Tensor]:
        """Return the grid and the jump of each row, on the CPU."""
        k = torch.searchsorted(self.quantiles, drawn.u[:, 0].cpu().contiguous(), right=True).clamp(
            max=len(self.jumps) - 1
        )
        grids, jumps = self.jumps[k].unbind(1)
        return grids, jumps

    def _jump(self, x: Tensor, cond: Conditioning, here: Tensor, there: Tensor) -> Jump:
        """Run the student for jumps between levels (B,)."""
        here, there = (one.to(x.device, torch.float32) for one in (here, there))
        if self.denoiser.takes_end:
            return self.denoiser.jump(x, here, replace(cond, end=place(there)))
        return Jump(x, place(here), place(there), self.denoiser(x, here, cond)[:, None])

    @torch.no_grad()
    def _walked(self, drawn: DrawnRows, grids: Tensor, jumps: Tensor) -> Tensor:
        """Return x of each row at the start of its jump, which the student reaches from noise: (B, *d)."""
        x, cond = drawn.noise, drawn.student()
        for k in range(int(jumps.max())):
            moving = (jumps > k).nonzero()[:, 0]
            here, there = (self.table[grids[moving], j] for j in (k, k + 1))
            index = moving.to(x.device)
            jump = self._jump(x[index], cond.rows(index), here, there)
            x = x.index_copy(0, index, jump.at(torch.ones_like(jump.here)))
        return x

    def _ends_loss(self, step: int, rows: range) -> Tensor:
        """Compare the effective x0 of jumps from points of the teacher's paths with that to their ends."""
        batches = -(-self.options.ends_paths // self.recipe.fit.batch)
        at = self.recipe.fit.steps + step % batches  # rows that no step of the run draws
        drawn, now = self.rows(at, rows), self.rows(step, rows)
        grids, jumps = self._drawn_jumps(now)
        if (at, rows) not in self.paths:
            self.paths[at, rows] = self._teacher_path(drawn)
        path = self.paths[at, rows]
        here, there = self.table[grids, jumps], self.table[grids, jumps + 1]
        x, end = (torch.stack([path[level][row] for row, level in enumerate(ends.tolist())]) for ends in (here, there))
        jump = self._jump(x, drawn.student(), here, there)
        moved = end - expand(spread(there) / spread(here), x) * x
        right = moved / expand(signal(there) - spread(there) / here, x)
        return self._error(jump.mean_x0(torch.ones_like(jump.here)), right, jump.here)

    @torch.no_grad()
    def _teacher_path(self, drawn: DrawnRows) -> dict[float, Tensor]:
        """Return x of the teacher's path from noise at every level of the grids: (B, *d) each."""
        known = sorted({level for grid in self.grids for level in grid}, reverse=True)
        each = max(1, self.options.ends_steps // (len(known) - 1))
        state = start(drawn.noise, [*between(known, each), 0.0])
        found, sampler = {known[0]: state.x}, IPNDM(ORDER)
        while not state.done:
            sigma = torch.full((len(state.x),), state.level, device=state.x.device)
            state = sampler.advance(state, self.teacher.x0(state.x, sigma, drawn.cond, drawn.guidance))
            found[state.level] = state.x
        return {level: found[level] for level in known}


def between(known: Sequence[float], each: int) -> Iterator[float]:
    """List levels, each with `each` - 1 more before the next one, evenly in place; not the last."""
    for here, there in pairwise(known):
        yield here
        for k in range(1, each):
            at = levels.place(here) + (levels.place(there) - levels.place(here)) * k / each
            yield at / (1 - at)
