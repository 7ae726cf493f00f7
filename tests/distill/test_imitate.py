"""Imitation: the loss against its definition, the ends of its paths on an exact mixture, and what is refused."""

from dataclasses import replace
from itertools import pairwise
from math import inf
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
import torch.nn.functional as F
from plane import ExactNet, exact_ends, fit_task, plane_rows, plane_teacher
from torch import Tensor, nn

from unnoise.card import Card, from_json, to_json
from unnoise.diffusion.conditioning import Conditioning
from unnoise.diffusion.denoiser import Denoiser
from unnoise.diffusion.process import Flow
from unnoise.distill.imitate import ImitateTask, between
from unnoise.distill.imitate_options import ImitateOptions
from unnoise.distill.recipe import DistillRecipe
from unnoise.distill.student import build_student
from unnoise.distill.train_distill import train_distill
from unnoise.errors import InputError
from unnoise.loading import load
from unnoise.nets.blocks import guidance_clock, unit_features, zeroed
from unnoise.pipeline import Pipeline
from unnoise.sampling.defaults import default
from unnoise.sampling.samplers.ddim import DDIM
from unnoise.sampling.state import run, start
from unnoise.train.checkpoint_options import CheckpointOptions
from unnoise.train.fit_options import FitOptions
from unnoise.train.machine import measured
from unnoise.train.recipe import DataOptions

RECIPE = DistillRecipe(
    "fast",
    "plane",
    FitOptions(120, learning_rate=5e-3, batch=256, warmup=20, precision="float32", compile=False, channels_last=False),
    caption_dropout=0.0,
    checkpoints=CheckpointOptions(ema_every=1, sheet_every=10**6, every=10**6, snapshot_every=10**6),
    imitate=ImitateOptions(points=6, inner=2),
)


class PolicyNet(nn.Module):
    """n copies of the exact prediction, and a correction of each that starts at zero and takes the end of the jump."""

    takes_end = True

    def __init__(self, points: int, width: int = 64) -> None:
        super().__init__()
        self.points, self.exact = points, ExactNet().requires_grad_(False)
        sizes = [2 + 24 + 24 + 3 + 8, width, width, width]
        layers = [layer for pair in pairwise(sizes) for layer in (nn.Linear(*pair), nn.SiLU())]
        self.correction = nn.Sequential(*layers, zeroed(nn.Linear(width, 2 * points)))

    def forward(self, x: Tensor, time: Tensor, cond: Conditioning) -> Tensor:
        assert cond.end is not None
        label = torch.full((len(x),), 2) if cond.label is None else cond.label
        scale = torch.ones(len(x)) if cond.distilled_guidance is None else cond.distilled_guidance
        clocks = [unit_features(one, 24) for one in (time, cond.end)]
        known = [*clocks, F.one_hot(label, 3), unit_features(guidance_clock(scale), 8)]
        return self.exact(x, time, cond).repeat(1, self.points) + self.correction(torch.cat([x, *known], 1))


def task_of(recipe: DistillRecipe, points: int = 6, guided: bool = False) -> ImitateTask:
    teacher = plane_teacher(guided)
    torch.manual_seed(0)
    pipeline = teacher.pipeline
    student = Pipeline(pipeline.card, Denoiser(PolicyNet(points), Flow(), "v"), pipeline.space, pipeline.text_encoder)
    return ImitateTask(recipe, teacher, student, plane_rows(recipe, teacher), [""])


def ends(denoiser: Denoiser, x: Tensor, grid: tuple[float, ...], cond: Conditioning) -> Tensor:
    denoise = denoiser.bind(cond, grid)
    return run(DDIM(), lambda x, level: denoise(x, torch.full((len(x),), level)), start(x, grid))


def few(task: ImitateTask, x: Tensor, calls: int) -> Tensor:
    """The ends of the teacher's few calls, on its default sampler and levels."""
    sampler, grid = default(calls, inf, 0.0)
    denoise = task.teacher.denoiser.bind(Conditioning())
    return run(sampler, lambda x, level: denoise(x, torch.full((len(x),), level)), start(x, grid))


def far(one: Tensor, other: Tensor) -> float:
    return float((one - other).square().mean().sqrt())


def test_the_student_ends_nearer_than_the_teacher_at_equal_calls() -> None:
    task, x = task_of(RECIPE), torch.randn(500, 2, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        right = exact_ends(x, inf)
        before = [far(ends(task.denoiser, x, grid, Conditioning()), right) for grid in task.grids]
    denoiser = fit_task(task)
    with torch.no_grad():
        after = [far(ends(denoiser, x, grid, Conditioning()), right) for grid in task.grids]
        control = [far(few(task, x, calls), right) for calls in RECIPE.steps]
    for own, other, first, share in zip(after, control, before, (0.5, 0.95, 1.1), strict=True):
        assert own < share * other
        assert own < first


def test_the_loss_is_the_error_of_the_velocity_on_the_path_of_the_student() -> None:
    """In flow time the velocities of student and teacher are those of their x0 at the same point."""
    task = task_of(replace(RECIPE, steps=(1,), imitate=ImitateOptions(points=6, inner=1, floor=0.001)))
    nn.init.normal_(task.denoiser.net.correction[-1].weight, std=0.3)  # type: ignore[union-attr]
    drawn, losses = task.rows(0, range(8)), task.loss(0, range(8))
    ones = torch.ones(8)
    jump = task.denoiser.jump(drawn.noise, ones * inf, drawn.student(0 * ones))
    part = drawn.u[:, 1]
    x, at = jump.at(part), jump.place(part).float()[:, None]
    y = x * torch.hypot(1 - at, at)
    x0 = task.teacher.x0(x, jump.sigma(part), drawn.cond, drawn.guidance)
    step = 1e-3
    nearer = (part + step / jump.here.sub(jump.there)).clamp(max=1)
    moved = jump.at(nearer) * torch.hypot(1 - jump.place(nearer), jump.place(nearer)).float()[:, None]
    own = (moved - y) / (jump.place(nearer).float()[:, None] - at)
    expected = (own - (y - x0) / at).square().mean(1)
    torch.testing.assert_close(losses, expected, atol=0.02, rtol=0.05)


def test_rows_do_not_depend_on_the_split_of_a_batch() -> None:
    for ends_ in (0, 100):
        task = task_of(replace(RECIPE, imitate=ImitateOptions(points=6, inner=3, ends=ends_, ends_paths=300)), 6)
        nn.init.normal_(task.denoiser.net.correction[-1].weight, std=0.1)  # type: ignore[union-attr]
        whole = task.loss(3, range(64))
        parts = [task_of(task.recipe, 6) for _ in range(2)]
        for part in parts:
            part.denoiser.load_state_dict(task.denoiser.state_dict())
        halves = [part.loss(3, range(32 * k, 32 * k + 32)) for k, part in enumerate(parts)]
        torch.testing.assert_close(torch.cat(halves), whole, atol=1e-4, rtol=1e-4)
        assert not torch.allclose(task.loss(4, range(64)), whole)


def test_each_number_of_calls_is_drawn_equally_often_or_each_jump() -> None:
    for how, shares in (("calls", [1 / 3, 1 / 3, 1 / 3]), ("all", [1 / 7, 2 / 7, 4 / 7])):
        task = task_of(replace(RECIPE, imitate=ImitateOptions(points=6, jumps=how)))  # type: ignore[arg-type]
        grids, jumps = task._drawn_jumps(task.rows(0, range(256)))
        counts = torch.bincount(grids, minlength=3) / 256
        torch.testing.assert_close(counts, torch.tensor(shares), atol=0.1, rtol=0)
        assert jumps[grids == 2].unique().tolist() == [0, 1, 2, 3]
        assert jumps[grids == 0].unique().tolist() == [0]


def test_a_warm_start_regresses_the_ends_of_the_teachers_paths() -> None:
    """The paths of the teacher end where the exact ones do; a jump that reaches its end has no loss."""
    options = ImitateOptions(points=6, ends=100, ends_paths=8, ends_steps=160)
    task = task_of(replace(RECIPE, imitate=options, fit=replace(RECIPE.fit, batch=8)))
    drawn = task.rows(RECIPE.fit.steps, range(8))
    path = task._teacher_path(drawn)
    assert set(path) == {inf, *options.grid, 0.0}
    torch.testing.assert_close(path[0.0], exact_ends(drawn.noise, inf), atol=0.02, rtol=0)
    torch.testing.assert_close(path[0.0], exact_ends(path[1.0], 1.0), atol=0.02, rtol=0)
    assert task.loss(0, range(8)).isfinite().all()
    assert list(task.paths) == [(RECIPE.fit.steps, range(8))]
    task.loss(1, range(8))
    assert len(task.paths) == 1, "the only batch of paths is used again"
    assert [*between((inf, 1.0, 0.0), 2)] == [inf, 3.0, 1.0, 1 / 3]


def test_paths_are_kept_during_the_warm_start_alone_and_not_from_trials_of_the_machine() -> None:
    """They would be of another precision than those of a resumed run, which has no trials."""
    options = ImitateOptions(points=6, ends=2, ends_paths=4, ends_steps=4)
    fit = replace(RECIPE.fit, steps=400, batch=4, precision="auto")
    task, seen = task_of(replace(RECIPE, imitate=options, fit=fit)), list[int]()

    def now() -> float:
        seen.append(len(task.paths))
        return float(len(seen))

    assert measured(task, fit, now=now) is not None
    assert max(seen) == 1
    assert not task.paths
    task.loss(1, range(4))
    assert len(task.paths) == 1
    task.loss(2, range(4))
    assert not task.paths


def test_guidance_is_folded_in() -> None:
    """A student of one jump from noise learns the guided mean of its teacher at the start of the jump."""
    recipe = replace(RECIPE, guidance=(3.0, 3.0), steps=(1,), fit=replace(RECIPE.fit, steps=40, batch=64))
    task = task_of(recipe, guided=True)
    plain = task_of(replace(recipe, guidance=(1.0, 1.0)), guided=True)
    assert not torch.allclose(task.loss(0, range(16)), plain.loss(0, range(16)))
    first = task.loss(0, range(64)).mean()
    fit_task(task)
    assert task.loss(0, range(64)).mean() < 0.7 * first


@pytest.mark.parametrize("card", [tiny.CARD, replace(tiny.CARD, process=tiny.Part("VP"), kind="eps")])
def test_a_student_of_any_net_starts_as_its_teacher_and_its_card_says_how_it_is_run(card: Card) -> None:
    dit = tiny.Part("DiT", {"channels": 4, "width": 64, "depth": 1, "context": 16, "vector": 16})
    for net in (card.net, dit):
        teacher = tiny.pipeline(replace(card, net=net, fingerprint="0" * 64))
        recipe = replace(RECIPE, guidance=(1.0, 4.0), imitate=ImitateOptions(points=3))
        student = build_student(recipe, teacher)
        assert {"end", "points", "guidance"} <= set(student.card.net.args)
        assert from_json(to_json(student.card), "card") == student.card
        settings = student.plan("a", steps=4).settings
        top = teacher.denoiser.process.sigma_max
        assert settings.grid == (top, 3.0, 1.0, 0.3333, 0.0)
        own = student.generate("a", seed=1, steps=4, progress=False)[0].x0
        same = teacher.generate("a", seed=1, sampler="ddim", schedule=settings.grid, guidance_scale=1, progress=False)[
            0
        ].x0
        torch.testing.assert_close(own, same, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"points": 0}, "imitate.points 0: a whole number from 1 to 64"),
        ({"inner": 0}, "imitate.inner 0: a whole number from 1 to 64"),
        ({"floor": 0.0}, "imitate.floor 0.0: a number from 0.001 to 1"),
        ({"grid": (1.0, 3.0)}, "descending"),
        ({"ends_paths": 0}, "imitate.ends_paths 0"),
        ({"ends": 121}, "imitate.ends 121: at most fit.steps, 120"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        replace(RECIPE, imitate=ImitateOptions(**options))


def test_a_split_network_is_refused() -> None:
    with pytest.raises(InputError, match=r"fit\.shard true"):
        replace(RECIPE, fit=replace(RECIPE.fit, shard=True))


class Nothing:
    """A report of nothing."""

    def __getattr__(self, name: str) -> Any:
        return lambda *arguments: None


def test_a_run_ends_with_a_model_that_draws_by_each_number_of_calls(tmp_path: Path) -> None:
    tiny.saved(tmp_path / "tiny.safetensors")
    (tmp_path / "prompts.txt").write_text("a cat\na dog\n")
    recipe = replace(
        RECIPE,
        teacher=str(tmp_path / "tiny.safetensors"),
        guidance=(1.0, 4.0),
        data=DataOptions(str(tmp_path / "prompts.txt"), 16),
        fit=replace(RECIPE.fit, steps=6, batch=2, warmup=1),
        imitate=ImitateOptions(points=3, ends=2, ends_paths=4, ends_steps=4),
    )
    path = train_distill(recipe, tmp_path / "run", torch.device("cpu"), False, Nothing())
    student = load(path)
    assert student.card.distilled is not None
    assert student.card.distilled.method == "imitate"
    drawn = [student.generate("a cat", steps=steps, seed=1, progress=False)[0] for steps in recipe.steps]
    for sample, steps in zip(drawn, recipe.steps, strict=True):
        sample.save(tmp_path / f"{steps}.png")
        assert torch.equal(student.replay(tmp_path / f"{steps}.png").x0, sample.x0)
    weaker = student.generate("a cat", steps=4, seed=1, distilled_guidance=1.0, progress=False)[0]
    assert not torch.equal(weaker.x0, drawn[-1].x0), "the scale is an input that was trained"
