"""Identify the model of a sampler of ComfyUI, its adapters, and the autoencoder that decodes its latents."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

from unnoise.check.coerce import number, text
from unnoise.check.read.comfy import chains
from unnoise.check.read.comfy.custom_nodes import CUSTOM
from unnoise.check.read.comfy.graph import DEPTH, Graph, Node
from unnoise.check.read.comfy.widgets import MULTI
from unnoise.check.subject import Located, NamedModel, Use
from unnoise.families.identity import Identity
from unnoise.families.names import by_adapter, by_checkpoint, by_name

NAMES = ("ckpt_name", "unet_name", "model_path", "model_name", "gguf_name")  # inputs by which a loader names its file
# Values of a text encoder loader's input "type" that belong to one family only.
# Source: comfyanonymous/ComfyUI, nodes.py, CLIPLoader and DualCLIPLoader; comfy/sd.py, load_text_encoder_state_dicts
ENCODERS: Mapping[str, Mapping[str, str]] = {
    "CLIPLoader": {"wan": "wan", "mochi": "mochi", "cosmos": "cosmos", "pixart": "pixart", "stable_cascade": "cascade"},
    "DualCLIPLoader": {
        "flux": "flux1", "sd3": "sd3", "sdxl": "sdxl", "hunyuan_video": "hunyuan-video", "hidream": "hidream",
        "hunyuan_image": "hunyuan-image",
    },
}  # fmt: skip
ALONE = {"TripleCLIPLoader": "sd3", "QuadrupleCLIPLoader": "hidream"}  # loaders of one family only
DECODES = ("VAEDecode", "WanVideoDecode", "HyVideoDecode", "CogVideoDecode")
NO_FILE = ("None", "none", "Baked VAE", ".none", ".use_ckpt_vae")  # choices of loaders that name no file
NUMBERED = 5  # LoRAs of a node of WanVideoWrapper
MERGED = 16  # models of a merge that are read
LONGEST = 300  # characters of a name, from its end


@lru_cache(1024)
def _recognised(name: str, base: bool) -> Identity:
    return by_checkpoint(name) if base else by_name(name)


@lru_cache(1024)
def _adapter(name: str) -> Identity:
    return by_adapter(name)


def _known(name: str, base: bool = False) -> Identity:
    """Identify a model by its name; cached, as the samplers of a workflow share their models."""
    return _recognised(name[-LONGEST:], base)


def model_of(graph: Graph, chain: list[Node], clips: list[Node]) -> NamedModel | None:
    """Return the model at the end of a chain, identified by its name or by the type of its text encoder."""
    named = _named(graph, chain)
    if named is None:
        return None
    parts = [model.value for model in _merged(graph, chain)]
    identity = _common([_known(name, True) for name in (named.value, *parts)])
    return NamedModel(named.value, named.place, identity if identity.known or parts else _by_nodes(graph, chain, clips))


def _named(graph: Graph, chain: list[Node]) -> Located[str] | None:
    loader = chain[-1] if chain else None
    return text(graph.value(loader, *NAMES)) if loader is not None and not loader.links.keys() & {"model"} else None


def _merged(graph: Graph, chain: list[Node]) -> Iterator[Located[str]]:
    """List the other models that are merged into a chain."""
    left = MERGED
    stack = [chain]
    while stack and left:
        for node in stack.pop():
            link = graph.link(node, "model2")
            if link is not None and left:
                left -= 1
                other = chains.models(graph, link)
                stack.append(other)
                named = _named(graph, other)
                if named is not None:
                    yield named


def _common(found: list[Identity]) -> Identity:
    """Return the identity of a merge: the family of its first model, and the variant if all have the same.

    ComfyUI leaves tensors of another shape out of a merge, so an unknown model does not change the family.
    Source: comfyanonymous/ComfyUI, comfy/lora.py, calculate_weight
    """
    first = found[0]
    if all((one.family, one.variant) == (first.family, first.variant) for one in found):
        return first
    known = {one.family for one in found if one.known}
    return Identity(first.family, known_by=first.known_by) if known == {first.family} else Identity()


def _by_nodes(graph: Graph, chain: list[Node], clips: list[Node]) -> Identity:
    """Identify a model by a node that loads one family only, or by the type of its text encoder."""
    for node in chain:
        known = CUSTOM.get(node.kind)
        if known is not None and known.family:
            return Identity(known.family, known_by=node.kind)
    return _by_encoder(graph, clips)


def _by_encoder(graph: Graph, clips: list[Node]) -> Identity:
    loader = clips[-1] if clips else None
    if loader is None:
        return Identity()
    kind = MULTI.sub("", loader.kind).removesuffix("GGUF")
    use = text(graph.value(loader, "type"))
    family = ALONE.get(kind) or (ENCODERS.get(kind, {}).get(use.value) if use else None)
    return Identity(family, known_by=f"{loader.kind} {use.value if use else ''}".strip()) if family else Identity()


def uses(
    graph: Graph, chain: list[Node], positive: list[Node], clips: list[Node], base: NamedModel | None
) -> Iterator[Use]:
    """List the adapters of a model: LoRAs with the parts that they are loaded into, ControlNets, IP-Adapters."""
    spoken = {node.id for node in clips}
    for node in chain:
        parts = ("denoiser", "text") if node.id in spoken else ("denoiser",)
        for named, strength in (pair for one in (node, *chains.loras(graph, node)) for pair in _loras(graph, one)):
            yield _use(named, strength, base, parts)
        module = text(graph.value(chains.motion(graph, node), "motion_name"))
        if module is not None:
            yield replace(_use(module, None, base, ("denoiser",)), kind="motion")
        file = text(graph.value(_loader(graph, node, "ipadapter"), "ipadapter_file"))
        if file is not None:
            yield replace(_use(file, number(graph.value(node, "weight")), base, ("denoiser",)), kind="ip_adapter")
    for node in positive:
        file = text(graph.value(_loader(graph, node, "control_net"), "control_net_name"))
        if file is not None:
            yield replace(_use(file, number(graph.value(node, "strength")), base, ("denoiser",)), kind="controlnet")


def _use(named: Located[str], strength: Located[float] | None, base: NamedModel | None, parts: tuple[str, ...]) -> Use:
    adapter = NamedModel(named.value, named.place, _adapter(named.value[-LONGEST:]))
    return Use(named.place, adapter, base, strength, parts)


def _loras(graph: Graph, node: Node) -> Iterator[tuple[Located[str], Located[float] | None]]:
    """List the LoRAs that a node loads: one by its name, or several in rgthree's loader or by number."""
    named = text(graph.value(node, "lora_name"))
    if named is not None and named.value not in NO_FILE:
        yield named, number(graph.value(node, "strength_model", "strength"))
    for at in range(NUMBERED):
        named = text(graph.value(node, f"lora_{at}"))
        if named is not None and named.value not in NO_FILE:
            yield named, number(graph.value(node, f"strength_{at}"))
    for value in node.values.values():
        one: Any = value.value
        if isinstance(one, dict) and isinstance(one.get("lora"), str) and one.get("on") is True:
            yield Located(one["lora"], value.place), number(Located(one.get("strength"), value.place))


def _loader(graph: Graph, node: Node, name: str) -> Node | None:
    """Return the loader behind an input, and behind nodes that only configure it."""
    found = graph.source(node, name)
    for _ in range(DEPTH):
        further = graph.source(found, name)
        if further is None:
            break
        found = further
    return found


def decoder(graph: Graph, node: Node) -> NamedModel | None:
    """Return the autoencoder linked to a node, where it has its own file."""
    named = text(graph.value(graph.source(node, "vae"), "vae_name"))
    return NamedModel(named.value, named.place, _known(named.value)) if named and named.value not in NO_FILE else None


def decoders(graph: Graph) -> dict[str, NamedModel | None]:
    """Return the autoencoder that decodes the result of each sampler, where it has its own file."""
    found: dict[str, NamedModel | None] = {}
    for node in graph.nodes.values():
        if not node.kind.startswith(DECODES) or "Audio" in node.kind:
            continue
        model = decoder(graph, node)
        link = graph.link(node, "samples")
        while link is not None:
            latents = chains.latents(graph, link)
            sampler = latents[-1] if latents and chains.samples(latents[-1]) else None
            link = graph.link(sampler, "latent_image") if sampler and sampler.id not in found else None
            if sampler is not None:
                found.setdefault(sampler.id, model)
    return found
