"""PixArt-alpha and PixArt-Sigma: T5 text with a mask, and a transformer whose variance output is not used.

Source: Chen et al. 2023, arXiv:2310.00426; Chen et al. 2024, arXiv:2403.04692; diffusers, pipelines/pixart_alpha.
"""

from typing import Any

from torch import Tensor, nn

from unnoise.diffusion.conditioning import Conditioning
from unnoise.errors import InputError
from unnoise.integrations.diffusers.advice import advise
from unnoise.integrations.diffusers.autoencoder_kl import latent_space
from unnoise.integrations.diffusers.components import AdaptedModel, ForeignComponents, weights_dtype
from unnoise.integrations.diffusers.noise_schedule import kind_of, process_of
from unnoise.text.prompt_weighting import PromptWeighting, without_weights
from unnoise.text.t5 import Stack, StackConditioner

CELL = 8  # pixels of a latent cell
ALPHA_TOKENS, TOKENS = 120, 300  # of T5, in alpha and in Sigma
STEPS, GUIDANCE = 20, 4.5  # Source: diffusers, pipeline_pixart_alpha.py and pipeline_pixart_sigma.py, defaults


class PixArtNet(nn.Module):
    """Run the transformer, with the size of the image if it was trained with it."""

    def __init__(self, net: Any) -> None:
        super().__init__()
        self.net = net
        self.factor = int(net.config.patch_size)
        self.sized = bool(getattr(net, "use_additional_conditions", False))

    def forward(self, x: Tensor, time: Tensor, cond: Conditioning) -> Tensor:
        """Run the network. x: (B, c, h, w) in the native frame; time: (B,)."""
        if cond.tokens is None:
            raise InputError("conditioning: this network needs text")
        dtype = weights_dtype(self.net)
        out: Tensor = self.net(
            x.to(dtype),
            encoder_hidden_states=cond.tokens.to(dtype),
            encoder_attention_mask=cond.mask,
            timestep=time,
            added_cond_kwargs=self._sizes(x.to(dtype)),
            return_dict=False,
        )[0]
        return out[:, : x.shape[1]].to(x.dtype)

    def _sizes(self, x: Tensor) -> dict[str, Tensor | None]:
        if not self.sized:
            return {"resolution": None, "aspect_ratio": None}
        height, width = (side * CELL for side in x.shape[-2:])
        return {
            "resolution": x.new_tensor([[height, width]]).expand(len(x), 2),
            "aspect_ratio": x.new_tensor([[height / width]]).expand(len(x), 1),
        }


class LowerCaseText(StackConditioner):
    """Features of a prompt in lower case, as in the training captions."""

    __slots__ = ()

    def encode(self, prompt: str, prompt_weighting: PromptWeighting) -> Conditioning:
        """Encode one prompt."""
        return super().encode(without_weights(prompt, prompt_weighting).lower().strip(), "literal")


def adapt(foreign: ForeignComponents) -> AdaptedModel:
    """Make the networks of a model."""
    net = foreign.net("transformer")
    alpha = "alpha" in (foreign.identity.variant, str(foreign.config("").get("_class_name", ""))[6:11].lower())
    stack = Stack(
        foreign.tokenizer("tokenizer"), foreign.net("text_encoder"), ALPHA_TOKENS if alpha else TOKENS, masked=True
    )
    return AdaptedModel(
        net=PixArtNet(net),
        process=process_of(foreign),
        kind=kind_of(foreign),
        space=latent_space(foreign.net("vae")),
        text=LowerCaseText(stack),
        advice=advise(foreign, guidance_scale=GUIDANCE, steps=STEPS, size=int(net.config.sample_size)),
    )
