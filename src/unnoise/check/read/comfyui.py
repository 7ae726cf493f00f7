"""Read a workflow of ComfyUI: from every sampler that reaches an output back to its model, prompts and latent.

Source: comfyanonymous/ComfyUI, nodes.py, comfy_extras/nodes_custom_sampler.py and nodes_model_advanced.py.
"""

from collections.abc import Iterator
from typing import Any

from unnoise.check.read.comfy.graph import Graph, Node, read_graph
from unnoise.check.read.typed import number, text, whole
from unnoise.check.subject import Fault, Model, Place, Run, Said, Subject, Use
from unnoise.files.families.identity import Identity
from unnoise.files.families.names import by_name

DEPTH = 200  # nodes of a chain that are followed
OUTPUTS = ("Save", "Preview", "VHS_VideoCombine", "CreateVideo", "ShowImage")
SAMPLERS = ("KSampler", "KSamplerAdvanced", "SamplerCustom", "SamplerCustomAdvanced")
MODELS = {
    "CheckpointLoaderSimple": "ckpt_name", "CheckpointLoader": "ckpt_name", "unCLIPCheckpointLoader": "ckpt_name",
    "ImageOnlyCheckpointLoader": "ckpt_name", "UNETLoader": "unet_name", "UnetLoaderGGUF": "unet_name",
    "DiffusersLoader": "model_path",
}  # fmt: skip
LORAS = ("LoraLoader", "LoraLoaderModelOnly")
# What a loader of text encoders is told it is for.   Source: ComfyUI, nodes.py, CLIPLoader and DualCLIPLoader
KINDS = {
    "flux": "flux1", "sd3": "sd3", "sdxl": "sdxl", "wan": "wan", "hunyuan_video": "hunyuan-video", "ltxv": "ltx",
    "mochi": "mochi", "lumina2": "lumina2", "hidream": "hidream", "qwen_image": "qwen-image", "flux2": "flux2",
    "chroma": "chroma", "cosmos": "cosmos", "pixart": "pixart",
}  # fmt: skip
MASKED = ("SetLatentNoiseMask", "VAEEncodeForInpaint", "InpaintModelConditioning")
PICTURES = ("VAEEncode", "VAEEncodeTiled", "LoadImage")
TEXTS = ("text", "t5xxl", "text_g", "clip_l", "prompt")


def read_workflow(content: dict[str, Any], path: str, source: str = "") -> Subject:
    """Read a workflow in API or UI format; content that is none is a Fault."""
    graph = read_graph(content, path)
    if not graph.nodes:
        return Subject(path=path, faults=(Fault("unknown", Place(path), "is JSON, but no workflow that is known"),))
    runs = tuple(_run(graph, node, path) for node in _samplers(graph))
    models = {run.model.place: run.model for run in runs if run.model}
    texts = {path: source} if source else {}
    return Subject(path=path, tool="comfyui", models=tuple(models.values()), runs=runs, texts=texts)


def _samplers(graph: Graph) -> Iterator[Node]:
    """List the samplers that an output depends on; all of them where the workflow has no output that is known."""
    outputs = [node for node in graph.nodes.values() if node.kind.startswith(OUTPUTS)]
    reached = {above.id for node in outputs for above in graph.above(node)} if outputs else set(graph.nodes)
    yield from (node for node in graph.nodes.values() if node.kind in SAMPLERS and node.id in reached)


def _run(graph: Graph, node: Node, path: str) -> Run:
    guider = graph.source(node, "guider") or node
    chain = list(_chain(graph, graph.source(guider, "model"), "model"))
    positive = list(_chain(graph, graph.source(guider, "positive", "conditioning"), "positive", "conditioning"))
    negative = list(_chain(graph, graph.source(guider, "negative"), "negative", "conditioning"))
    latent = list(_chain(graph, graph.source(node, "latent_image"), "samples", "latent", "latent_image"))
    grid = graph.source(node, "sigmas") or node
    model = _model(graph, chain, positive)
    return Run(
        place=node.place,
        tool="comfyui",
        task=_task(graph, latent, positive),
        pipeline=node.kind,
        model=model,
        vae=_vae(graph, node),
        adapters=tuple(_uses(graph, chain, positive, model)),
        sampler=text(graph.value(graph.source(node, "sampler") or node, "sampler_name")),
        grid=text(graph.value(grid, "scheduler")),
        steps=whole(graph.value(grid, "steps")),
        guidance=number(graph.value(guider, "cfg")),
        embedded=_first(graph, positive, "guidance"),
        prompt=_text(graph, positive),
        negative=_text(graph, negative),
        width=_whole(graph, latent, "width"),
        height=_whole(graph, latent, "height"),
        frames=_whole(graph, latent, "length"),
        batch=_whole(graph, latent, "batch_size"),
        strength=number(graph.value(grid, "denoise")),
        shift=_first(graph, chain, "shift"),
        seed=whole(graph.value(graph.source(node, "noise") or node, "noise_seed", "seed")),
        clip_skip=_clip_skip(graph, positive),
        others=_others(graph, chain, latent, [guider, grid, node]),
    )


def _chain(graph: Graph, node: Node | None, *names: str) -> Iterator[Node]:
    """Walk upwards along the inputs of these names, or those that only add a number to one of them."""
    seen: set[str] = set()
    while node is not None and node.id not in seen and len(seen) < DEPTH:
        seen.add(node.id)
        yield node
        numbered = [name for name in node.links if name.rstrip("0123456789_").startswith(names)]
        node = graph.source(node, *names, *numbered)


def _model(graph: Graph, chain: list[Node], positive: list[Node]) -> Model | None:
    loader = next((node for node in chain if node.kind in MODELS), None)
    said = text(graph.value(loader, MODELS[loader.kind])) if loader else None
    if said is None:
        return None
    identity = by_name(said.value)
    return Model(said.value, said.place, identity if identity.known else _by_text(graph, positive))


def _by_text(graph: Graph, positive: list[Node]) -> Identity:
    """Tell the family by what the loader of the text encoders is set to."""
    for node in positive:
        for above in _chain(graph, graph.source(node, "clip"), "clip"):
            said = graph.value(above, "type") if above.kind in ("CLIPLoader", "DualCLIPLoader") else None
            family = KINDS.get(said.value, "") if said and isinstance(said.value, str) else ""
            if family and said:
                return Identity(family, known_by=f"{above.kind}.type {said.value}")
    return Identity()


def _uses(graph: Graph, chain: list[Node], positive: list[Node], base: Model | None) -> Iterator[Use]:
    """List LoRAs on the way of the model, with the parts that they are loaded into, and ControlNets."""
    clips = {above.id for node in positive for above in _chain(graph, graph.source(node, "clip"), "clip")}
    for node in chain:
        said = text(graph.value(node, "lora_name")) if node.kind in LORAS else None
        if said is not None:
            parts = ("denoiser", "text") if node.kind == "LoraLoader" and node.id in clips else ("denoiser",)
            adapter = Model(said.value, said.place, by_name(said.value))
            yield Use(said.place, adapter, base, number(graph.value(node, "strength_model")), parts)
    for node in positive:
        said = text(graph.value(graph.source(node, "control_net"), "control_net_name"))
        if said is not None:
            adapter = Model(said.value, said.place, by_name(said.value))
            yield Use(said.place, adapter, base, number(graph.value(node, "strength")), ("denoiser",))


def _vae(graph: Graph, sampler: Node) -> Model | None:
    """Find the autoencoder that decodes what a sampler makes, where it is loaded from a file of its own."""
    for node in graph.nodes.values():
        if not node.kind.startswith("VAEDecode"):
            continue
        if any(above.id == sampler.id for above in _chain(graph, graph.source(node, "samples"), "samples")):
            said = text(graph.value(graph.source(node, "vae"), "vae_name"))
            return Model(said.value, said.place, by_name(said.value)) if said else None
    return None


def _text(graph: Graph, chain: list[Node]) -> Said[str] | None:
    """Give the words of a condition; None where it is zeroed out, or its words are not at hand."""
    if any(node.kind == "ConditioningZeroOut" for node in chain):
        return None
    for node in chain:
        if node.kind.startswith("CLIPTextEncode") or "TextEncode" in node.kind:
            return text(graph.value(node, *TEXTS))
    return None


def _clip_skip(graph: Graph, positive: list[Node]) -> Said[int] | None:
    for node in positive:
        for above in _chain(graph, graph.source(node, "clip"), "clip"):
            if above.kind == "CLIPSetLastLayer":
                return whole(graph.value(above, "stop_at_clip_layer"))
    return None


def _task(graph: Graph, latent: list[Node], positive: list[Node]) -> str:
    kinds = {node.kind for node in (*latent, *positive)}
    if kinds & set(MASKED):
        return "inpaint"
    return "image" if any(node.kind in (*PICTURES, *SAMPLERS) for node in latent) else "text"


def _others(graph: Graph, chain: list[Node], latent: list[Node], nodes: list[Node]) -> dict[str, Said[Any]]:
    """Give what else the nodes say, under ComfyUI's own names; masks and pictures by their files."""
    found = {name: said for node in nodes for name, said in node.values.items()}
    for node in chain:
        if node.kind.startswith("ModelSampling") or node.kind == "RescaleCFG":
            found |= {f"{node.kind}.{name}": said for name, said in node.values.items()}
    for node in latent:
        mask, picture = graph.source(node, "mask"), graph.source(node, "pixels")
        if mask is not None and mask.kind == "LoadImageMask" and "image" in mask.values:
            found["mask"] = mask.values["image"]
        if picture is not None and picture.kind == "LoadImage" and "image" in picture.values:
            found["image"] = picture.values["image"]
    return found


def _first(graph: Graph, chain: list[Node], name: str) -> Said[float] | None:
    return next((said for node in chain if (said := number(graph.value(node, name)))), None)


def _whole(graph: Graph, chain: list[Node], name: str) -> Said[int] | None:
    return next((said for node in chain if (said := whole(graph.value(node, name)))), None)
