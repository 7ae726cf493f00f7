"""Workflows of ComfyUI with samplers, loaders and bundles of extensions; group nodes; wrapped workflows."""

from typing import Any

import pytest

from check.test_comfyui import SEED, Nodes, api, listed, node, one, runs, spoken, value
from unnoise.check.read.comfy.custom_nodes import CUSTOM
from unnoise.check.read.comfyui import read_workflow
from unnoise.check.subject import GenerationRun
from unnoise.families.table import FAMILIES

# A value for every widget that is read, under the name of the extension.
VALUES: Nodes = {
    "steps": 24, "cfg": 5.5, "true_gs": 5.5, "seed": SEED, "noise_seed": SEED, "sampler_name": "dpmpp_2m",
    "scheduler": "karras", "denoise": 0.75, "denoise_strength": 0.75, "timestep_to_start_cfg": 1,
    "sampler_mode": "standard", "embedded_guidance_scale": 6.0, "flow_shift": 7.0, "shift": 7.0, "width": 832,
    "height": 480, "num_frames": 81,
}  # fmt: skip
LINKS = ("model", "positive", "negative", "latent_image")
PIPED = [kind for kind, row in CUSTOM.items() if row.samples and row.bundle and row.widgets]
DIRECT = [kind for kind, row in CUSTOM.items() if row.samples and not row.bundle]


def own_names(kind: str) -> dict[str, str]:
    """Return the names of the links of a sampler as its extension has them."""
    own = {ours: theirs for theirs, ours in CUSTOM[kind].moves.items()}
    return {name: own.get(name, name) for name in LINKS}


def drawn(kind: str, **links: Any) -> Nodes:
    """Return `api()` with another sampler: every widget of it, and its links."""
    widgets = {name: VALUES.get(name, 1) for name in CUSTOM[kind].widgets.split()}
    return api(_3=node(kind, **widgets, **links), _8=node("VAEDecode", samples=["3", 0]))


def settings(run: GenerationRun, kind: str) -> Nodes:
    """Return what was read of the settings that the sampler has."""
    read = {
        "steps": run.steps, "cfg": run.guidance, "seed": run.seed, "sampler_name": run.sampler, "scheduler": run.grid,
        "denoise": run.strength, "guidance": run.embedded, "shift": run.shift,
    }  # fmt: skip
    row = CUSTOM[kind]
    names = {row.moves.get(name, name) for name in row.widgets.split()}
    names |= {"seed"} & {name.removeprefix("noise_") for name in names}
    return {name: value(located) for name, located in read.items() if name in names}


def expected(kind: str) -> Nodes:
    row = CUSTOM[kind]
    named = {row.moves.get(name, name).removeprefix("noise_"): VALUES.get(name) for name in row.widgets.split()}
    return {name: held for name, held in named.items() if held is not None}


@pytest.mark.parametrize("kind", DIRECT)
def test_samplers_of_extensions(kind: str) -> None:
    links = {own: api()["3"]["inputs"][name] for name, own in own_names(kind).items()}
    run = one(drawn(kind, **links))
    assert settings(run, kind).items() <= expected(kind).items()
    assert (run.pipeline, value(run.prompt)) == (kind, "a lighthouse")
    assert run.model is not None
    assert run.model.name == "sd_xl_base_1.0.safetensors"
    assert [use.adapter.name for use in run.adapters] == ["style.safetensors"]


@pytest.mark.parametrize("kind", PIPED)
def test_samplers_with_a_bundle(kind: str) -> None:
    """The bundle is made of the same links as those of KSampler."""
    row = CUSTOM[kind]
    name = row.bundle.split()[0]
    wires = api()["3"]["inputs"]
    maker = {
        "basic_pipe": node("ToBasicPipe", **wires), "detailer_pipe": node("ToDetailerPipe", **wires),
        "pipe": node("easy pipeIn", model=wires["model"], pos=wires["positive"], neg=wires["negative"],
                     latent=wires["latent_image"]),
        "sdxl_tuple": node("Pack SDXL Tuple", base_model=wires["model"], base_positive=wires["positive"],
                           base_negative=wires["negative"]),
        "latent_image": node("ClownsharKSampler_Beta", **wires),
    }[name]  # fmt: skip
    run = runs(drawn(kind, **{name: ["50", 0]}) | {"50": maker})[0]
    assert settings(run, kind).items() <= expected(kind).items() | {("steps", 25)}
    assert (value(run.prompt), value(run.negative)) == ("a lighthouse", "blurry")
    assert run.model is not None
    assert run.model.name == "sd_xl_base_1.0.safetensors"


@pytest.mark.parametrize("kind", DIRECT)
def test_the_interface_saves_positions(kind: str) -> None:
    held: list[Any] = []
    for name in CUSTOM[kind].widgets.split():
        held += [VALUES.get(name, 1)] + ["fixed"] * ("seed" in name)
    content = {"nodes": [listed(3, kind, held, latent_image=(1, "LATENT"))], "links": []}
    run = one(content)
    assert settings(run, kind).items() <= expected(kind).items()
    assert value(run.steps) == (24 if "steps" in CUSTOM[kind].widgets.split() else None)
    assert run.steps is None or run.steps.place.keys[:3] == ("nodes", 0, "widgets_values")


def test_values_of_another_version_are_left_out() -> None:
    """An older node has another widget in front, so that no position is what it seems."""
    held = ["Sample", 13, SEED, True, 12, 8, "uni_pc_bh2", "ddim_uniform", 1, "Disabled"]
    run = one({"nodes": [listed(3, "KSampler (Efficient)", held)], "links": []})
    assert (run.steps, run.guidance, run.sampler, run.seed) == (None,) * 4


def test_a_loader_that_encodes_and_sizes() -> None:
    loader = node(
        "Efficient Loader", ckpt_name="sd_xl_base_1.0.safetensors", vae_name="Baked VAE", lora_name="None",
        lora_model_strength=1.0, positive="a lighthouse", negative="blurry", empty_latent_width=1152,
        empty_latent_height=896, batch_size=2,
    )  # fmt: skip
    wires = {"model": ["1", 0], "positive": ["1", 1], "negative": ["1", 2], "latent_image": ["1", 3]}
    first = node("KSampler (Efficient)", steps=20, cfg=7.0, seed=1, denoise=1.0, **wires)
    second = node(
        "KSampler (Efficient)",
        steps=9,
        cfg=6.0,
        seed=1,
        denoise=0.5,
        **{name: ["2", at] for at, name in enumerate(LINKS)},
    )
    made, again = runs({"1": loader, "2": first, "3": second})
    assert (made.task, again.task, value(made.width), value(again.width)) == ("text", "image", 1152, None)
    for run in (made, again):
        assert (value(run.prompt), value(run.negative), run.adapters, run.vae) == ("a lighthouse", "blurry", (), None)
        assert run.model is not None
        assert run.model.identity.family == "sdxl"


EASY = {
    "1": node("easy a1111Loader", ckpt_name="sd_xl_base_1.0.safetensors", lora_name="style.safetensors",
              lora_model_strength=0.8, resolution="832 x 1216", empty_latent_width=512, empty_latent_height=512,
              positive=["5", 0], negative="blurry"),
    "2": node("easy preSampling", pipe=["1", 0], steps=20, cfg=7.0, sampler_name="euler", scheduler="normal",
              denoise=1.0, seed=3),
    "3": node("easy kSampler", pipe=["2", 0], image_output="Preview"),
    "5": node("easy positive", positive="a lighthouse"),
}  # fmt: skip


def test_a_pipe_of_settings() -> None:
    run = one(EASY)
    assert (value(run.steps), value(run.guidance), value(run.sampler), value(run.seed)) == (20, 7.0, "euler", 3)
    assert (value(run.width), value(run.height), value(run.negative)) == (832, 1216, "blurry")
    assert value(run.prompt) == "a lighthouse"
    assert [(use.adapter.name, value(use.strength)) for use in run.adapters] == [("style.safetensors", 0.8)]
    picture = EASY | {"6": node("LoadImage", image="a.png")}
    picture["2"] = node("easy preSampling", **EASY["2"]["inputs"], image_to_latent=["6", 0])
    picture["2"]["inputs"]["denoise"] = 0.5
    assert (one(picture).task, one(picture).width) == ("image", None)


def test_video_of_its_own_nodes() -> None:
    content = {
        "1": node("WanVideoModelLoader", model="my_video.safetensors", base_precision="bf16", lora=["2", 0]),
        "2": node("WanVideoLoraSelect", lora="wan_lightx2v_distill.safetensors", strength=0.7, prev_lora=["3", 0]),
        "3": node("WanVideoLoraSelect", lora="style.safetensors", strength=1.0),
        "4": node("WanVideoTextEncode", positive_prompt="waves", negative_prompt="still"),
        "5": node("WanVideoEmptyEmbeds", width=832, height=480, num_frames=81),
        "6": node("WanVideoSampler", model=["1", 0], text_embeds=["4", 0], image_embeds=["5", 0], steps=6, cfg=1.0,
                  shift=8.0, seed=1, scheduler="unipc", denoise_strength=1.0),
        "7": node("WanVideoDecode", samples=["6", 0], vae=["8", 0]),
        "8": node("WanVideoVAELoader", model_name="wan_2.1_vae.safetensors"),
        "9": node("VHS_VideoCombine", images=["7", 0]),
    }  # fmt: skip
    run = one(content)
    assert (value(run.prompt), value(run.negative), run.task) == ("waves", "still", "text")
    assert (value(run.width), value(run.frames), value(run.shift)) == (832, 81, 8.0)
    assert (value(run.sampler), run.grid) == ("unipc", None)
    assert run.model is not None
    assert (run.model.identity.family, run.model.identity.known_by) == ("wan", "WanVideoModelLoader")
    assert [use.adapter.name for use in run.adapters] == ["wan_lightx2v_distill.safetensors", "style.safetensors"]
    assert run.vae is not None
    assert run.vae.identity.family == "wan"
    several = {"lora_0": "wan_lightx2v_distill.safetensors", "strength_0": 0.7, "lora_1": "none", "strength_1": 0.9,
               "lora_2": "style.safetensors", "strength_2": 1.0}  # fmt: skip
    stack = one(content | {"2": node("WanVideoLoraSelectMulti", **several)})
    assert [(use.adapter.name, value(use.strength)) for use in stack.adapters] == [
        ("wan_lightx2v_distill.safetensors", 0.7),
        ("style.safetensors", 1.0),
    ]
    begun = content | {"6": node("WanVideoSampler", **content["6"]["inputs"], samples=["10", 0])}
    assert one(begun).task == "image"


@pytest.mark.parametrize(("begin", "guidance"), [(20, None), (25, None), (1, 3.5)])
def test_xlabs_guidance_begins_at_a_step(begin: int, guidance: float | None) -> None:
    sampler = node("XlabsSampler", model=["4", 0], steps=20, timestep_to_start_cfg=begin, true_gs=3.5)
    assert value(one(api(_3=sampler)).guidance) == guidance


def test_a_chained_sampler_keeps_the_model_of_the_first() -> None:
    wires = api()["3"]["inputs"]
    first = node("ClownsharKSampler_Beta", **wires)
    chained = node("ClownsharkChainsampler_Beta", latent_image=["3", 0], cfg=4.0, sampler_mode="resample")
    _, second = runs(api(_3=first, _50=chained, _8=node("VAEDecode", samples=["50", 0])))
    assert (value(second.guidance), value(second.prompt), second.task) == (4.0, "a lighthouse", "image")
    assert second.model is not None
    backwards = node("ClownsharKSampler_Beta", **wires | {"sampler_mode": "unsample"})
    assert not read_workflow(api(_3=backwards), "w.json").runs


def test_motion_modules_are_adapters() -> None:
    content = api(
        _3=node("KSampler", **api()["3"]["inputs"] | {"model": ["40", 0]}),
        _40=node("ADE_UseEvolvedSampling", model=["10", 0], m_models=["41", 0], beta_schedule="autoselect"),
        _41=node("ADE_ApplyAnimateDiffModelSimple", motion_model=["42", 0]),
        _42=node("ADE_LoadAnimateDiffModel", model_name="AnimateLCM_sd15_t2v.ckpt"),
    )
    run = one(content)
    (module, _) = run.adapters
    assert (module.kind, str(module.adapter.identity)) == ("motion", "sd1 lcm")
    assert run.others["ADE_UseEvolvedSampling.beta_schedule"].value == "autoselect"


@pytest.mark.parametrize(
    ("kind", "links", "negative"),
    [
        ("Any Switch (rgthree)", {"any_01": ["none", 0], "any_02": ["7", 0]}, "blurry"),
        ("ImpactSwitch", {"select": 2, "input1": ["6", 0], "input2": ["7", 0]}, "blurry"),
        ("ImpactSwitch", {"select": ["none", 0], "input1": ["7", 0]}, None),
    ],
)
def test_switches_of_extensions(kind: str, links: Nodes, negative: str | None) -> None:
    sampler = node("KSampler", **api()["3"]["inputs"] | {"negative": ["40", 0]})
    assert value(one(api(_3=sampler, _40=node(kind, **links))).negative) == negative


def test_contexts_carry_links_and_values() -> None:
    wires = api()["3"]["inputs"]
    held = {name: wires[name] for name in ("model", "positive", "negative")} | {"latent": wires["latent_image"]}
    names = ("steps", "cfg", "sampler_name", "scheduler")
    content = api(
        _3=node("KSampler", **wires | {"model": ["41", 1], "positive": ["41", 4], "negative": ["41", 5]}
                | {name: ["41", at] for at, name in zip((9, 11, 13, 14), names, strict=True)}),
        _40=node("Context Big (rgthree)", **held, steps=["42", 0], cfg=["42", 2], sampler=["42", 3],
                 scheduler=["42", 4]),
        _41=node("Context Big (rgthree)", base_ctx=["40", 0]),
        _42=node("KSampler Config (rgthree)", steps_total=30, refiner_step=20, cfg=4.0, sampler_name="lcm",
                 scheduler="beta"),
    )  # fmt: skip
    run = one(content)
    assert (value(run.steps), value(run.guidance), value(run.sampler), value(run.grid)) == (30, 4.0, "lcm", "beta")
    assert (value(run.prompt), value(run.negative)) == ("a lighthouse", "blurry")
    assert run.model is not None


@pytest.mark.parametrize("keys", [("input", "workflow"), ("prompt",), ("output",), ("workflow",)])
def test_wrapped_workflows(keys: tuple[str, ...]) -> None:
    """RunPod's workers take {"input": {"workflow": ...}}."""
    content: Any = api()
    for key in reversed(keys):
        content = {key: content, "images": []}
    run = one(content)
    assert spoken(run) == spoken(one(api()))
    assert run.steps is not None
    assert run.steps.place.keys == (*keys, "3", "inputs", "steps")


GROUP: Nodes = {
    "nodes": [
        listed(0, "KSamplerSelect", ["euler"]) | {"outputs": [{"name": "SAMPLER"}]},
        listed(0, "BasicScheduler", ["simple", 20, 1.0], model=(None, "MODEL")) | {"outputs": [{"name": "SIGMAS"}]},
        listed(0, "CFGGuider", [4.5], model=(None, "MODEL"), positive=(None, "CONDITIONING"))
        | {"outputs": [{"name": "GUIDER"}]},
        listed(0, "RandomNoise", [SEED, "fixed"]) | {"outputs": [{"name": "NOISE"}]},
        listed(0, "SamplerCustomAdvanced", None, noise=(None, ""), guider=(None, ""), sampler=(None, ""),
               sigmas=(None, ""), latent_image=(None, "")) | {"outputs": [{"name": "output"}]},
    ],
    "links": [[None, 0, 1, 0, 9, "MODEL"], [3, 0, 4, 0, 1, "NOISE"], [2, 0, 4, 1, 1, "GUIDER"],
              [0, 0, 4, 2, 1, "SAMPLER"], [1, 0, 4, 3, 1, "SIGMAS"]],
    "external": [[4, 0, "LATENT"]],
}  # fmt: skip


@pytest.mark.parametrize("prefix", ["workflow>", "workflow/"])
@pytest.mark.parametrize(
    ("held", "steps", "keys"),
    [
        (["lcm", "beta", 8, 1.0, 1.5, 7, "fixed"], 8, ("nodes", 3, "widgets_values", 2)),
        (["lcm"], 20, ("extra", "groupNodes", "mine", "nodes", 1, "widgets_values", 1)),
    ],
)
def test_group_nodes_are_written_out(prefix: str, held: list[Any], steps: int, keys: tuple[Any, ...]) -> None:
    """Their inputs are the free ones of all nodes in a row: two models, a prompt and a latent."""
    content = {
        "nodes": [
            listed(1, "UNETLoader", ["flux1-dev.safetensors", "default"]),
            listed(2, "CLIPTextEncode", ["a lighthouse"]),
            listed(3, "EmptySD3LatentImage", [1024, 768, 1]),
            listed(4, f"{prefix}mine", held, model=(1, "MODEL"), CFGGuider_model=(2, "MODEL"),
                   positive=(3, "CONDITIONING"), latent_image=(4, "LATENT")),
            listed(5, "SaveImage", ["x"], images=(5, "IMAGE")),
        ],
        "links": [[1, 1, 0, 4, 0, "MODEL"], [2, 1, 0, 4, 1, "MODEL"], [3, 2, 0, 4, 2, "CONDITIONING"],
                  [4, 3, 0, 4, 3, "LATENT"], [5, 4, 0, 5, 0, "IMAGE"]],
        "extra": {"groupNodes": {"mine": GROUP}},
    }  # fmt: skip
    run = one(content)
    assert (value(run.steps), value(run.prompt), value(run.width)) == (steps, "a lighthouse", 1024)
    assert run.steps is not None
    assert run.steps.place.keys == keys
    assert run.model is not None
    assert run.model.name == "flux1-dev.safetensors"


@pytest.mark.parametrize(
    "group",
    [{}, {"nodes": 3}, {"nodes": [3, {}], "links": [[0], None]}, {"nodes": [{"type": "workflow>mine", "id": 0}]}],
)
def test_odd_group_nodes_are_left_out(group: Any) -> None:
    content = {
        "nodes": [listed(4, "workflow>mine", [1]), listed(5, "KSampler", [])],
        "extra": {"groupNodes": {"mine": group}},
    }
    assert len(read_workflow(content, "w.json").runs) == 1


def test_rows_are_whole() -> None:
    for kind, row in CUSTOM.items():
        assert ".py" in row.source, kind
        assert not row.family or row.family in FAMILIES
        assert row.task in ("", "image", "inpaint")
