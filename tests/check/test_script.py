import ast
from textwrap import dedent

import pytest

from unnoise.check.read.script import read_script
from unnoise.check.subject import GenerationRun, Subject

SDXL = "stabilityai/stable-diffusion-xl-base-1.0"
START = f"""
import torch
from diffusers import DPMSolverMultistepScheduler, EulerDiscreteScheduler, StableDiffusionXLPipeline
pipe = StableDiffusionXLPipeline.from_pretrained("{SDXL}", torch_dtype=torch.float16).to("cuda")
"""


def read(text: str) -> Subject:
    return read_script(dedent(text).lstrip("\n"), "make.py")


def after(text: str) -> GenerationRun:
    subject = read(START + dedent(text))
    assert not subject.faults
    return subject.runs[-1]


def shown(text: str, run: GenerationRun, field: str) -> str:
    """Cut from the script what the place of a field points to."""
    place = getattr(run, field).place
    lines = dedent(text).lstrip("\n").split("\n")
    assert place.line == place.end_line
    return lines[place.line - 1][place.column : place.end_column]


def test_arguments_of_a_call_have_values_and_places() -> None:
    text = f"""{START}
image = pipe("é, ü", negative_prompt="blurry", num_inference_steps=30, guidance_scale=7.5, height=768, width=1024,
             generator=torch.Generator("cuda").manual_seed(3), num_images_per_prompt=2, clip_skip=1, eta=0.5).images[0]
"""
    subject = read(text)
    (run,) = subject.runs
    assert subject.tool == run.tool == "diffusers"
    assert run.pipeline == "StableDiffusionXLPipeline"
    assert run.model is not None
    assert run.model.name == SDXL
    expected = {
        "steps": 30,
        "guidance": 7.5,
        "height": 768,
        "width": 1024,
        "seed": 3,
        "seed_device": "cuda",
        "batch": 2,
    }
    expected |= {"clip_skip": 1, "prompt": "é, ü", "negative": "blurry", "dtype": "float16"}
    assert {name: getattr(run, name).value for name in expected} == expected
    assert run.others["eta"].value == 0.5
    assert run.strength is run.schedule is run.frames is None
    assert [shown(text, run, name) for name in ("prompt", "negative", "steps", "guidance")] == [
        '"é, ü"',
        '"blurry"',
        "30",
        "7.5",
    ]


@pytest.mark.parametrize(
    ("lines", "steps"),
    [
        ("n = 1000\npipe('x', num_inference_steps=n)", 1000),
        ("n, m = 4, 8\npipe('x', num_inference_steps=m)", 8),
        ("n = 10\nn = 20\npipe('x', num_inference_steps=n)", 20),
        ("n = 10\nn += 5\npipe('x', num_inference_steps=n)", 15),
        ("k = dict(num_inference_steps=7)\npipe('x', **k)", 7),
        ("k = {}\nk['num_inference_steps'] = 9\npipe('x', **k)", 9),
        ("k = {'a': 1}\nk.update(num_inference_steps=9)\npipe('x', **k)", 9),
        ("def go(n=12):\n    return pipe('x', num_inference_steps=n)\ngo()", 12),
        ("def go(n=12):\n    return pipe('x', num_inference_steps=n)\ngo(n=13)", 13),
        ("def go(n=12):\n    return pipe('x', num_inference_steps=n)", 12),
        ("for n in (3, 4):\n    pipe('x', num_inference_steps=n)", 4),
        ("n = 50 // 2\npipe('x', num_inference_steps=n)", 25),
        ("if torch.cuda.is_available():\n    n = 5\nelse:\n    n = 5\npipe('x', num_inference_steps=n)", 5),
        ("class S:\n    N = 6\npipe('x', num_inference_steps=S.N)", 6),
        ("with torch.no_grad():\n    pipe('x', num_inference_steps=5)", 5),
        ("try:\n    pipe('x', num_inference_steps=5)\nexcept Exception:\n    pass", 5),
        ("save(lambda p: pipe(p, num_inference_steps=5))", 5),
        (
            "import argparse\np = argparse.ArgumentParser()\np.add_argument('--n-steps', type=int, default=40)\n"
            "args = p.parse_args()\npipe('x', num_inference_steps=args.n_steps)",
            40,
        ),
    ],
)
def test_constants_are_followed(lines: str, steps: int) -> None:
    run = after(lines)
    assert run.steps is not None
    assert run.steps.value == steps


@pytest.mark.parametrize(
    "lines",
    [
        "n = int(input())",
        "n = 5\nif random():\n    n = 6",
        "n = 5\nwhile True:\n    n += 1",
        "n = 5\nfor n in range(1000):\n    pass",
        "from settings import n",
        "n = 10**400",
        "n = True",
    ],
)
def test_unknown_values_are_marked_and_not_guessed(lines: str) -> None:
    run = after(f"{lines}\npipe('x', num_inference_steps=n)")
    assert run.steps is None
    assert "num_inference_steps" in run.others


def test_unknown_keywords_are_marked() -> None:
    assert "**" in after("pipe('x', **options())").others


def test_a_scheduler_swap_keeps_settings_and_origin() -> None:
    text = """
    pipe.scheduler = DPMSolverMultistepScheduler.from_config(pipe.scheduler.config, use_karras_sigmas=True)
    pipe("x")
    """
    first = after(text).schedule
    assert first is not None
    assert first.class_ == "DPMSolverMultistepScheduler"
    assert not first.complete
    assert first.settings["use_karras_sigmas"].value is True
    then = after(
        text + "\n    pipe.scheduler = EulerDiscreteScheduler.from_config(pipe.scheduler.config)\n    pipe('y')"
    )
    assert then.schedule is not None
    assert then.schedule.before == "DPMSolverMultistepScheduler"
    assert then.schedule.settings["use_karras_sigmas"].value is True
    whole = after("pipe.scheduler = EulerDiscreteScheduler(beta_start=0.1)\npipe('x')").schedule
    assert whole is not None
    assert whole.complete
    assert list(whole.settings) == ["beta_start"]


def test_a_scheduler_that_only_one_branch_sets_is_unknown() -> None:
    run = after("if fast():\n    pipe.scheduler = EulerDiscreteScheduler()\npipe('x')")
    assert run.schedule is not None
    assert run.schedule.class_ == ""


def test_runs_have_the_state_of_the_pipeline_at_the_call() -> None:
    runs = read(START + "pipe('a')\npipe.scheduler = EulerDiscreteScheduler()\npipe('b')\n").runs
    assert [run.schedule is not None for run in runs] == [False, True]


def test_adapters_are_applied_with_their_strength() -> None:
    run = after(
        """
        pipe.load_lora_weights("a/b", weight_name="c.safetensors", adapter_name="c")
        pipe.load_lora_weights("d.safetensors", adapter_name="d")
        pipe.set_adapters(["c"], adapter_weights=[0.7])
        pipe("x")
        """
    )
    assert [(use.adapter.name, use.strength.value if use.strength else None) for use in run.adapters] == [
        ("a/b/c.safetensors", 0.7)
    ]
    gone = after('pipe.load_lora_weights("a/b")\npipe.unload_lora_weights()\npipe("x")')
    assert gone.adapters == ()
    kept = after('pipe.load_lora_weights("a/b")\npipe.fuse_lora(lora_scale=0.5)\npipe.unload_lora_weights()\npipe("x")')
    assert kept.adapters[0].strength is not None
    assert kept.adapters[0].strength.value == 0.5
    scaled = after('pipe.load_lora_weights("a/b")\npipe("x", cross_attention_kwargs={"scale": 0.3})')
    assert scaled.adapters[0].strength is not None
    assert scaled.adapters[0].strength.value == 0.3


@pytest.mark.parametrize(
    ("class_", "name", "family"),
    [
        ("DiffusionPipeline", "someone/Realistic_Vision_V5.1_noVAE", "sd1"),
        ("AutoPipelineForText2Image", "./models/myMixXL_v2", "sdxl"),
        ("StableDiffusionXLPipeline", "someone/Realistic_Vision_V5.1_noVAE", "sdxl"),
        ("DiffusionPipeline", "someone/something", "unknown"),
        ("OwnPipeline", "someone/Realistic_Vision_V5.1_noVAE", "unknown"),
    ],
)
def test_the_base_is_known_by_its_name_where_the_class_fits_any(class_: str, name: str, family: str) -> None:
    (run,) = read(f"import diffusers\npipe = diffusers.{class_}.from_pretrained('{name}')\npipe('x')").runs
    assert run.model is not None
    assert run.model.identity.family == family


def test_component_arguments_are_known() -> None:
    text = f"""
    import torch
    from diffusers import AutoencoderKL, ControlNetModel, StableDiffusionXLControlNetPipeline
    vae = AutoencoderKL.from_pretrained("madebyollin/sdxl-vae-fp16-fix")
    net = ControlNetModel.from_pretrained("diffusers/controlnet-canny-sdxl-1.0")
    pipe = StableDiffusionXLControlNetPipeline.from_pretrained("{SDXL}", controlnet=net, vae=vae)
    pipe("x", image=edges, controlnet_conditioning_scale=0.5)
    """
    (run,) = read(text).runs
    assert run.vae is not None
    assert run.vae.name == "madebyollin/sdxl-vae-fp16-fix"
    assert [(use.adapter.name, use.strength and use.strength.value) for use in run.adapters] == [
        ("diffusers/controlnet-canny-sdxl-1.0", 0.5)
    ]
    assert run.task == "text"


@pytest.mark.parametrize(
    ("class_", "call", "task"),
    [
        ("AutoPipelineForImage2Image", "image=load_image('a.png'), strength=0.3", "image"),
        ("StableDiffusionInpaintPipeline", "image=load_image('a.png'), mask_image=Image.open('m.png')", "inpaint"),
        ("FluxKontextPipeline", "image=load_image('a.png')", "edit"),
        ("DiffusionPipeline", "num_inference_steps=3", "text"),
    ],
)
def test_the_task_is_known(class_: str, call: str, task: str) -> None:
    text = f"""
    from diffusers import {class_}
    from diffusers.utils import load_image
    from PIL import Image
    {class_}.from_pretrained("a/b")("x", {call})
    """
    (run,) = read(text).runs
    assert run.task == task
    if task == "inpaint":
        assert run.others["mask_image"].value == "m.png"
    if task == "image":
        assert run.others["image"].value == "a.png"


def test_a_blurred_mask_is_no_longer_its_file() -> None:
    text = """
    from diffusers import AutoPipelineForInpainting
    from diffusers.utils import load_image
    pipe = AutoPipelineForInpainting.from_pretrained("a/b")
    mask = pipe.mask_processor.blur(load_image("m.png"), blur_factor=33)
    pipe("x", image=load_image("a.png").resize((512, 768)), mask_image=mask)
    """
    (run,) = read(text).runs
    assert run.others["mask_image.blur"].value == 33
    assert run.others["mask_image"].value != "m.png"
    assert run.image_size is not None
    assert run.image_size.value == (512, 768)


def test_methods_of_a_class_are_followed() -> None:
    text = """
    from diffusers import FluxPipeline
    class Predictor:
        def __init__(self, name="black-forest-labs/FLUX.1-schnell"):
            self.pipe = FluxPipeline.from_pretrained(name)
        def predict(self, prompt, steps=28):
            return self.pipe(prompt, num_inference_steps=steps, guidance_scale=3.5, true_cfg_scale=2.0)
    """
    (run,) = read(text).runs
    assert run.model is not None
    assert run.model.name == "black-forest-labs/FLUX.1-schnell"
    assert run.steps is not None
    assert run.steps.value == 28
    assert run.embedded is not None
    assert run.embedded.value == 3.5
    assert run.guidance is not None
    assert run.guidance.value == 2.0


def test_one_pipeline_is_created_from_another() -> None:
    text = """
    from diffusers import StableDiffusionImg2ImgPipeline, StableDiffusionPipeline
    a = StableDiffusionPipeline.from_single_file("model.safetensors")
    b = StableDiffusionImg2ImgPipeline(**a.components)
    b("x", image=i)
    """
    (run,) = read(text).runs
    assert run.pipeline == "StableDiffusionImg2ImgPipeline"
    assert run.model is not None
    assert run.model.name == "model.safetensors"


def test_mflux_is_read() -> None:
    text = """
    from mflux import Config, Flux1
    flux = Flux1.from_name(model_name="schnell", quantize=8)
    flux.generate_image(seed=2, prompt="x", config=Config(num_inference_steps=4, height=1024, guidance=3.5))
    """
    subject = read(text)
    (run,) = subject.runs
    assert subject.tool == run.tool == "mflux"
    assert [located.value for located in (run.steps, run.height, run.seed, run.embedded) if located] == [
        4,
        1024,
        2,
        3.5,
    ]


def test_other_scripts_have_no_runs() -> None:
    subject = read("import os\nprint(os.name)\n")
    assert subject.runs == subject.faults == ()
    assert subject.tool == ""
    assert subject.script is not None
    assert isinstance(subject.script.tree, ast.Module)


def test_constants_are_listed() -> None:
    subject = read("A = 1\nB = [1, 2]\nC = 1\nC = 2\nD = f()\n")
    assert subject.script is not None
    assert subject.script.constants == {"A": 1, "B": [1, 2]}


def test_a_fault_has_its_place() -> None:
    (fault,) = read("x = 1\ny = = 2\n").faults
    assert (fault.kind, fault.place.line) == ("broken", 2)


@pytest.mark.parametrize(
    "text",
    [
        "-" * 50_000 + "1",
        "(" * 5_000,
        "a" + ".b" * 50_000,
        "x = " + "+".join(["1"] * 800),
        "a = [1] * 64\n" + "a = [a] * 64\n" * 12 + "pipe(a, num_inference_steps=a)\n",
        "def f(x):\n    return f(x) + f(x)\nf(1)\n",
        "".join(f"def f{i}():\n    f{i + 1}()\n    f{i + 1}()\n" for i in range(300)) + "f0()\n",
        "x = 9**9**9**9\ny = 'a' * 10**10\n",
        "x = 1\0",
        "x = '\ud800'",
        r"x = '\d'",
        "x" * 400_000,
    ],
)
def test_hostile_scripts_are_read_or_refused(text: str) -> None:
    assert read_script(text, "x.py").path == "x.py"
