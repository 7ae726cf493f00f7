"""Distribution matching: its direction on exact mixtures, its anchor; that it trains, keeps diversity and resumes."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import tiny
import torch
from diffusion.mixture import Mixture
from rings import Plane, PlaneTeacher, energy_distance, few_calls, plane, ring, spread_of
from safetensors.torch import load_file
from torch import Tensor

from unnoise.card import Card, Part
from unnoise.diffusion.denoiser import Denoiser
from unnoise.diffusion.prediction import signal, spread
from unnoise.diffusion.process import VP
from unnoise.distill.match import MatchTask, between, jump, matching_loss
from unnoise.distill.match_options import MatchOptions
from unnoise.distill.plain_student import plain_fit
from unnoise.distill.recipe import DistillRecipe
from unnoise.distill.rows import DrawnRows, RowSource, prompt_pool
from unnoise.distill.student import build_student, make_student, student_card
from unnoise.distill.teacher import Teacher
from unnoise.distill.train_distill import train_distill
from unnoise.loading import load
from unnoise.sampling.level import move, place
from unnoise.train.adapter_recipe import LoraOptions
from unnoise.train.checkpoint_options import CheckpointOptions
from unnoise.train.fit_options import FitOptions
from unnoise.train.loop import train
from unnoise.train.task import Progress

FIT = FitOptions(300, batch=64, learning_rate=4e-3, warmup=20, precision="float32", compile=False, channels_last=False)
EVERY = CheckpointOptions(ema_lengths=(0.05, 0.1), every=4, sheet_every=10**6)
GRID = (1.0,)
RECIPE = DistillRecipe(
    "fast",
    "plane",
    FIT,
    steps=(2,),
    caption_dropout=0.0,
    match=MatchOptions(GRID, anchor=2.0, fake_learning_rate=3.0),
    checkpoints=EVERY,
)


class PlaneTask(MatchTask):
    """A task without a sheet."""

    def sheet(self, step: int) -> None:  # type: ignore[override]
        return None


def gaussian(x: float, y: float, std: float = 0.3) -> Mixture:
    return Mixture(torch.tensor([[x, y]]), torch.tensor([std]), torch.ones(1))


def task_of(recipe: DistillRecipe, teacher: PlaneTeacher, fake: Denoiser | None = None) -> tuple[PlaneTask, Plane]:
    made = plane(recipe, teacher)
    return PlaneTask(*made.made(), fake=fake or made.net()), made


def options(**changes: object) -> DistillRecipe:
    """Return the recipe with other options of the method."""
    assert RECIPE.match is not None
    return replace(RECIPE, match=replace(RECIPE.match, **changes))  # type: ignore[arg-type]


def drawn_of(task: MatchTask, count: int = 64) -> DrawnRows:
    return task.rows(0, range(count))


def test_the_direction_is_zero_where_both_distributions_are_one() -> None:
    teacher = PlaneTeacher((ring(4, 1.2, 0.2),) * 2)
    task, _ = task_of(RECIPE, teacher)  # the network of the samples begins as the teacher
    drawn = drawn_of(task)
    assert not task.direction(drawn.noise, drawn, 1.0).any()


def test_the_direction_leads_from_the_samples_to_the_teacher() -> None:
    """Between two Gaussians of one deviation it is that of their means, at every level."""
    teacher = PlaneTeacher((gaussian(0.5, -0.4),) * 2)
    task, _ = task_of(RECIPE, teacher, PlaneTeacher((gaussian(-0.5, 0.2),) * 2).denoiser)
    drawn = drawn_of(task)
    sample = drawn.noise * 0.3 + torch.tensor([-0.5, 0.2])
    found = task.direction(sample, drawn, 1.0)
    towards = torch.nn.functional.cosine_similarity(-found, torch.tensor([[1.0, -0.6]]))
    torch.testing.assert_close(towards, torch.ones(64), atol=1e-3, rtol=0)


def test_the_gradient_of_the_loss_is_the_direction() -> None:
    sample, direction = torch.randn(5, 3, 4, requires_grad=True), torch.randn(5, 3, 4)
    matching_loss(sample, direction).sum().backward()
    torch.testing.assert_close(sample.grad, direction / 12)


@pytest.mark.parametrize("decoupled", [False, True])
def test_guidance_leads_away_from_the_model_without_a_prompt(decoupled: bool) -> None:
    """In the direction of both means, more for a larger scale, and not at all at scale 1."""
    teacher = PlaneTeacher((gaussian(0.5, 0.5), gaussian(-0.4, 0.1)), guided=True)
    recipe = replace(options(decoupled=decoupled), guidance=(1.0, 4.0))
    task, _ = task_of(recipe, teacher)
    for scale in (1.0, 2.0, 4.0):
        drawn = replace(drawn_of(task), guidance=torch.full((64,), scale))
        found = -task.direction(drawn.noise * 0.3 + 0.5, drawn, 1.0)
        if scale == 1.0:
            assert found.abs().max() < 1e-4
            continue
        along = torch.nn.functional.cosine_similarity(found, torch.tensor([[0.9, 0.4]]))
        torch.testing.assert_close(along, torch.ones(64), atol=1e-3, rtol=0)


def test_levels_of_the_guidance_are_above_that_of_the_call() -> None:
    task, _ = task_of(options(shift=3.0), PlaneTeacher((gaussian(0, 0),) * 2))
    u = torch.linspace(0, 1, 101)
    low, high = 0.02 / 0.98, 0.98 / 0.02
    torch.testing.assert_close(task.level(u)[[0, -1]], torch.tensor([low, high]))
    above = task.level(u, above=1.5)
    assert above.min() == pytest.approx(1.5, rel=1e-5)
    assert above.max() == pytest.approx(high, rel=1e-5)
    for beyond in (torch.inf, 60.0):  # no level is above the first call's
        assert torch.equal(task.level(u, above=beyond), task.level(u))
    assert task.level(u[50:51]) > task_of(RECIPE, task.teacher)[0].level(u[50:51])  # type: ignore[arg-type]


def test_levels_of_the_guidance_of_a_first_call_at_a_finite_level_are_all() -> None:
    """Of a process that ends below the highest level of the options, which no level is above either."""
    task, _ = task_of(options(shift=2.0), PlaneTeacher((gaussian(0, 0),) * 2, process=VP("scaled-linear")))
    top, u = task.teacher.sigma_max, torch.linspace(0, 1, 101)
    found = task.level(u, above=top)
    assert torch.equal(found, task.level(u))
    assert (found.diff() > 0).all()
    assert (found[0].item(), found[-1].item()) == pytest.approx((0.0291672, top), rel=1e-4)  # sigma_min of the process
    assert task.level(u, above=5.0).min() == pytest.approx(5.0, rel=1e-5)


@pytest.mark.parametrize("here", [torch.inf, 80.0])
def test_a_jump_ends_where_it_should(here: float) -> None:
    x, z = torch.randn(4, 3, dtype=torch.float64), torch.randn(4, 3, dtype=torch.float64)
    torch.testing.assert_close(move(x, jump(x, z, here, 1.7), here, 1.7), z)


def test_the_anchor_is_the_path_of_the_teacher() -> None:
    """From pure noise it is the velocity of the paper: (noise - y)/(1 - t), y in the frame of a flow."""
    teacher = PlaneTeacher((ring(4, 1.2, 0.2), ring(3, 0.5, 0.3)), guided=True)
    task, _ = task_of(replace(RECIPE, guidance=(3.0, 3.0)), teacher)
    drawn = drawn_of(task)
    z, levels = drawn.noise, [torch.inf, 7.0, 3.0, 5 / 3, 1.0]  # places 1, 7/8, 3/4, 5/8, 1/2
    for here, there in pairwise(levels):
        at = [torch.full((64,), level) for level in (here, there)]
        z = teacher.step(z, *at, drawn.cond, drawn.guidance)
    found = task.anchor(drawn, torch.inf, 1.0)
    torch.testing.assert_close(move(drawn.noise, found, torch.inf, 1.0), z)
    y = z / (signal(torch.tensor(1.0)) + spread(torch.tensor(1.0)))
    torch.testing.assert_close(drawn.noise - found, (drawn.noise - y) / (1 - place(1.0)))


def test_levels_between_two_are_even_in_place() -> None:
    found = [place(between(torch.inf, 1.0, share)) for share in (0.25, 0.5, 0.75)]
    assert found == pytest.approx([0.875, 0.75, 0.625])


def test_a_step_trains_one_network() -> None:
    task, _ = task_of(options(fake_updates=3), PlaneTeacher((ring(3, 1.0, 0.2),) * 2))
    trained = []
    for step in range(8):
        task.networks.zero_grad(set_to_none=True)
        task.loss(step, range(4)).mean().backward()
        trained.append({name.split(".")[0] for name, p in task.networks.named_parameters() if p.grad is not None})
    assert trained == [{"net"}, {"fake"}, {"fake"}, {"fake"}] * 2


def test_every_number_of_calls_is_trained_for() -> None:
    """With an anchor the samples are those of later calls; the first alone only where it is the only one."""
    recipe = replace(options(grid=(5.0, 1.8, 0.6)), steps=(1, 2, 4))
    task, _ = task_of(recipe, PlaneTeacher((ring(3, 1.0, 0.2),) * 2))
    drawn = {(len(grid) - 1, last) for grid, last in map(task.calls, range(300))}
    assert drawn == {(1, 0), (2, 1), (4, 1), (4, 2), (4, 3)}
    assert task.calls(7) == task.calls(7)
    assert task.calls(7)[0][0] == torch.inf
    free, _ = task_of(replace(recipe, match=replace(recipe.match, anchor=0.0)), task.teacher)  # type: ignore[arg-type, type-var]
    assert {(len(grid) - 1, last) for grid, last in map(free.calls, range(300))} == drawn | {(2, 0), (4, 0)}


def trained(recipe: DistillRecipe, teacher: PlaneTeacher) -> Plane:
    task, made = task_of(recipe, teacher)
    train(task, recipe.fit, recipe.checkpoints, None, lambda _: None)
    return made


def test_two_calls_draw_the_distribution_of_the_teacher_with_its_diversity() -> None:
    """Much nearer than the teacher in two calls; without the anchor the samples of a prompt are less diverse.

    They are chosen by the first call: with that of the teacher, the diversity comes back.
    Source: Gandikota & Bau 2025, arXiv 2503.10637, section 4.
    """
    teacher = PlaneTeacher((ring(3, 1.2, 0.15),) * 2)
    noise, other = torch.randn(2, 600, 2, generator=torch.Generator().manual_seed(5))
    real, cond, grid = teacher.drawn(other, "0", 1.0), teacher.encode(["0"] * 600), (torch.inf, *GRID, 0.0)

    def drawn(made: Plane) -> Tensor:
        return few_calls(made.student.denoiser, noise, cond, grid)

    anchored = drawn(trained(RECIPE, teacher))
    free = trained(options(anchor=0.0), teacher)
    control = drawn(plane(RECIPE, teacher))  # an untrained student is the teacher
    ends = (anchored, drawn(free), control)
    distances = [energy_distance(one, real) for one in ends]
    ratios = [spread_of(one) / spread_of(real) for one in ends]
    assert distances[0] < 0.55 * distances[2], (distances, ratios)
    assert ratios[0] > 0.75, (distances, ratios)
    assert ratios[1] < 0.6 * ratios[0], (distances, ratios)
    led = few_calls(free.student.denoiser, teacher.drawn(noise, "0", 1.0, to=GRID[0]), cond, grid[1:])
    assert spread_of(led) / spread_of(real) > 1.5 * ratios[1], (distances, ratios)


def stop_after(step: int) -> object:
    def callback(progress: Progress) -> None:
        if progress.step == step:
            raise KeyboardInterrupt

    return callback


def test_it_resumes_to_the_bit(tmp_path: Path) -> None:
    """Both networks and both optimizers, from between two updates of the student."""
    recipe = replace(RECIPE, fit=replace(FIT, steps=10, batch=8, optimizer="muon"))

    def run(folder: str, callback: object) -> dict[str, Tensor]:
        task, _ = task_of(recipe, PlaneTeacher((ring(4, 1.2, 0.12),) * 2))
        return train(task, recipe.fit, EVERY, tmp_path / folder, callback)  # type: ignore[arg-type]

    whole = run("whole", lambda _: None)
    with pytest.raises(KeyboardInterrupt):
        run("stopped", stop_after(6))
    again = run("stopped", lambda _: None)
    assert {name.split(".")[0] for name in whole} == {"net", "fake"}
    assert all(torch.equal(again[name], whole[name]) for name in whole)


LABELLED = replace(
    tiny.CARD,
    net=Part("UNet", {"channels": 4, "widths": [32, 32], "depths": [1, 1], "heads": [0, 2], "labels": 3}),
    text=None,
    tokenizer=None,
    labels=("cat", "dog"),
)
ALONE = replace(
    LABELLED, net=Part("UNet", {"channels": 4, "widths": [32, 32], "depths": [1, 1], "heads": [0, 0]}), labels=()
)


@pytest.mark.parametrize(
    ("card", "prompts", "guidance"),
    [
        (tiny.CARD, ["abc", "b"], (1.0, 4.0)),
        (replace(LABELLED, process=Part("EDM")), ["cat", "dog"], (3.0, 3.0)),
        (replace(ALONE, process=Part("VP"), kind="eps"), [""], (1.0, 1.0)),
    ],
    ids=["text", "labels", "alone"],
)
def test_models_of_every_kind_are_trained(card: Card, prompts: list[str], guidance: tuple[float, float]) -> None:
    pipeline = tiny.pipeline(card)
    recipe = DistillRecipe("fast", "tiny", FitOptions(4, batch=2), guidance=guidance, match=MatchOptions())
    teacher = Teacher(pipeline, recipe.guided)
    student = make_student(student_card(recipe, card), pipeline)
    task = MatchTask(recipe, teacher, student, RowSource(recipe, teacher, [prompt_pool(prompts, (4, 8, 8))]), prompts)
    assert all(torch.equal(one, two) for one, two in zip(*_values(task), strict=True))
    for step in range(6):
        losses = task.loss(step, range(2))
        losses.mean().backward()
        assert losses.shape == (2,)
        assert losses.isfinite().all()
    fed = {name for name, parameter in task.networks["net"].named_parameters() if parameter.grad is not None}
    assert any("embed.end" in name for name in fed)
    assert any("embed.guidance" in name for name in fed) == (guidance == (1.0, 4.0))
    assert all(parameter.grad is None for parameter in pipeline.denoiser.parameters())


def test_a_lora_has_a_lora_beside_it() -> None:
    """The networks of the teacher, the student and the denoiser of its samples are one."""
    pipeline = tiny.pipeline()
    recipe = DistillRecipe(
        "fast",
        "tiny",
        FitOptions(4, batch=2),
        guidance=(3.0, 3.0),
        steps=(2,),
        lora=LoraOptions(rank=4),
        match=MatchOptions(),
    )
    teacher = Teacher(pipeline, recipe.guided)
    before = {name: value.clone() for name, value in pipeline.denoiser.state_dict().items()}
    student = build_student(recipe, pipeline)
    task = MatchTask(recipe, teacher, student, RowSource(recipe, teacher, [prompt_pool(["abc"], (4, 8, 8))]), [""])
    train(task, plain_fit(recipe), EVERY, None, lambda _: None)
    assert all(torch.equal(value, pipeline.denoiser.state_dict()[name]) for name, value in before.items())
    for net in task.networks.values():
        assert any(parameter.any() for name, parameter in net.named_parameters() if name.startswith("up")), net
    drawn = task.rows(0, range(2))
    sigma = torch.ones(2)
    three = [one(drawn.noise, sigma, drawn.cond) for one in (teacher.denoiser, student.denoiser, task.fake)]
    assert not any(torch.equal(one, other) for one, other in pairwise([*three, three[0]]))


def _values(task: MatchTask) -> list[list[Tensor]]:
    return [list(net.state_dict().values()) for net in task.networks.values()]


class Silent:
    """Report nothing, or stop after so many steps, as a kill does."""

    def __init__(self, stop: int = 0) -> None:
        self.stop = stop

    def stage(self, name: str, total: int) -> None:
        pass

    def step(self, progress: Progress) -> None:
        if progress.step == self.stop:
            raise KeyboardInterrupt


def test_a_run_without_data_ends_in_a_student_that_resumes(tmp_path: Path) -> None:
    """The classes of the teacher are its prompts; the file has the student alone, which knows its calls."""
    tiny.saved(tmp_path / "tiny.safetensors", **{name: getattr(LABELLED, name) for name in _CHANGED})
    recipe = DistillRecipe(
        "fast",
        str(tmp_path / "tiny.safetensors"),
        FitOptions(6, batch=2, warmup=1),
        guidance=(1.0, 4.0),
        steps=(1, 2),
        match=MatchOptions(anchor_steps=2),
        checkpoints=replace(EVERY, validate_every=6),
    )

    def run(folder: str, stop: int = 0, resume: bool = False) -> Path:
        return train_distill(recipe, tmp_path / folder, torch.device("cpu"), resume, Silent(stop))  # type: ignore[arg-type]

    whole = run("whole")
    with pytest.raises(KeyboardInterrupt):
        run("stopped", stop=5)
    assert load_file(run("stopped", resume=True)).keys() == load_file(whole).keys()
    assert all(
        torch.equal(load_file(tmp_path / "stopped/fast.safetensors")[name], value)
        for name, value in load_file(whole).items()
    )
    assert not any("fake" in name for name in load_file(whole))
    student = load(whole)
    assert student.card.distilled is not None
    assert (student.card.distilled.method, student.card.distilled.steps) == ("match", (1, 2))
    assert student.plan("cat").settings.grid == (torch.inf, 1.8, 0.0)
    assert student.generate("dog", seed=1, steps=1, progress=False)[0].image.size == (16, 16)


_CHANGED = ("net", "text", "tokenizer", "labels")
