"""A fit is on the card of its model, and is the default for exactly as many steps."""

from dataclasses import replace
from math import inf
from pathlib import Path

import pytest
import tiny
import torch

from unnoise.card import Card, Part, Setting, from_json, to_json
from unnoise.diffusion.process import VE, Flow
from unnoise.errors import InputError
from unnoise.generation.choose_sampler import route
from unnoise.generation.media.image import encode
from unnoise.generation.request import request_of
from unnoise.loading import load
from unnoise.model_file import save
from unnoise.pipeline import Pipeline
from unnoise.sampling import IPNDM
from unnoise.sampling.defaults import default
from unnoise.sampling.samplers.fitted import Fitted
from unnoise.tune.grid import fit
from unnoise.tune.model import guided_denoiser, trace_seeds, tune, with_fits

WEIGHTS = [[0.9], [1.3, -0.3], [1.0, 0.2, -0.1]]
SETTING = Setting(Part("Fitted", {"weights": WEIGHTS}), (2.0, 0.5, 0.0), 2.0, (0.2, 0.1))


def with_settings(*settings: Setting, card: Card = tiny.CARD, **advice: object) -> Card:
    return replace(card, advice=replace(card.advice, fitted=settings, **advice))  # type: ignore[arg-type]


def test_a_card_holds_fits_and_older_cards_are_readable() -> None:
    card = with_settings(SETTING)
    assert from_json(to_json(card), "card") == card
    assert '"fitted": []' in to_json(tiny.CARD)
    assert from_json(to_json(tiny.CARD).replace('"fitted": [], ', ""), "card") == tiny.CARD


def test_a_fit_is_used_for_its_number_of_steps_only() -> None:
    card = with_settings(SETTING)
    expected = Fitted(tuple(map(tuple, WEIGHTS))), (inf, 2.0, 0.5, 0.0)
    assert route(request_of("a", steps=3), card, Flow()) == expected
    assert route(request_of("a"), card, Flow()) == expected  # whose advice is 3 steps
    for steps in (2, 4):
        assert route(request_of("a", steps=steps), card, Flow()) == default(steps, inf, 0.0, guided=True)
    assert route(request_of("a"), with_settings(SETTING, steps=5), Flow()) == default(5, inf, 0.0, guided=True)


def test_a_given_sampler_or_schedule_wins() -> None:
    card = with_settings(SETTING)
    for asked in (
        {"sampler": "ddim"},
        {"schedule": "angle"},
        {"schedule": (inf, 1.0, 0.2, 0.0)},
        {"sampler": IPNDM(4)},
    ):
        request = request_of("a", **asked)  # type: ignore[arg-type]
        assert route(request, card, Flow()) == route(request, tiny.CARD, Flow())


def test_a_fit_starts_at_the_highest_level_of_the_model() -> None:
    assert route(request_of("a", steps=3), with_settings(SETTING), VE())[1][0] == VE().sigma_max


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"sampler": Part("System", {"command": "true"})}, "card: sampler 'System'"),
        ({"sampler": Part("Fitted", {"rows": []})}, "card: sampler Fitted: .*unexpected keyword"),
        ({"sampler": Part("Fitted", {"weights": [[1e4], [1], [1]]})}, r"weights\[0\]"),
        ({"levels": (0.5, 2.0, 0.0)}, "a grid descends"),
    ],
)
def test_a_card_with_an_invalid_fit_is_refused(change: dict[str, object], fault: str) -> None:
    with pytest.raises(InputError, match=fault):
        route(request_of("a", steps=3), with_settings(replace(SETTING, **change)), Flow())  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    path = tmp_path_factory.mktemp("tune") / "tiny.safetensors"
    save(path, tiny.pipeline(with_settings(SETTING)))
    return load(path)


def test_its_images_are_replayed_to_the_bit(tuned: Pipeline, tmp_path: Path) -> None:
    sample = tuned.generate("a red heart", seed=7, steps=3)[0]
    plain = tuned.generate("a red heart", seed=7, steps=3, sampler="ipndm-2", schedule="default")[0]
    assert (sample.x0 - plain.x0).abs().max() > 1e-3
    sample.save(tmp_path / "a.png")
    again = replace(tuned, card=tiny.CARD)  # replay uses the metadata, not the card
    again = replace(again, card=replace(again.card, fingerprint=tuned.card.fingerprint))
    made = again.replay(tmp_path / "a.png")
    assert encode(made.image, made.metadata) == (tmp_path / "a.png").read_bytes()


def test_the_denoiser_is_the_one_that_generates(tuned: Pipeline) -> None:
    """`generate` gives for a prompt and a seed the end of the reference trajectory."""
    prompts, seeds = ["a heart", "a star", ""], [5, 6, 7]
    found = trace_seeds(tuned, prompts, seeds, lambda share: None)
    assert torch.allclose(
        guided_denoiser(tuned, prompts)(found.reference.states[0], torch.ones(3)),
        found.denoise(found.reference.states[0], torch.ones(3)),
    )
    for k, (prompt, seed) in enumerate(zip(prompts, seeds, strict=True)):
        sample = tuned.generate(prompt, seed=seed, sampler="ipndm", schedule=found.reference.levels)[0]
        assert torch.allclose(sample.x0, found.reference.x0[k], atol=1e-4)


def test_tuning_is_closer_and_replaces_the_fit_of_as_many_steps(tuned: Pipeline) -> None:
    train, test = (trace_seeds(tuned, ["a"] * 6, range(at, at + 6), lambda share: None) for at in (0, 6))
    shares: list[float] = []
    found = tune(tuned, train, test, 3, None, shares.append)
    assert found.after[0] < 0.8 * found.before[0]
    assert found.after[1] < found.before[1]
    assert found.fitted.shape == found.default.shape == (6, 3, 16, 16)
    assert found.fit == fit(train.denoise, train.reference, 3)
    card = with_fits(with_settings(SETTING, replace(SETTING, levels=(1.0, 0.0))), [found])
    assert [len(setting.levels) for setting in card.advice.fitted] == [2, 3]
    assert route(request_of("a", steps=3), from_json(to_json(card), "card"), Flow()) == (
        found.fit.sampler,
        found.fit.grid,
    )
    assert shares == sorted(shares)
