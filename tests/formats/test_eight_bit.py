"""Weights in 8 bits: the error of a row, what quantising twice gives, and whole model files."""

import pytest
import torch

from unnoise import model_file
from unnoise.cli.main import main
from unnoise.embedded import find
from unnoise.errors import InputError
from unnoise.formats.eight_bit import SCALE, dequantise, packed, quantise
from unnoise.formats.header import read_header
from unnoise.formats.tensors import read_tensors, write_tensors

SHAPES = [(3, 5), (8, 4, 3, 3), (1, 1), (4, 300)]


def weights(shape: tuple[int, ...], size: float = 0.1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(len(shape))
    rows = torch.linspace(0.01, 3, shape[0]).reshape(-1, *(1,) * (len(shape) - 1))
    return size * rows * torch.randn(shape, generator=generator)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_error_of_a_weight_is_half_a_step_of_its_row(shape):
    w = weights(shape)
    error = (dequantise(*quantise(w)) - w).abs().flatten(1).amax(1)
    step = w.abs().flatten(1).amax(1) / 127
    assert (error <= 0.501 * step).all()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("size", [1e-9, 1e-3, 1.0, 1e4])
def test_quantising_again_gives_the_same_bytes(shape, size):
    values, scale = quantise(weights(shape, size))
    again, same = quantise(dequantise(values, scale))
    assert torch.equal(values, again)
    assert torch.equal(scale, same)


def test_a_row_of_zeros_stays_zero():
    values, scale = quantise(torch.zeros(2, 3))
    assert not values.any()
    assert scale.isfinite().all()


def test_vectors_stay_float16():
    assert packed("bias", torch.ones(3))["bias"].dtype == torch.float16
    assert set(packed("weight", torch.ones(3, 2))) == {"weight", "weight" + SCALE}


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A model of ours with 8-bit weights, and the same in float16."""
    folder = tmp_path_factory.mktemp("eight")
    main(["convert", find("emoji").as_posix(), str(folder / "small.safetensors"), "--weights", "int8"])
    return folder / "small.safetensors"


def test_a_model_file_is_half_as_large_and_draws_nearly_the_same(small):
    assert small.stat().st_size < 0.52 * find("emoji").stat().st_size
    full, eight = model_file.load("emoji"), model_file.load(small)
    torch.manual_seed(0)
    x, sigma = torch.randn(2, 4, 16, 16), torch.tensor([5.0, 0.5])
    cond = [components.text_encoder(["a red heart"])[0].rows([0, 0]) for components in (full, eight)]
    a, b = full.denoiser(x, sigma, cond[0]), eight.denoiser(x, sigma, cond[1])
    assert 0 < float((a - b).square().mean().sqrt()) < 0.03


def test_a_model_file_that_is_saved_again_has_the_same_bytes(small, tmp_path):
    assert model_file.stored_dtype(small) == torch.int8
    model_file.save(tmp_path / "again.safetensors", model_file.load(small), torch.int8)
    assert (tmp_path / "again.safetensors").read_bytes() == small.read_bytes()


@pytest.mark.parametrize("fault", ["missing", "rows", "stray"])
def test_scales_that_do_not_fit_are_refused(small, tmp_path, fault):
    header = read_header(small)
    tensors = {name: tensor.clone() for name, tensor in read_tensors(small, header)}
    name = next(name for name in tensors if name.endswith(SCALE))
    if fault == "missing":
        del tensors[name]
    elif fault == "rows":
        tensors[name] = tensors[name][:-1]
    else:
        tensors["net.leave.bias" + SCALE] = tensors[name]
    write_tensors(tmp_path / "bad.safetensors", tensors, header.metadata)
    with pytest.raises(InputError, match="scale"):
        model_file.load(tmp_path / "bad.safetensors")
