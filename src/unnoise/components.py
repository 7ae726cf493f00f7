"""The components of a model: its card, denoiser, space and text encoder, and its networks by name."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn

from unnoise.card import Card, Decoder
from unnoise.diffusion.denoiser import Denoiser
from unnoise.spaces.space import Space, finite
from unnoise.text.encode import TextConditioner

Dtype = Literal["float32", "bfloat16", "float16"]
CODERS = ("vae", "autoencoder", "preview")  # networks that adapters never change


@dataclass(frozen=True, slots=True)
class ImageConditioner:
    """Encodes an image into extra input channels of a network, such as an inpainting network.

    Args:
        encode: (image (1, 3, H, W) in [-1, 1], mask (1, 1, H, W) or None) -> channels (1, c, h, w) on the cells of x.
            The mask is 1 where the image is painted.
        masked: whether the network needs a mask.
    """

    encode: Callable[[Tensor, Tensor | None], Tensor]
    masked: bool


@dataclass(frozen=True, slots=True, eq=False)
class Components:
    """Hold all components of a model.

    Args:
        card: describes the model, its training and its default settings.
        denoiser: network, process and kind of prediction.
        space: encodes data into x0 and decodes x0 into data.
        text_encoder: encodes prompts into conditioning; None for a model without text.
        image_conditioner: of a network that needs an image.
        diffusers_networks: the networks of a foreign model under diffusers' names; empty for a model of our own.
        attached: fingerprints of the "control" and the "ip_adapter" that were added to the denoiser.
        small_decoder: the small decoder, x0 to data; None for a model without one.
        size_inputs: the options whose numbers the network takes as `Conditioning.sizes`, in their order.
    """

    card: Card
    denoiser: Denoiser
    space: Space
    text_encoder: TextConditioner | None = None
    image_conditioner: ImageConditioner | None = None
    diffusers_networks: Mapping[str, nn.Module] = field(default_factory=dict)
    attached: Mapping[str, str] = field(default_factory=dict)
    size_inputs: tuple[str, ...] = ()
    small_decoder: nn.Module | None = None

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return next(self.denoiser.parameters()).device

    @property
    def dtype(self) -> Dtype:
        """The dtype of the denoiser's weights, apart from layers that stay in float32 in any network."""
        return _narrowest(self.denoiser)

    @property
    def vae_dtype(self) -> Dtype | None:
        """The dtype of the autoencoder's weights, None for a model of pixels."""
        autoencoder = getattr(self.space, "autoencoder", None)
        return _narrowest(autoencoder) if isinstance(autoencoder, nn.Module) else None

    @property
    def layout(self) -> dict[str, str]:
        """How the networks run, which decides the last bits of their outputs: compiled, with packed weights."""
        modules = [module for net in self.networks().values() for module in _modules(net)]
        compiled = any(module._compiled_call_impl is not None for module in modules)
        packed = any(getattr(kind, "packed", False) for kind in set(map(type, modules)))
        return {"compiled": "yes" if compiled else "no", "packed": "yes" if packed else "no"}

    @property
    def factor(self) -> int:
        """The number of pixels of which both sides of an image are multiples."""
        return self.space.factor * int(getattr(self.denoiser.net, "factor", 1))

    def networks(self) -> dict[str, nn.Module]:
        """Return the networks by the prefix of their tensors in a model file."""
        found: dict[str, nn.Module] = {"net": self.denoiser.net}
        autoencoder = getattr(self.space, "autoencoder", None)
        if isinstance(autoencoder, nn.Module):
            found["autoencoder"] = autoencoder
        if self.small_decoder is not None:
            found["preview"] = self.small_decoder
        if self.text_encoder is not None:
            found["text"] = self.text_encoder.net
        return found

    def decode(self, x0: Tensor, decoder: Decoder = "full") -> Tensor:
        """Return data in [-1, 1] by the decoder of the space, or by the small one where there is one. x0: (B, *d).

        Raises NonFiniteError where NaN or infinity comes out.
        """
        if decoder == "full" or self.small_decoder is None:
            return self.space.decode(x0)
        return finite(self.small_decoder(x0), "decoding", self.small_decoder).clamp(-1, 1)

    def adaptable(self) -> dict[str, nn.Module]:
        """Return the networks that an adapter can change, under their names in adapter files."""
        named = self.diffusers_networks or self.networks()
        return {name: net for name, net in named.items() if name not in CODERS}


def _narrowest(net: nn.Module) -> Dtype:
    """Return the narrowest dtype of a network's weights."""
    found = {one.dtype for module in _modules(net) for one in module._parameters.values() if one is not None}
    narrowest = min((dtype for dtype in found if dtype.is_floating_point), key=lambda dtype: dtype.itemsize)
    return str(narrowest).removeprefix("torch.")  # type: ignore[return-value]


def _modules(net: nn.Module) -> Iterator[nn.Module]:
    """Yield the modules of a network, a shared one as often as it is used; every request walks through them."""
    left: list[nn.Module | None] = [net]
    while left:
        module = left.pop()
        if module is not None:
            yield module
            left.extend(module._modules.values())
