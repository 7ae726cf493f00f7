"""Prompts that change in the course of the steps and prompts that AND joins, through the engine."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from adapters.test_lora_hooks import adapter
from PIL import Image
from torch import Tensor

from unnoise.adapters.lora.write import write
from unnoise.diffusion.loop import run
from unnoise.diffusion.noise import START, draw
from unnoise.errors import InputError
from unnoise.generation.engine import Engine, _step_of
from unnoise.generation.metadata import from_json, to_json
from unnoise.generation.prepare import prepare
from unnoise.generation.prompt_rows import read_prompt
from unnoise.generation.request import request_of
from unnoise.generation.resolve import resolve
from unnoise.generation.sample import Sample
from unnoise.generation.stored import load, save
from unnoise.pipeline import Pipeline
from unnoise.sampling.registry import sampler
from unnoise.sampling.samplers.restart import repaints
from unnoise.sampling.state import start

PROMPTS = ["[b:c:2]", "b AND c:0.5", "b", "[b|c]", "(b:1.3)", "b AND [c:d:0.5]:-0.5 AND e"]
CLOSE = 1e-5


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    return tiny.saved(tmp_path_factory.mktemp("rows") / "tiny.safetensors")


def drawn(pipeline: Pipeline, prompt: Any, **options: Any) -> list[Sample]:
    given = {"seed": 3, "steps": 4, "size": 16, "sampler": "euler", "prompt_weighting": "apply", **options}
    return pipeline.generate(prompt, **given)


def by_hand(pipeline: Pipeline, prompts: list[dict[str, float]], scale: float) -> Tensor:
    """Draw step by step, each with the prompts of its step, by the formula of composable diffusion."""
    assert pipeline.text_encoder is not None
    encode, levels = pipeline.text_encoder, drawn(pipeline, "b")[0].metadata.grid
    null, left = encode.negative(""), iter(prompts)

    def denoise(x: Tensor, sigma: Tensor) -> Tensor:
        base = pipeline.denoiser(x, sigma, null)
        each = [(pipeline.denoiser(x, sigma, encode([text])[0]), weight) for text, weight in next(left).items()]
        changes = torch.stack([weight * (one - base) for one, weight in each])
        return base + scale * changes.sum(0)

    noise = draw([3], START, torch.empty(1, *drawn(pipeline, "b")[0].x0.shape))
    with torch.no_grad():
        return run(sampler("euler"), denoise, start(noise, levels), draw, [3])[0]


@pytest.mark.parametrize(
    ("prompt", "by_step"),
    [
        ("[b:c:2]", [{"b": 1}, {"b": 1}, {"c": 1}, {"c": 1}]),
        ("[b::0.25] d", [{"b d": 1}, {" d": 1}, {" d": 1}, {" d": 1}]),
        ("[b|c]", [{"b": 1}, {"c": 1}, {"b": 1}, {"c": 1}]),
        ("b AND c:0.5", [{"b": 1, "c": 0.5}] * 4),
        ("b:2 AND [c:d:0.5]:-0.5", [{"b": 2, "c": -0.5}] * 2 + [{"b": 2, "d": -0.5}] * 2),
    ],
)
@pytest.mark.parametrize("scale", [1.0, 2.5])
def test_each_step_has_its_prompts(
    pipeline: Pipeline, prompt: str, by_step: list[dict[str, float]], scale: float
) -> None:
    (found,) = drawn(pipeline, prompt, guidance_scale=scale)
    assert torch.allclose(found.x0, by_hand(pipeline, by_step, scale), atol=CLOSE)
    assert (found.metadata.prompt, found.metadata.prompt_weighting) == (prompt, "apply")


def test_outside_of_the_interval_and_joins_prompts_without_guidance(pipeline: Pipeline) -> None:
    (found,) = drawn(pipeline, "b AND c:0.5", guidance_scale=3, guidance_interval=(1e5, 1e6))
    assert torch.allclose(found.x0, by_hand(pipeline, [{"b": 1, "c": 0.5}] * 4, 1.0), atol=CLOSE)


def test_a_sample_does_not_depend_on_its_neighbours_and_is_drawn_again(pipeline: Pipeline) -> None:
    together = drawn(pipeline, PROMPTS, negative_prompt="[x:y:1]")
    for prompt, one in zip(PROMPTS, together, strict=True):
        alone = drawn(pipeline, prompt, negative_prompt="[x:y:1]")[0]
        assert torch.allclose(one.x0, alone.x0, atol=CLOSE)
        assert torch.equal(pipeline.replay(from_json(to_json(one.metadata), "here")).x0, one.x0)
    assert len({tuple(one.x0.flatten().tolist()) for one in together}) == len(PROMPTS)


@pytest.mark.parametrize("sampler_name", ["ab", "heun", "euler-a"])
def test_a_stored_sample_goes_on(pipeline: Pipeline, tmp_path: Path, sampler_name: str) -> None:
    prompt = "[b:c:2] AND d"
    options = {"seed": 3, "steps": 4, "size": 16, "sampler": sampler_name, "prompt_weighting": "apply"}
    (whole,) = pipeline.generate(prompt, **options)
    engine = Engine(pipeline)
    (ticket,) = engine.admit(resolve(request_of(prompt, **options), pipeline))
    engine.step()
    engine.step()
    save(tmp_path / "a.safetensors", pipeline, engine.pause(ticket))
    engine.resume(load(tmp_path / "a.safetensors", pipeline))
    found = list[Sample]()
    while not engine.idle:
        found += engine.step().finished.values()
    assert torch.equal(found[0].x0, whole.x0)
    assert found[0].metadata == whole.metadata


def test_steps_that_repaint_takes_again_keep_their_prompt(pipeline: Pipeline) -> None:
    photo, mask = Image.linear_gradient("L").resize((16, 16)).convert("RGB"), Image.new("L", (16, 16))
    mask.paste(255, (8, 0, 16, 16))
    options: dict[str, Any] = {"seed": 3, "steps": 4, "image": photo, "mask": mask, "resample": 2}
    plain = pipeline.generate("c", **options)[0].x0
    switched = pipeline.generate("[b:c:0]", **options, prompt_weighting="apply")[0].x0
    late = pipeline.generate("[c:b:3]", **options, prompt_weighting="apply")[0].x0
    assert torch.equal(plain, switched)
    assert not torch.equal(plain, late)


def test_a_step_that_is_taken_again_is_the_same_step() -> None:
    grid = (8.0, 4.0, 2.0, 1.0, 0.0)
    again = repaints(grid, 1, 2)
    steps = [_step_of(grid, replace(start(torch.zeros(1), again), i=i)) for i in range(len(again) - 1)]
    assert len(steps) > 4
    assert set(steps) == {0, 1, 2, 3}
    assert [again[i] for i in range(len(steps))] == [grid[step] for step in steps]


def test_weights_multiply_the_features(pipeline: Pipeline) -> None:
    assert pipeline.text_encoder is not None
    (plain,), (weighted,) = (pipeline.text_encoder([text], "apply") for text in ("b c", "b (c:1.5)"))
    assert plain.tokens is not None
    assert weighted.tokens is not None
    factors = torch.tensor([1, 1, 1.5] + [1] * 13)[:, None]
    assert torch.equal(weighted.tokens, plain.tokens * factors)
    with pytest.raises(InputError, match="BREAK begins a chunk"):
        pipeline.text_encoder(["b BREAK c"], "apply")


def test_equal_texts_are_encoded_once_and_a_plain_prompt_has_one_turn(pipeline: Pipeline) -> None:
    job = resolve(request_of(["b", "[b|c]"], seed=1, steps=6, size=16, prompt_weighting="apply"), pipeline)
    rows = prepare(pipeline, job).conditioning
    assert (len(rows["b"].turns), rows["b"].order) == (1, (0,))
    assert (len(rows["[b|c]"].turns), rows["[b|c]"].order) == (2, (0, 1, 0, 1, 0, 1))
    assert rows["b"].turns[0][0] is rows["[b|c]"].turns[0][0]
    literal = resolve(request_of("[b|c] AND d", seed=1, steps=6, size=16, prompt_weighting="literal"), pipeline)
    assert read_prompt("[b|c] AND d", literal.settings).texts == (("[b|c] AND d", ""),)


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"negative_prompt": "a AND b"}, "negative_prompt: 'AND' acts in the prompt only"),
        ({"negative_prompt": "<lora:x:1>"}, "negative_prompt: '<lora:x:1>' acts in the prompt only"),
        ({"blend_prompt": "[a:b:2]"}, "blend_prompt: .* act in the prompt and the negative_prompt only"),
        ({"blend_prompt": "a AND b"}, "blend_prompt: 'AND'"),
    ],
)
def test_what_acts_in_the_prompt_only(pipeline: Pipeline, options: dict[str, Any], fault: str) -> None:
    with pytest.raises(InputError, match=fault):
        drawn(pipeline, "b", **options)


def test_an_adapter_that_a_prompt_names(pipeline: Pipeline, tmp_path: Path) -> None:
    file = tmp_path / "mine.safetensors"
    write(file, adapter(pipeline, seed=1), dtype=torch.float32)
    by_option = drawn(pipeline, "b ", lora=f"{file}:0.5")[0]
    by_prompt = drawn(pipeline, "b <lora:mine:0.5>", lora=str(file))[0]
    assert torch.equal(by_option.x0, by_prompt.x0)
    assert by_prompt.metadata.adapters == by_option.metadata.adapters
    assert torch.equal(pipeline.replay(by_prompt, lora=str(file)).x0, by_prompt.x0)
    both = drawn(pipeline, ["b <lora:mine:0.5>", "b ", "b"], lora=f"{file}:0.5")
    assert [one.metadata.adapters[0].weight for one in both] == [0.5] * 3
    several = drawn(pipeline, ["<lora:mine:0.5> b", "<lora:mine:-1> b"], lora=str(file))
    assert [one.metadata.adapters[0].weight for one in several] == [0.5, -1.0]
    assert [one.metadata.seed for one in several] == [3, 3]
    with pytest.raises(InputError, match="its prompts name several sets"):
        pipeline.plan(["<lora:mine:0.5>", "b"], lora=str(file), prompt_weighting="apply")
    for prompt, lora, fault in (
        ("<lora:other:1>", (), r"no such adapter is given; add --lora PATH/other\.safetensors"),
        ("<lora:mine:0.5>", f"{file}:0.7", "--lora gives it weight 0.7; give one weight"),
        ("<lora:mine:9>", str(file), "a number from -4 to 4"),
        ("<hypernet:mine:1>", (), "no network 'hypernet'"),
    ):
        with pytest.raises(InputError, match=fault):
            drawn(pipeline, prompt, lora=lora)
