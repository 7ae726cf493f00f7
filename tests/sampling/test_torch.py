"""The same samplers on torch tensors, where another test has loaded torch: this folder does not import it."""

import sys

import numpy as np
import pytest

from sampling.checks import shifted
from unnoise.sampling.registry import SAMPLERS, sampler
from unnoise.sampling.state import run, start


def test_tensors_and_arrays_agree() -> None:
    torch = sys.modules.get("torch")
    if torch is None:
        pytest.skip("torch is not loaded in this run")
    noise = np.random.default_rng(0).normal(size=(9, 2, 3)).astype(np.float32)
    for name in SAMPLERS:
        array = run(
            sampler(name), lambda x, level: 0.5 * x, start(noise[-1], shifted(4)), lambda step, like: noise[step]
        )
        tensor = run(
            sampler(name),
            lambda x, level: 0.5 * x,
            start(torch.from_numpy(noise[-1]), shifted(4)),
            lambda step, like: torch.from_numpy(noise[step]),
        )
        assert tensor.dtype == torch.float32
        assert np.allclose(tensor.numpy(), array, atol=1e-6)
