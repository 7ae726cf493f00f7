"""Other weights for a while: for contact sheets, for validation, and for the finished model."""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from unnoise.devices import autocast


@contextmanager
def temporary_weights(networks: nn.Module, weights: Mapping[str, Tensor]) -> Iterator[None]:
    """Load other weights within the context, and restore the own ones bit for bit."""
    own = {name: tensor.clone() for name, tensor in networks.state_dict().items()}
    networks.load_state_dict(weights)
    try:
        yield
    finally:
        networks.load_state_dict(own)


@contextmanager
def evaluating(networks: nn.Module, weights: Mapping[str, Tensor], narrow: bool) -> Iterator[None]:
    """Compute with other weights as in training, but without dropout, gradients and compilation.

    narrow: in bfloat16, where the device has it.
    """
    device = next(networks.parameters()).device
    with (
        torch.no_grad(),
        temporary_weights(networks, weights),
        evaluation_mode(networks),
        plain_attention(device),
        eager(networks),
        autocast(device, narrow),
    ):
        yield


@contextmanager
def evaluation_mode(networks: nn.Module) -> Iterator[None]:
    """Turn dropout off within the context."""
    training = [module for module in networks.modules() if module.training]
    networks.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True


def eager(networks: nn.Module) -> AbstractContextManager[None]:
    """Compute without what torch.compile made within the context; its import alone takes a second."""
    compiled = any(module._compiled_call_impl is not None for module in networks.modules())
    return torch.compiler.set_stance("force_eager") if compiled else nullcontext()


@contextmanager
def plain_attention(device: torch.device) -> Iterator[None]:
    """Use torch's unfused attention on a CPU, where a whole step was measured 14 % faster."""
    if device.type != "cpu":
        yield
        return
    with sdpa_kernel(SDPBackend.MATH):
        yield
