"""Muon: against its definition by singular values, and against torch's own on matrices; its choice of weights."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from unnoise.nets.autoencoder import Autoencoder
from unnoise.train.fit_options import FitOptions
from unnoise.train.muon import COEFFICIENTS, STEPS, Muon, hidden_weights, orthogonalize
from unnoise.train.optimizers import make_optimizers, set_learning_rate


@pytest.mark.parametrize("shape", [(8, 8), (16, 40), (40, 16), (64, 576)])
def test_orthogonalize_keeps_singular_vectors_and_equalizes_singular_values(shape: tuple[int, int]) -> None:
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    left, lengths, right = torch.linalg.svd(matrix, full_matrices=False)
    inside = left.T @ orthogonalize(matrix) @ right.T
    large = lengths > 0.1 * lengths.max()
    assert ((inside.diagonal()[large] > 0.6) & (inside.diagonal()[large] < 1.3)).all()
    assert (inside - inside.diagonal().diag()).abs().max() < 0.1


@pytest.mark.parametrize("shape", [(8, 8), (40, 16), (16, 48), (900, 32)])
def test_steps_of_the_square_are_steps_of_the_matrix(shape: tuple[int, int]) -> None:
    """Also where the singular values differ much: in bfloat16 the steps of the square do not hold there."""
    x = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    for matrix in (x, x @ torch.diag(torch.logspace(0, -4, shape[1]))):
        wanted = matrix.double() / matrix.norm()
        for _ in range(STEPS):
            square = wanted @ wanted.T
            wanted = COEFFICIENTS[0] * wanted + (COEFFICIENTS[1] * square + COEFFICIENTS[2] * square @ square) @ wanted
        torch.testing.assert_close(orthogonalize(matrix, narrow=False).double(), wanted, rtol=0, atol=2e-3)


def test_it_equals_torchs_own_on_matrices() -> None:
    start = torch.randn(24, 56, generator=torch.Generator().manual_seed(2))
    ours, theirs = nn.Parameter(start.clone()), nn.Parameter(start.clone())
    pairs = [
        (ours, Muon([ours], 0.1)),
        (theirs, torch.optim.Muon([theirs], 0.1, weight_decay=0, adjust_lr_fn="match_rms_adamw")),
    ]
    for step in range(4):
        gradient = torch.randn(24, 56, generator=torch.Generator().manual_seed(3 + step))
        for weight, optimizer in pairs:
            weight.grad = gradient.clone()
            optimizer.step()
    torch.testing.assert_close(ours, theirs, rtol=0, atol=5e-3)
    assert (ours - start).abs().max() > 0.05


def test_a_convolution_is_updated_as_the_matrix_of_its_outputs() -> None:
    start = torch.randn(8, 4, 3, 3, generator=torch.Generator().manual_seed(4))
    kernel, matrix = nn.Parameter(start.clone()), nn.Parameter(start.flatten(1).clone())
    kernel.grad = torch.randn(8, 4, 3, 3, generator=torch.Generator().manual_seed(5))
    matrix.grad = kernel.grad.flatten(1).clone()
    Muon([kernel, matrix], 0.1).step()
    assert torch.equal(kernel.flatten(1), matrix)
    assert not torch.equal(kernel, start)


def test_hidden_weights_exclude_the_first_and_last_layer() -> None:
    names = hidden_weights(nn.ModuleDict({"autoencoder": Autoencoder(width=32)}))
    assert "autoencoder.encoder.0.conv1.weight" in names
    assert not any(part in name for name in names for part in ("enter", "leave", "norm", "bias"))


def test_its_weights_have_the_multiples_of_the_task() -> None:
    """Of the learning rate, as those of AdamW have."""
    networks = nn.ModuleDict({"net": nn.Linear(3, 4), "fake": nn.Linear(3, 4)})
    task = SimpleNamespace(networks=networks, learning_rate_multiples={"fake.weight": 3.0, "fake.bias": 3.0})
    optimizers = make_optimizers(task, FitOptions(1, optimizer="muon"))  # type: ignore[arg-type]
    set_learning_rate(optimizers, 0.1)
    names = {parameter: name for name, parameter in networks.named_parameters()}
    rates = {
        names[parameter]: group["lr"]
        for optimizer in optimizers
        for group in optimizer.param_groups
        for parameter in group["params"]
    }
    assert [type(optimizer).__name__ for optimizer in optimizers] == ["AdamW", "Muon"]
    assert rates == pytest.approx({"net.weight": 0.1, "net.bias": 0.1, "fake.weight": 0.3, "fake.bias": 0.3})
