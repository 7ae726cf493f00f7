"""What a request comes to: where a strength starts, which levels a shift gives, what a distilled model is told."""

from dataclasses import replace
from math import inf

import pytest
import torch
from tiny import CARD

from unnoise.diffusion.process import EDM, VE, VP, Angle, Flow, Process
from unnoise.errors import Refusal
from unnoise.files.card import Advice, Card
from unnoise.files.plan import decide, route, start_level
from unnoise.files.request import Request
from unnoise.sampling.grid import flow_shift
from unnoise.sampling.names import GRIDS, SAMPLERS

PROCESSES = [VP("scaled-linear"), VP("scaled-linear", zero_snr=True), Flow(), Flow(3.0), EDM(), VE(), Angle()]


def card(**advice: object) -> Card:
    return replace(CARD, family="sd1", advice=replace(CARD.advice, **advice))  # type: ignore[arg-type]


@pytest.mark.parametrize("process", PROCESSES, ids=repr)
def test_strength_is_a_share_of_the_clock(process: Process) -> None:
    low, high = process.time(torch.tensor([process.sigma_min, process.sigma_max], dtype=torch.float64)).tolist()
    for strength in (0.1, 0.5, 0.9):
        time = float(process.time(torch.tensor(start_level(strength, process), dtype=torch.float64)))
        assert (time - low) / (high - low) == pytest.approx(strength, abs=1e-9)
    assert start_level(None, process) == start_level(1.0, process) == process.sigma_max


@pytest.mark.parametrize("steps", [1, 2, 7, 30])
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_strength_leads_as_far_with_every_sampler_and_number_of_steps(sampler: str, steps: int) -> None:
    process = VP("scaled-linear")
    made = route(Request(("a",), sampler=sampler, steps=steps, strength=0.4), card(), process)
    assert made[1][0] == pytest.approx(start_level(0.4, process))
    assert len(made[1]) == steps + 1


WHOLE = [name for name, entry in GRIDS.items() if "table" in entry.options]
SHAPED = [name for name in GRIDS if name not in WHOLE and not name.startswith("ays")]


@pytest.mark.parametrize("name", SHAPED)
def test_strength_leads_as_far_on_every_grid(name: str) -> None:
    process = VP("scaled-linear")
    levels = route(Request(("a",), grid=name, steps=10, strength=0.4), card(), process)[1]
    assert levels[0] == pytest.approx(start_level(0.4, process), rel=1e-6)


@pytest.mark.parametrize("name", [name for name in GRIDS if name.startswith("ays")])
def test_a_grid_of_published_levels_has_no_strength(name: str) -> None:
    with pytest.raises(Refusal, match=f"grid '{name}': made for models from"):
        route(Request(("a",), grid=name, steps=10, strength=0.4), card(), VP("scaled-linear"))


@pytest.mark.parametrize("name", WHOLE)
def test_a_grid_of_the_whole_table_has_no_strength(name: str) -> None:
    with pytest.raises(Refusal, match=f"grid '{name}': strides through the whole table"):
        route(Request(("a",), grid=name, steps=10, strength=0.4), card(), VP("scaled-linear"))


def test_levels_that_are_given_have_no_strength() -> None:
    with pytest.raises(Refusal, match="strength: the grid that is given starts where it starts"):
        Request(("a",), grid=(3.0, 1.0, 0.0), strength=0.4)


def test_the_shift_of_a_model_is_that_of_its_grid() -> None:
    advised = card(grid="flow", shift=5.0)
    assert route(Request(("a",), steps=8), advised, Flow())[1] == flow_shift(8, 5.0)
    assert route(Request(("a",), steps=8, grid="sd3"), advised, Flow())[1] == flow_shift(8, 3.0)


def test_guidance_that_is_an_input_is_not_taken_for_the_other() -> None:
    distilled = card(embedded=3.5, guidance=1.0)
    assert decide(Request(("a",)), distilled, Flow(), 2).embedded == 3.5
    assert decide(Request(("a",), embedded=2.0), distilled, Flow(), 2).embedded == 2.0
    with pytest.raises(Refusal, match="guidance 4: 'tiny' takes its guidance as an input: embedded 4"):
        decide(Request(("a",), weight=4.0), distilled, Flow(), 2)
    both = decide(Request(("a",), weight=4.0, negative="b"), distilled, Flow(), 2)
    assert (both.weight, both.embedded) == (4.0, 3.5)
    with pytest.raises(Refusal, match="embedded guidance 2: 'tiny' takes none"):
        decide(Request(("a",), embedded=2.0), card(), Flow(), 2)


def test_films_and_sounds() -> None:
    film = card(frames=9, stride=4, sizes=((16, 16),))
    assert decide(Request(("a",)), film, Flow(), 2).frames == 9
    with pytest.raises(Refusal, match=r"frames 7: 'tiny' makes 4\*k \+ 1 of them, such as 5 or 9"):
        decide(Request(("a",), frames=7), film, Flow(), 2)
    sound = replace(card(seconds=2.0), modality="audio")
    plan = decide(Request(("a",)), sound, Flow(), 2)
    assert (plan.seconds, plan.size) == (2.0, (0, 0))
    for field in ("frames", "seconds"):
        with pytest.raises(Refusal, match=f"{field} 5: 'tiny' makes no"):
            decide(Request(("a",), **{field: 5}), card(), Flow(), 2)


def test_levels_start_at_pure_noise_where_nothing_is_said() -> None:
    assert route(Request(("a",), steps=4), CARD, Flow())[1][0] == inf
    assert Advice().shift is None
