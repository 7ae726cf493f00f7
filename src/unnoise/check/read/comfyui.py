"""Read a workflow of ComfyUI: from every sampler that reaches an output back to its model, prompts and latent.

Numbers are ComfyUI's own: `cfg` 1 is no guidance, `denoise` below 1 keeps a part of the latent and still runs all
`steps`, and `stop_at_clip_layer` counts from the end, -1 being the last layer.
Source: comfyanonymous/ComfyUI, nodes.py, comfy_extras/nodes_custom_sampler.py and nodes_model_advanced.py.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from math import isclose
from pathlib import PurePath
from typing import Any

from unnoise.check.coerce import number, text, whole
from unnoise.check.read.comfy import chains
from unnoise.check.read.comfy.custom_nodes import CUSTOM
from unnoise.check.read.comfy.graph import Graph, Link, Node, of_api
from unnoise.check.read.comfy.interface import of_interface
from unnoise.check.read.comfy.models import decoder, decoders, model_of, uses
from unnoise.check.read.comfy.regions import composer
from unnoise.check.read.comfy.widgets import WIDGETS
from unnoise.check.subject import GenerationRun, Located, Location, ReadFault, Subject

NESTED = 3  # objects around a workflow
# Keys of objects around a workflow.   Source: runpod-workers/worker-comfyui, README.md ("input", "workflow");
# comfyanonymous/ComfyUI, server.py ("prompt"); Comfy-Org/ComfyUI_frontend, src/utils/executionUtil.ts ("output")
WRAPPERS = ("input", "prompt", "output", "workflow", "graph")
RUNS = 200  # samplers of a workflow that are read
OTHERS = 256  # stored values of the nodes behind a sampler
CLOSE = 8  # nodes of its levels whose values are stored
OUTPUTS = ("Save", "Preview", "Combine", "ShowImage")
SAMPLERS = ("KSampler", "KSamplerAdvanced", "SamplerCustom", "SamplerCustomAdvanced")
# Nodes for a spacing of levels, or for a sampler, with KSampler's name for it.
GRIDS = {"KarrasScheduler": "karras", "ExponentialScheduler": "exponential", "BetaSamplingScheduler": "beta"}
NAMED = {
    "SamplerEulerAncestral": "euler_ancestral", "SamplerEulerAncestralCFGPP": "euler_ancestral_cfg_pp",
    "SamplerDPMPP_2M_SDE": "dpmpp_2m_sde", "SamplerDPMPP_3M_SDE": "dpmpp_3m_sde", "SamplerDPMPP_SDE": "dpmpp_sde",
    "SamplerDPMPP_2S_Ancestral": "dpmpp_2s_ancestral", "SamplerLMS": "lms", "SamplerDPMAdaptative": "dpm_adaptive",
    "SamplerER_SDE": "er_sde", "SamplerSASolver": "sa_solver", "SamplerLCM": "lcm",
}  # fmt: skip
CUTS = ("SplitSigmas", "SplitSigmasDenoise", "FlipSigmas", "SetFirstSigma", "ManualSigmas", "ExtendIntermediateSigmas")
MASKED = ("SetLatentNoiseMask", "VAEEncodeForInpaint", "InpaintModelConditioning")
EDITS = ("ReferenceLatent", "InstructPixToPixConditioning")
ENCODES = ("TextEncode", "TextEncoder")  # in the class of a node that encodes a prompt
TEXTS = ("text", "prompt", "t5xxl", "text_g", "user_prompt", "tags", "clip_l", "bert", "positive_prompt")
FRAMES = ("image", "start_image", "end_image", "init_image", "images")  # inputs of a latent
EDITED = ("image", "image1", "image_1", "images")  # inputs that are encoded with the prompt
PICTURES = ("VAEEncode", "LoadImage")  # in the class of a node that a latent of an image comes from
WARM_UP = re.compile(
    r"warm[-_ ]?up|smoke[-_ ]?test|^test[-_](input|payload|request)", re.IGNORECASE
)  # in the name of a file whose output is not kept
TESTS = re.compile(
    r"_?tests?|(.*[_-])?tests?[_-](data|cases|files|outputs|resources|workflows)|.*[_-]tests?|fixtures", re.IGNORECASE
)
FOLDERS = 3  # around a file whose names are read
RESIZES = ("LatentUpscale", "LatentCrop", "LatentUpsampler")


def read_workflow(content: dict[str, Any], path: str, source: str = "") -> Subject:
    """Read a workflow in API format or in the interface's format.

    Args:
        content: the JSON object
        path: of the file
        source: its text, which fixes may change

    Returns:
        a run for each sampler that an output depends on; a fault if the object is not a workflow
    """
    graph = _graph(content, path)
    if not graph.nodes:
        return Subject(
            path=path, faults=(ReadFault("unknown", Location(path), "is JSON, but not a known kind of workflow"),)
        )
    decoded = decoders(graph)
    runs = tuple(_run(graph, node, decoded) for node in _samplers(graph))
    models = {run.model.place: run.model for run in runs if run.model}
    texts = {path: source} if source else {}
    return Subject(path=path, tool="comfyui", models=tuple(models.values()), runs=runs, texts=texts)


def _graph(content: Mapping[str, Any], path: str) -> Graph:
    keys: tuple[str | int, ...] = ()
    for _ in range(NESTED):
        if isinstance(content.get("nodes"), list):
            return of_interface(content, path, keys)
        name = next((name for name in WRAPPERS if _is_wrapped(content.get(name))), "")
        if not name:
            break
        keys, content = (*keys, name), content[name]
    return of_api(content, path, keys)


def _is_wrapped(inner: Any) -> bool:
    return isinstance(inner, dict) and "class_type" not in inner


def _samplers(graph: Graph) -> list[Node]:
    """List the samplers that an output depends on, or all samplers if the workflow has no known output."""
    samplers = [node for node in graph.nodes.values() if node.kind in SAMPLERS or _samples(graph, node)]
    outputs = _outputs(graph)
    if outputs:
        reached = {node.id for node in graph.above(outputs)}
        samplers = [node for node in samplers if node.id in reached]
    return samplers[:RUNS]


def _samples(graph: Graph, node: Node) -> bool:
    """Return whether a node of an extension draws; RES4LYF's also run backwards, from an image to its noise."""
    known = CUSTOM.get(node.kind)
    mode = text(graph.value(node, "sampler_mode")) if known and known.samples else None
    return known is not None and known.samples and (mode is None or mode.value != "unsample")


def _outputs(graph: Graph) -> list[Node]:
    """List the nodes that save or show something, and nodes of unknown classes without users of their result."""
    taken = {link.id for node in graph.nodes.values() for link in node.links.values()}
    found = []
    for node in graph.nodes.values():
        shows = any(word in node.kind for word in OUTPUTS)
        ends = bool(node.links) and node.id not in taken
        if shows or (ends and node.kind not in WIDGETS):
            found.append(node)
    return found


@dataclass(frozen=True, slots=True)
class _Way:
    """Hold the nodes that a sampler depends on, from near to far."""

    node: Node
    guider: Node
    models: list[Node]
    positive: list[Node]
    negative: list[Node]
    latents: list[Node]
    grids: list[Node]


def _way(graph: Graph, node: Node) -> _Way:
    guider = graph.source(node, "guider") or node
    positive, negative = _prompts(graph, guider)
    return _Way(
        node,
        guider,
        chains.models(graph, graph.link(guider, "model")),
        chains.conditions(graph, positive),
        chains.conditions(graph, negative),
        chains.latents(graph, graph.link(node, "latent_image")),
        chains.grids(graph, graph.link(node, "sigmas")) or [node],
    )


def _prompts(graph: Graph, guider: Node) -> tuple[Link | None, Link | None]:
    """Return the conditions of a sampler; the negative one may have no link of its own."""
    positive, negative = graph.link(guider, "positive", "conditioning", "cond1"), graph.link(guider, "negative")
    known = CUSTOM.get(graph.nodes[positive.id].kind) if positive else None
    if known is not None and "negative" in known.texts.split():  # one node encodes both prompts
        return positive, negative or positive
    return positive, None if negative == positive else negative


def _run(graph: Graph, node: Node, decoded: Mapping[str, Any]) -> GenerationRun:
    way = _way(graph, node)
    grid, clips = way.grids[-1], chains.clips(graph, way.positive)
    model = model_of(graph, way.models, clips)
    strength = None if _continues(node) else number(graph.value(grid, "denoise"))
    sized = [node] if {"width", "height"} & {*node.values, *node.links} else []
    sized += way.latents[-1:] if not any(_resizes(one) for one in way.latents) else []
    prompt, negative = _text(graph, way.positive, "positive"), _text(graph, way.negative, "negative")
    return GenerationRun(
        place=node.place,
        tool="comfyui",
        task=_task(graph, way, strength),
        pipeline=node.kind,
        model=model,
        vae=decoded.get(node.id) or decoder(graph, node),
        adapters=tuple(uses(graph, way.models, way.positive, clips, model)),
        sampler=_sampler(graph, graph.source(node, "sampler") or node),
        grid=_spacing(graph, grid),
        steps=whole(graph.value(grid, "steps")),
        guidance=_guidance(graph, way.guider),
        embedded=_first(graph, [*[node] * (node.kind in CUSTOM), *way.positive], "guidance"),
        prompt=prompt,
        negative=None if negative == prompt else negative,  # one text on both sides only fills the input
        width=_whole(graph, sized, "width"),
        height=_whole(graph, sized, "height"),
        frames=_whole(graph, sized, "length", "video_frames", "num_frames"),
        batch=_whole(graph, sized, "batch_size"),
        strength=strength,
        shift=_first(graph, [one for one in (node, *way.models) if _shifts(one)], "shift"),
        seed=whole(graph.value(graph.source(node, "noise") or node, "noise_seed", "seed")),
        clip_skip=_whole(graph, [one for one in clips if one.kind == "CLIPSetLastLayer"], "stop_at_clip_layer"),
        trial=_only_tries(PurePath(node.place.path)),
        others=_others(graph, way),
    )


def _only_tries(path: PurePath) -> bool:
    """Return whether a file is named a warm-up, or is in a folder of tests."""
    return WARM_UP.search(path.stem) is not None or any(map(TESTS.fullmatch, path.parts[-FOLDERS - 1 : -1]))


def _continues(node: Node) -> bool:
    """Return whether a sampler goes on with the levels that the one before it left."""
    return node.kind in CUSTOM and CUSTOM[node.kind].bundle == "latent_image"


def _resizes(node: Node) -> bool:
    return chains.samples(node) or any(word in node.kind for word in RESIZES)


def _sampler(graph: Graph, node: Node) -> Located[str] | None:
    return text(graph.value(node, "sampler_name")) or _by_class(node, NAMED)


def _spacing(graph: Graph, grid: Node) -> Located[str] | None:
    return text(graph.value(grid, "scheduler")) or _by_class(grid, GRIDS)


def _by_class(node: Node, names: Mapping[str, str]) -> Located[str] | None:
    return Located(names[node.kind], node.place) if node.kind in names else None


def _shifts(node: Node) -> bool:
    return node.kind.startswith("ModelSampling") or node.kind in CUSTOM


def _guidance(graph: Graph, guider: Node) -> Located[float] | None:
    """Return the guidance scale; XLabs' sampler has one only from a step on, by default from behind the last.

    Sliders write 1.0000000000000002, which ComfyUI takes for 1.
    Source: XLabs-AI/x-flux-comfyui, sampling.py, denoise; comfyanonymous/ComfyUI, comfy/samplers.py, sampling_function
    """
    begin, steps = (whole(graph.value(guider, name)) for name in ("timestep_to_start_cfg", "steps"))
    if guider.kind == "XlabsSampler" and (begin is None or steps is None or begin.value >= steps.value):
        return None
    found = number(graph.value(guider, "cfg", "cfg_conds"))
    return Located(1.0, found.place) if found and isclose(found.value, 1.0) else found


def _encodes(node: Node) -> bool:
    known = CUSTOM.get(node.kind)
    return any(word in node.kind for word in ENCODES) or (known is not None and bool(known.texts))


def _text(graph: Graph, chain: list[Node], side: str) -> Located[str] | None:
    """Return the prompt behind a condition; None where it is zeroed out or unknown."""
    if any(node.kind == "ConditioningZeroOut" for node in chain):
        return None
    encoder = next((node for node in chain if _encodes(node)), None)
    return text(graph.value(encoder, side, *TEXTS))


def _task(graph: Graph, way: _Way, strength: Located[float] | None) -> str:
    """Identify the task; an encoded image that is denoised in full only sets the size."""
    known = CUSTOM.get(way.node.kind)
    if known is not None and known.task:
        return known.task
    if "first_latent" in way.node.links:
        return "image"
    if any(node.kind in MASKED for node in (*way.latents, *way.positive)):
        return "inpaint"
    if any(graph.link(node, *FRAMES) and "VAEEncode" not in node.kind for node in (way.node, *way.latents)):
        return "image"
    if any(node.kind in EDITS or (_encodes(node) and graph.link(node, *EDITED)) for node in way.positive):
        return "edit"
    drawn = any(chains.samples(node) or any(word in node.kind for word in PICTURES) for node in way.latents[-1:])
    return "image" if drawn and (strength.value < 1 if strength else _begins_late(graph, way)) else "text"


def _begins_late(graph: Graph, way: _Way) -> bool:
    begun = number(graph.value(way.node, "start_at_step"))
    return begun.value > 0 if begun else any(node.kind in CUTS for node in way.grids)


def _others(graph: Graph, way: _Way) -> dict[str, Located[Any]]:
    """Return other values: of the sampler by name, of other nodes by class and name.

    "sigmas" is a node whose levels differ from those of its steps, "regions" one that composes the image; "image" and
    "mask" are files.
    """
    above = (*way.models, *way.latents)
    named = ((f"{node.kind}.{name}", value) for node in above for name, value in node.values.items())
    found = dict(reversed(list(islice(named, OTHERS))))
    for node in (*way.grids[:CLOSE], way.guider, way.node):
        found |= node.values
    cut = next((node for node in way.grids if node.kind in CUTS), None)
    if cut is not None:
        found["sigmas"] = Located(cut.kind, cut.place)
    composed = composer(graph, way.node, way.positive, way.latents)
    if composed is not None:
        found["regions"] = Located(composed.kind, composed.place)
    return found | dict(_files(graph, way))


def _files(graph: Graph, way: _Way) -> Iterator[tuple[str, Located[Any]]]:
    """List the mask and the image that a run starts from, where they are loaded unchanged."""
    for node in (*way.latents, *way.positive):
        mask, picture = graph.source(node, "mask"), graph.source(node, "pixels")
        if mask is not None and mask.kind == "LoadImageMask" and "image" in mask.values:
            yield "mask", mask.values["image"]
        if picture is not None and picture.kind == "LoadImage" and "image" in picture.values:
            yield "image", picture.values["image"]


def _first(graph: Graph, chain: list[Node], name: str) -> Located[float] | None:
    return next((value for node in chain if (value := number(graph.value(node, name)))), None)


def _whole(graph: Graph, chain: list[Node], *names: str) -> Located[int] | None:
    return next((value for node in chain if (value := whole(graph.value(node, *names)))), None)
