"""Weights and buffers have the dtypes that `from_pretrained(torch_dtype=...)` gives them."""

from importlib import import_module
from inspect import signature
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import unnoise
from integrations import peers
from unnoise.errors import InputError
from unnoise.integrations.diffusers.dtypes import autoencoder_dtype

FAMILIES = ("sd", "sdxl", "sd3", "flux", "pixart", "sana", "wan", "ltx", "stable_audio")


@pytest.fixture(scope="module", params=FAMILIES)
def saved(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    folder = tmp_path_factory.mktemp(request.param)
    make = import_module(f"integrations.test_foreign_{request.param}").pipe
    peer = made(make, folder)
    return peer, peers.saved(peer, folder / "model")


def made(make: Any, folder: Path) -> Any:
    """Make the pipeline of a family, each of whose modules takes other arguments."""
    given = {"folder": folder, "alpha": True}
    return make(**{name: given[name] for name in signature(make).parameters if name in given})


def dtypes(net: nn.Module) -> dict[str, torch.dtype]:
    return {name: value.dtype for name, value in (*net.named_parameters(), *net.named_buffers())}


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_dtypes_are_those_of_the_reference(saved: tuple[Any, Path], dtype: str) -> None:
    peer, folder = saved
    nets = unnoise.load(folder, dtype=dtype, vae_dtype=dtype).diffusers_networks
    for name, net in nets.items():
        wanted = type(getattr(peer, name)).from_pretrained(folder / name, torch_dtype=getattr(torch, dtype))
        found, known = dtypes(net), dtypes(wanted)
        known.pop("embed_tokens.embed_scale", None)  # of Gemma, which narrows it at each use
        assert {key: found[key] for key in known} == known, name


@pytest.mark.parametrize(
    ("family", "config", "dtype", "wanted", "found"),
    [
        ("sdxl", {"force_upcast": True}, torch.float16, None, torch.float32),
        ("sdxl", {"latent_channels": 4}, torch.float16, None, torch.float32),
        ("sdxl", {"force_upcast": False}, torch.float16, None, torch.float16),
        ("sd1", {"latent_channels": 4}, torch.float16, None, torch.float16),
        ("sd3", {"force_upcast": True}, torch.float16, None, torch.float32),
        ("sdxl", {"force_upcast": True}, torch.bfloat16, None, torch.bfloat16),
        ("sdxl", {"force_upcast": True}, torch.float16, torch.float16, torch.float16),
        ("sd1", {"latent_channels": 4}, torch.bfloat16, torch.float32, torch.float32),
    ],
)
def test_an_autoencoder_that_overflows_stays_in_float32(
    family: str, config: dict[str, Any], dtype: torch.dtype, wanted: torch.dtype | None, found: torch.dtype
) -> None:
    assert autoencoder_dtype(config, family, dtype, wanted) == found


def test_a_float32_autoencoder_beside_a_narrow_network(saved: tuple[Any, Path]) -> None:
    _, folder = saved
    pipeline = unnoise.load(folder, dtype="bfloat16", vae_dtype="float32")
    assert (pipeline.dtype, pipeline.vae_dtype) == ("bfloat16", "float32")
    size = {} if pipeline.card.modality == "audio" else {"size": 2 * pipeline.factor}
    size |= {"frames": (pipeline.card.advice.stride or 1) + 1} if pipeline.card.modality == "video" else {}
    sample = pipeline.generate("a cat", seed=1, steps=1, guidance_scale=1, **size)[0]
    assert (sample.metadata.dtype, sample.metadata.vae_dtype) == ("bfloat16", "float32")
    assert torch.equal(pipeline.replay(sample).x0, sample.x0)
    with pytest.raises(InputError, match=r"vae_dtype 'bfloat16': .* loaded in float32"):
        pipeline.generate("a cat", vae_dtype="bfloat16")
