"""The factor on a loss in float16: powers of two, halved by an overflow, doubled in time, and stored exactly."""

import torch

from unnoise.train.loss_scale import FIRST, LEAST, PATIENCE, LossScale


def test_the_factor_falls_and_rises() -> None:
    scale = LossScale(True)
    assert scale.value == FIRST
    assert scale.lowered()
    assert scale.value == FIRST / 2
    for _ in range(PATIENCE):
        assert scale.value == FIRST / 2
        scale.passed()
    assert scale.value == FIRST
    while scale.lowered():
        pass
    assert scale.value == LEAST


def test_gradients_are_divided_by_it() -> None:
    scale, weight = LossScale(True), torch.ones(2, requires_grad=True)
    (weight.sum() * scale.value).backward()  # type: ignore[no-untyped-call]
    scale.unscale([weight, torch.ones(1, requires_grad=True)])
    assert weight.grad is not None
    assert weight.grad.tolist() == [1, 1]


def test_a_checkpoint_holds_it() -> None:
    scale, again = LossScale(True), LossScale(True)
    scale.lowered()
    scale.passed()
    again.restore(scale.facts())
    assert (again.value, again.steps) == (FIRST / 2, 1)


def test_without_float16_it_is_one() -> None:
    scale = LossScale(False)
    assert (scale.value, scale.facts(), scale.lowered()) == (1.0, {}, False)
    for _ in range(PATIENCE):
        scale.passed()
    scale.restore({"loss_scale": "4.0 1"})
    assert scale.value == 1
