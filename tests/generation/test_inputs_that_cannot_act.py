"""An input that cannot act is refused before anything is drawn, and its nearest neighbour that can act is taken."""

from dataclasses import replace
from typing import Any

import pytest
import tiny
import torch
from PIL import Image

from unnoise.components import Components
from unnoise.errors import InputError
from unnoise.generation.prepare import Prepared, first_state, prepare
from unnoise.generation.request import request_of
from unnoise.generation.resolve import resolve
from unnoise.sampling.samplers.restart import repaints

PIPELINE = tiny.pipeline()
PHOTO = Image.linear_gradient("L").resize((16, 16)).convert("RGB")
MASK = Image.new("L", (16, 16))
MASK.paste(255, (8, 0, 16, 16))
NOISE = torch.zeros(4, 4, 4)


def prepared(of: Components = PIPELINE, prompt: str = "a", **options: Any) -> Prepared:
    return prepare(of, resolve(request_of(prompt, **{"size": 16, "steps": 3, **options}), of))


EDIT: dict[str, Any] = {"image": PHOTO, "size": None}
MASKED = {**EDIT, "mask": MASK}
VARIED = {"variation": 0.5, "variation_seed": 1}
CASES: list[tuple[dict[str, Any], str, dict[str, Any]]] = [
    ({**EDIT, "source_prompt": "b", "noise": NOISE}, "source_prompt: determines the noise", {"noise": NOISE}),
    ({**VARIED, "noise": NOISE}, "variation: determines the noise, which is given", VARIED),
    ({**EDIT, "source_prompt": "b", **VARIED}, "and so does source_prompt", {**EDIT, "source_prompt": "b"}),
    ({"strength": 0.5}, "strength 0.5: acts on an image", {**EDIT, "strength": 0.5}),
    ({"outpaint": (8, 0, 0, 0)}, "outpaint .*: acts on an image", {**EDIT, "outpaint": (8, 0, 0, 0)}),
    ({"source_prompt": "b"}, "source_prompt 'b': acts on an image", {**EDIT, "source_prompt": "b"}),
    ({"mask": MASK}, "mask: acts on an image", MASKED),
    ({**EDIT, "resample": 2}, "resample: acts along a mask", {**MASKED, "resample": 2}),
    ({**EDIT, "feather": 2}, "feather: acts along a mask", {**EDIT, "feather": 2, "outpaint": (8, 0, 0, 0)}),
    ({**EDIT, "mask_mode": "differential"}, "mask_mode: acts along", {**MASKED, "mask_mode": "differential"}),
    ({**EDIT, "invert_mask": True}, "invert_mask: acts on a mask", {**MASKED, "invert_mask": True}),
    ({**EDIT, "source_prompt": "b", "sampler": "euler-a"}, "deterministic", {**EDIT, "sampler": "euler-a"}),
    ({"control_image": PHOTO}, "control_image: 'tiny' was loaded without control", {}),
    ({"control_scale": 0.5}, "control_scale 0.5: acts on control_image", {}),
    ({"control_resize": "pad"}, "control_resize pad: acts on control_image", {}),
    ({"ip_adapter_image": PHOTO}, "ip_adapter_image: 'tiny' was loaded without ip_adapter", {}),
    ({"ip_adapter_scale": 0.5}, "ip_adapter_scale 0.5: acts on ip_adapter_image", {}),
    ({"noise": torch.full_like(NOISE, torch.inf)}, "noise .*: must be finite", {"noise": NOISE[None]}),
    ({"noise": NOISE, "n": 2}, r"noise \[4, 4, 4\]: must .* of shape \[2, 4, 4, 4\]", {"noise": NOISE}),
    ({"noise": [1.0]}, r"noise tuple: a tensor of shape \[1, 4, 4, 4\]", {}),
]


@pytest.mark.parametrize(("options", "fault", "neighbour"), CASES, ids=[fault[:30] for _, fault, _ in CASES])
def test_what_cannot_act(options: dict[str, Any], fault: str, neighbour: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=fault):
        prepared(**options)
    prepared(**neighbour)


def test_a_model_without_text() -> None:
    advice = replace(tiny.CARD.advice, guidance_scale=1.0)
    silent = replace(PIPELINE, card=replace(tiny.CARD, text=None, tokenizer=None, advice=advice), text_encoder=None)
    found = prepared(silent, "")
    assert found.conditioning[""].turns[0][0].given() == {}
    assert len(found.conditioning[""].turns[0]) == 1
    prepared(silent, "", **EDIT, source_prompt="b")
    with pytest.raises(InputError, match="blend_prompt: 'tiny' has no text encoder"):
        prepared(silent, "", blend_prompt="b")


def test_the_negative_prompt_is_encoded_where_guidance_acts() -> None:
    assert [set(row.given()) for row in prepared().conditioning["a"].turns[0]] == [{"tokens", "mask", "vector"}] * 2
    assert len(prepared(guidance_scale=1).conditioning["a"].turns[0]) == 1
    found = prepared(n=2, negative_prompt="b").conditioning
    assert list(found) == ["a"]
    negative, positive = found["a"].turns[0][1].tokens, prepared(prompt="b").conditioning["b"].turns[0][0].tokens
    assert torch.equal(negative, positive)  # type: ignore[arg-type]


def test_an_image_is_inverted_with_its_source_prompt() -> None:
    one, same, other = (prepared(**EDIT, source_prompt=text).begin for text in ("b", "b", "c d"))
    assert one is not None
    assert other is not None
    assert torch.equal(one, same)  # type: ignore[arg-type]
    assert not torch.allclose(one, other)


def test_the_noise_that_is_given_is_where_each_sample_starts() -> None:
    noise = torch.randn(2, 4, 4, 4, generator=torch.Generator().manual_seed(1))
    found = prepared(noise=noise, n=2)
    for index in (0, 1):
        assert torch.equal(first_state(PIPELINE, found, index).x, noise[index : index + 1])
    assert found.hashes(0)["noise"] != found.hashes(1)["noise"]


def test_an_edit_of_full_strength_starts_from_the_image_and_noise_at_the_first_level() -> None:
    """At infinity nothing of the image is left; below, x is mixed by signal and spread."""
    plain = first_state(PIPELINE, prepared(seed=3), 0)
    whole = first_state(PIPELINE, prepared(seed=3, **EDIT, strength=1.0), 0)
    half = first_state(PIPELINE, found := prepared(seed=3, **EDIT, strength=0.5), 0)
    assert torch.allclose(whole.x, plain.x)
    assert found.begin is not None
    sigma = half.level
    expected = (found.begin + sigma * plain.x) / (1 + sigma**2) ** 0.5
    torch.testing.assert_close(half.x, expected)
    assert prepared(seed=3).begin is None


def test_repaint_takes_a_tenth_of_the_steps_at_a_time() -> None:
    for steps, stretch in ((2, 1), (9, 1), (19, 1), (20, 2), (30, 3)):
        found = prepared(**MASKED, resample=3, steps=steps)
        grid = found.job.settings.grid
        assert len(grid) == steps + 1
        assert first_state(PIPELINE, found, 0).grid == repaints(grid, stretch, 3)
