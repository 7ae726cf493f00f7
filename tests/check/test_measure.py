"""Detectors on the embedded model as it is, and with each fault put into it; and on plain arrays."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from torch import Tensor

import unnoise
from unnoise.check import measure
from unnoise.check.engine import judge
from unnoise.check.probe import probe
from unnoise.check.subject import Subject
from unnoise.data.noto import open_noto
from unnoise.diffusion.conditioning import Conditioning, collate
from unnoise.diffusion.denoiser import Denoiser
from unnoise.diffusion.guidance import cfg
from unnoise.diffusion.noise import START, draw
from unnoise.errors import InputError
from unnoise.pipeline import Pipeline
from unnoise.spaces.latent import Latent

PROMPTS = ("a red heart", "a cat", "a blue car", "a tree")


def ids(*numbers: measure.Numbers) -> set[str]:
    return {finding.rule.id for finding in judge(measure.subject(*numbers))}


def numbers(subject: Subject) -> dict[str, float]:
    return {one.name: one.value for one in subject.measured}


@pytest.fixture(scope="module")
def emoji() -> Pipeline:
    return unnoise.load("emoji")


@pytest.fixture(scope="module")
def healthy(emoji: Pipeline) -> Subject:
    return probe(emoji)


@pytest.fixture(autouse=True)
def without_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


@pytest.fixture(scope="module")
def pictures() -> Tensor:
    read = open_noto().read
    pixels = torch.from_numpy(np.stack([read(i) for i in range(0, 800, 100)])).float() / 255
    opaque = pixels[..., :3] * pixels[..., 3:] + 1 - pixels[..., 3:]
    return opaque.permute(0, 3, 1, 2) * 2 - 1


def test_healthy_model_raises_nothing(healthy: Subject) -> None:
    assert not judge(healthy)
    found = numbers(healthy)
    assert found["kind_stated"] == found["kind_found"] == measure.KINDS.index("v")
    assert found["kind_distance"] < 0.05
    assert found["coupling"] < 1e-4
    assert 0.05 < found["round_trip"] < 0.25
    assert 1.0 < found["guided_ratio"] < 1.3
    assert found["null_difference"] > 0.5


def test_probe_is_seeded() -> None:
    one, again, other = (numbers(probe(tiny.pipeline(), seed)) for seed in (1, 1, 9))
    assert one == again
    assert one["round_trip"] != other["round_trip"]


def scaled(pipeline: Pipeline, by: float) -> Pipeline:
    assert isinstance(pipeline.space, Latent)
    affine = pipeline.space.affine
    space = Latent(pipeline.space.autoencoder, affine.shift, [by * scale for scale in affine.scale])
    return replace(pipeline, space=space)


@pytest.mark.parametrize("by", [0.5, 2.0])
def test_scale_halved_or_doubled(emoji: Pipeline, pictures: Tensor, by: float) -> None:
    wrong = scaled(emoji, by).space
    assert ids(measure.latents(emoji.space.encode(pictures))) == set()
    assert ids(measure.latents(wrong.encode(pictures))) == {"UN310"}
    x0 = emoji.space.encode(pictures)
    assert ids(measure.round_trip(x0, emoji.space.encode(emoji.space.decode(x0)))) == set()
    assert ids(measure.round_trip(x0, wrong.encode(wrong.decode(x0)))) == {"UN310"}


def test_wrong_kind_and_doubled_scale_in_a_pipeline(emoji: Pipeline) -> None:
    model = Denoiser(emoji.denoiser.net, emoji.denoiser.process, "eps")
    small = replace(emoji.card, advice=replace(emoji.card.advice, sizes=((32, 32),)))
    found = unnoise.check(scaled(replace(emoji, denoiser=model, card=small), 2.0))
    assert {"UN250", "UN310"} <= {finding.rule.id for finding in found}
    [kind] = [finding for finding in found if finding.rule.id == "UN250"]
    assert kind.expected == "v"


class Exact:
    """The best net of a kind for data of unit deviation that is white: E[x0 | x] = signal*x."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def __call__(self, x: Any, sigma: float) -> Any:
        signal, spread = (1 + sigma**2) ** -0.5, sigma * (1 + sigma**2) ** -0.5
        x0, eps = signal * x, spread * x
        return {"x0": x0, "eps": eps, "v": signal * eps - spread * x0, "flow": eps - x0}[self.kind]


@pytest.mark.parametrize("exact", measure.KINDS)
@pytest.mark.parametrize("stated", measure.KINDS)
def test_kind_of_exact_nets_in_numpy(exact: str, stated: str) -> None:
    draws = np.random.default_rng(0)
    x0, noise = draws.standard_normal((2, 4, 3, 16, 16))
    found = measure.kind(Exact(exact), x0, noise, stated, (20.0, 0.05))
    assert measure.KINDS[int(found["kind_found"])] == exact
    if exact != "v":  # of white data, v is 0 everywhere: it agrees with nothing
        assert ids(found) == (set() if exact == stated or exact == "eps" else {"UN250"})


def test_untrained_network_is_of_no_kind() -> None:
    assert "UN250" not in {finding.rule.id for finding in judge(probe(tiny.pipeline()))}


class Coupled(torch.nn.Module):
    """A net behind a normalisation over the batch that was left in training mode."""

    def __init__(self, net: torch.nn.Module) -> None:
        super().__init__()
        self.net, self.norm = net, torch.nn.BatchNorm2d(4, affine=False)

    def forward(self, x: Tensor, time: Tensor, cond: Conditioning) -> Tensor:
        answer: Tensor = self.norm.train()(self.net(x, time, cond))
        return answer


def test_batch_that_is_coupled() -> None:
    pipeline = tiny.pipeline()
    assert pipeline.text_encoder is not None
    cond, noise = collate(pipeline.text_encoder(PROMPTS)), draw(range(4), START, torch.empty(4, 4, 8, 8))
    sigma = torch.full((4,), 2.0)
    for net, expected in ((pipeline.denoiser.net, set()), (Coupled(pipeline.denoiser.net), {"UN251"})):
        model = Denoiser(net, pipeline.denoiser.process, "flow")
        found = measure.coupling(lambda x, s, m=model: m(x, s, cond.rows(slice(len(x)))), noise, sigma)
        assert ids(found) == expected


def test_guidance_of_thirty(emoji: Pipeline, pictures: Tensor) -> None:
    assert emoji.text_encoder is not None
    cond, null = collate(emoji.text_encoder(PROMPTS[:2])), collate(emoji.text_encoder(["", ""]))
    x, sigma = emoji.space.encode(pictures[:2]), torch.ones(2)
    x = (x + draw([0, 1], START, x)) / 2**0.5
    plain = emoji.denoiser(x, sigma, cond)
    for weight, expected in ((1.5, set()), (30.0, {"UN407"})):
        assert ids(measure.guided(cfg(emoji.denoiser, cond, null, weight)(x, sigma), plain)) == expected


def test_null_equal_to_cond(emoji: Pipeline) -> None:
    assert emoji.text_encoder is not None
    cond, null = (collate(emoji.text_encoder([word])) for word in ("a red heart", ""))
    x, sigma = draw([0], START, torch.empty(1, *emoji.space.shape(64, 64))), torch.full((1,), 20.0)
    answers = [emoji.denoiser(x, sigma, one) for one in (cond, null, cond)]
    assert ids(measure.null(answers[0], answers[1])) == set()
    assert ids(measure.null(answers[0], answers[2])) == {"UN408"}
    assert torch.allclose(cfg(emoji.denoiser, cond, cond, 9.0)(x, sigma), answers[0], atol=1e-3)


PICTURE = torch.linspace(-1, 1, 48).reshape(1, 3, 4, 4)
BROKEN = PICTURE.clone()
BROKEN[0, 0, 0, 0] = float("nan")


@pytest.mark.parametrize("to", [torch.asarray, np.asarray, torch.Tensor.half])
def test_pictures_in_torch_and_numpy(to: Callable[[Tensor], Any]) -> None:
    assert ids(measure.picture(to(PICTURE))) == set()
    for bad in (BROKEN, torch.full_like(PICTURE, -1.0), torch.zeros_like(PICTURE), PICTURE / 0):
        assert ids(measure.picture(to(bad))) == {"UN950"}
    assert ids(measure.latents(to(BROKEN))) == {"UN950"}


def test_pixels_that_a_mask_keeps() -> None:
    mask = (PICTURE < 0).float()
    painted = torch.where(mask == 1, PICTURE, 0.5)
    assert ids(measure.kept(PICTURE, painted, mask)) == set()
    found = measure.kept(PICTURE, painted + 0.1 * mask, mask)
    assert found["kept_change"] == pytest.approx(0.1 / 2 * 255, rel=1e-3)
    assert ids(found) == {"UN750"}


def test_average_that_never_moved() -> None:
    weights = [torch.ones(3), torch.ones(2, 2)]
    assert ids(measure.ema(weights, [one.clone() for one in weights])) == {"UN252"}
    moved = measure.ema(weights, [one * 1.01 for one in weights])
    assert moved["ema_moved"] == pytest.approx(0.01, rel=1e-3)
    assert ids(moved) == set()


def test_empty_inputs_give_no_numbers() -> None:
    nothing = torch.empty(0, 4, 8, 8)
    assert measure.latents(nothing) == measure.picture(nothing) == measure.null(nothing, nothing) == {}
    assert (
        measure.guided(nothing, nothing) == measure.clipped(nothing, nothing) == measure.kept(nothing, nothing, 1) == {}
    )
    assert measure.coupling(lambda x, sigma: x, torch.ones(1, 2), torch.ones(1)) == {}
    assert ids(measure.latents(torch.zeros(1, 4, 8, 8))) == set()  # of one image
    with pytest.raises(InputError, match="eps"):
        measure.kind(Exact("eps"), PICTURE, PICTURE, "epsilon", (20.0, 0.1))
