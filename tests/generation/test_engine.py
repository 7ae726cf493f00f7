"""The engine: samples of one call do not depend on each other, leave and return, and are drawn again bit for bit."""

import pickle
import subprocess
import sys
from dataclasses import fields, replace
from itertools import combinations
from math import inf
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from adapters.test_lora_hooks import adapter
from hypothesis import given, settings, strategies as st
from PIL import Image
from torch import Tensor

from unnoise.adapters.lora.read import Adapter, read
from unnoise.adapters.lora.write import write
from unnoise.errors import InputError, NonFiniteError
from unnoise.generation.batch import plan_call
from unnoise.generation.engine import Engine, Ticket
from unnoise.generation.job import Job
from unnoise.generation.media.files import read_metadata
from unnoise.generation.media.image import encode
from unnoise.generation.metadata import CallShape, Metadata, from_json, to_json
from unnoise.generation.request import request_of
from unnoise.generation.resolve import resolve
from unnoise.generation.sample import Sample
from unnoise.pipeline import Pipeline
from unnoise.sampling import DDIM

CLOSE = 1e-5  # how far x0 may be from that of the sample alone, in float32


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model and two adapters of it."""
    made = tmp_path_factory.mktemp("engine")
    pipeline = tiny.saved(made / "tiny.safetensors")
    for name, kind, seed in (("one", "low", 1), ("two", "loha", 2)):
        write(made / f"{name}.safetensors", adapter(pipeline, kind, seed), "kohya", torch.float32)
    return made


@pytest.fixture(scope="module")
def pipeline(folder: Path) -> Pipeline:
    from unnoise.loading import load

    return load(folder / "tiny.safetensors")


@pytest.fixture(scope="module")
def loras(folder: Path, pipeline: Pipeline) -> tuple[Adapter, Adapter]:
    one, two = (read(folder / f"{name}.safetensors", pipeline) for name in ("one", "two"))
    return one, two


def requests(loras: tuple[Adapter, Adapter]) -> list[dict[str, Any]]:
    """Return eight requests that share nothing but the size."""
    one, two = loras
    return [
        {"prompt": "a cat", "sampler": "ddim", "steps": 3, "seed": 1},
        {"prompt": "a big dog", "sampler": "euler-a", "steps": 5, "seed": 2, "guidance_scale": 3.0},
        {"prompt": "", "sampler": "heun", "steps": 2, "seed": 3, "guidance_scale": 1},
        {"prompt": "a red heart", "sampler": "dpmpp-2m", "steps": 6, "seed": 4, "guidance_interval": (0.3, 5.0)},
        {"prompt": "star", "sampler": "sa-solver", "steps": 4, "seed": 5, "guidance_scale": 4, "guidance_rescale": 0.7},
        {"prompt": "a", "sampler": "ab", "steps": 7, "seed": 6, "lora": {one: 0.5}, "negative_prompt": "blue sky"},
        {"prompt": "a cat", "sampler": "dpmpp-2s", "steps": 3, "seed": 7, "lora": {one: -0.3, two: 0.4}},
        {"prompt": "old tree", "sampler": DDIM(0.4), "steps": 4, "seed": 8, "lora": {two: 0.2}, "guidance_scale": 1},
    ]


def job(pipeline: Pipeline, **options: Any) -> Job:
    return resolve(request_of(options.pop("prompt", "a cat"), **options), pipeline)


def drained(engine: Engine) -> dict[Ticket, Sample]:
    """Step until nothing is left."""
    found: dict[Ticket, Sample] = {}
    while not engine.idle:
        step = engine.step()
        assert not step.failed
        found |= step.finished
    return found


def ended(engine: Engine) -> tuple[dict[Ticket, NonFiniteError], dict[Ticket, Sample]]:
    """Step until nothing is left, and return what failed and what was finished."""
    failed, found = dict[Ticket, NonFiniteError](), dict[Ticket, Sample]()
    while not engine.idle:
        step = engine.step()
        failed |= step.failed
        found |= step.finished
    return failed, found


def alone(pipeline: Pipeline, **options: Any) -> Sample:
    return pipeline.generate(options.pop("prompt", "a cat"), **options)[0]


def apart(one: Sample, other: Sample) -> float:
    return float((one.x0 - other.x0).abs().max())


# What a sample is does not depend on what is drawn beside it.


def test_eight_requests_in_shared_calls_are_what_each_is_alone(
    pipeline: Pipeline, loras: tuple[Adapter, Adapter]
) -> None:
    engine = Engine(pipeline)
    tickets = [engine.admit(job(pipeline, **options))[0] for options in requests(loras)]
    samples: dict[Ticket, Sample] = {}
    calls = counted(pipeline, lambda: samples.update(drained(engine)))
    assert max(calls) == 8 + 6, "eight samples shared a call, six of them guided"
    for ticket, options in zip(tickets, requests(loras), strict=True):
        assert apart(samples[ticket], alone(pipeline, **options)) < CLOSE, options
    assert all(apart(one, other) > 1e-3 for one, other in combinations(samples.values(), 2))


def counted(pipeline: Pipeline, act: Any) -> list[int]:
    """Run something, and return the rows of each network call."""
    rows: list[int] = []
    hook = pipeline.denoiser.net.register_forward_pre_hook(lambda _, args: rows.append(len(args[0])))
    try:
        act()
    finally:
        hook.remove()
    return rows


def test_requests_that_come_while_others_run_change_nothing(pipeline: Pipeline, loras: tuple[Adapter, Adapter]) -> None:
    engine, found, tickets = Engine(pipeline), dict[Ticket, Sample](), list[Ticket]()
    for options in requests(loras):
        tickets += engine.admit(job(pipeline, **options))
        found |= engine.step().finished
    found |= drained(engine)
    for ticket, options in zip(tickets, requests(loras), strict=True):
        assert apart(found[ticket], alone(pipeline, **options)) < CLOSE, options
    lengths = {shape.rows for sample in found.values() for shape in sample.metadata.calls}
    assert len(lengths) > 3, "the calls grew and shrank"


def test_unsaved_adapters_are_told_apart(pipeline: Pipeline) -> None:
    """Adapters that are in no file have no fingerprint, and are different adapters all the same."""
    made = [adapter(pipeline, "low", seed) for seed in (5, 6)]
    assert {one.fingerprint for one in made} == {""}
    engine = Engine(pipeline)
    tickets = [engine.admit(job(pipeline, seed=1, lora={one: 0.5}))[0] for one in made]
    found = drained(engine)
    for ticket, one in zip(tickets, made, strict=True):
        assert apart(found[ticket], alone(pipeline, seed=1, lora={one: 0.5})) < CLOSE
    assert apart(*(found[ticket] for ticket in tickets)) > 1e-3
    both = alone(pipeline, seed=1, lora={made[0]: 0.5, made[1]: 0.5})
    assert all(apart(both, found[ticket]) > 1e-3 for ticket in tickets)
    with pytest.raises(InputError, match="one adapter is given twice"):
        pipeline.generate("a cat", lora=[made[0], made[0]])


# Leave and come back.


def test_a_cancelled_sample_leaves_the_others_as_they_are(pipeline: Pipeline) -> None:
    engine = Engine(pipeline)
    tickets = engine.admit(job(pipeline, seed=1, n=4, steps=4))
    engine.step()
    engine.cancel(tickets[0], tickets[2])
    engine.cancel(tickets[0])
    found = drained(engine)
    assert set(found) == {tickets[1], tickets[3]}
    for k in (1, 3):
        assert apart(found[tickets[k]], alone(pipeline, seed=1 + k, steps=4)) < CLOSE
    with pytest.raises(InputError, match="is not being drawn"):
        engine.pause(tickets[0])


@pytest.mark.parametrize("sampler", ["ab", "heun", "euler-a", "sa-solver", "dpmpp-3m"])
@pytest.mark.parametrize("after", [0, 1, 3])
def test_a_paused_sample_goes_on_where_it_was(pipeline: Pipeline, sampler: str, after: int) -> None:
    options = {"seed": 3, "steps": 5, "sampler": sampler}
    engine = Engine(pipeline)
    (ticket,) = engine.admit(job(pipeline, **options))
    for _ in range(after):
        engine.step()
    assert engine.progress(ticket) == pytest.approx(after / (10 if sampler == "heun" else 5))
    live = pickle.loads(pickle.dumps(engine.pause(ticket)))
    assert engine.idle
    assert engine.step().tickets == ()
    other = Engine(pipeline)
    other.admit(job(pipeline, prompt="a dog", seed=9, steps=2))
    ticket = other.resume(live)
    whole = alone(pipeline, **options)
    found = drained(other)[ticket]
    assert apart(found, whole) < CLOSE
    engine.resume(live)  # a value: it goes on a second time, alone, to the same bits
    (again,) = drained(engine).values()
    assert torch.equal(again.x0, whole.x0)
    assert encode(again.image, again.metadata) == encode(whole.image, whole.metadata)


RESUME = """
import pickle, sys
import torch
from unnoise.generation.engine import Engine
from unnoise.loading import load
torch.set_num_threads(int(sys.argv[3]))
engine = Engine(load(sys.argv[1]))
for live in pickle.load(open(sys.argv[2], "rb")):
    engine.resume(live)
while not engine.idle:
    for sample in engine.step().finished.values():
        path = f"{sys.argv[2]}-{sample.metadata.seed}.png"
        sample.save(path)
        torch.save(sample.x0, f"{path}.x0")
"""


def test_another_process_goes_on(
    folder: Path, pipeline: Pipeline, loras: tuple[Adapter, Adapter], tmp_path: Path
) -> None:
    options = {"steps": 4, "sampler": "dpmpp-2m-sde", "lora": {loras[0]: 0.5}, "n": 2, "seed": 4}
    whole = pipeline.generate("a cat", **options)
    engine = Engine(pipeline)
    tickets = engine.admit(job(pipeline, **options))
    engine.step()
    engine.step()
    (tmp_path / "paused").write_bytes(pickle.dumps([engine.pause(ticket) for ticket in tickets]))
    command = [sys.executable, "-c", RESUME, str(folder / "tiny.safetensors"), str(tmp_path / "paused")]
    subprocess.run([*command, str(torch.get_num_threads())], check=True)
    for sample in whole:
        path = tmp_path / f"paused-{sample.metadata.seed}.png"
        assert replace(read_metadata(path), decoded=sample.metadata.decoded) == sample.metadata
        with Image.open(path) as image:
            assert image.tobytes() == sample.image.tobytes()
        assert torch.equal(torch.load(f"{path}.x0", weights_only=True), sample.x0)


# The same bits again.


def test_every_sample_of_a_mixed_batch_is_drawn_again_bit_for_bit(
    pipeline: Pipeline, loras: tuple[Adapter, Adapter], tmp_path: Path
) -> None:
    engine = Engine(pipeline)
    found = dict[Ticket, Sample]()
    for k, options in enumerate(requests(loras)):
        engine.admit(job(pipeline, **options))
        if k % 3 == 1:
            found |= engine.step().finished
    found |= drained(engine)
    assert len(found) == 8
    for sample in found.values():
        applied = [one for one in loras if one.fingerprint in {used.fingerprint for used in sample.metadata.adapters}]
        sample.save(tmp_path / "a.png")
        again = pipeline.replay(tmp_path / "a.png", lora=applied)
        assert torch.equal(again.x0, sample.x0)
        assert again.metadata == sample.metadata
        again.save(tmp_path / "b.png")
        assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
        assert from_json(to_json(sample.metadata), "metadata") == sample.metadata


def test_every_sample_of_a_sweep_is_drawn_again_bit_for_bit(pipeline: Pipeline, loras: tuple[Adapter, Adapter]) -> None:
    weights = [{loras[0]: 0.0}, {loras[0]: 1.0}]
    sweep = pipeline.sweep(["a cat", "a dog"], guidance_scale=[1, 3], steps=[2, 4], lora=weights, seed=5)
    assert len(sweep.samples) == 16
    for sample in sweep.samples:
        again = pipeline.replay(sample, lora=loras[0])
        assert torch.equal(again.x0, sample.x0)
        assert encode(again.image, again.metadata) == encode(sample.image, sample.metadata)


def test_a_sweep_of_adapters_names_each_in_its_label(pipeline: Pipeline, loras: tuple[Adapter, Adapter]) -> None:
    one, two = loras
    sweep = pipeline.sweep("a", lora=[{one: 0.5}, {one: 1.0, two: -0.25}, two, ()], steps=1, seed=1)
    (axis,) = sweep.axes
    assert [axis.label(k) for k in range(4)] == [
        "lora one.safetensors:0.5",
        "lora one.safetensors:1, two.safetensors:-0.25", "lora two.safetensors", "lora none",
    ]  # fmt: skip


def test_metadata_has_every_setting(pipeline: Pipeline) -> None:
    """A field that a person can choose and that changes the sample must be in the metadata, by its own name."""
    held = {one.name for one in fields(Metadata)}
    options = {one.name for kind in request_kinds() for one in fields(kind)}
    elsewhere = {"steps": "levels", "schedule": "levels", "lora": "adapters"}
    shown = {"n", "batch", "invert_mask", "partial", "progress"}  # how many, how fast, and what the mask's hash covers
    assert {elsewhere.get(name, name) for name in options - shown} <= held
    assert shown <= options


def request_kinds() -> tuple[Any, ...]:
    from unnoise.generation.options import OPTIONS

    return OPTIONS


# A broken sample fails alone.


@pytest.fixture
def broken(pipeline: Pipeline) -> Any:
    """A network that gives NaN in the rows whose x is nearly constant at 7."""

    def spoil(_: Any, args: tuple[Tensor, ...], out: Tensor) -> Tensor:
        bad = args[0].flatten(1).std(1) < 1e-3
        return torch.where(bad.view(-1, 1, 1, 1), torch.nan, out)

    hook = pipeline.denoiser.net.register_forward_hook(spoil)
    yield pipeline
    hook.remove()


def test_a_sample_that_is_not_finite_fails_alone(pipeline: Pipeline, broken: Pipeline) -> None:
    engine = Engine(pipeline)
    noise = torch.randn(3, 4, 4, 4, generator=torch.Generator().manual_seed(0))
    noise[1] = 7.0
    good = [alone(pipeline, noise=noise[k], steps=4, sampler="ddim") for k in (0, 2)]
    tickets = engine.admit(job(pipeline, noise=noise, n=3, steps=4, sampler="ddim"))
    neighbours = engine.admit(job(pipeline, seed=1, steps=4))
    step = engine.step()
    assert list(step.failed) == [tickets[1]]
    assert "step 0 of 4, sigma inf, dtype float32: NaN or infinity in the sample" in str(step.failed[tickets[1]])
    found = drained(engine)
    assert set(found) == {tickets[0], tickets[2], *neighbours}
    for ticket, sample in zip((tickets[0], tickets[2]), good, strict=True):
        assert apart(found[ticket], sample) < CLOSE
    assert apart(found[neighbours[0]], alone(pipeline, seed=1, steps=4)) < CLOSE
    with pytest.raises(NonFiniteError, match="step 0 of 4"):
        pipeline.generate("a cat", noise=noise, n=3, steps=4, sampler="ddim")


def test_noise_beyond_any_number_fails_alone(pipeline: Pipeline) -> None:
    engine = Engine(pipeline)
    noise = torch.randn(2, 4, 4, 4, generator=torch.Generator().manual_seed(0))
    noise[0] = 3e38
    tickets = engine.admit(job(pipeline, noise=noise, n=2, sampler="ddim", schedule=(1.0, 0.5, 0.0)))
    failed, found = ended(engine)
    assert (list(failed), list(found)) == ([tickets[0]], [tickets[1]])


def test_a_sample_that_cannot_be_decoded_fails_alone(pipeline: Pipeline) -> None:
    whole = pipeline.generate("a cat", seed=1, n=3, steps=2)
    wrong = whole[1].x0

    def spoil(x0: Tensor) -> Tensor:
        data = decode(x0)
        bad = [bool(torch.allclose(row, wrong, atol=1e-3)) for row in x0]
        return torch.where(torch.tensor(bad).view(-1, 1, 1, 1), torch.inf, data)

    decode = pipeline.space.decode
    other = replace(pipeline, space=Decoder(pipeline.space, spoil))
    engine = Engine(other)
    tickets = engine.admit(job(pipeline, seed=1, n=3, steps=2))
    failed, found = ended(engine)
    assert list(failed) == [tickets[1]]
    assert "decoding: NaN or infinity" in str(failed[tickets[1]])
    for k in (0, 2):
        assert encode(found[tickets[k]].image, whole[k].metadata) == encode(whole[k].image, whole[k].metadata)
        assert pipeline.replay(found[tickets[k]]).image.tobytes() == whole[k].image.tobytes()


class Decoder:
    """A space that decodes in another way."""

    def __init__(self, space: Any, decode: Any) -> None:
        self._space, self.decode = space, decode

    def __getattr__(self, name: str) -> Any:
        return getattr(self._space, name)


# What shares a network call.


def steps_of(pipeline: Pipeline, *several: dict[str, Any]) -> list[set[Ticket]]:
    """Admit requests, and return the samples of each network call."""
    engine = Engine(pipeline)
    for options in several:
        engine.admit(job(pipeline, **options))
    found = []
    while not engine.idle:
        found.append(set(engine.step().tickets))
    return found


BASE: dict[str, Any] = {"seed": 1, "steps": 2, "sampler": "ddim"}


@pytest.mark.parametrize("change", [{"size": (24, 16)}, {"dtype": "bfloat16"}, {"tile": 16}], ids=lambda one: str(one))
def test_what_cannot_share_a_call_never_does(pipeline: Pipeline, change: dict[str, Any]) -> None:
    calls: list[set[Ticket]] = []
    rows = counted(pipeline, lambda: calls.extend(steps_of(pipeline, BASE, BASE | change)))
    assert all(len({ticket.job for ticket in call}) == 1 for call in calls)
    assert rows == [2] * 4


@pytest.mark.parametrize(
    "change",
    [
        {"prompt": "another prompt"}, {"negative_prompt": "blue"}, {"guidance_scale": 1}, {"guidance_scale": 5.0},
        {"guidance_interval": (0.1, 2.0)}, {"guidance_rescale": 0.5}, {"sampler": "euler-a"}, {"sampler": "dpmpp-2m"},
        {"schedule": "angle"}, {"seed": 9}, {"n": 3}, {"variation": 0.2, "variation_seed": 3},
        {"blend_prompt": "a dog"}, {"noise": torch.ones(4, 4, 4), "seed": None}, {"lora": "one"}, {"batch": 4},
    ],
    ids=lambda one: ",".join(one),
)  # fmt: skip
def test_everything_else_shares_its_calls(
    pipeline: Pipeline, loras: tuple[Adapter, Adapter], change: dict[str, Any]
) -> None:
    change = {"lora": loras[0]} if "lora" in change else change
    calls = steps_of(pipeline, BASE, BASE | change)
    assert len(calls) == 2
    assert all(len({ticket.job for ticket in call}) == 2 for call in calls)


def test_a_batch_is_no_larger_than_any_of_its_samples_allows(pipeline: Pipeline) -> None:
    calls = steps_of(pipeline, BASE | {"n": 7, "batch": 3})
    assert sorted(map(len, calls)) == [1, 1, 3, 3, 3, 3]
    calls = steps_of(pipeline, BASE | {"n": 4, "batch": 8}, BASE | {"n": 2, "batch": 2})
    assert max(map(len, calls)) == 2
    assert max(map(len, steps_of(pipeline, BASE | {"n": 20}))) == 8, "eight at once, where nothing is said"


def test_no_kind_of_sample_waits_for_another_to_end(pipeline: Pipeline) -> None:
    engine = Engine(pipeline)
    long = engine.admit(job(pipeline, seed=1, steps=40))
    for _ in range(3):
        engine.step()
    short = engine.admit(job(pipeline, seed=1, steps=4, size=24))
    third = engine.admit(job(pipeline, seed=1, steps=4, dtype="bfloat16"))
    served = [engine.step().tickets for _ in range(9)]
    for tickets in (long, short, third):
        assert served.count(tickets) == 3, "three kinds take turns"
    while engine.progress(short[0]) < 1:
        engine.step()
    assert engine.progress(long[0]) < 0.5


# The layout of a call.


@given(st.integers(1, 6), st.sets(st.integers(0, 5)), st.integers(1, 2), st.data())
@settings(max_examples=80, deadline=None)
def test_a_repeated_call_has_the_rows_of_the_free_one(
    samples: int, some: set[int], roles: int, data: st.DataObject
) -> None:
    guided = sorted(k for k in some if k < samples)
    free = plan_call(samples, guided, roles)
    sample = data.draw(st.integers(0, samples - 1))
    place = guided.index(sample) if sample in guided else -1
    shape = CallShape(1, samples, sample, len(guided), place)
    again = plan_call(1, [0] if sample in guided else [], roles, shape)
    assert len(again.rows) == len(free.rows) == samples + roles * len(guided)
    assert [role for _, role in again.rows] == [role for _, role in free.rows]
    assert {row for row, _ in again.rows} == {0}
    assert again.best == (free.best[sample],)
    assert free.rows[free.best[sample]] == (sample, 0)
    wanted = tuple((rows[place],) for rows in free.others) if sample in guided else ()
    assert again.others == wanted
    for role, (row,) in enumerate(wanted, 1):
        assert free.rows[row] == (sample, role)


def test_levels_without_end_are_kept(pipeline: Pipeline) -> None:
    sample = alone(pipeline, **BASE)
    assert sample.metadata.grid[0] == inf
