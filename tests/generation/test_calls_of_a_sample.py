"""What metadata says of the network calls of a sample: equal shapes in a row are counted, others begin a new entry."""

from dataclasses import replace
from math import inf

import pytest
import tiny
import torch

from unnoise.errors import InputError
from unnoise.generation.batch import Batch, Row
from unnoise.generation.engine import Engine, Live, _joined
from unnoise.generation.metadata import CallShape, from_level, to_level
from unnoise.generation.prepare import prepare
from unnoise.generation.request import request_of
from unnoise.generation.resolve import resolve

PIPELINE = tiny.pipeline()


def test_equal_shapes_in_a_row_are_counted() -> None:
    one, other = CallShape(1, 2, 0, 2, 0), CallShape(1, 1, 0, 1, 0)
    calls: tuple[CallShape, ...] = ()
    for shape in (one, one, one, other, one):
        calls = _joined(calls, shape)
    assert calls == (CallShape(3, 2, 0, 2, 0), other, one)


@pytest.mark.parametrize(("sampler", "calls"), [("euler", 3), ("heun", 5)])
def test_a_sample_has_the_calls_of_its_sampler(sampler: str, calls: int) -> None:
    sample = PIPELINE.generate("a b", seed=1, size=16, steps=3, sampler=sampler)[0]
    assert [(one.calls, one.rows, one.guided, one.place) for one in sample.metadata.calls] == [(calls, 1, 1, 0)]
    plain = PIPELINE.generate("a b", seed=1, size=16, steps=3, sampler=sampler, guidance_scale=1)[0]
    assert [(one.calls, one.rows, one.guided, one.place) for one in plain.metadata.calls] == [(calls, 1, 0, -1)]


def test_guidance_acts_between_its_levels_ends_included() -> None:
    options = {"schedule": (inf, 8.0, 4.0, 2.0, 0.0), "guidance_interval": (4.0, 8.0), "size": 16, "seed": 1}
    calls = PIPELINE.generate("a", **options)[0].metadata.calls  # type: ignore[arg-type]
    assert [(one.calls, one.guided) for one in calls] == [(1, 0), (2, 1), (1, 0)]


def test_progress_is_the_share_of_the_steps() -> None:
    engine = Engine(PIPELINE)
    one, other = engine.admit(resolve(request_of("a", seed=1, n=2, size=16, steps=4, sampler="euler"), PIPELINE))
    assert engine.progress(one) == 0
    for done in (0.25, 0.5, 0.75):
        engine.step()
        assert engine.progress(one) == engine.progress(other) == done
    engine.step()
    assert engine.idle
    assert engine.progress(one) == 1
    (heun,) = engine.admit(resolve(request_of("a", seed=1, size=16, steps=2, sampler="heun"), PIPELINE))
    shares = []
    while not engine.idle:
        engine.step()
        shares.append(engine.progress(heun))
    assert shares == [0.25, 0.5, 1.0], "half of a step after its first query; the last step has one"


def test_jobs_that_share_no_call_take_turns() -> None:
    engine = Engine(PIPELINE)
    first, second = (
        engine.admit(resolve(request_of("a", seed=1, size=size, steps=3), PIPELINE))[0] for size in (16, 24)
    )
    assert [engine.step().tickets for _ in range(6)] == [(first,), (second,)] * 3
    assert engine.idle
    assert engine.step().tickets == ()


def test_the_smallest_batch_of_those_that_share_a_call_holds() -> None:
    engine = Engine(PIPELINE)
    for batch in (3, 2):
        engine.admit(resolve(request_of("a", seed=1, n=2, size=16, steps=3, batch=batch), PIPELINE))
    assert len(engine.step().tickets) == 2


def test_a_sample_that_left_is_not_paused() -> None:
    engine = Engine(PIPELINE)
    (ticket,) = engine.admit(resolve(request_of("a", seed=1, size=16, steps=3), PIPELINE))
    live = engine.pause(ticket)
    assert isinstance(live, Live)
    assert engine.idle
    with pytest.raises(InputError, match="is not being drawn"):
        engine.pause(ticket)
    again = engine.resume(live)
    assert again.job != ticket.job
    engine.cancel(again, ticket)
    assert engine.idle


@pytest.mark.parametrize("level", [0.0, 0.5, 80.0, inf])
def test_levels_as_json_can_write_them(level: float) -> None:
    assert from_level(to_level(level)) == level
    assert (to_level(level) == "inf") is (level == inf)


def test_neighbours_of_other_dtypes_and_tiles_share_no_call() -> None:
    engine = Engine(PIPELINE)
    for options in ({}, {"dtype": "bfloat16"}, {"tile": 8}, {"size": 24}):
        engine.admit(resolve(request_of("a", **{"seed": 1, "size": 16, "steps": 3, **options}), PIPELINE))
    assert [len(engine.step().tickets) for _ in range(4)] == [1, 1, 1, 1]


@pytest.mark.parametrize(("guided", "rows"), [(0, 3), (2, 5)])
def test_a_call_that_is_repeated_has_as_many_rows_and_tokens(guided: int, rows: int) -> None:
    """Also where the sample itself is not guided, or its prompt is shorter than its neighbours'."""
    shape = CallShape(4, rows=3, row=1, guided=guided, place=-1, tokens=20, masked=True)
    found = prepare(PIPELINE, resolve(request_of("a", seed=1, size=16, guidance_scale=1), PIPELINE))
    row = Row(found.job.settings, found.conditioning["a"])
    bound = Batch(PIPELINE, [row], shape)._planned((), (0,))
    plan, cond = bound.plan, bound.cond
    assert (len(plan.rows), plan.best) == (rows, (1,))
    first = row.conditioning.turns[0][0]
    own = first.tokens
    assert own is not None
    assert cond.tokens is not None
    assert cond.mask is not None
    assert cond.tokens.shape == (rows, 20, own.shape[2])
    assert torch.equal(cond.tokens[:, : own.shape[1]], own.expand(rows, -1, -1))
    assert not cond.tokens[:, own.shape[1] :].any()
    assert cond.mask.sum(1).tolist() == [int(first.mask.sum())] * rows  # type: ignore[union-attr]
    bound = Batch(PIPELINE, [row], replace(shape, masked=False))._planned((), (0,))
    plain, same = bound.plan, bound.cond
    assert len(plain.rows) == rows
    assert same.tokens is not None
    assert same.tokens.shape[1] == own.shape[1]
