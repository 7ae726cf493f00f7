"""Networks that take the end of a jump: whoever runs them says where it ends, and nothing else changes."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from adapters.test_lora_hooks import adapter
from torch import Tensor

from unnoise.card import Card, Distilled
from unnoise.check.probe import probe
from unnoise.errors import InputError
from unnoise.estimate.memory import estimate_memory
from unnoise.generation.engine import Engine, Ticket
from unnoise.generation.request import request_of
from unnoise.generation.resolve import resolve
from unnoise.generation.sample import Sample
from unnoise.loading import load
from unnoise.model_file import build, save
from unnoise.pipeline import Pipeline
from unnoise.sampling import DDIM
from unnoise.train.adapter_recipe import AdapterRecipe, LoraOptions
from unnoise.train.fit_options import FitOptions
from unnoise.train.lora import load_base
from unnoise.train.recipe import DataOptions
from unnoise.train.requirements import check_networks
from unnoise.tune.model import guided_denoiser

CLOSE = 1e-5  # how far x0 may be from that of the sample alone, in float32
LEVELS = (4.0, 1.5, 0.6, 0.2, 0.0)


def with_net(**more: Any) -> Card:
    return replace(tiny.CARD, net=replace(tiny.CARD.net, args=tiny.CARD.net.args | more))


@pytest.fixture(scope="module")
def student() -> Pipeline:
    return tiny.pipeline(with_net(clock="unit", end=True, points=3))


def requests() -> list[dict[str, Any]]:
    return [
        {"sampler": DDIM(), "schedule": LEVELS[2:], "seed": 1, "guidance_scale": 1},
        {"sampler": DDIM(), "schedule": LEVELS, "seed": 2},
        {"sampler": "heun", "schedule": LEVELS[1:], "seed": 3, "guidance_scale": 3.0},
        {"sampler": "consistency", "schedule": LEVELS[1:], "seed": 4, "guidance_scale": 1},
    ]


def ends_of(pipeline: Pipeline, act: Any) -> list[tuple[Tensor, Tensor]]:
    """Run something, and return the clock of each row of each network call, and its end."""
    seen: list[tuple[Tensor, Tensor]] = []
    hook = pipeline.denoiser.net.register_forward_pre_hook(lambda _, args: seen.append((args[1], args[2].end)))
    try:
        act()
    finally:
        hook.remove()
    return seen


def test_requests_at_different_steps_share_calls_and_end_as_each_alone(student: Pipeline) -> None:
    engine, samples = Engine(student), dict[Ticket, Sample]()
    tickets = []
    for options in requests():  # each is admitted a call after the one before
        tickets += engine.admit(resolve(request_of("a cat", **options), student))
        samples |= engine.step().finished
    while not engine.idle:
        samples |= engine.step().finished
    for ticket, options in zip(tickets, requests(), strict=True):
        alone = student.generate("a cat", progress=False, **options)[0]
        assert (samples[ticket].x0 - alone.x0).abs().max() < CLOSE, options


@pytest.mark.parametrize(("sampler", "queries"), [(DDIM(), 1), ("consistency", 1), ("heun", 2)])
def test_a_jump_ends_where_its_step_does(student: Pipeline, sampler: Any, queries: int) -> None:
    def draw() -> None:
        student.generate("a", sampler=sampler, schedule=LEVELS, seed=1, guidance_scale=1, progress=False)

    ends = torch.cat([end for _, end in ends_of(student, draw)])
    steps = [level / (1 + level) for level in LEVELS[1:]]
    expected = [end for end in steps[:-1] for _ in range(queries)] + steps[-1:]
    torch.testing.assert_close(ends[-len(expected) :], torch.tensor(expected))


def test_a_replay_is_equal_to_the_bit(student: Pipeline, tmp_path: Path) -> None:
    for k, options in enumerate(requests()):
        sample = student.generate("a", progress=False, **options)[0]
        sample.save(tmp_path / f"{k}.png")
        assert torch.equal(student.replay(tmp_path / f"{k}.png").x0, sample.x0)


def test_adapters_of_their_own_weights_keep_the_clock_and_the_end(student: Pipeline) -> None:
    """A batch of mixed adapters wraps the network, which must still get what it takes."""
    lora = adapter(student, "low", 1, ("net",))
    engine, jobs = Engine(student), [{lora: 0.5}, {lora: -0.5}, {}]
    tickets = [
        engine.admit(resolve(request_of("a", seed=k, lora=weights), student))[0] for k, weights in enumerate(jobs)
    ]
    samples: dict[Ticket, Sample] = {}
    while not engine.idle:
        samples |= engine.step().finished
    for k, (ticket, weights) in enumerate(zip(tickets, jobs, strict=True)):
        alone = student.generate("a", seed=k, lora=weights, progress=False)[0]
        assert (samples[ticket].x0 - alone.x0).abs().max() < CLOSE, weights


def test_what_needs_other_jumps_is_refused(student: Pipeline) -> None:
    picture = student.generate("a", seed=1, progress=False)[0].image
    with pytest.raises(InputError, match="source_prompt: inversion rises to the noise, and 'tiny' is distilled"):
        student.generate("a", image=picture, source_prompt="b", progress=False)
    with pytest.raises(InputError, match="model 'tiny': is distilled to the levels of its training; tune its teacher"):
        guided_denoiser(student, ["a"])
    with pytest.raises(InputError, match="points 3: predictions along a jump, which unnoise distill trains"):
        check_networks(student, 16)


def test_an_adapter_is_not_trained_on_it(tmp_path: Path) -> None:
    origin = Distilled("imitate", "emoji", "0" * 64, (1.0, 4.0), (1, 2))
    tiny.saved(tmp_path / "fast.safetensors", net=with_net(end=True, points=2).net, distilled=origin)
    fit, lora = FitOptions(4, warmup=1), LoraOptions()
    recipe = AdapterRecipe("one", DataOptions("emoji"), fit, str(tmp_path / "fast.safetensors"), lora=lora)
    message = r"is distilled, to jumps .* train the adapter on 'emoji', and apply it to both"
    with pytest.raises(InputError, match=message):
        load_base(recipe, torch.device("cpu"))


def test_a_saved_student_is_loaded_and_draws_the_same(student: Pipeline, tmp_path: Path) -> None:
    save(tmp_path / "fast.safetensors", student)
    loaded = load(tmp_path / "fast.safetensors")
    again, one = (each.generate("a", seed=1, progress=False)[0].x0 for each in (loaded, student))
    torch.testing.assert_close(again, one, atol=2e-2, rtol=0)
    assert (loaded.denoiser.points, loaded.denoiser.takes_end) == (3, True)


def test_probes_and_estimates_run(student: Pipeline) -> None:
    names = {one.name: one.value for one in probe(student).measured}
    assert names["coupling"] < CLOSE
    assert names["picture_finite"] == 1
    empty = Pipeline.of(build(student.card, device="meta"))
    assert estimate_memory(empty, student.plan("a").settings, 1, 1).needed > 0
