"""The tables of names: every name builds its sampler or schedule; unknown names raise an error that lists the known."""

import math
import subprocess
import sys
from typing import Any

import pytest

import unnoise.sampling
from unnoise.errors import InputError
from unnoise.sampling import DDIM, IPNDM, Ancestral, DPMpp2M, default, run, start
from unnoise.sampling.ays import aligned
from unnoise.sampling.defaults import measured
from unnoise.sampling.grid import (
    beta_time,
    flow_shift,
    flux_shift,
    karras,
    leading,
    linear_quadratic,
    linspace,
    polyexponential,
    skipping,
    trailing,
    uniform_time,
)
from unnoise.sampling.registry import GRIDS, SAMPLERS, grid, sampler

TABLE = [0.1 * i for i in range(1, 101)]
NEEDS: dict[str, Any] = {"table": TABLE, "sigma_at": lambda time: 9.9 * time + 0.1}
RANGES = {"ays-sd15": (14.615, 0.029), "ays-sdxl": (14.615, 0.029), "ays-svd": (700.0, 0.002)}


def needs(name: str) -> dict[str, Any]:
    return {option: NEEDS[option] for option in GRIDS[name].options if option in NEEDS}


@pytest.mark.parametrize("name", SAMPLERS)
def test_every_sampler_runs(name: str) -> None:
    built = sampler(name)
    x = run(built, lambda x, level: 0.5, start(0.3, (4.0, 2.0, 1.0, 0.5, 0.0)), lambda step, like: 0.1)
    assert math.isclose(x, 0.5, rel_tol=1e-14)


@pytest.mark.parametrize("name", GRIDS)
def test_every_grid_builds(name: str) -> None:
    high, low = RANGES.get(name, (10.0, 0.05))
    levels = grid(name, 6, high, low, **needs(name))
    assert len(levels) == 7
    assert levels[0] == pytest.approx(8.1 if name == "leading" else high)
    assert levels[-1] == 0.0
    assert list(levels) == sorted(levels, reverse=True)


@pytest.mark.parametrize("table", [SAMPLERS, GRIDS])
def test_every_name_has_a_description(table: Any) -> None:
    assert all(len(entry.means) > 10 for entry in table.values())
    assert all(name == name.lower() and set(name) <= set("abcdefghijklmnopqrstuvwxyz-0123456789") for name in table)


def test_every_public_sampler_has_a_name() -> None:
    public = {getattr(unnoise.sampling, name) for name in unnoise.sampling.__all__}
    classes = {thing for thing in public if isinstance(thing, type) and hasattr(thing, "advance")}
    classes -= {unnoise.sampling.Sampler, unnoise.sampling.Restart, unnoise.sampling.RePaint}
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


def test_all_names_of_one_sampler_build_it() -> None:
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


def test_unknown_names_are_refused_and_known_ones_listed() -> None:
    with pytest.raises(InputError, match=r"sampler 'dpmp-2m' is unknown: did you mean 'dpmpp-2m'. known: .*heun"):
        sampler("dpmp-2m")
    with pytest.raises(InputError, match=r"grid 'karas' is unknown: did you mean 'karras'. known: .*flow"):
        grid("karas", 5)


def test_options_act_or_are_refused() -> None:
    assert grid("default", 7) == measured(7)
    assert grid("karras", 5, 80.0, 0.1, rho=3.0) == karras(5, 80.0, 0.1, 3.0)
    assert grid("Flow", 5, shift=3.0) == flow_shift(5, 3.0)
    assert grid("sd3", 5) == flow_shift(5, 3.0)
    assert grid("flux", 5) == flux_shift(5, 4096)
    assert grid("flux", 5, tokens=256) == flux_shift(5, 256)
    assert grid("polyexponential", 5, 80.0, 0.1, rho=3.0) == polyexponential(5, 80.0, 0.1, 3.0)
    expected = linear_quadratic(5, math.inf, 0.0, 0.1, 3)
    assert grid("linear-quadratic", 5, threshold=0.1, linear_steps=3) == expected
    assert grid("AYS SDXL", 5, *RANGES["ays-sdxl"]) == aligned(5, "sdxl", *RANGES["ays-sdxl"])
    assert grid("trailing", 5, table=TABLE) == trailing(TABLE, 5)
    assert grid("leading", 5, table=TABLE, offset=1) == leading(TABLE, 5, 1)
    assert grid("linspace", 5, table=TABLE) == linspace(TABLE, 5)
    assert grid("lcm", 5, table=TABLE, distilled=10) == skipping(TABLE, 5, 10)
    clock = NEEDS["sigma_at"]
    assert grid("uniform", 5, sigma_at=clock, last=0.2) == uniform_time(5, clock, 1.0, 0.2)
    assert grid("beta", 5, sigma_at=clock, last=0.2, a=2.0, b=3.0) == beta_time(5, clock, 1.0, 0.2, 2.0, 3.0)
    with pytest.raises(InputError, match="schedule 'karras' takes no shift: its options are rho"):
        grid("karras", 5, 80.0, 0.1, shift=3.0)
    with pytest.raises(InputError, match="schedule 'angle' takes no rho: its options are none"):
        grid("angle", 5, rho=3.0)
    for name in ("trailing", "leading", "linspace", "lcm"):
        with pytest.raises(InputError, match=f"schedule '{name}' needs table"):
            grid(name, 5)
    for name in ("uniform", "beta"):
        with pytest.raises(InputError, match=f"schedule '{name}' needs sigma_at"):
            grid(name, 5)


@pytest.mark.parametrize("name", ["trailing", "leading", "linspace", "lcm", "uniform", "beta"])
def test_a_level_outside_the_model_is_refused(name: str) -> None:
    with pytest.raises(InputError, match=r"grid\[0\] is [\d.]+: this model is defined from 0 to 5"):
        grid(name, 5, 5.0, 0.0, **needs(name))
    with pytest.raises(InputError, match=r"grid\[\d\] is [\d.]+: this model is defined from 7.9 to 10"):
        grid(name, 5, 10.0, 7.9, **needs(name))


def test_a_range_rounded_to_float32_is_accepted() -> None:
    assert grid("trailing", 5, 9.999999, 0.0, table=TABLE)[0] == 10.0


def test_registry_imports_no_torch() -> None:
    code = "import sys; from unnoise.sampling import noise_schedules, registry; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert not {"torch", "numpy"} & set(done.stdout.split())
