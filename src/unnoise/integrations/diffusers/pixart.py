"""PixArt-alpha and PixArt-Sigma: T5 text with a mask, a transformer that answers with a variance too, which is unused.

Source: Chen et al. 2023, arXiv:2310.00426; Chen et al. 2024, arXiv:2403.04692; diffusers, pipelines/pixart_alpha.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from unnoise.diffusion.conditioning import Conditioning
from unnoise.errors import InputError
from unnoise.integrations.diffusers.advice import advise
from unnoise.integrations.diffusers.autoencoder_kl import latent_space
from unnoise.integrations.diffusers.components import Adapted, ForeignComponents, weights_dtype
from unnoise.integrations.diffusers.noise_schedule import kind_of, process_of
from unnoise.text.prompt_weighting import PromptWeighting
from unnoise.text.t5 import Stack

CELL = 8  # pixels of one latent
ALPHA_TOKENS, TOKENS = 120, 300  # of T5, in alpha and in Sigma
STEPS, GUIDANCE = 20, 4.5  # Source: diffusers, pipeline_pixart_alpha.py and pipeline_pixart_sigma.py, defaults


class PixArtNet(nn.Module):
    """Call the transformer, with the size of the picture where it was trained with it."""

    def __init__(self, net: Any) -> None:
        super().__init__()
        self.net = net
        self.factor = int(net.config.patch_size)
        self.sized = bool(getattr(net, "use_additional_conditions", False))

    def forward(self, x: Tensor, time: Tensor, cond: Conditioning) -> Tensor:
        """Ask it. x: (B, c, h, w) in the native frame; time: (B,)."""
        if cond.tokens is None:
            raise InputError("cond: this network needs text")
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


@dataclass(frozen=True, slots=True, eq=False)
class LowerCase:
    """Features of a prompt in lower case, as its captions were, and the mask of what is no filling."""

    stack: Stack

    @property
    def net(self) -> nn.Module:
        """The text network."""
        return nn.ModuleDict({"text_encoder": self.stack.net})

    def __call__(self, prompts: Sequence[str], prompt_weighting: PromptWeighting = "refuse") -> list[Conditioning]:
        """Read prompts. Raises InputError for one that is too long or weighs words."""
        return [self.negative(prompt, prompt_weighting) for prompt in prompts]

    def negative(self, prompt: str, prompt_weighting: PromptWeighting = "refuse") -> Conditioning:
        """Read a prompt, negative or not."""
        features, mask = self.stack.read(prompt.lower().strip(), prompt_weighting)
        return Conditioning(tokens=features.float(), mask=mask)


def adapt(parts: ForeignComponents) -> Adapted:
    """Make the pieces of a model."""
    net = parts.net("transformer")
    alpha = "alpha" in (parts.identity.variant, str(parts.config("").get("_class_name", ""))[6:11].lower())
    stack = Stack(
        parts.tokenizer("tokenizer"), parts.net("text_encoder"), ALPHA_TOKENS if alpha else TOKENS, masked=True
    )
    return Adapted(
        net=PixArtNet(net),
        process=process_of(parts),
        kind=kind_of(parts),
        space=latent_space(parts.net("vae")),
        text=LowerCase(stack),
        advice=advise(parts, guidance_scale=GUIDANCE, steps=STEPS, size=int(net.config.sample_size)),
    )
