"""The bounds and defaults that help and pages promise: the ends of each range are taken, what is past them is not."""

from dataclasses import fields
from math import inf, nextafter
from pathlib import Path
from typing import Any

import pytest

from unnoise.errors import InputError
from unnoise.generation.option import described
from unnoise.generation.options import OPTIONS
from unnoise.generation.request import request_of, split_weight
from unnoise.sampling import DDIM

RANGES: dict[str, tuple[float, float]] = {
    "steps": (1, 1000), "seed": (0, 2**63 - 1), "n": (1, 4096), "size": (1, 4096), "frames": (1, 1024),
    "seconds": (1e-3, 600.0), "guidance_scale": (0.0, 100.0), "guidance_rescale": (0.0, 1.0),
    "distilled_guidance": (0.0, 100.0), "image_guidance": (0.0, 100.0), "variation": (0.0, 1.0),
    "variation_seed": (0, 2**63 - 1), "blend_share": (0.0, 1.0), "tile": (1, 4096), "batch": (1, 4096),
    "strength": (1e-3, 1.0), "outpaint": (0, 4096), "feather": (0, 4096), "resample": (1, 100),
    "control_scale": (0.0, 2.0), "ip_adapter_scale": (0.0, 2.0), "original_size": (1, 16384),
    "target_size": (1, 16384), "negative_original_size": (1, 16384), "negative_target_size": (1, 16384),
    "crop_top_left": (0, 16384), "negative_crop_top_left": (0, 16384), "aesthetic_score": (0.0, 10.0),
    "negative_aesthetic_score": (0.0, 10.0),
}  # fmt: skip
NEEDS: dict[str, dict[str, Any]] = {
    "variation": {"variation_seed": 1}, "variation_seed": {"variation": 0.5}, "blend_share": {"blend_prompt": "b"},
}  # fmt: skip
DEFAULTS: dict[str, Any] = {
    "negative_prompt": "", "n": 1, "prompt_weighting": "warn", "invert_mask": False, "mask_mode": "blend",
    "control_resize": "crop",
    "lora": (), "partial": False, "progress": True,
}  # fmt: skip


def test_every_number_has_its_range_here() -> None:
    kinds = {name: option.kind for kind in OPTIONS for name, option in described(kind).items()}
    assert set(RANGES) == {
        name for name, kind in kinds.items() if kind in ("whole", "number", "size", "sides", "corner")
    }


@pytest.mark.parametrize("name", RANGES)
def test_a_range_holds_its_ends_and_no_more(name: str) -> None:
    def ask(value: float) -> None:
        several: Any = (1, 2, 3, value) if name == "outpaint" else (1, value) if name.endswith("top_left") else value
        request_of("a", **{name: several}, **NEEDS.get(name, {}))

    low, high = RANGES[name]
    ask(low)
    ask(high)
    past = (nextafter(low, -inf), nextafter(high, inf)) if isinstance(high, float) else (low - 1, high + 1)
    for value in past:
        with pytest.raises(InputError, match=r"from .* to "):
            ask(value)


def test_defaults() -> None:
    for kind in OPTIONS:
        for one in fields(kind):
            assert one.default == DEFAULTS.get(one.name), one.name


def test_the_samples_of_a_request() -> None:
    request_of(("a",) * 16, n=4096)
    with pytest.raises(InputError, match="17 prompts of n 4096: at most 65536"):
        request_of(("a",) * 17, n=4096)
    request_of("a" * 10_000)
    with pytest.raises(InputError, match="10001 letters: at most 10000"):
        request_of("a" * 10_001)


@pytest.mark.parametrize("sides", [8, "8888", (1, 2, 3), (1, 2, 3, 4, 5), (1, 2, 3, 4.0), (1, 2, 3, True)])
def test_outpaint_is_four_whole_numbers(sides: Any) -> None:
    with pytest.raises(InputError, match=r"outpaint .*(four whole numbers|a whole number)"):
        request_of("a", outpaint=sides)


def test_a_sampler_is_a_name_or_can_advance() -> None:
    request_of("a", sampler=DDIM())
    for other in (5, object()):
        with pytest.raises(InputError, match="a name, or an object with the method `advance`"):
            request_of("a", sampler=other)


@pytest.mark.parametrize(
    ("typed", "name", "weight"),
    [
        ("ink.safetensors:0.5", "ink.safetensors", 0.5),
        ("a:b:-2", "a:b", -2.0),
        ("ink.safetensors", "ink.safetensors", 1.0),
        ("C:ink", "C:ink", 1.0),
        (":0.5", ":0.5", 1.0),
        (Path("ink:0.5"), Path("ink:0.5"), 1.0),
    ],
)
def test_the_weight_behind_a_colon(typed: Any, name: Any, weight: float) -> None:
    assert split_weight(typed) == (name, weight)
