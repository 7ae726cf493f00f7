"""Helpers of the rules of adapters: families that share layers, cards of models, and LoRA files for examples."""

from collections.abc import Mapping
from typing import NamedTuple

from unnoise.check.subject import NamedModel, Subject
from unnoise.errors import InputError
from unnoise.families.identity import Identity

SAME = ({"flux1", "chroma"},)  # families with the same layers, so that the LoRA of one works on the other


def are_other_families(first: Identity, second: Identity) -> bool:
    """Return whether two models are known to be of families whose layers differ."""
    if not first.known or not second.known or first.family == second.family:
        return False
    return not any({first.family, second.family} <= families for families in SAME)


class OwnModel(NamedTuple):
    """A model of unnoise by its card: the fingerprints of its weights and of those that it was distilled from."""

    name: str
    fingerprint: str
    teacher: str

    def side_of(self, base: Mapping[str, str]) -> str:
        """Return what the base that a LoRA names is to this model: its "teacher", its "student", or "" for neither."""
        if self.teacher and base.get("fingerprint") == self.teacher:
            return "teacher"
        return "student" if self.fingerprint and base.get("teacher") == self.fingerprint else ""


def own_model(model: NamedModel | None) -> OwnModel | None:
    """Describe a model of unnoise; None where it has no valid card."""
    from unnoise.card import KEY, from_json  # 6 ms to import, only for models of unnoise

    text = model.weights.header.metadata.get(KEY) if model and model.weights else None
    try:
        card = None if text is None else from_json(text, "card")
    except InputError:
        return None
    if card is None:
        return None
    return OwnModel(card.name, card.fingerprint, card.distilled.teacher_fingerprint if card.distilled else "")


def kohya(
    layers: Mapping[str, tuple[int, int]],
    alphas: Mapping[str, float] | float | None = 16.0,
    rank: int | Mapping[str, int] = 16,
    path: str = "lora.safetensors",
    **metadata: str,
) -> Subject:
    """Return a LoRA file as sd-scripts writes it; for each layer its width in and out."""
    from unnoise.check.examples import weights

    tensors: dict[str, tuple[str, tuple[int, ...]]] = {}
    values: dict[str, tuple[float, ...]] = {}
    for layer, (into, out) in layers.items():
        height = rank if isinstance(rank, int) else rank[layer]
        tensors[f"lora_{layer}.lora_down.weight"] = ("F16", (height, into))
        tensors[f"lora_{layer}.lora_up.weight"] = ("F16", (out, height))
        if alphas is not None:
            tensors[f"lora_{layer}.alpha"] = ("F16", ())
            values[f"lora_{layer}.alpha"] = (alphas[layer] if isinstance(alphas, Mapping) else alphas,)
    return weights(tensors, metadata, values, path)
