"""The axes of a sweep: which options become one, in which order requests are made, how each value is named."""

from pathlib import Path
from typing import Any

import pytest

from unnoise.card import Part
from unnoise.errors import InputError
from unnoise.generation.axes import FIXED, Axis, combinations
from unnoise.sampling import DDIM


def asked(prompts: list[str], **options: Any) -> tuple[list[tuple[str, tuple[Any, ...]]], list[tuple[Any, ...]]]:
    """Return the axes, and prompt, steps and seed of each request."""
    axes, requests = combinations(prompts, options)
    made = [(*one.prompts, one.sampling.steps, one.sampling.seed) for one in requests]
    assert {one.sampling.n for one in requests} == {1}
    return [(axis.name, axis.values) for axis in axes], made


def test_the_last_axis_is_the_fastest() -> None:
    axes, made = asked(["a", "b"], steps=[2, 3], seed=4)
    assert axes == [("prompt", ("a", "b")), ("steps", (2, 3))]
    assert made == [("a", 2, 4), ("a", 3, 4), ("b", 2, 4), ("b", 3, 4)]


def test_n_is_an_axis_of_seeds() -> None:
    assert asked(["a"], n=3, seed=5, steps=2) == ([("seed", (5, 6, 7))], [("a", 2, 5), ("a", 2, 6), ("a", 2, 7)])
    assert asked(["a"], n=2, seed=0) == ([("seed", (0, 1))], [("a", None, 0), ("a", None, 1)])
    assert asked(["a"], n=1, seed=[3, 9])[0] == [("seed", (3, 9))]
    seeds = {seed for *_, seed in asked(["a", "b", "c"])[1]}
    assert len(seeds) == 1, "one random seed for the whole sweep"
    assert 0 <= seeds.pop() < 2**32
    with pytest.raises(InputError, match="n 2: cannot be combined with several seeds"):
        asked(["a"], n=2, seed=[3, 9])


def test_one_value_in_a_list_is_no_axis() -> None:
    assert asked(["a"], steps=[2], seed=[1, 2]) == ([("seed", (1, 2))], [("a", 2, 1), ("a", 2, 2)])
    for options in ({}, {"steps": [2]}, {"n": 1}):
        with pytest.raises(InputError, match="no option has several values"):
            asked(["a"], **options)


def test_a_sweep_has_at_most_4096_samples() -> None:
    assert len(combinations(["a"] * 64, {"seed": list(range(64))})[1]) == 4096
    with pytest.raises(InputError, match="sweep of 17 x 241: at most 4096 samples"):
        combinations(["a"] * 17, {"seed": list(range(241))})
    for n in (0, 4097):
        with pytest.raises(InputError, match=f"n {n}: a whole number from 1 to 4096"):
            combinations(["a"], {"n": n, "seed": 1})


@pytest.mark.parametrize("name", FIXED)
def test_images_are_no_axis(name: str) -> None:
    with pytest.raises(InputError, match=f"{name}: takes one value in a sweep"):
        combinations(["a"], {name: [1, 2]})


@pytest.mark.parametrize(
    ("name", "value", "label", "slug"),
    [
        ("prompt", "a cat", "a cat", ""),
        ("prompt", "", "(empty prompt)", ""),
        ("seed", 7, "seed 7", ""),
        ("guidance_scale", 2.50, "guidance scale 2.5", "guidance-scale-2.5"),
        ("size", (24, 16), "size 24x16", "size-24x16"),
        ("size", 24, "size 24", "size-24"),
        ("guidance_interval", (0.5, 3.0), "guidance interval 0.5, 3", "guidance-interval-0.5-3"),
        ("lora", (), "lora none", "lora-none"),
        ("lora", {Path("a/ink.safetensors"): 0.50}, "lora ink.safetensors:0.5", "lora-ink.safetensors-0.5"),
        ("lora", "/b/ink.safetensors", "lora ink.safetensors", "lora-ink.safetensors"),
        ("sampler", DDIM(0.5), "sampler DDIM(eta=0.5)", "sampler-DDIM-eta-0.5"),
        ("sampler", Part("x" * 50), f"sampler {str(Part('x' * 50))[:40]}", None),
    ],
)
def test_the_name_of_a_value(name: str, value: Any, label: str, slug: str | None) -> None:
    axis = Axis(name, (None, value))
    assert axis.label(1) == label
    assert slug is None or axis.slug(1) == slug
