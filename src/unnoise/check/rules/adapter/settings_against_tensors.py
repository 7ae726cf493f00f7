"""The rank or alpha that the metadata of a LoRA states is not that of its tensors, or some alphas are missing.

Why: a layer acts with alpha/rank, and one without an alpha with 1. A file trained at alpha 16 and rank 32 whose alphas
were lost acts at twice its strength; one that has lost some of them acts at 1 in these layers and at 0.5 in all others.
diffusers makes the layers that the metadata states, and cannot load tensors of another rank.
Shown: alpha/rank by the tensors and by the metadata, or the layers without an alpha.
Instead: write an alpha for every layer, and the metadata of the tensors; or load an earlier save.
Fix: none; the file would have to be written again.
Source: kohya-ss/sd-scripts, networks/lora.py, LoRAModule (alpha is a buffer of every layer); kohya-ss/sd-scripts#2204;
hao-ai-lab/FastVideo#870; diffusers, loaders/lora_base.py, LORA_ADAPTER_METADATA_KEY.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from unnoise.check.coerce import finite
from unnoise.check.rule import NOTE, WARN, Finding, Rule, Severity
from unnoise.check.rules.adapter._shared import kohya
from unnoise.check.subject import Location, Subject, Weights
from unnoise.families.lora import Lora, Module

RULE = Rule(id="UN619", name="settings-against-tensors", severity=WARN, checks="lora file")
STATED = "lora_adapter_metadata"  # of diffusers: "unet.r", "transformer.lora_alpha", ...
PARTS = {"unet": "denoiser", "transformer": "denoiser", "text_encoder": "text", "text_encoder_2": "text_2"}
UNETS = ("diffusers", "ldm")  # sd-scripts joins layers of other networks when it saves them, and their ranks with them
LONGEST = 1 << 20  # characters of metadata
CLOSE = 0.01


def check(weights: Weights, lora: Lora) -> Iterator[Finding]:
    plain = [module for module in lora.modules.values() if module.kind == "lora" and module.rank and not module.conv]
    if lora.layout == "kohya":
        yield from _missing(weights, plain)
        if lora.dialect in UNETS:
            yield from _of_kohya(weights, plain)
    for part, stated in _of_diffusers(weights.header.metadata).items():
        ranks = Counter(module.rank for module in plain if module.part == part)
        rank = finite(stated.get("r"))
        if ranks and rank is not None and not stated.get("rank_pattern") and ranks.most_common(1)[0][0] != rank:
            message = "the rank in the metadata is not that of the tensors"
            measured = f"rank {ranks.most_common(1)[0][0]}"
            yield _finding(weights, STATED, message, measured, f"rank {rank:g} by the metadata")


def _missing(weights: Weights, modules: Sequence[Module]) -> Iterator[Finding]:
    """Find layers without an alpha in a file whose other layers act with another factor than 1."""
    without = [module for module in modules if not module.alpha]
    factors: Counter[float] = Counter()
    for module in modules:
        alpha = _alpha(weights, module)
        if alpha is not None and module.rank:
            factors[round(alpha / module.rank, 4)] += 1
    if without and factors and abs(factors.most_common(1)[0][0] - 1) > CLOSE:
        factor, count = factors.most_common(1)[0]
        message = "some layers of this LoRA have no alpha, and act with another strength than all others"
        yield _finding(weights, "", message, f"1 in {len(without)} layers", f"{factor:g}, as in {count}")


def _of_kohya(weights: Weights, modules: Sequence[Module]) -> Iterator[Finding]:
    """Compare the alpha and rank of sd-scripts' metadata with those of the tensors."""
    metadata = weights.header.metadata
    alpha, rank = _number(metadata.get("ss_network_alpha")), _number(metadata.get("ss_network_dim"))
    arguments = metadata.get("ss_network_args", "")
    if not alpha or not rank or not modules or any(word in arguments for word in ("dim", "alpha", "rank")):
        return
    if not metadata.get("ss_network_module", "").startswith("networks.lora"):
        return
    factors: Counter[tuple[float, int]] = Counter()
    for module in modules:
        own = _alpha(weights, module) if module.alpha else float(module.rank or 1)
        if own is not None and module.rank:
            factors[own, module.rank] += 1
    if not factors:
        return
    (own, height), _ = factors.most_common(1)[0]
    if abs(own / height / (alpha / rank) - 1) > CLOSE:
        is_lost = not any(module.alpha for module in modules)
        shown = f"no alphas, so {own / height:g}" if is_lost else f"{own:g}/{height} = {own / height:.3g}"
        message = "the strength of this LoRA by its tensors is not the one that it was trained with"
        expected = f"{alpha:g}/{rank:g} = {alpha / rank:.3g} by the metadata"
        yield _finding(weights, "ss_network_alpha", message, shown, expected, WARN if is_lost else NOTE)


def _alpha(weights: Weights, module: Module) -> float | None:
    values = weights.values.get(module.alpha, ())
    return values[0] if len(values) == 1 else None


def _of_diffusers(metadata: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Return the settings that diffusers stores, by part of the model."""
    text = metadata.get(STATED, "")
    try:
        stated = json.loads(text) if 0 < len(text) < LONGEST else {}
    except (ValueError, RecursionError):
        return {}
    found: dict[str, dict[str, Any]] = {}
    for name, value in stated.items() if isinstance(stated, dict) else ():
        network, _, key = name.partition(".")
        if network in PARTS:
            found.setdefault(PARTS[network], {})[key] = value
    return found


def _number(text: str | None) -> float | None:
    """Read a positive number; ranks that differ between layers are the word "Dynamic"."""
    try:
        found = finite(float(text)) if text is not None and len(text) < 30 else None
    except ValueError:
        return None
    return found if found is not None and found > 0 else None


def _finding(
    weights: Weights, key: str, message: str, measured: str, expected: str, severity: Severity = WARN
) -> Finding:
    place = Location(weights.place.path, ("__metadata__", key) if key else ())
    suggestion = "write the alphas and the metadata again, or load an earlier save"
    return Finding(RULE, place, message, measured, expected, suggestion, severity)


BLOCK = "unet_down_blocks_0_attentions_0_transformer_blocks_0"


def bad() -> Subject:
    return kohya(
        {f"{BLOCK}_attn2_to_k": (768, 320)}, alphas=None, rank=32,
        ss_network_module="networks.lora", ss_network_dim="32", ss_network_alpha="16",
    )  # fmt: skip


def good() -> Subject:
    return kohya(
        {f"{BLOCK}_attn2_to_k": (768, 320)}, alphas=16.0, rank=32,
        ss_network_module="networks.lora", ss_network_dim="32", ss_network_alpha="16",
    )  # fmt: skip
