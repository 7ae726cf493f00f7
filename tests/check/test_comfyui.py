"""Workflows of ComfyUI in both formats, as its server and its interface write them."""

import json
from typing import Any

import pytest

from unnoise.check.locate import locate
from unnoise.check.read.comfy.models import ALONE, ENCODERS
from unnoise.check.read.comfyui import GRIDS, NAMED, read_workflow
from unnoise.check.sampler_names import known_grids, known_names
from unnoise.check.subject import GenerationRun, Location
from unnoise.families.table import FAMILIES

Nodes = dict[str, Any]
SEED = 918273645546372819


def node(kind: str, **inputs: Any) -> Nodes:
    return {"class_type": kind, "inputs": inputs}


def api(**changed: Any) -> Nodes:
    """Return the default workflow of ComfyUI with a LoRA; changed: further nodes, or replacements of these."""
    wires = {"model": ["10", 0], "positive": ["6", 0], "negative": ["7", 0], "latent_image": ["5", 0]}
    numbers = {"seed": SEED, "steps": 25, "cfg": 6.5, "sampler_name": "dpmpp_2m", "scheduler": "karras", "denoise": 1.0}
    nodes = {
        "3": node("KSampler", **numbers, **wires),
        "4": node("CheckpointLoaderSimple", ckpt_name="sd_xl_base_1.0.safetensors"),
        "5": node("EmptyLatentImage", width=1152, height=896, batch_size=2),
        "6": node("CLIPTextEncode", text="a lighthouse", clip=["11", 0]),
        "7": node("CLIPTextEncode", text="blurry", clip=["11", 0]),
        "8": node("VAEDecode", samples=["3", 0], vae=["12", 0]),
        "9": node("SaveImage", images=["8", 0], filename_prefix="unnoise"),
        "10": node(
            "LoraLoader",
            lora_name="style.safetensors",
            strength_model=0.8,
            strength_clip=1,
            model=["4", 0],
            clip=["4", 1],
        ),
        "11": node("CLIPSetLastLayer", stop_at_clip_layer=-2, clip=["10", 1]),
        "12": node("VAELoader", vae_name="sdxl_vae.safetensors"),
    }
    return nodes | {key.lstrip("_"): value for key, value in changed.items()}


def runs(content: Any) -> tuple[GenerationRun, ...]:
    subject = read_workflow(content, "w.json", json.dumps(content))
    assert subject.tool == "comfyui"
    assert not subject.faults
    return subject.runs


def one(content: Any) -> GenerationRun:
    (run,) = runs(content)
    return run


def value(located: Any) -> Any:
    return located.value if located else None


def spoken(run: GenerationRun) -> dict[str, Any]:
    """Return the values of a run without their places."""
    names = (
        "sampler", "grid", "steps", "guidance", "embedded", "prompt", "negative", "width", "height", "batch", "frames",
        "strength", "shift", "seed", "clip_skip",
    )  # fmt: skip
    values = {name: value(getattr(run, name)) for name in names}
    uses = [(use.adapter.name, value(use.strength), use.parts) for use in run.adapters]
    names = (run.model.name if run.model else None, run.vae.name if run.vae else None)
    return values | {"task": run.task, "pipeline": run.pipeline, "uses": uses, "models": names}


def test_usual_workflow() -> None:
    run = one(api())
    assert spoken(run) == {
        "sampler": "dpmpp_2m", "grid": "karras", "steps": 25, "guidance": 6.5, "embedded": None,
        "prompt": "a lighthouse", "negative": "blurry", "width": 1152, "height": 896, "batch": 2, "frames": None,
        "strength": 1.0, "shift": None, "seed": SEED, "clip_skip": -2, "task": "text", "pipeline": "KSampler",
        "uses": [("style.safetensors", 0.8, ("denoiser", "text"))],
        "models": ("sd_xl_base_1.0.safetensors", "sdxl_vae.safetensors"),
    }  # fmt: skip
    assert run.model is not None
    assert run.model.identity.family == "sdxl"
    assert run.guidance is not None
    assert run.guidance.place == Location("w.json", ("3", "inputs", "cfg"))
    text = json.dumps(api())
    place = locate(run.guidance.place, text)
    assert text[place.column : place.end_column] == "6.5"


def test_negative_prompt_behind_a_node_that_also_returns_the_model() -> None:
    """WanInfiniteTalkToVideo returns the model, the positive and the negative condition, and the latent."""
    content = api()
    content["13"] = {
        "class_type": "WanInfiniteTalkToVideo",
        "inputs": {"mode": "single_speaker", "width": 640, "height": 640, "length": 81, "model": ["4", 0],
                   "positive": ["6", 0], "negative": ["7", 0]},
    }  # fmt: skip
    content["3"]["inputs"] |= {"model": ["13", 0], "positive": ["13", 1], "negative": ["13", 2]}
    run = one(content)
    assert run.prompt is not None
    assert run.negative is not None
    assert (run.prompt.value, run.negative.value) == ("a lighthouse", "blurry")


@pytest.mark.parametrize(
    ("choice", "swap", "expected"),
    [("custom", "Off", (64, 96)), ("SD1.5 - 2:3 portrait 512x768", "Off", (512, 768)),
     ("2:3 portrait 512x768", "On", (768, 512))],
)  # fmt: skip
def test_choice_of_a_size(choice: str, swap: str, expected: tuple[int, int]) -> None:
    content = api()
    content["5"] = {
        "class_type": "CR Aspect Ratio",
        "inputs": {"width": 64, "height": 96, "aspect_ratio": choice, "swap_dimensions": swap, "batch_size": 1},
    }
    run = one(content)
    assert run.width is not None
    assert run.height is not None
    assert (run.width.value, run.height.value) == expected


def test_format_of_the_server() -> None:
    run = one({"client_id": "a", "prompt": api()})
    assert run.guidance is not None
    assert run.guidance.place.keys == ("prompt", "3", "inputs", "cfg")


def listed(id: int, kind: str, held: Any = None, mode: int = 0, **inputs: Any) -> Nodes:
    """Write a node as the interface saves it; inputs: name = (link, type), or (link, type, "widget")."""
    slots = [
        {"name": name, "link": link[0], "type": link[1]} | ({"widget": {"name": name}} if len(link) > 2 else {})
        for name, link in inputs.items()
    ]
    return {"id": id, "type": kind, "mode": mode, "inputs": slots, "widgets_values": held}


# The same as `api()`: with a reroute, a bypassed LoRA, a value that is set and got by name, and a primitive.
INTERFACE: Nodes = {
    "nodes": [
        listed(3, "KSampler", [1, "fixed", 25, 6.5, "dpmpp_2m", "karras", 1.0], model=(1, "MODEL"),
               positive=(2, "CONDITIONING"), negative=(3, "CONDITIONING"), latent_image=(4, "LATENT"),
               seed=(5, "INT", "widget")),
        listed(4, "CheckpointLoaderSimple", ["sd_xl_base_1.0.safetensors"]),
        listed(5, "EmptyLatentImage", {"width": 1152, "height": 896, "batch_size": 2}),
        listed(6, "CLIPTextEncode", ["a lighthouse"], clip=(6, "CLIP")),
        listed(7, "CLIPTextEncode", ["blurry"], clip=(7, "CLIP")),
        listed(8, "VAEDecode", None, samples=(8, "LATENT"), vae=(9, "VAE")),
        listed(9, "SaveImage", ["unnoise"], images=(10, "IMAGE")),
        listed(10, "LoraLoader", ["style.safetensors", 0.8, 1], model=(11, "MODEL"), clip=(12, "CLIP")),
        listed(11, "CLIPSetLastLayer", [-2], clip=(13, "CLIP")),
        listed(12, "VAELoader", ["sdxl_vae.safetensors"]),
        listed(20, "PrimitiveNode", [SEED, "fixed"]),
        listed(21, "Reroute", None, **{"": (14, "MODEL")}),
        listed(22, "LoraLoader", ["off.safetensors", 1, 1], 4, model=(15, "MODEL"), clip=(16, "CLIP"))
        | {"outputs": [{"type": "MODEL"}, {"type": "CLIP"}]},
        listed(23, "SetNode", ["text"], CLIP=(17, "CLIP")),
        listed(24, "GetNode", ["text"]),
        listed(25, "Note", ["words"]),
        listed(26, "KSampler", [1, "fixed", 9, 9, "euler", "simple", 1.0], 2),
    ],
    "links": [
        [1, 21, 0, 3, 0, "MODEL"], [2, 6, 0, 3, 1, "CONDITIONING"], [3, 7, 0, 3, 2, "CONDITIONING"],
        {"id": 4, "origin_id": 5, "origin_slot": 0, "target_id": 3, "target_slot": 3, "type": "LATENT"},
        [5, 20, 0, 3, 4, "INT"], [6, 24, 0, 6, 0, "CLIP"], [7, 11, 0, 7, 0, "CLIP"], [8, 3, 0, 8, 0, "LATENT"],
        [9, 12, 0, 8, 1, "VAE"], [10, 8, 0, 9, 0, "IMAGE"], [11, 4, 0, 10, 0, "MODEL"], [12, 4, 1, 10, 1, "CLIP"],
        [13, 22, 1, 11, 0, "CLIP"], [14, 22, 0, 21, 0, "MODEL"], [15, 10, 0, 22, 0, "MODEL"],
        [16, 10, 1, 22, 1, "CLIP"], [17, 11, 0, 23, 0, "CLIP"],
    ],
}  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "held", "name"),
    [("UNETLoaderMultiGPU", ["flux1-fill-dev.safetensors", "fp8_e4m3fn", "cuda:1"], "flux1-fill-dev.safetensors"),
     ("UnetLoaderGGUFDisTorch2MultiGPU", ["wan2.1-t2v-14b.gguf", "cuda:0", 4.0, "cpu"], "wan2.1-t2v-14b.gguf"),
     ("LoaderGGUF", ["flux1-krea-dev-q8_0.gguf"], "flux1-krea-dev-q8_0.gguf")],
)  # fmt: skip
def test_loaders_of_extensions(kind: str, held: list[Any], name: str) -> None:
    content = {**INTERFACE, "nodes": [one for one in INTERFACE["nodes"] if one["id"] != 4]}
    content["nodes"].append(listed(4, kind, held))
    run = one(content)
    assert run.model is not None
    assert run.model.name == name
    assert run.model.identity.known


def test_the_interface_saves_the_same() -> None:
    run = one(INTERFACE)
    assert spoken(run) == spoken(one(api()))
    assert run.guidance is not None
    assert run.guidance.place.keys == ("nodes", 0, "widgets_values", 3)
    assert run.width is not None
    assert run.width.place.keys == ("nodes", 2, "widgets_values", "width")
    assert run.seed is not None
    assert run.seed.place.keys == ("nodes", 10, "widgets_values", 0)


SUBGRAPH = {
    "id": "a-b-c",
    "inputs": [{"name": "model"}, {"name": "text"}, {"name": "cfg"}],
    "nodes": [
        listed(1, "KSampler", [7, "fixed", 20, 9.9, "euler", "simple", 1.0], model=(1, "MODEL"),
               positive=(2, "CONDITIONING"), cfg=(4, "FLOAT", "widget")),
        listed(2, "CLIPTextEncode", ["inner"], text=(3, "STRING", "widget")),
    ],
    "links": [
        {"id": 1, "origin_id": -10, "origin_slot": 0, "target_id": 1, "target_slot": 0},
        {"id": 2, "origin_id": 2, "origin_slot": 0, "target_id": 1, "target_slot": 1},
        {"id": 3, "origin_id": -10, "origin_slot": 1, "target_id": 2, "target_slot": 0},
        {"id": 4, "origin_id": -10, "origin_slot": 2, "target_id": 1, "target_slot": 2},
        {"id": 5, "origin_id": 1, "origin_slot": 0, "target_id": -20, "target_slot": 0},
    ],
}  # fmt: skip


@pytest.mark.parametrize(
    ("held", "prompt", "weight", "keys"),
    [
        (["outer", 4.5], "outer", 4.5, ("nodes", 1, "widgets_values", 1)),
        ([], "inner", 9.9, ("definitions", "subgraphs", 0, "nodes", 0, "widgets_values", 3)),
    ],
)
def test_subgraphs_are_written_out(held: list[Any], prompt: str, weight: float, keys: tuple[Any, ...]) -> None:
    """The widgets of a subgraph have the values of its node, where the node has any."""
    content = {
        "nodes": [
            listed(1, "UNETLoader", ["flux1-dev.safetensors", "default"]),
            listed(2, "a-b-c", held, model=(1, "MODEL")),
            listed(3, "SaveImage", ["x"], images=(2, "IMAGE")),
        ],
        "links": [[1, 1, 0, 2, 0, "MODEL"], [2, 2, 0, 3, 0, "IMAGE"]],
        "definitions": {"subgraphs": [SUBGRAPH]},
    }
    run = one(content)
    assert (value(run.prompt), value(run.guidance)) == (prompt, weight)
    assert run.guidance is not None
    assert run.guidance.place.keys == keys
    assert run.model is not None
    assert run.model.name == "flux1-dev.safetensors"


def test_custom_sampling() -> None:
    """FLUX.1 as its official example wires it."""
    content = {
        "5": node("EmptySD3LatentImage", width=1024, height=768, batch_size=1),
        "6": node("CLIPTextEncode", text="a lighthouse", clip=["11", 0]),
        "10": node("VAELoader", vae_name="ae.safetensors"),
        "11": node("DualCLIPLoader", clip_name1="t5xxl.safetensors", clip_name2="clip_l.safetensors", type="flux"),
        "12": node("UNETLoader", unet_name="my_mix.safetensors", weight_dtype="default"),
        "13": node(
            "SamplerCustomAdvanced",
            noise=["25", 0],
            guider=["22", 0],
            sampler=["16", 0],
            sigmas=["17", 0],
            latent_image=["5", 0],
        ),
        "8": node("VAEDecode", samples=["13", 0], vae=["10", 0]),
        "9": node("SaveImage", images=["8", 0]),
        "16": node("KSamplerSelect", sampler_name="euler"),
        "17": node("BasicScheduler", scheduler="simple", steps=20, denoise=1.0, model=["30", 0]),
        "22": node("BasicGuider", model=["30", 0], conditioning=["26", 0]),
        "25": node("RandomNoise", noise_seed=SEED),
        "26": node("FluxGuidance", guidance=3.5, conditioning=["6", 0]),
        "30": node("ModelSamplingFlux", max_shift=1.15, base_shift=0.5, width=1024, height=768, model=["12", 0]),
    }
    run = one(content)
    assert (value(run.sampler), value(run.grid), value(run.steps), value(run.seed)) == ("euler", "simple", 20, SEED)
    assert (run.guidance, run.negative, value(run.embedded)) == (None, None, 3.5)
    assert (value(run.width), value(run.height)) == (1024, 768)
    assert run.model is not None
    assert (run.model.identity.family, run.model.identity.known_by) == ("flux1", "DualCLIPLoader flux")
    assert run.others["ModelSamplingFlux.max_shift"].value == 1.15
    named = content | {"16": node("SamplerEulerAncestral", eta=1.0), "17": node("KarrasScheduler", steps=9)}
    assert (value(one(named).sampler), value(one(named).grid)) == ("euler_ancestral", "karras")


MASKED = {"30": node("SetLatentNoiseMask", samples=["21", 0], mask=["22", 0])}
EDITED = {"30": node("ReferenceLatent", conditioning=["6", 0], latent=["21", 0])}
MOVED = {
    "30": node("WanImageToVideo", positive=["6", 0], start_image=["20", 0], width=832, height=480, length=81),
}
PICTURE = {"20": node("LoadImage", image="photo.png"), "22": node("LoadImageMask", image="mask.png", channel="red")}
ENCODED = PICTURE | {"21": node("VAEEncode", pixels=["20", 0], vae=["4", 2])}


def begun(**inputs: Any) -> Nodes:
    """Return the sampler of `api()` with other inputs and with input images."""
    nodes = ENCODED | api()
    return nodes | {"3": node("KSampler", **nodes["3"]["inputs"] | inputs)}


@pytest.mark.parametrize(
    ("content", "task"),
    [
        (begun(latent_image=["21", 0], denoise=0.6), "image"),
        (begun(latent_image=["21", 0], denoise=1.0), "text"),
        (begun(latent_image=["30", 0]) | MASKED, "inpaint"),
        (begun(positive=["30", 0]) | EDITED, "edit"),
        (begun(latent_image=["30", 2]) | MOVED, "image"),
    ],
)
def test_tasks(content: Nodes, task: str) -> None:
    run = one(content)
    assert run.task == task
    if task == "inpaint":
        assert (run.others["mask"].value, run.others["image"].value) == ("mask.png", "photo.png")
    if content.get("30") == MOVED["30"]:
        assert (value(run.frames), value(run.width)) == (81, 832)


def test_second_pass_has_no_size_of_its_own() -> None:
    content = api(
        _30=node("LatentUpscaleBy", samples=["3", 0], upscale_method="bislerp", scale_by=1.5),
        _31=node("KSampler", **api()["3"]["inputs"] | {"latent_image": ["30", 0], "denoise": 0.5, "steps": 14}),
        _8=node("VAEDecode", samples=["31", 0], vae=["12", 0]),
    )
    first, second = runs(content)
    assert (first.task, value(first.width), second.task, second.width) == ("text", 1152, "image", None)
    assert first.vae == second.vae
    assert first.vae is not None


@pytest.mark.parametrize(
    ("changed", "negative"),
    [
        ({"_7": node("ConditioningZeroOut", conditioning=["6", 0])}, None),
        ({"_3": node("KSampler", **api()["3"]["inputs"] | {"negative": ["6", 0]})}, None),
        ({"_7": node("CLIPTextEncode", text=["40", 0]), "_40": node("PrimitiveString", value="grey")}, "grey"),
        ({"_7": node("CLIPTextEncode", text=["40", 0]),
          "_40": node("StringConcatenate", string_a="bad", string_b=["41", 0], delimiter=", "),
          "_41": node("PrimitiveStringMultiline", value="grey")}, "bad, grey"),
        ({"_7": node("CLIPTextEncode", text=["40", 0]), "_40": node("SomethingElse", value="grey")}, None),
    ],
)  # fmt: skip
def test_negative_prompts(changed: Nodes, negative: str | None) -> None:
    assert value(one(api(**changed)).negative) == negative


@pytest.mark.parametrize(("switch", "steps", "loras"), [(True, 4, 1), (False, 30, 0), ("?", None, 0)])
def test_switches_are_settled(switch: Any, steps: int | None, loras: int) -> None:
    content = api(
        _3=node("KSampler", **api()["3"]["inputs"] | {"model": ["40", 0], "steps": ["41", 0]}),
        _40=node("ComfySwitchNode", switch=["42", 0], on_true=["10", 0], on_false=["4", 0]),
        _41=node("ComfySwitchNode", switch=["42", 0], on_true=["43", 0], on_false=30),
        _42=node("PrimitiveBoolean", value=switch),
        _43=node("PrimitiveInt", value=4),
    )
    run = one(content)
    assert (value(run.steps), len(run.adapters)) == (steps, loras)


def test_both_sides_of_a_controlnet() -> None:
    """The node gives the positive condition first and the negative second."""
    content = api(
        _3=node("KSampler", **api()["3"]["inputs"] | {"positive": ["40", 0], "negative": ["40", 1]}),
        _40=node("ControlNetApplyAdvanced", positive=["6", 0], negative=["7", 0], control_net=["41", 0], strength=0.7),
        _41=node("SetUnionControlNetType", control_net=["42", 0], type="depth"),
        _42=node("ControlNetLoader", control_net_name="depth.safetensors"),
    )
    run = one(content)
    assert (value(run.prompt), value(run.negative)) == ("a lighthouse", "blurry")
    assert ("depth.safetensors", 0.7, ("denoiser",)) in spoken(run)["uses"]


def test_several_loras_of_one_node() -> None:
    first, second = ({"on": on, "lora": f"{on}.safetensors", "strength": 0.5} for on in (True, False))
    held = [{}, first, second, ""]
    content = {
        "nodes": [*INTERFACE["nodes"][:7], listed(10, "Power Lora Loader (rgthree)", held, model=(11, "MODEL"))],
        "links": [*INTERFACE["links"][1:], [1, 10, 0, 3, 0, "MODEL"]],
    }
    assert spoken(one(content))["uses"] == [("True.safetensors", 0.5, ("denoiser",))]


def test_merged_models_keep_what_both_have() -> None:
    merge = node("ModelMergeSimple", model1=["4", 0], model2=["40", 0], ratio=0.5)
    sampler = node("KSampler", **api()["3"]["inputs"] | {"model": ["41", 0]})
    turbo, other = (
        node("CheckpointLoaderSimple", ckpt_name=n) for n in ("sd_xl_turbo_1.0.safetensors", "mine.safetensors")
    )
    for loader, family in ((turbo, "sdxl"), (other, "sdxl")):
        run = one(api(_3=sampler, _40=loader, _41=merge))
        assert run.model is not None
        assert (run.model.identity.family, run.model.identity.variant) == (family, "")


def test_samplers_that_reach_no_output_do_not_run() -> None:
    assert len(runs(api(_40=node("KSampler", **api()["3"]["inputs"])))) == 1
    custom = {key: value for key, value in api().items() if key != "9"} | {"50": node("My Writer", images=["8", 0])}
    assert len(runs(custom)) == 1


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"a": 1},
        {"nodes": []},
        {"nodes": {}, "links": 3},
        {"prompt": {"3": {"class_type": 5, "inputs": {}}}},
        {"nodes": [{"id": [], "type": "KSampler"}, {"id": 1, "type": None}, 7]},
    ],
)
def test_files_that_are_no_workflow(content: Any) -> None:
    subject = read_workflow(content, "w.json")
    assert [fault.kind for fault in subject.faults] == ["unknown"]


@pytest.mark.parametrize(
    "inputs",
    [
        {"model": ["3", 0], "positive": ["3", 0], "latent_image": ["3", 0], "steps": ["3", 0]},
        {
            "model": ["none", 0],
            "steps": True,
            "cfg": float("nan"),
            "seed": 10**400,
            "sampler_name": ["x"],
            "denoise": {},
        },
        {"model": [None, None], "positive": [["3"], 0], "steps": "9" * 100, "cfg": "\ud800", "latent_image": [3, "0"]},
    ],
)
def test_odd_values_and_circles_are_left_out(inputs: Nodes) -> None:
    run = one({"3": node("KSampler", **inputs)})
    assert (run.model, run.steps, run.guidance, run.seed, run.sampler) == (None,) * 5


def test_subgraphs_within_themselves_end() -> None:
    subgraph = {"id": "u", "nodes": [{"id": at, "type": "u"} for at in range(100)]}
    content = {"nodes": [{"id": 1, "type": "u"}], "definitions": {"subgraphs": [subgraph]}}
    assert not read_workflow(content, "w.json").runs
    way = [listed(at, "Reroute", None, **{"": (1 - at, "MODEL")}) for at in (0, 1)]
    circle = {
        "nodes": [*way, listed(2, "KSampler", [], model=(0, "MODEL"))],
        "links": [[0, 0, 0, 1, 0], [1, 1, 0, 0, 0]],
    }
    assert one(circle).model is None


def test_tables_name_what_is_known() -> None:
    families = {*ALONE.values(), *(family for kinds in ENCODERS.values() for family in kinds.values())}
    assert families <= FAMILIES.keys()
    assert set(NAMED.values()) <= known_names("comfyui")
    assert set(GRIDS.values()) <= known_grids("comfyui")
