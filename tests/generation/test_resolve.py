"""What a request comes to: where a strength starts, which levels a shift gives, what a distilled model gets."""

from dataclasses import replace
from math import inf

import pytest
import tiny
import torch
from tiny import CARD

from unnoise.card import Advice, Card
from unnoise.diffusion.denoiser import Denoiser
from unnoise.diffusion.levels import start_level
from unnoise.diffusion.process import EDM, VE, VP, Angle, Flow, Process
from unnoise.errors import InputError
from unnoise.generation.choose_sampler import route
from unnoise.generation.metadata import Settings
from unnoise.generation.request import Request, request_of
from unnoise.generation.resolve import settle
from unnoise.sampling.grid import flow_shift
from unnoise.sampling.registry import GRIDS, SAMPLERS

PROCESSES = [VP("scaled-linear"), VP("scaled-linear", zero_snr=True), Flow(), Flow(3.0), EDM(), VE(), Angle()]


def card(**advice: object) -> Card:
    return replace(CARD, family="sd1", advice=replace(CARD.advice, **advice))  # type: ignore[arg-type]


PIPELINE = tiny.pipeline()


def decided(request: Request, card: Card) -> Settings:
    """Settle a request for a flow model of a card, of which no weight is used."""
    denoiser = Denoiser(PIPELINE.denoiser.net, Flow(), "flow")
    size = request.sampling.size
    return settle(request, replace(PIPELINE, card=card, denoiser=denoiser), size, has_image=False)[1]


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
    made = route(request_of("a", sampler=sampler, steps=steps), card(), process, 0.4)
    assert made[1][0] == pytest.approx(start_level(0.4, process))
    assert len(made[1]) == steps + 1


@pytest.mark.parametrize("name", [name for name, entry in GRIDS.items() if not {"table"} & set(entry.options)])
def test_strength_leads_as_far_on_every_schedule(name: str) -> None:
    if name.startswith("ays"):
        with pytest.raises(InputError):
            route(request_of("a", schedule=name, steps=10), card(), VP("scaled-linear"), 0.4)
        return
    process = VP("scaled-linear")
    levels = route(request_of("a", schedule=name, steps=10), card(), process, 0.4)[1]
    assert levels[0] == pytest.approx(start_level(0.4, process), rel=1e-6)


def test_a_schedule_of_the_whole_table_has_no_strength() -> None:
    with pytest.raises(InputError, match=r"(grid|schedule) 'trailing': .*through the whole table"):
        route(request_of("a", schedule="trailing", steps=10), card(), VP("scaled-linear"), 0.4)
    with pytest.raises(InputError, match="strength: cannot be combined with explicit levels of a schedule"):
        request_of("a", schedule=(3.0, 1.0, 0.0), strength=0.4)


def test_the_shift_of_a_model_is_that_of_its_schedule() -> None:
    advised = card(schedule="flow", shift=5.0)
    assert route(request_of("a", steps=8), advised, Flow())[1] == flow_shift(8, 5.0)
    assert route(request_of("a", steps=8, schedule="sd3"), advised, Flow())[1] == flow_shift(8, 3.0)


def test_guidance_that_is_an_input_is_not_taken_for_the_other() -> None:
    distilled = card(distilled_guidance=3.5, guidance_scale=1.0)
    assert decided(request_of("a"), distilled).distilled_guidance == 3.5
    assert decided(request_of("a", distilled_guidance=2.0), distilled).distilled_guidance == 2.0
    with pytest.raises(InputError, match=r"guidance_scale 4: 'tiny' takes its guidance as an input; use dist.* 4"):
        decided(request_of("a", guidance_scale=4.0), distilled)
    both = decided(request_of("a", guidance_scale=4.0, negative_prompt="b"), distilled)
    assert (both.guidance_scale, both.distilled_guidance) == (4.0, 3.5)
    with pytest.raises(InputError, match="distilled_guidance 2: 'tiny' has no such input"):
        decided(request_of("a", distilled_guidance=2.0), card())


def test_video_and_audio() -> None:
    film = card(frames=9, stride=4, sizes=((16, 16),))
    assert decided(request_of("a"), film).frames == 9
    with pytest.raises(InputError, match=r"frames 7: 'tiny' makes 4\*k \+ 1 frames, such as 5 or 9"):
        decided(request_of("a", frames=7), film)
    sound = replace(card(seconds=2.0), modality="audio")
    plan = decided(request_of("a"), sound)
    assert (plan.seconds, plan.size) == (2.0, (0, 0))
    for field in ("frames", "seconds"):
        with pytest.raises(InputError, match=f"{field} 5: 'tiny' makes no"):
            decided(request_of("a", **{field: 5}), card())


def test_levels_start_at_pure_noise_by_default() -> None:
    assert route(request_of("a", steps=4), CARD, Flow())[1][0] == inf
    assert Advice().shift is None
