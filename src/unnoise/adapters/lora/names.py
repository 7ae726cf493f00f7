"""Find the layers of a network that the module names of a LoRA file mean, in every layout.

Names are compared with underscores for dots, as kohya writes them; the names of a network stay distinct.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import nn

from unnoise.adapters.lora.layouts import fused, unet
from unnoise.adapters.lora.targets import layers, norms
from unnoise.errors import InputError

DENOISERS = ("unet", "transformer", "net", "transformer_2")  # names without a network mean the first of these
WRAPPED = "base_model.model."  # PEFT's prefix
# Prefixes of names, and the networks they stand for: the first of these that the model has.
# Source: kohya-ss/sd-scripts, networks/lora*.py; Nerogar/OneTrainer; comfyanonymous/ComfyUI, comfy/lora.py
STARTS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("lora_te1_", ("text_encoder", "text")),
    ("lora_te2_", ("text_encoder_2",)),
    ("lora_te3_", ("text_encoder_3", "text_encoder_2")),
    ("lora_te_", ("text_encoder", "text", "text_encoder_2")),
    ("lycoris_text_model_", ("text_encoder", "text_encoder_2")),
    ("lora_unet_", DENOISERS),
    ("lora_transformer_", DENOISERS),
    ("lycoris_", DENOISERS),
    ("text_encoder_2.", ("text_encoder_2",)),
    ("text_encoder_3.", ("text_encoder_3",)),
    ("text_encoder.", ("text_encoder",)),
    ("text_encoders.clip_l.transformer.", ("text_encoder",)),
    ("text_encoders.clip_g.transformer.", ("text_encoder_2",)),
    ("text_encoders.t5xxl.transformer.", ("text_encoder_3", "text_encoder_2")),
    ("model.diffusion_model.", DENOISERS),
    ("diffusion_model.", DENOISERS),
    ("transformer_2.", ("transformer_2",)),
    ("transformer.", ("transformer", "transformer_2")),
    ("unet.", ("unet",)),
    ("net.", ("net",)),
    ("text.", ("text",)),
)
TEXT_MODEL = "text_model_"  # a prefix of CLIP's layers that some versions of transformers omit


@dataclass(frozen=True, slots=True)
class LoraTarget:
    """One layer of a network that a module changes.

    Args:
        root: key of the network.
        layer: path of the module in it.
        rows: (first, last, total), the rows of a fused weight in the file that belong to this layer; None is all.
            A `last` above `total` continues at row 0.
    """

    root: str
    layer: str
    rows: tuple[int, int, int] | None = None


class Names:
    """The names of every layer of some networks.

    Args:
        roots: networks under diffusers' names, or "net" and "text".
        family: the family whose original names are known as well.

    Raises:
        InputError: two layers of a network have the same name.
    """

    def __init__(self, roots: Mapping[str, nn.Module], family: str) -> None:
        self.roots = tuple(roots)
        self.known = {root: _own(root, net) for root, net in roots.items()}
        for root, net in roots.items():
            if root in ("unet", "transformer", "transformer_2"):
                original = unet(net) if root == "unet" else fused(net, family)
                for name, parts in original:
                    self.known[root].setdefault(
                        name.replace(".", "_"), tuple(LoraTarget(root, *part) for part in parts)
                    )

    def targets(self, module: str) -> tuple[LoraTarget, ...]:
        """Return the layers that a module changes, () if there are none. module: its name without a tensor's ending."""
        plain = module.replace(WRAPPED, "").replace(".processor.", ".")
        for start, roots in STARTS:
            if plain.startswith(start):
                root = next((root for root in roots if root in self.roots), None)
                return () if root is None else self._among(root, plain[len(start) :])
        root = next((root for root in DENOISERS if root in self.roots), None)
        return () if root is None else self._among(root, plain)

    def _among(self, root: str, name: str) -> tuple[LoraTarget, ...]:
        known, plain = self.known[root], name.replace(".", "_")
        for one in (plain, plain.removeprefix(TEXT_MODEL), TEXT_MODEL + plain, f"{plain}_0"):
            if one in known:
                return known[one]
        return ()


def _own(root: str, net: nn.Module) -> dict[str, tuple[LoraTarget, ...]]:
    found: dict[str, tuple[LoraTarget, ...]] = {}
    for path, _ in (*layers(net), *norms(net)):
        name = path.replace(".", "_")
        if name in found:
            raise InputError(f"{root}: two layers are named {name}; an adapter cannot tell them apart")
        found[name] = (LoraTarget(root, path),)
    return found
