"""Spaces are there and back again, and make what they were measured on a standard normal."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from unnoise.errors import InputError, NonFiniteError
from unnoise.nets.autoencoder import Autoencoder
from unnoise.spaces.audio import AudioLatent
from unnoise.spaces.latent import Latent
from unnoise.spaces.pixels import Pixels
from unnoise.spaces.space import Affine, measure
from unnoise.spaces.video import VideoLatent


def data(count: int = 64) -> Tensor:
    drawn = torch.randn(count, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    return drawn * torch.tensor([0.1, 0.2, 0.05])[:, None, None] + torch.tensor([0.5, -0.3, 0.0])[:, None, None]


def test_measured_pixels_are_standard() -> None:
    shift, scale = measure(lambda batch: batch, data().split(7))
    x0 = Pixels(3, shift, scale).encode(data())
    assert torch.allclose(x0.mean((0, 2, 3)), torch.zeros(3), atol=1e-5)
    assert torch.allclose(x0.std((0, 2, 3), correction=0), torch.ones(3), atol=1e-5)


def test_measure_does_not_depend_on_batches_nor_on_a_far_mean() -> None:
    far = data().double() * 1e-4 + 1e4
    whole, parts = measure(lambda batch: batch, [far]), measure(lambda batch: batch, far.split(3))
    assert whole[0] == pytest.approx(parts[0], rel=1e-12)
    assert whole[1] == pytest.approx(parts[1], rel=1e-6)
    exact = far.double().transpose(0, 1).flatten(1)
    assert whole[1] == pytest.approx(exact.std(1, correction=0).tolist(), rel=1e-9)


def test_measured_latents_are_standard() -> None:
    torch.manual_seed(0)
    net = Autoencoder(width=32, encode=1, decode=1).eval()
    with torch.no_grad():
        space = Latent(net, *measure(lambda batch: net.encode(batch)[0], data().split(16)))
        x0 = space.encode(data())
        assert x0.shape == (64, *space.shape(8, 8)) == (64, 4, 2, 2)
        assert torch.allclose(x0.mean((0, 2, 3)), torch.zeros(4), atol=1e-4)
        assert torch.allclose(x0.std((0, 2, 3), correction=0), torch.ones(4), atol=1e-4)
        assert torch.allclose(space.decode(x0), net.decode(net.encode(data())[0]).clamp(-1, 1), atol=1e-5)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_affine_round_trips_in_any_rank(rank: int) -> None:
    affine = Affine(2, [1.0, -2.0], [3.0, 0.5])
    code = torch.randn(5, 2, *[4] * rank, dtype=torch.float64)
    assert torch.allclose(affine.to_code(affine.to_x0(code)), code)
    assert torch.allclose(affine.to_x0(code)[:, 1], (code[:, 1] + 2) / 0.5)


def test_pixels_round_trip_and_are_cut() -> None:
    space = Pixels(3, (0.1,), (0.4,))
    assert space.shape(6, 8) == (3, 6, 8)
    assert torch.allclose(space.decode(space.encode(data())), data().clamp(-1, 1), atol=1e-6)
    assert space.decode(torch.full((1, 3, 1, 1), 99.0)).max() == 1


class Codec(nn.Module):
    """An autoencoder of every kind that returns one number, as weights of a dtype would compute it."""

    factor = stride = rate = 1
    latents = 3

    def __init__(self, value: float, dtype: torch.dtype) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1, dtype=dtype))
        self.value = value

    def decode(self, latents: Tensor) -> Tensor:
        return torch.full_like(latents, self.value)

    def encode(self, data: Tensor) -> Tensor:
        return torch.full_like(data, self.value)


class ImageCodec(Codec):
    def encode(self, data: Tensor) -> Any:
        return super().encode(data), data


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize(("kind", "rank"), [("pixels", 2), ("latent", 2), ("video", 3), ("audio", 1)])
def test_what_is_not_finite_is_refused_before_it_is_cut(kind: str, rank: int, value: float) -> None:
    codec = (ImageCodec if kind == "latent" else Codec)(value, torch.float16)
    spaces: dict[str, Any] = {
        "pixels": Pixels(3),
        "latent": Latent(codec),  # type: ignore[arg-type]
        "video": VideoLatent(codec, (0.0,), (1.0,)),
        "audio": AudioLatent(codec, 4),
    }
    x = torch.full((2, 3, *[4] * rank), value) if kind == "pixels" else torch.zeros(2, 3, *[4] * rank)
    message = "in float32; check the weights" if kind == "pixels" else "in float16; use vae_dtype float32"
    with pytest.raises(NonFiniteError, match=f"decoding: NaN or infinity {message}"):
        spaces[kind].decode(x)
    if kind != "pixels":
        with pytest.raises(NonFiniteError, match="encoding: NaN or infinity in float16"):
            spaces[kind].encode(x)


@pytest.mark.parametrize(
    ("shift", "scale"),
    [([0.0, 0.0], [1.0]), ([float("nan")], [1.0]), ([0.0], [0.0]), ([0.0], [-1.0]), ([0.0], [float("inf")])],
)
def test_refuses(shift: list[float], scale: list[float]) -> None:
    with pytest.raises(InputError, match=r"shift|scale"):
        Pixels(3, shift, scale)


@pytest.mark.parametrize("batches", [[], [torch.zeros(2, 3, 4, 4)], [torch.full((2, 1, 4), torch.inf)]])
def test_measure_refuses(batches: list[Tensor]) -> None:
    with pytest.raises(InputError, match=r"no data|scale"):
        measure(lambda batch: batch, batches)


@pytest.mark.parametrize("patch", [1, 2, 4])
def test_pixels_are_folded_and_unfolded(patch: int) -> None:
    space = Pixels(3, (0.1, 0.0, -0.1), (0.4, 0.5, 0.6), patch)
    image = data().clamp(-1, 1)[:, :, :8, :8]
    x0 = space.encode(image)
    assert x0.shape[1:] == space.shape(8, 8) == (3 * patch**2, 8 // patch, 8 // patch)
    torch.testing.assert_close(space.decode(x0), image)
    torch.testing.assert_close(
        x0.square().mean(), Pixels(3, (0.1, 0.0, -0.1), (0.4, 0.5, 0.6)).encode(image).square().mean()
    )


def test_a_patch_is_a_whole_number() -> None:
    with pytest.raises(InputError, match="patch 0: a whole number from 1 to 64"):
        Pixels(3, patch=0)
