"""Consistency: an exact function of consistency has no loss and no tangent, and a trained one ends where paths end."""

from dataclasses import replace

import pytest
import torch
from diffusion.mixture import Mixture, MixtureNet
from plane import exact_ends, fit_task, plane_rows, plane_student, plane_teacher
from torch import Tensor, nn

from unnoise.diffusion.conditioning import Conditioning
from unnoise.diffusion.denoiser import Denoiser
from unnoise.diffusion.prediction import expand, from_x0, mix, signal, spread
from unnoise.diffusion.process import EDM, VP, Flow, Process
from unnoise.distill.consistency import ConsistencyTask, distance
from unnoise.distill.consistency_options import ConsistencyOptions
from unnoise.distill.recipe import DistillRecipe
from unnoise.distill.teacher import Teacher
from unnoise.errors import InputError
from unnoise.pipeline import Pipeline
from unnoise.sampling.kinds import Kind
from unnoise.train.checkpoint_options import CheckpointOptions
from unnoise.train.fit_options import FitOptions
from unnoise.train.recipe import DataOptions

PLAIN = FitOptions(250, batch=192, learning_rate=4e-3, warmup=20, precision="float32", compile=False)
GAUSSIAN = Mixture(torch.tensor([[0.6, -0.4]]), torch.tensor([0.5]), torch.tensor([1.0]))


def recipe_of(fit: FitOptions = PLAIN, guidance: tuple[float, float] = (1.0, 1.0), **options: object) -> DistillRecipe:
    method = ConsistencyOptions(**options)  # type: ignore[arg-type]
    data, checkpoints = DataOptions("points"), CheckpointOptions()
    return DistillRecipe(
        "p",
        "plane",
        fit,
        guidance=guidance,
        data=data,
        caption_dropout=0.1,
        consistency=method,
        checkpoints=checkpoints,
    )


def task_of(recipe: DistillRecipe, student: Pipeline | None = None, teacher: Teacher | None = None) -> ConsistencyTask:
    teacher = teacher or plane_teacher(recipe.guided)
    return ConsistencyTask(recipe, teacher, student or plane_student(teacher), plane_rows(recipe, teacher), [""])


class EndNet(nn.Module):
    """The exact end of the paths of one Gaussian, as a prediction of a kind; or E[x0 | x] for `mean`."""

    def __init__(self, process: Process, kind: Kind, mean: bool = False) -> None:
        super().__init__()
        self.process, self.kind, self.mean, self.place = process, kind, mean, nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor, time: Tensor, cond: Conditioning) -> Tensor:
        a, b = self.process.scales(time)
        x, sigma = x / expand(torch.hypot(a, b), x), self.process.sigma(time)
        s, p, std = expand(signal(sigma), x), expand(spread(sigma), x), GAUSSIAN.stds
        end = GAUSSIAN.means + std * (x - s * GAUSSIAN.means) / ((s * std).square() + p.square()).sqrt()
        return from_x0(self.kind, GAUSSIAN.denoise(x, sigma) if self.mean else end, x, sigma)


class PlacedNet(MixtureNet):
    def __init__(self, process: Process, kind: Kind) -> None:
        super().__init__((GAUSSIAN,), process, kind)
        self.place = nn.Parameter(torch.zeros(1))


def gaussian_task(process: Process, kind: Kind, mean: bool = False, **options: object) -> ConsistencyTask:
    recipe, other = recipe_of(FitOptions(100, batch=64), **options), plane_teacher(False).pipeline
    card = replace(other.card, kind=kind)
    teacher = Teacher(Pipeline(card, Denoiser(PlacedNet(process, kind), process, kind), other.space), False)
    student = Pipeline(card, Denoiser(EndNet(process, kind, mean), process, kind), other.space)
    return task_of(recipe, student, teacher)


@pytest.mark.parametrize(("process", "kind"), [(Flow(), "v"), (Flow(2.0), "flow"), (VP(), "v"), (EDM(), "flow")])
def test_the_exact_function_has_no_tangent(process: Process, kind: Kind) -> None:
    ends = {"continuous": True, "tangent_warmup": 0, "level_std": 1.0}
    exact, mean = (gaussian_task(process, kind, mean, **ends).loss(0, range(64)) for mean in (False, True))
    assert exact.max() < 1e-5  # squares of at most 1
    assert mean.mean() > 0.3


def test_the_continuous_form_without_the_derivative_matches_velocities() -> None:
    task = gaussian_task(Flow(), "v", mean=True, continuous=True, tangent_warmup=10**8)
    assert task.loss(0, range(64)).max() < 1e-9  # the mean is where the velocity of the flow points
    assert task.loss(10**8, range(64)).mean() > 0.3


@pytest.mark.parametrize("loss", ["square", "huber", "adaptive"])
def test_the_exact_function_has_no_loss_once_gaps_are_small(loss: str) -> None:
    found = {
        mean: gaussian_task(Flow(), "v", mean, loss=loss, level_std=1.0).loss(99, range(64)).mean()
        for mean in (False, True)
    }
    assert found[False] < 1e-3 * found[True]


def test_continuous_refuses_kinds_without_a_bounded_derivative() -> None:
    with pytest.raises(InputError, match=r"predicts eps, and a derivative needs v or flow"):
        gaussian_task(VP(), "eps", continuous=True)


def test_the_next_level_nears_as_the_gap_doubles() -> None:
    task = task_of(recipe_of(gap=2.0, doublings=8))
    here = torch.tensor([0.2, 3.0, 100.0])
    first, last = task.next_level(here, 0), task.next_level(here, 249)
    torch.testing.assert_close(
        first, torch.tensor([0.0, 3.0 * (0.5 - 4 * torch.sigmoid(torch.tensor(-1.5))), 50.0]).clamp(min=0)
    )
    slowed = 1 + 8 * torch.sigmoid(-here / 2)
    torch.testing.assert_close(here / (here - last) * slowed, torch.full((3,), 2.0 * 2**8), rtol=1e-3, atol=0)
    gaps = {round(float(1 / (1 - task.next_level(here[2:], step) / 100)), 1) for step in range(250)}
    assert gaps == {2.0 * 2**k for k in range(9)}
    assert (task.next_level(torch.tensor([2e-4]), 249) > 0).all()


def test_two_points_stay_apart_at_the_smallest_gap() -> None:
    task = task_of(recipe_of(gap=2.0, doublings=19))
    here = torch.logspace(-4, 6, 2000)
    assert (task.next_level(here, 249) < here).all()
    assert task.loss(249, range(64)).isfinite().all()
    for gap, doublings in ((2.1, 19), (4096.0, 9)):
        with pytest.raises(InputError, match=rf"consistency.gap {gap:g}, doublings {doublings}: .* up to 1048576"):
            ConsistencyOptions(gap=gap, doublings=doublings)


def test_levels_below_those_of_the_process_are_the_end() -> None:
    task = gaussian_task(VP(), "v", doublings=0, gap=1.5)
    assert task.next_level(torch.tensor([0.012]), 0) == 0


@pytest.mark.parametrize("loss", ["square", "huber", "adaptive"])
def test_distances_are_zero_at_zero_and_rise(loss: str) -> None:
    options = ConsistencyOptions(loss=loss, huber=0.1)  # type: ignore[arg-type]
    found = distance(options, torch.tensor([0.0, 0.01, 1.0]))
    assert found[0].abs() < 1e-7
    assert found[0] < found[1] < found[2]


def test_huber_is_linear_and_adaptive_is_bounded_in_large_errors() -> None:
    errors = torch.tensor([10.0, 20.0]).square()
    near, far = distance(ConsistencyOptions(loss="huber"), errors)
    assert far / near == pytest.approx(2, rel=0.01)
    assert distance(ConsistencyOptions(loss="adaptive"), errors).max() <= 1


def rms(one: Tensor, other: Tensor) -> float:
    return float((one - other).square().mean().sqrt())


@pytest.fixture(scope="module")
def trained() -> Denoiser:
    """A student of a guided teacher of two classes, with the guidance scale as its input."""
    return fit_task(task_of(recipe_of(guidance=(1.0, 3.0), doublings=7)))


@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_one_call_and_a_second_end_where_the_guided_paths_end(trained: Denoiser, scale: float) -> None:
    made, teacher = torch.Generator().manual_seed(9), plane_teacher(True)
    noise, label = torch.randn(300, 2, generator=made), torch.arange(300) % 2
    cond = Conditioning(label=label, distilled_guidance=torch.full((300,), scale))
    x, level, distances = noise, torch.inf, []
    for there in (1.8, 0.0):
        sigma = torch.full((300,), level)
        ends = exact_ends(x, level, label, scale)
        with torch.no_grad():
            found = trained(x, sigma, cond)
        by_teacher = teacher.x0(x, sigma, Conditioning(label=label), torch.full((300,), scale))
        distances.append((rms(found, ends), rms(by_teacher, ends)))
        x, level = mix(found, torch.randn(300, 2, generator=made), torch.full((300,), there)), there
    (first, control), (second, control_of_second) = distances
    assert first < 0.5 * control
    assert second < 0.7 * control_of_second
