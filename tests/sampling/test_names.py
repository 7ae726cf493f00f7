"""The tables of names: every name builds what it says, and anything else is refused with the known ones."""

import math
from typing import Any

import pytest

import unnoise.sampling
from unnoise.errors import Refusal
from unnoise.sampling import DDIM, IPNDM, Ancestral, DPMpp2M, default, run, start
from unnoise.sampling.choose import measured
from unnoise.sampling.grid import flow_shift, karras, trailing, uniform_time
from unnoise.sampling.names import GRIDS, SAMPLERS, grid, sampler

OPTIONS: dict[str, dict[str, Any]] = {
    "trailing": {"table": [0.1 * i for i in range(1, 101)]},
    "uniform": {"sigma_at": lambda time: 9 * time + 0.1},
}


@pytest.mark.parametrize("name", SAMPLERS)
def test_every_sampler_runs(name: str) -> None:
    built = sampler(name)
    x = run(built, lambda x, level: 0.5, start(0.3, (math.inf, 2.0, 1.0, 0.5, 0.0)), lambda step, like: 0.1)
    assert x == 0.5


@pytest.mark.parametrize("name", GRIDS)
def test_every_grid_builds(name: str) -> None:
    levels = grid(name, 6, 10.0, 0.05, **OPTIONS.get(name, {}))
    assert len(levels) == 7
    assert levels[0] == pytest.approx(10.0, rel=0.1)
    assert levels[-1] == 0.0


@pytest.mark.parametrize("table", [SAMPLERS, GRIDS])
def test_every_name_says_what_it_is(table: Any) -> None:
    assert all(len(entry.means) > 10 for entry in table.values())
    assert all(name == name.lower() and set(name) <= set("abcdefghijklmnopqrstuvwxyz-0123456789") for name in table)


def test_every_public_sampler_has_a_name() -> None:
    public = {getattr(unnoise.sampling, name) for name in unnoise.sampling.__all__}
    classes = {thing for thing in public if isinstance(thing, type) and hasattr(thing, "advance")}
    classes -= {unnoise.sampling.Sampler}
    assert classes == {type(entry.make()) for entry in SAMPLERS.values()}
    for calls in (5, 50):
        assert default(calls, math.inf, 0.0)[0] in [entry.make() for entry in SAMPLERS.values()]


@pytest.mark.parametrize(
    ("spelling", "built"),
    [
        ("DDIM", DDIM()),
        ("euler", DDIM()),
        ("Euler a", Ancestral()),
        ("euler_ancestral", Ancestral()),
        ("ddpm", DDIM(eta=1.0)),
        ("DPM++ 2M", DPMpp2M()),
        ("dpmpp_2m", DPMpp2M()),
        (" ipndm ", IPNDM(4)),
        ("ipndm-2", IPNDM(2)),
    ],
)
def test_spellings(spelling: str, built: object) -> None:
    assert sampler(spelling) == built


def test_all_names_of_one_sampler_lead_to_it() -> None:
    assert unnoise.sampling.Euler is DDIM
    assert unnoise.sampling.EulerAncestral is unnoise.sampling.DDPM is Ancestral
    assert Ancestral() == DDIM(eta=1.0)
    assert unnoise.sampling.LCM is unnoise.sampling.Consistency
    assert [name for name in SAMPLERS if sampler(name) == Ancestral()] == [
        "ancestral",
        "euler-ancestral",
        "euler-a",
        "ddpm",
    ]


def test_unknown_names_are_refused_with_the_known_ones() -> None:
    with pytest.raises(Refusal, match=r"sampler 'dpm-2m' is unknown: did you mean 'dpmpp-2m'. known: .*heun"):
        sampler("dpm-2m")
    with pytest.raises(Refusal, match=r"grid 'karas' is unknown: did you mean 'karras'. known: .*flow"):
        grid("karas", 5)


def test_options_act_or_are_refused() -> None:
    assert grid("default", 7) == measured(7)
    assert grid("karras", 5, 80.0, 0.1, rho=3.0) == karras(5, 80.0, 0.1, 3.0)
    assert grid("Flow", 5, shift=3.0) == flow_shift(5, 3.0)
    assert grid("trailing", 5, **OPTIONS["trailing"]) == trailing(OPTIONS["trailing"]["table"], 5)
    assert grid("uniform", 5, **OPTIONS["uniform"], last=0.2) == uniform_time(
        5, OPTIONS["uniform"]["sigma_at"], 1.0, 0.2
    )
    with pytest.raises(Refusal, match="grid 'karras' takes no shift: its options are rho"):
        grid("karras", 5, 80.0, 0.1, shift=3.0)
    with pytest.raises(Refusal, match="grid 'angle' takes no rho: its options are none"):
        grid("angle", 5, rho=3.0)
    with pytest.raises(Refusal, match="grid 'trailing' needs table"):
        grid("trailing", 5)
    with pytest.raises(Refusal, match="grid 'uniform' needs sigma_at"):
        grid("uniform", 5)


def test_a_clock_outside_the_model_is_refused() -> None:
    with pytest.raises(Refusal, match=r"grid\[0\] is 10: this model is defined from 0 to 5"):
        grid("trailing", 5, 5.0, 0.0, **OPTIONS["trailing"])
    assert grid("trailing", 5, 9.999999, 0.0, **OPTIONS["trailing"])[0] == 10.0
