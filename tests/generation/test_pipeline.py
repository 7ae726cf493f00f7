"""A sample is a function of its metadata alone: not of its batch, its neighbours, or the day."""

from dataclasses import replace
from math import inf
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from torch import Tensor

import unnoise
from unnoise.card import Part
from unnoise.diffusion.noise import START, draw
from unnoise.errors import InputError, NonFiniteError
from unnoise.generation.media.image import encode
from unnoise.generation.metadata import AppliedAdapter, CallShape
from unnoise.generation.request import request_of
from unnoise.generation.sample import Sample
from unnoise.pipeline import Pipeline
from unnoise.sampling import DDIM


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    return tiny.saved(tmp_path_factory.mktemp("pipeline") / "tiny.safetensors")


def apart(one: Sample, other: Sample) -> float:
    return float((one.x0 - other.x0).abs().max())


def pixels(sample: Sample) -> np.ndarray:
    return np.asarray(sample.image).astype(int)


def test_equal_requests_give_equal_images(pipeline: Pipeline) -> None:
    one, other = (pipeline.generate("a red heart", seed=7, n=3, sampler="euler-a") for _ in range(2))
    for a, b in zip(one, other, strict=True):
        assert torch.equal(a.x0, b.x0)
        assert encode(a.image, a.metadata) == encode(b.image, b.metadata)


@pytest.mark.parametrize("sampler", ["ddim", "euler-a", "heun", "dpmpp-2m"])
def test_a_sample_does_not_depend_on_its_batch(pipeline: Pipeline, sampler: str) -> None:
    together = pipeline.generate(["a heart", "a big old heart", ""], seed=7, n=4, sampler=sampler, batch=5)
    assert [sample.metadata.seed for sample in together] == [7, 8, 9, 10] * 3
    for k, prompt in ((2, "a heart"), (7, "a big old heart"), (9, "")):
        alone = pipeline.generate(prompt, seed=7 + k % 4, sampler=sampler)[0]
        assert apart(alone, together[k]) < 1e-4
        assert (np.abs(pixels(alone) - pixels(together[k])) <= 1).mean() >= 0.999


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"sampler": "euler-a", "steps": 4},
        {"sampler": DDIM(0.3), "schedule": [inf, 3.0, 0.5, 0.0]},
        {
            "schedule": "angle",
            "guidance_scale": 3,
            "negative_prompt": "blue",
            "guidance_interval": (0.5, 20.0),
            "guidance_rescale": 0.7,
        },
        {"guidance_scale": 1},
        {"dtype": "bfloat16", "size": (24, 16)},
    ],
)
def test_every_sample_of_a_batch_is_replayed_to_the_bit(pipeline: Pipeline, how: dict[str, object]) -> None:
    for sample in pipeline.generate(["a red heart", "star"], seed=2**40, n=3, batch=4, **how)[::2]:
        again = pipeline.replay(sample.metadata)
        assert encode(again.image, again.metadata) == encode(sample.image, sample.metadata)


def test_replay_is_not_moved_by_advice(pipeline: Pipeline) -> None:
    sample = pipeline.generate("a", seed=1)[0]
    advice = replace(pipeline.card.advice, guidance_interval=(0.3, 4.0), guidance_rescale=0.9, sampler="heun", steps=9)
    other = replace(pipeline, card=replace(pipeline.card, advice=advice))
    assert torch.equal(other.replay(sample.metadata).x0, sample.x0)
    assert apart(other.generate("a", seed=1)[0], sample) > 1e-3


def test_every_choice_acts(pipeline: Pipeline) -> None:
    base = {"seed": 1, "steps": 6}
    seen = [pipeline.generate("a red heart", **base)[0]]
    choices: list[dict[str, object]] = [
        {"seed": 2},
        {"steps": 5},
        {"guidance_scale": 3.0},
        {"guidance_scale": 1.0},
        {"negative_prompt": "blue"},
        {"sampler": "dpmpp-2m"},
        {"sampler": "euler-a"},
        {"schedule": "angle"},
        {"guidance_interval": (0.5, 2.0)},
        {"guidance_rescale": 1.0},
        {"dtype": "bfloat16"},
    ]
    for choice in choices:
        found = pipeline.generate("a red heart", **base | choice)[0]
        assert all(apart(found, other) > 1e-5 for other in seen), choice
        seen.append(found)
    assert pipeline.generate("a red heart", size=24, **base)[0].image.size == (24, 24)
    assert pipeline.generate("a red heart", size=(24, 16), **base)[0].x0.shape == (4, 4, 6)


def test_guidance_is_counted_from_the_negative_prompt(pipeline: Pipeline) -> None:
    none = pipeline.generate("blue", seed=1, guidance_scale=1.0, sampler="ab")[0]
    zero = pipeline.generate("a heart", seed=1, guidance_scale=0.0, negative_prompt="blue", sampler="ab")[0]
    assert apart(none, zero) < 1e-5


def test_empty_prompt_is_the_unconditional_model(pipeline: Pipeline) -> None:
    plain, same, null = (
        pipeline.generate(prompt, seed=1, guidance_scale=scale, sampler="ab")[0]
        for prompt, scale in (("", 1.0), ("", 5.0), ("a heart", 0.0))
    )
    assert apart(plain, same) < 1e-4
    assert apart(plain, null) < 1e-5


def test_a_given_noise_is_the_start(pipeline: Pipeline) -> None:
    noise = draw([7, 8], START, torch.empty(2, 4, 4, 4))
    drawn = pipeline.generate("a", seed=7, n=2)
    given = pipeline.generate("a", n=2, noise=noise)
    assert [torch.equal(a.x0, b.x0) for a, b in zip(drawn, given, strict=True)] == [True, True]
    assert torch.allclose(pipeline.generate("a", noise=noise[1])[0].x0, drawn[1].x0, atol=1e-5)
    with pytest.raises(InputError, match="the starting noise was given by a caller"):
        pipeline.replay(given[0].metadata)


@pytest.mark.parametrize(
    ("how", "fault"),
    [
        ({"noise": torch.zeros(4, 4, 5)}, r"noise \[4, 4, 5\]: must be finite and of shape \[1, 4, 4, 4\]"),
        ({"noise": torch.full((4, 4, 4), torch.nan)}, "noise .*must be finite"),
        (
            {"noise": torch.zeros(4, 4, 4), "seed": 1},
            "seed 1: noise is given, and this sampler draws none",
        ),
        ({"size": 20}, "multiples of 8"),
        ({"prompt": "word " * 40}, "has 161 tokens, at most 16 are allowed"),
    ],
)
def test_refuses(pipeline: Pipeline, how: dict[str, object], fault: str) -> None:
    with pytest.raises(InputError, match=fault):
        pipeline.generate(**{"prompt": "a"} | how)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"fingerprint": "0" * 64}, "drawn by 'tiny' with weights 000000000000; these are"),
        ({"calls": (CallShape(1, 1, 4, 0, -1),)}, "calls.row 4: a whole number from 0 to 0"),
        ({"calls": (CallShape(1, 10**6, 4, 0, -1),)}, "calls.rows 1000000: a whole number from 1 to 16384"),
        ({"calls": (CallShape(0, 1, 0, 0, -1),)}, "calls 0: a whole number from 1"),
        ({"calls": (CallShape(1, 1, 0, 2, -1),)}, "calls.guided 2: a whole number from 0 to 1"),
        ({"calls": (CallShape(1, 2, 0, 1, 1),)}, "calls.place 1: a whole number from -1 to 0"),
        ({"calls": (CallShape(1, 1, 0, 1, 0, 10**6),)}, "calls.tokens 1000000"),
        ({"calls": (CallShape(1, 1, 0, 1, 0, 16, True),)}, "calls: fewer network calls than the sampler makes"),
        ({"calls": ()}, "calls: empty"),
        ({"decoded": (4, 0)}, "decoded 4: a whole number from 1 to 1"),
        ({"decoded": (1, 1)}, "decoded 1: a whole number from 0 to 0"),
        ({"image_size": (0, 9)}, "width 0"),
        ({"noise": "0" * 64}, "the starting noise was given by a caller"),
        ({"image": "0" * 64}, "image: the metadata names one of sha256 000000000000, and none is given"),
        (
            {"adapters": (AppliedAdapter("ink", "ab" * 32, 1.0),)},
            "lora: the sample was drawn with 'ink' of abab",
        ),
        ({"size": (2**40, 8)}, "width"),
        ({"seed": -1}, "seed -1"),
        ({"levels": (5.0,)}, "at least 2 levels"),
        ({"guidance_scale": 1e9}, "guidance_scale"),
        ({"sampler": Part("Any", {})}, "sampler 'Any'"),
    ],
)
def test_replay_refuses(pipeline: Pipeline, change: dict[str, object], fault: str) -> None:
    metadata = replace(pipeline.generate("a", seed=1)[0].metadata, **change)
    with pytest.raises(InputError, match=fault):
        pipeline.replay(metadata)


def test_a_random_seed_is_in_the_metadata(pipeline: Pipeline) -> None:
    one, other = (pipeline.generate("a")[0] for _ in range(2))
    assert one.metadata.seed != other.metadata.seed
    assert torch.equal(pipeline.generate("a", seed=one.metadata.seed)[0].x0, one.x0)


def test_a_callback_gets_every_call_and_its_x0(pipeline: Pipeline) -> None:
    calls: list[int] = []
    last: list[Tensor] = []

    def callback(call: int, x0: Tensor) -> None:
        calls.append(call)
        last.append(x0)

    made = pipeline.generate("a", seed=1, n=3, batch=2, steps=2, sampler="heun", callback=callback)
    assert calls == [1, 2, 3, 4, 5, 6]
    assert {x0.shape[1:] for x0 in last} == {(4, 4, 4)}
    assert [len(x0) for x0 in last] == [2, 2, 2, 1, 1, 1] or sum(map(len, last)) == 9
    assert len(made) == 3


def test_a_callback_that_returns_false_cancels(pipeline: Pipeline) -> None:
    calls: list[int] = []

    def callback(call: int, x0: Tensor) -> bool:
        calls.append(call)
        return call < 3

    (first,) = pipeline.generate("a", seed=1, n=3, batch=1, steps=2, sampler="ddim", callback=callback)
    assert (first.metadata.seed, calls) == (1, [1, 2, 3]), "the first was complete, the second half-way"
    calls.clear()
    assert pipeline.generate("a", seed=1, n=2, steps=4, sampler="ddim", callback=callback) == []
    assert calls == [1, 2, 3]
    calls.clear()
    made = pipeline.generate("a", seed=1, n=2, batch=2, steps=2, sampler="ddim", callback=callback)
    assert (len(made), calls) == (2, [1, 2]), "samples that are complete are returned"


def test_the_share_of_the_work_grows_to_its_end(pipeline: Pipeline) -> None:
    shares: list[float] = []
    request = request_of("a", seed=1, n=3, batch=2, steps=2, sampler="heun")
    pipeline.run(request, watch=lambda step, share: shares.append(share))
    assert len(shares) == 6 or len(shares) == 8
    assert shares == sorted(shares)
    assert 0 < shares[0] < shares[-1] == 1


def test_text_is_read_once_a_prompt(pipeline: Pipeline) -> None:
    assert pipeline.text_encoder is not None
    calls: list[int] = []
    hook = pipeline.text_encoder.net.register_forward_hook(lambda *_: calls.append(1))
    try:
        pipeline.generate(["a", "b", "a"], seed=1, n=4, batch=2)
    finally:
        hook.remove()
    assert len(calls) == 3  # a, b and the empty negative


@pytest.mark.parametrize("network", ["net", "autoencoder", "text"])
def test_what_is_not_finite_stops_the_run(tmp_path: Path, network: str) -> None:
    made = tiny.pipeline()
    with torch.no_grad():
        list(made.networks()[network].parameters())[-1].fill_(torch.nan)
    with pytest.raises(NonFiniteError, match=r"sigma inf|decoding"):
        made.generate("a", seed=1)


def test_no_gradients_and_plain_tensors(pipeline: Pipeline) -> None:
    x0 = pipeline.generate("a", seed=1)[0].x0
    assert not x0.requires_grad
    assert (x0.clone().requires_grad_() * 2).sum().requires_grad


def test_public_names(tmp_path: Path) -> None:
    tiny.saved(tmp_path / "tiny.safetensors")
    sample = unnoise.load(tmp_path / "tiny.safetensors").generate("a red heart", seed=7)[0]
    assert isinstance(sample, unnoise.Sample)
    assert isinstance(sample.metadata, unnoise.Metadata)
    assert {*unnoise.__all__} <= {*dir(unnoise)}
    assert all(hasattr(unnoise, name) for name in unnoise.__all__)
    assert not hasattr(unnoise, "scheduler")
