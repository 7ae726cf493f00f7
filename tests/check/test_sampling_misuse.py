"""Misuse of sampling settings as people wrote it, each beside its nearest neighbour that is right."""

from typing import Any

import pytest

from unnoise.check.engine import judge
from unnoise.check.examples import checkpoint, folder, infotext, invokeai, script, together, workflow
from unnoise.check.read.swarmui import read_metadata
from unnoise.check.rule import ERROR, NOTE, WARN, Severity
from unnoise.check.subject import Subject

HEAD = "import torch\nfrom diffusers import *\n"
XL = 'pipe = StableDiffusionXLPipeline.from_pretrained("stabilityai/stable-diffusion-xl-base-1.0")\n'
SD1 = 'pipe = StableDiffusionPipeline.from_pretrained("stable-diffusion-v1-5/stable-diffusion-v1-5")\n'
FLUX = 'pipe = FluxPipeline.from_pretrained("black-forest-labs/FLUX.1-{}")\n'
SEEDED = 'torch.Generator("cpu").manual_seed(42)'


def grade(subject: Subject, rule: str) -> Severity | None:
    """Return the highest grade of a rule's findings; None without one."""
    return max((one.grade for one in judge(subject) if one.rule.id == rule), default=None)


def made(text: str) -> Subject:
    subject = script(HEAD + text)
    assert not subject.faults
    return subject


def record(numbers: str, prompt: str = "a lighthouse", negative: str = "") -> Subject:
    lines = [prompt, *([f"Negative prompt: {negative}"] if negative else []), numbers]
    return infotext("\n".join(lines))


DEV = "Steps: 20, Sampler: Euler, Schedule type: Simple, CFG scale: {}, Seed: 5, Size: 1024x1024, Model: {}, {}"
FORGE, CPP = "Version: f2.0.1v1.10.1", "RNG: cuda, Version: stable-diffusion.cpp"


@pytest.mark.parametrize(
    ("cfg", "model", "rest", "negative", "expected"),
    [
        ("3.5", "flux1-dev", f"Distilled CFG Scale: 3.5, {FORGE}", "", WARN),
        ("7", "flux1-dev", f"Distilled CFG Scale: 3.5, {FORGE}", "blurry", WARN),
        ("5", "flux1-dev", FORGE, "blurry", WARN),
        ("7.000000", "flux1-dev-q4_0.gguf", f"Guidance: 3.500000, {CPP}", "", WARN),
        ("3", "flux1-dev", f"Distilled CFG Scale: 1.5, {FORGE}", "blurry", NOTE),  # a weak scale leaves room
        ("3.5", "myFluxMix_v2", f"Distilled CFG Scale: 3.5, {FORGE}", "", NOTE),  # may be distilled no more
        ("1", "flux1-dev", f"Distilled CFG Scale: 3.5, {FORGE}", "", None),
        ("3.5", "flux-dev-de-distill", FORGE, "", None),
        ("4.5", "chroma-unlocked-v37", FORGE, "blurry", None),
    ],
)
def test_guidance_on_top_of_distilled_guidance(
    cfg: str, model: str, rest: str, negative: str, expected: Severity | None
) -> None:
    subject = record(DEV.format(cfg, model, rest), negative=negative)
    assert grade(subject, "UN404") == expected
    assert grade(subject, "UN401") is None


def test_guidance_on_flux_in_swarmui() -> None:
    settings = {"model": "flux1-dev.safetensors", "cfgscale": 7, "fluxguidancescale": 3.5, "steps": 20}
    assert grade(read_metadata({"sui_image_params": settings}, "picture.png"), "UN404") == WARN
    assert grade(read_metadata({"sui_image_params": settings | {"cfgscale": 1}}, "picture.png"), "UN404") is None


def flux(cfg: float, negative: str, extra: dict[str, Any] | None = None, **wires: Any) -> Subject:
    return workflow(checkpoint="flux1-dev-fp8.safetensors", negative=negative, cfg=cfg, extra=extra, **wires)


def test_guidance_on_flux_in_comfyui() -> None:
    limiter = {"class_type": "DynamicThresholdingFull", "inputs": {"model": ["4", 0], "mimic_scale": 3.0}}
    scale = {"class_type": "FluxGuidance", "inputs": {"conditioning": ["6", 0], "guidance": 3.5}}
    assert grade(flux(3.5, "blurry"), "UN404") == WARN
    assert grade(flux(3.5, "", {"20": scale}, positive=["20", 0]), "UN404") == WARN
    assert grade(flux(3.5, "blurry", {"20": limiter}, model=["20", 0]), "UN404") == NOTE
    assert grade(flux(1.0, "", {"20": scale}, positive=["20", 0]), "UN404") is None


@pytest.mark.parametrize(
    ("subject", "expected"),
    [
        (made(SD1 + 'pipe("a", negative_prompt="b", guidance_scale=1.0)'), WARN),
        (made('pipe = make()\npipe("a", negative_prompt="b", guidance_scale=1.0)'), NOTE),
        (flux(1.0, "blurry"), WARN),
        (workflow(checkpoint="sd_xl_turbo_1.0_fp16.safetensors", cfg=1.0), NOTE),
        (workflow(checkpoint="unheardof.safetensors", cfg=1.0), NOTE),
        (workflow(cfg=1.0), WARN),
        (workflow(cfg=1.0, sampler_name="euler_cfg_pp"), None),  # CFG++ uses it at scale 1
        (workflow(cfg=0.5), None),
        (record(DEV.format("1", "flux1-dev", f"Distilled CFG Scale: 3.5, {FORGE}"), negative="blurry"), WARN),
    ],
)
def test_negative_prompt_that_is_dropped(subject: Subject, expected: Severity | None) -> None:
    assert grade(subject, "UN405") == expected


def test_guidance_that_does_nothing() -> None:
    assert grade(made(FLUX.format("schnell") + 'pipe("a", guidance_scale=3.5)'), "UN403") == WARN
    assert grade(record(DEV.format("1", "flux1-schnell", f"Distilled CFG Scale: 3.5, {FORGE}")), "UN403") == NOTE
    assert grade(made(FLUX.format("dev") + 'pipe("a", true_cfg_scale=4.0)'), "UN403") == WARN
    both = 'pipe("a", negative_prompt=" ", true_cfg_scale=4.0)'
    assert grade(made(FLUX.format("dev") + both), "UN403") is None
    net = FLUX.format("schnell").replace("FluxPipeline", "FluxControlNetPipeline")
    assert grade(made(net + 'pipe("a", guidance_scale=3.5)'), "UN403") is None  # a ControlNet may take the scale


ZERO = "rescale_betas_zero_snr=True"
BASE = '"stabilityai/stable-diffusion-xl-base-1.0"'


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        (f'noise = DDPMScheduler.from_pretrained({BASE}, subfolder="scheduler", {ZERO})', True),
        (f'name = {BASE}\nnoise = DDPMScheduler.from_pretrained(name, subfolder="scheduler", {ZERO})', True),
        (f"noise = DDIMScheduler(beta_schedule='scaled_linear', {ZERO})", True),
        (f"{XL}sampler = EulerDiscreteScheduler.from_config(pipe.scheduler.config, {ZERO})", True),
        (f'noise = DDPMScheduler.from_pretrained({BASE}, subfolder="scheduler")', False),
        (f'noise = DDPMScheduler.from_pretrained("someone/model", subfolder="scheduler", {ZERO})', False),
        (f'noise = DDPMScheduler.from_pretrained({BASE}, prediction_type="v_prediction", {ZERO})', False),
        (
            f"noise = DDPMScheduler.from_pretrained({BASE}, {ZERO})\nnoise.register_to_config(prediction_type=kind)",
            False,
        ),
        (f"noise = DDPMScheduler.from_pretrained({BASE}, rescale_betas_zero_snr=args.zero)", False),
    ],
)
def test_zero_snr_of_eps_wherever_a_scheduler_is_made(lines: str, found: bool) -> None:
    assert grade(made(lines), "UN105") == (ERROR if found else None)


@pytest.mark.parametrize(("sampling", "expected"), [("eps", ERROR), ("v_prediction", None)])
def test_zero_snr_of_eps_in_comfyui(sampling: str, expected: Severity | None) -> None:
    inputs = {"model": ["4", 0], "sampling": sampling, "zsnr": True}
    node = {"class_type": "ModelSamplingDiscrete", "inputs": inputs}
    assert grade(workflow(model=["20", 0], extra={"20": node}), "UN105") == expected


LCM = 'pipe.load_lora_weights("latent-consistency/lcm-lora-sdxl")\n'
LIGHT = 'pipe.load_lora_weights("ByteDance/SDXL-Lightning", weight_name="sdxl_lightning_4step_lora.safetensors")\n'
HYPER = 'pipe.load_lora_weights("ByteDance/Hyper-SD", weight_name="Hyper-SDXL-4steps-lora.safetensors")\n'
DRAW = 'pipe("a", num_inference_steps=4, guidance_scale=0)'


def with_scheduler(class_: str, more: str = "") -> str:
    return f"pipe.scheduler = {class_}.from_config(pipe.scheduler.config{more})\n"


@pytest.mark.parametrize(
    ("lora", "scheduler", "expected"),
    [
        (LCM, "", WARN),
        (LCM, with_scheduler("DPMSolverMultistepScheduler"), WARN),
        (LCM, with_scheduler("LCMScheduler"), None),
        (LCM, with_scheduler("EulerAncestralDiscreteScheduler"), None),
        (LIGHT, with_scheduler("EulerDiscreteScheduler", ', timestep_spacing="linspace"'), WARN),
        (LIGHT, with_scheduler("DPMSolverMultistepScheduler", ", use_karras_sigmas=True"), WARN),
        (LIGHT, with_scheduler("EulerDiscreteScheduler", ', timestep_spacing="trailing"'), None),
        (HYPER, with_scheduler("DDIMScheduler", ', timestep_spacing="trailing"'), None),
        (HYPER, with_scheduler("TCDScheduler"), None),
    ],
)
def test_distilled_lora_with_another_sampler(lora: str, scheduler: str, expected: Severity | None) -> None:
    assert grade(made(XL + lora + scheduler + DRAW), "UN128") == expected


def lora_workflow(name: str, base: str, **settings: Any) -> Subject:
    inputs = {"model": ["4", 0], "clip": ["4", 1], "lora_name": name, "strength_model": 1.0, "strength_clip": 1.0}
    node = {"class_type": "LoraLoader", "inputs": inputs}
    return workflow(checkpoint=base, model=["20", 0], extra={"20": node}, steps=4, cfg=1.0, **settings)


def test_distilled_lora_in_comfyui() -> None:
    xl, old = "sd_xl_base_1.0.safetensors", "v1-5-pruned-emaonly.safetensors"
    light = "sdxl_lightning_4step_lora.safetensors"
    assert grade(lora_workflow("lcm-lora-sdxl.safetensors", xl), "UN128") == WARN
    assert grade(lora_workflow("lcm-lora-sdv1-5.safetensors", old), "UN128") == NOTE  # reported to work there
    assert grade(lora_workflow("lcm-lora-sdxl.safetensors", xl, sampler_name="lcm"), "UN128") is None
    assert grade(lora_workflow(light, xl, scheduler="normal"), "UN128") == WARN
    assert grade(lora_workflow(light, xl, scheduler="sgm_uniform"), "UN128") is None


def test_karras_levels_of_solvers_start_at_the_top() -> None:
    solver = with_scheduler("DPMSolverMultistepScheduler", ', timestep_spacing="leading", use_karras_sigmas=True')
    euler = with_scheduler("EulerDiscreteScheduler", ', timestep_spacing="leading", use_karras_sigmas=True')
    assert grade(made(XL + solver + DRAW), "UN106") is None
    assert grade(made(XL + euler + DRAW), "UN106") == WARN


MOTION = (
    'net = MotionAdapter.from_pretrained("{}")\n'
    'pipe = AnimateDiffPipeline.from_pretrained("lab/realistic", motion_adapter=net)\n'
)
KNOWN = MOTION.format("guoyww/animatediff-motion-adapter-v1-5-2")
FRAMES = 'pipe("a", num_frames={}, num_inference_steps=25)'


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (KNOWN + with_scheduler("EulerDiscreteScheduler"), WARN),
        (KNOWN + 'pipe.scheduler = DDIMScheduler.from_pretrained("lab/realistic", clip_sample=False)\n', WARN),
        (MOTION.format("lab/motion") + with_scheduler("EulerDiscreteScheduler"), NOTE),
        (KNOWN + with_scheduler("EulerDiscreteScheduler", ', beta_schedule="linear"'), None),
        (KNOWN + 'pipe.scheduler = DDIMScheduler(beta_schedule="linear", clip_sample=False)\n', None),
    ],
)
def test_betas_of_animatediff(lines: str, expected: Severity | None) -> None:
    assert grade(made(lines + FRAMES.format(16)), "UN102") == expected


def animated(betas: str, batch: int, extra: dict[str, Any] | None = None, **wires: Any) -> Subject:
    inputs = {"model": ["4", 0], "model_name": "mm_sd_v15_v2.ckpt", "beta_schedule": betas}
    loader = {"class_type": "ADE_AnimateDiffLoaderGen1", "inputs": inputs}
    size: dict[str, Any] = {"width": 512, "height": 512, "batch_size": batch}
    nodes = {"20": loader} | (extra or {})
    return workflow(checkpoint="v1-5-pruned-emaonly.safetensors", model=["20", 0], extra=nodes, **size, **wires)


def test_animatediff_in_comfyui() -> None:
    assert grade(animated("use existing", 16), "UN102") == WARN
    assert grade(animated("linear (HotshotXL/default)", 16), "UN102") == WARN
    assert grade(animated("sqrt_linear (AnimateDiff)", 16), "UN102") is None
    assert grade(animated("autoselect", 1), "UN312") == WARN
    assert grade(animated("autoselect", 16), "UN312") is None
    repeat = {"21": {"class_type": "RepeatLatentBatch", "inputs": {"samples": ["5", 0], "amount": 16}}}
    assert grade(animated("autoselect", 1, repeat, latent_image=["21", 0]), "UN312") is None


@pytest.mark.parametrize(("frames", "expected"), [(1, WARN), (16, None)])
def test_animatediff_with_one_frame(frames: int, expected: Severity | None) -> None:
    assert grade(made(KNOWN + FRAMES.format(frames)), "UN312") == expected


UNET = {
    "_class_name": "UNet2DConditionModel", "cross_attention_dim": 2048, "addition_embed_type": "text_time",
    "in_channels": 4, "sample_size": 128,
}  # fmt: skip
SCHEDULE = {
    "_class_name": "EulerDiscreteScheduler", "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear",
    "timestep_spacing": "leading", "steps_offset": 1, "prediction_type": "epsilon",
}  # fmt: skip


def saved(unet: dict[str, Any], schedule: dict[str, Any], path: str = "model", **index: Any) -> Subject:
    table = {"_class_name": "StableDiffusionXLPipeline", "scheduler": ["diffusers", schedule["_class_name"]], **index}
    return folder(
        {"model_index.json": table, "unet/config.json": unet, "scheduler/scheduler_config.json": schedule}, path
    )


@pytest.mark.parametrize(
    ("origin", "path", "spacing", "expected"),
    [
        ("stabilityai/sdxl-turbo", "model", "leading", WARN),
        ("stabilityai/sdxl-turbo", "model", "trailing", None),
        ("", "OwnMix-Lightning", "leading", NOTE),
        ("", "hyperrealism-xl", "leading", None),
    ],
)
def test_leading_in_the_folder_of_a_few_step_model(
    origin: str, path: str, spacing: str, expected: Severity | None
) -> None:
    unet = UNET | ({"_name_or_path": origin} if origin else {})
    assert grade(saved(unet, SCHEDULE | {"timestep_spacing": spacing}, path), "UN106") == expected


OLD = {"_class_name": "UNet2DConditionModel", "cross_attention_dim": 1024, "in_channels": 4}
DDIM = SCHEDULE | {"_class_name": "DDIMScheduler", "set_alpha_to_one": False}


@pytest.mark.parametrize(
    ("size", "prediction", "expected"),
    [(96, "epsilon", WARN), (96, "v_prediction", None), (64, "v_prediction", WARN), (64, "epsilon", None)],
)
def test_prediction_of_a_folder_against_its_size(size: int, prediction: str, expected: Severity | None) -> None:
    subject = saved(OLD | {"sample_size": size}, DDIM | {"prediction_type": prediction})
    assert grade(subject, "UN203") == expected


def test_prediction_of_a_folder_against_its_file() -> None:
    file = checkpoint("sdxl", "v-pred", "noob.safetensors")
    assert grade(together(file, saved(UNET, SCHEDULE, "noob")), "UN203") == ERROR
    right = saved(UNET, SCHEDULE | {"prediction_type": "v_prediction"}, "noob")
    assert grade(together(file, right), "UN203") is None
    plain = checkpoint("sdxl", "", "plain.safetensors")  # states nothing, so its prediction is not sure
    assert grade(together(plain, right), "UN203") is None


def test_prediction_of_a_folder_against_the_name_in_its_index() -> None:
    index = {"_name_or_path": "Laxhar/noobai-XL-Vpred-1.0"}
    assert grade(saved(UNET, SCHEDULE, **index), "UN203") == ERROR


@pytest.mark.parametrize(
    ("size", "model", "expected"),
    [
        ("512x512", "v1-5-pruned-emaonly", None),
        ("768x512", "v1-5-pruned-emaonly", None),
        ("640x640", "v1-5-pruned-emaonly", NOTE),
        ("768x768", "v1-5-pruned-emaonly", NOTE),
        ("896x896", "v1-5-pruned-emaonly", WARN),
        ("1024x1024", "sd_xl_base_1.0", None),
    ],
)
def test_sizes_above_native(size: str, model: str, expected: Severity | None) -> None:
    numbers = f"Steps: 25, Sampler: DPM++ 2M, CFG scale: 6, Seed: 1, Size: {size}, Model: {model}, Version: v1.10.1"
    subject = record(numbers)
    assert grade(subject, "UN306") == expected
    assert grade(subject, "UN119") is None  # one note for one cause


SAVE = ".images[0].save('x.png')"
FIXED = f"    pipe('a', generator={SEEDED}){SAVE}"
# The lines of a loop, and whether its images are equal.
LOOPS = {
    "generator": (f"for k in range(4):\n    g = {SEEDED}\n    pipe('a', generator=g){SAVE}", True),
    "global": ("out = []\nfor k in range(4):\n    torch.manual_seed(0)\n    out.append(pipe('a').images[0])", True),
    "constant": (f"S = 42\nfor k in range(3):\n{FIXED.replace('42', 'S')}", True),
    "prompts": (f"for k, p in enumerate(['a', 'b']):\n    pipe(p, generator={SEEDED}){SAVE}", False),
    "own prompt": (f"for k in range(3):\n    p = words[k]\n    pipe(p, generator={SEEDED}){SAVE}", False),
    "attribute": (f"for k in range(3):\n    o.p = words[k]\n    pipe(o.p, generator={SEEDED}){SAVE}", False),
    "sampler": (f"for s in kinds:\n    pipe.scheduler = s.from_config(pipe.scheduler.config)\n{FIXED}", False),
    "lora": (f"for n in names:\n    pipe.load_lora_weights(n)\n{FIXED}", False),
    "function": (f"for n in names:\n    change(pipe)\n{FIXED}", False),
    "feedback": (f"i = 0\nfor n in range(3):\n    i = pipe('a', image=i, generator={SEEDED})\n    i{SAVE}", False),
    "timed": (f"import time\nfor n in range(3):\n    t = time.time()\n{FIXED}", False),
    "seeds": (f"for n in range(3):\n    pipe('a', generator={SEEDED.replace('42', '42 + n')}){SAVE}", False),
    "random": (f"for n in range(3):\n    pipe(choice(words), generator={SEEDED}){SAVE}", False),
    "before": (f"g = {SEEDED}\nfor n in range(3):\n    pipe('a', generator=g){SAVE}", False),
}


@pytest.mark.parametrize("name", LOOPS)
def test_seed_that_is_reset_in_a_loop(name: str) -> None:
    lines, found = LOOPS[name]
    assert grade(made(XL + lines), "UN914") == (WARN if found else None)


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ('negative_promt="b"', WARN),
        ("guidence_scale=5.0", WARN),
        ("heigth=512", WARN),
        ("num_inference_step=30", WARN),
        ('negative_prompt_2="b"', None),
        ("callback_steps=1", None),
        ("mine=1", None),
    ],
)
def test_misspelt_argument_of_a_pipeline(argument: str, expected: Severity | None) -> None:
    assert grade(made(f'{XL}pipe("a", {argument})'), "UN110") == expected


def test_arguments_of_other_code_are_its_own() -> None:
    lines = 'from lab import OwnPipeline\npipe = OwnPipeline.from_pretrained("x")\npipe("a", negative_prompts=["b"])'
    assert grade(made(lines), "UN110") is None


@pytest.mark.parametrize(
    ("name", "near", "expected"),
    [
        ("dpmpp_2m_karras", "dpmpp_2m", WARN),
        ("euler_ancestral_karras", "euler_ancestral", WARN),
        ("DPM++ 2M Karras", "dpmpp_2m", WARN),
        ("Euler a", "euler_ancestral", WARN),
        ("kdpm_2", "dpm_2", WARN),
        ("dpmpp_2m_k", "dpmpp_2m", WARN),
        ("dpmpp_3m", "a name from its list", WARN),
        ("res_3s", "a name from its list", NOTE),  # an extension has it
        ("res_2s", "", None),
        ("uni_pc_bh2", "", None),
    ],
)
def test_samplers_that_comfyui_does_not_have(name: str, near: str, expected: Severity | None) -> None:
    found = [one for one in judge(workflow(sampler_name=name)) if one.rule.id == "UN115"]
    assert [(one.expected, one.grade) for one in found] == ([(near, expected)] if expected is not None else [])


def test_a_name_of_two_settings_is_fixed_only_where_the_other_is_set() -> None:
    [one] = [one for one in judge(workflow(sampler_name="dpmpp_2m_karras")) if one.rule.id == "UN115"]
    assert one.fix is not None
    assert (one.fix.kind, one.suggestion) == ("show", "write 'dpmpp_2m' and the scheduler 'karras'")
    subject = workflow(sampler_name="dpmpp_2m_karras", scheduler="karras")
    [one] = [one for one in judge(subject) if one.rule.id == "UN115"]
    assert one.fix is not None
    assert one.fix.kind == "unsafe"


@pytest.mark.parametrize(
    ("spacing", "expected"),
    [("trailing", WARN), ("discrete", WARN), ("SGM Uniform", WARN), ("beta57", NOTE), ("kl_optimal", None)],
)
def test_spacings_that_comfyui_does_not_have(spacing: str, expected: Severity | None) -> None:
    assert grade(workflow(scheduler=spacing), "UN115") == expected


@pytest.mark.parametrize(
    ("name", "near"),
    [("dpmpp_2m_karras", "dpmpp_2m_k"), ("euler_ancestral", "euler_a"), ("dpmpp_2m_k", ""), ("k_lms", ""), ("own", "")],
)
def test_schedulers_that_invokeai_does_not_have(name: str, near: str) -> None:
    content = {"app_version": "5.6.0", "generation_mode": "sdxl_txt2img", "positive_prompt": "a", "scheduler": name}
    found = [one.expected for one in judge(invokeai(content)) if one.rule.id == "UN115"]
    assert found == ([near] if near else [])


LOAD = 'AutoencoderKL.from_pretrained("stabilityai/sdxl-vae"{})'
HALF, DECODE = ", torch_dtype=torch.float16", "image = vae.decode(latents / 0.13025).sample\n"


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        (f"vae = {LOAD.format(HALF)}.to('cuda')\n{DECODE}", True),
        (f"vae = {LOAD.format('')}.half()\n{DECODE}", True),
        (f"kind = torch.float16\nvae = {LOAD.format('')}\nvae.to('cuda', kind)\n{DECODE}", True),
        (f"vae = AutoencoderKL.from_pretrained({BASE}, subfolder='vae'{HALF})\n{DECODE}", True),
        (f"vae = {LOAD.format('')}\n{DECODE}", False),
        (f"vae = {LOAD.format(HALF)}\nvae.to(torch.float32)\n{DECODE}", False),
        (
            f"vae = {LOAD.format(HALF).replace('stabilityai/sdxl-vae', 'madebyollin/sdxl-vae-fp16-fix')}\n{DECODE}",
            False,
        ),
        (f"vae = {LOAD.format(HALF)}\n{XL.replace('1.0)', '1.0, vae=vae)')}pipe('a')", False),
        (f"vae = {LOAD.format(HALF).replace('stabilityai/sdxl-vae', 'stabilityai/sd-vae-ft-mse')}\n{DECODE}", False),
    ],
)
def test_autoencoder_of_sdxl_in_half_outside_its_pipeline(lines: str, found: bool) -> None:
    assert grade(made(lines), "UN304") == (ERROR if found else None)


XL_RECORD = "Steps: 25, Sampler: DPM++ 2M, CFG scale: 6, Seed: 1, Size: {}, Model: {}, Version: v1.10.1"


@pytest.mark.parametrize(
    ("negative", "model", "expected"),
    [
        ("EasyNegative, blurry", "sd_xl_base_1.0", WARN),
        ("(bad-hands-5:1.2)", "sd_xl_base_1.0", WARN),
        ("EasyNegativeXL", "sd_xl_base_1.0", None),
        ("bad hands", "sd_xl_base_1.0", None),
        ("EasyNegative", "v1-5-pruned-emaonly", None),
        ("EasyNegative", "unheardof", None),
    ],
)
def test_embeddings_of_sd1_on_sdxl(negative: str, model: str, expected: Severity | None) -> None:
    assert grade(record(XL_RECORD.format("1024x1024", model), negative=negative), "UN607") == expected


def test_embeddings_of_sd1_in_other_tools() -> None:
    assert grade(workflow(negative="embedding:EasyNegative, blurry"), "UN607") == WARN
    assert grade(workflow(negative="EasyNegative, blurry"), "UN607") is None  # plain words in ComfyUI
    load = 'pipe.load_textual_inversion("EasyNegative.safetensors", token="x")\npipe("a x")'
    assert grade(made(XL + load), "UN607") == WARN
    assert grade(made(SD1 + load), "UN607") is None


@pytest.mark.parametrize(
    ("sampler", "steps", "rule", "expected"),
    [
        ("Euler a", 150, "UN120", WARN),
        ("Euler a", 80, "UN120", NOTE),
        ("Euler a", 40, "UN120", None),
        ("DPM++ 2M", 150, "UN120", None),
        ("DDPM", 15, "UN121", WARN),
        ("DDPM", 50, "UN121", NOTE),
        ("DDPM", 200, "UN121", None),
    ],
)
def test_sure_notes_are_warnings(sampler: str, steps: int, rule: str, expected: Severity | None) -> None:
    numbers = f"Steps: {steps}, Sampler: {sampler}, CFG scale: 6, Seed: 1, Size: 1024x1024, Model: sd_xl_base_1.0"
    assert grade(record(f"{numbers}, Version: v1.10.1"), rule) == expected
