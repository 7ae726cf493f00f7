"""Every argument has a range, and one outside of it is named with what is allowed."""

from dataclasses import dataclass, replace
from math import inf, nan
from typing import Any

import pytest
import tiny
from hypothesis import given, strategies as st

from unnoise.card import Advice, Card, Part
from unnoise.diffusion.denoiser import Denoiser
from unnoise.diffusion.process import EDM, VE, VP, Flow, Process, Table
from unnoise.errors import InputError
from unnoise.generation.choose_sampler import sampler_of
from unnoise.generation.job import AnySampler
from unnoise.generation.metadata import Settings
from unnoise.generation.request import Request, home_of_options, request_of
from unnoise.generation.resolve import resolve
from unnoise.sampling import DDIM, Heun, default
from unnoise.sampling.registry import GRIDS, SAMPLERS


def ask(prompts: object = "a heart", **options: Any) -> Request:
    return request_of(prompts, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"prompts": ()}, "prompt: none is given"),
        ({"prompts": (5,)}, "prompt 5"),
        ({"prompts": ("a",) * 33, "n": 2000}, "33 prompts of n 2000: at most 65536 samples in one request"),
        ({"prompts": ("x" * 10_001,)}, "10001 letters: at most 10000"),
        ({"prompts": ("a\ud800",)}, "not Unicode"),
        ({"negative_prompt": None}, "negative_prompt None"),
        ({"steps": 0}, "steps 0: a whole number from 1 to 1000"),
        ({"steps": -1}, "steps -1"),
        ({"steps": 10**9}, "steps 1000000000"),
        ({"steps": "10"}, "steps '10'"),
        ({"steps": 2.0}, "steps 2.0"),
        ({"steps": True}, "steps True"),
        ({"guidance_scale": nan}, "guidance_scale nan: a number from 0 to 100"),
        ({"guidance_scale": inf}, "guidance_scale inf"),
        ({"guidance_scale": -1.0}, "guidance_scale -1"),
        ({"guidance_scale": "3"}, "guidance_scale '3'"),
        ({"sampler": "eular"}, "sampler 'eular' is unknown: did you mean 'euler'"),
        ({"schedule": "karas"}, "schedule 'karas' is unknown: did you mean 'karras'"),
        ({"schedule": ()}, "at least 2 levels"),
        ({"schedule": (5.0,)}, "at least 2 levels"),
        ({"schedule": (1.0, 2.0, 0.0)}, "a grid descends"),
        ({"schedule": (1.0, nan)}, "nan"),
        ({"schedule": ("a", "b")}, "a list of levels"),
        ({"schedule": tuple(2000.0 - i for i in range(1500))}, "steps of the schedule 1499"),
        ({"schedule": (9.0, 1.0, 0.0), "steps": 3}, "steps 3: the schedule has 2 steps"),
        ({"seed": -1}, "seed -1: a whole number from 0 to 9223372036854775807"),
        ({"seed": 2**63}, "seed 9223372036854775808"),
        ({"seed": 2**63 - 1, "n": 2}, "seed 9223372036854775807: a whole number from 0 to 9223372036854775806"),
        ({"seed": 1.5}, "seed 1.5"),
        ({"n": 0}, "n 0"),
        ({"n": 10**6}, "n 1000000: a whole number from 1 to 4096"),
        ({"size": (0, 16)}, "width 0"),
        ({"size": (16, 10**5)}, "height 100000: a whole number from 1 to 4096"),
        ({"size": (16.0, 16)}, "width 16.0"),
        ({"size": (16, 16, 3)}, "a width and a height"),
        ({"guidance_interval": (2.0, 1.0)}, "guidance_interval"),
        ({"guidance_interval": (nan, 1.0)}, "guidance_interval"),
        ({"guidance_interval": (1.0,)}, "guidance_interval"),
        ({"guidance_interval": (-1.0, 1.0)}, "guidance_interval"),
        ({"guidance_rescale": 1.5}, "guidance_rescale 1.5: a number from 0 to 1"),
        ({"batch": 0}, "batch 0"),
        ({"dtype": "float8"}, "dtype 'float8': .*bfloat16, float16, float32"),
        ({"dtype": 32}, "dtype"),
    ],
)
def test_refuses(change: dict[str, object], fault: str) -> None:
    with pytest.raises(InputError, match=fault):
        ask(**change)


ANY = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.tuples(st.floats(), st.floats())
)


@given(st.dictionaries(st.sampled_from(sorted(home_of_options())), ANY))
def test_anything_is_taken_or_refused(change: dict[str, object]) -> None:
    try:
        request = ask(**change)
    except InputError:
        return
    assert request.sampling.steps is None or 1 <= request.sampling.steps <= 1000


PIPELINE = tiny.pipeline()


@dataclass
class Chosen:
    """What a request comes to: the settings, by their names, and the sampler itself."""

    settings: Settings
    sampler: AnySampler

    def __getattr__(self, name: str) -> Any:
        return getattr(self.settings, name)


def plan(card: Card = tiny.CARD, process: Process | None = None, **change: Any) -> Chosen:
    """Resolve a request for a model of a card and a process, of which no weight is used."""
    denoiser = Denoiser(PIPELINE.denoiser.net, process or Flow(), PIPELINE.denoiser.kind)
    made = resolve(ask(**change), replace(PIPELINE, card=card, denoiser=denoiser))
    return Chosen(made.settings, made.sampler)


def test_a_plain_request_is_the_card_and_the_default() -> None:
    made = plan()
    assert (made.sampler, made.grid) == default(3, inf, 0.0, guided=True)
    assert (made.guidance_scale, made.interval, made.guidance_rescale, made.size) == (2.0, (0.0, inf), 0.0, (16, 16))


def test_advice_is_followed_and_overruled() -> None:
    advice = Advice("heun", "angle", 4, 3.0, (1.0, 5.0), (0.2, 8.0), 0.5, ((24, 16),))
    card = replace(tiny.CARD, advice=advice)
    made = plan(card)
    assert (made.sampler, len(made.grid), made.guidance_scale) == (Heun(), 5, 3.0)
    assert (made.interval, made.guidance_rescale, made.size) == ((0.2, 8.0), 0.5, (24, 16))
    other = plan(
        card,
        sampler="ddim",
        steps=2,
        guidance_scale=2,
        guidance_interval=(0.0, 1.0),
        guidance_rescale=0.0,
        size=(16, 32),
    )
    assert (other.sampler, len(other.grid), other.guidance_scale) == (DDIM(), 3, 2.0)
    assert (other.interval, other.guidance_rescale, other.size) == ((0.0, 1.0), 0.0, (16, 32))
    assert plan(card, sampler=DDIM(0.5)).sampler == DDIM(0.5)


@pytest.mark.parametrize(
    "advice",
    [
        Advice(steps=10**6),
        Advice(guidance_scale=1e300),
        Advice(guidance_rescale=-1.0),
        Advice(guidance_interval=(3.0, 1.0)),
        Advice(sizes=((0, 8),)),
        Advice(sampler="none"),
        Advice(schedule="none"),
        Advice(schedule=(1.0, 5.0)),
    ],
)
def test_absurd_advice_is_refused(advice: Advice) -> None:
    with pytest.raises(InputError, match=r"the card's advice|unknown|descends"):
        plan(replace(tiny.CARD, advice=advice), size=(16, 16))


def test_advised_levels_give_way_to_another_number_of_steps() -> None:
    card = replace(tiny.CARD, advice=replace(tiny.CARD.advice, schedule=(8.0, 1.0, 0.0)))
    assert plan(card).grid == plan(card, steps=2).grid == (8.0, 1.0, 0.0)
    assert len(plan(card, steps=5).grid) == 6


STABLE = VP("scaled-linear")
PROCESSES = [Flow(), Flow(3.0), VP(), VP("cosine", zero_snr=True), STABLE, Table(STABLE.table()), VE(), EDM()]
PROCESSES += [EDM(sigma_max=700.0)]  # as Stable Video Diffusion


def obstacle(name: str, process: Process) -> str | None:
    """Say why a grid does not go with a process, None where it does."""
    if "table" in GRIDS[name].options:
        return None if isinstance(process, VP | Table) else "strides through a table"
    if name in ("karras", "exponential", "polyexponential"):
        return None if process.sigma_max < inf and process.sigma_min > 0 else "needs a finite sigma_max"
    if name.startswith("ays"):
        top = 700 if name == "ays-svd" else 14.6146
        return None if process.sigma_max == pytest.approx(top, rel=1e-4) else "made for models from"
    return None


ANY_RANGE = "'flow' (and|or) 'angle'(, which)? (take )?any range"


@pytest.mark.parametrize("process", PROCESSES)
@pytest.mark.parametrize("name", GRIDS)
def test_named_schedules_fit_every_process(name: str, process: Process) -> None:
    fault = obstacle(name, process)
    for steps in (1, 5, 30):
        if fault:
            with pytest.raises(InputError, match=rf"(grid|schedule) '{name}'.*{fault}.*{ANY_RANGE}"):
                plan(process=process, schedule=name, steps=steps)
        else:
            grid = plan(process=process, schedule=name, steps=steps).grid
            assert (len(grid), grid[-1]) == (steps + 1, 0)
            assert grid[0] == pytest.approx(process.sigma_max) or name == "leading"
            assert list(grid) == sorted(grid, reverse=True)


@pytest.mark.parametrize("name", SAMPLERS)
def test_every_named_sampler_survives_metadata(name: str) -> None:
    from dataclasses import asdict

    sampler = plan(sampler=name, schedule=(80.0, 1.0, 0.0)).sampler
    assert sampler_of(Part(type(sampler).__name__, asdict(sampler))) == sampler


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"size": (12, 16)}, "size 12x16: both sides must be multiples of 8"),
        ({"size": (4096, 4096)}, "at most 4194304 pixels"),
        ({"size": (512, 512), "batch": 100}, "batch 100 of 512x512"),
        ({"size": (1024, 1024), "n": 300}, "300 samples of 1024x1024: at most 256"),
        ({"guidance_scale": 1.0, "negative_prompt": "x"}, "guidance_scale is 1 .off."),
        ({"guidance_scale": 1.0, "guidance_interval": (0.0, 1.0)}, "guidance_scale is 1"),
        ({"guidance_scale": 1, "guidance_rescale": 0.5}, "guidance_scale is 1"),
        ({"schedule": "trailing"}, "which Flow does not have"),
        ({"schedule": "karras"}, "finite sigma_max"),
    ],
)
def test_refuses_what_the_model_cannot_do(change: dict[str, object], fault: str) -> None:
    with pytest.raises(InputError, match=fault):
        plan(**change)


def test_refuses_levels_beyond_the_model() -> None:
    with pytest.raises(InputError, match="this model is defined"):
        plan(process=VP(), schedule=(inf, 1.0, 0.0))


def test_model_without_text_takes_no_prompt() -> None:
    card = replace(tiny.CARD, text=None, tokenizer=None)
    assert plan(card, prompts="").guidance_scale == 1.0
    for change in ({}, {"prompts": "", "guidance_scale": 3.0}):
        with pytest.raises(InputError, match="'tiny' has no text encoder"):
            plan(card, **change)


def test_no_advised_size_must_be_given() -> None:
    card = replace(tiny.CARD, advice=Advice())
    assert plan(card, size=(8, 8)).size == (8, 8)
    with pytest.raises(InputError, match="size: the card"):
        plan(card)


@pytest.mark.parametrize("part", [Part("System", {}), Part("DDIM", {"et": 1}), Part("DDIM", {"eta": 7})])
def test_hostile_samplers_of_metadata(part: Part) -> None:
    with pytest.raises(InputError, match=r"sampler|eta"):
        sampler_of(part)
