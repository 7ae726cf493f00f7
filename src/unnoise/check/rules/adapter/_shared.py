"""What the rules of adapters share: adapters as they are used, and LoRA files to show."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from unnoise.check.subject import Subject, Tool, Use, Weights
from unnoise.families.identity import Identity
from unnoise.families.lora import Lora

SAME = ({"flux1", "chroma"},)  # families whose layers are alike, so that the LoRA of one works on the other


@dataclass(frozen=True, slots=True)
class Loaded:
    """Hold an adapter as some tool puts it on a base; kind: "lora", "controlnet" or "embedding"."""

    use: Use
    tool: Tool
    kind: str

    @property
    def adapter(self) -> Identity:
        return self.use.adapter.identity

    @property
    def base(self) -> Identity:
        return self.use.base.identity if self.use.base else Identity()

    @property
    def lora(self) -> Lora | None:
        return self.use.adapter.weights.lora if self.use.adapter.weights else None


def loaded(subject: Subject, kind: str) -> Iterator[Loaded]:
    """List the adapters of a kind that a subject puts on a base, each once."""
    pairs: list[tuple[Use, Tool]] = [(use, subject.tool) for use in subject.uses]
    pairs += [(use, run.tool) for run in subject.runs for use in run.adapters]
    seen: set[object] = set()
    for use, tool in pairs:
        key = (use.place, use.adapter.name, use.base.name if use.base else "")
        if key not in seen and _kind(use) == kind:
            seen.add(key)
            yield Loaded(use, tool, kind)


def _kind(use: Use) -> str:
    adapter = use.adapter
    if use.kind != "lora":
        return use.kind
    if adapter.weights and adapter.weights.role != "unknown":
        return adapter.weights.role
    if any("ControlNet" in config.class_ for config in adapter.configs.values()):
        return "controlnet"
    return next((kind for kind in ("controlnet", "embedding") if kind in adapter.configs), "lora")


def lora_files(subject: Subject) -> Iterator[tuple[Weights, Lora]]:
    """List the LoRA files that the subject itself is."""
    for weights in subject.weights:
        if weights.lora is not None:
            yield weights, weights.lora


def are_other_families(first: Identity, second: Identity) -> bool:
    """Say whether two models are known to be of families whose layers differ."""
    if not first.known or not second.known or first.family == second.family:
        return False
    return not any({first.family, second.family} <= families for families in SAME)


def kohya(
    layers: Mapping[str, tuple[int, int]],
    alphas: Mapping[str, float] | float | None = 16.0,
    rank: int | Mapping[str, int] = 16,
    path: str = "lora.safetensors",
    **metadata: str,
) -> Subject:
    """Make a LoRA file as sd-scripts writes it: for each layer its width in and out."""
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
