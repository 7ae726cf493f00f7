"""Scripts as people write them that are right: each looks like a fault, and must not be reported as one."""

import pytest

from unnoise.check.engine import judge
from unnoise.check.examples import script
from unnoise.check.rule import NOTE, WARN, Finding

XL = '"stabilityai/stable-diffusion-xl-base-1.0"'
DEV = '"black-forest-labs/FLUX.1-dev"'
START = f"""
import torch
from diffusers import DiffusionPipeline, FluxPipeline, StableDiffusionXLPipeline
pipe = StableDiffusionXLPipeline.from_pretrained({XL}, torch_dtype=torch.float16).to("cuda")
"""
FLUX = f"import torch\nfrom diffusers import FluxPipeline\npipe = FluxPipeline.from_pretrained({DEV})\n"


def found(text: str, rule: str = "") -> list[Finding]:
    subject = script(text)
    assert not subject.faults
    return [one for one in judge(subject) if not rule or one.rule.id == rule]


def faults(text: str) -> list[str]:
    return [one.rule.id for one in found(text) if one.grade >= WARN]


FOREIGN = {
    "class": (
        "from lab.pipelines import FluxShortPipeline\n"
        f"pipe = FluxShortPipeline.from_pretrained({DEV})\npipe('a crab', num_inference_steps=4)"
    ),
    "class as a call": f"import lab\npipe = lab.FluxShortPipeline({DEV})\npipe('a crab', num_inference_steps=2)",
    "local class": (
        "class ShortPipeline(FluxPipeline):\n    def __call__(self, prompt, **more):\n        return self.go(prompt)\n"
        f"pipe = ShortPipeline.from_pretrained({DEV})\npipe('a crab', num_inference_steps=2)"
    ),
    "community": (
        f"pipe = DiffusionPipeline.from_pretrained({XL}, custom_pipeline='someone/short', revision='0123abc')\n"
        "pipe('a crab', num_inference_steps=2)"
    ),
    "loader": "pipe.load_short_adapter('lab/short')\npipe('a crab', num_inference_steps=3)",
    "loader of the network": "pipe.unet.load_student('lab/short')\npipe('a crab', num_inference_steps=3)",
    "loader with another class": (
        f"pipe = FluxPipeline.from_pretrained({DEV})\npipe.load_gm_adapter('lab/gm')\npipe('x', num_inference_steps=4)"
    ),
    "function": "from lab import load_student\nload_student(pipe, 'short')\npipe('a crab', num_inference_steps=3)",
    "function of the network": (
        "import lab\nlab.patch.apply_student(pipe.unet)\npipe('a crab', num_inference_steps=3)"
    ),
    "method": "manager = make()\nmanager.inject(pipe)\npipe('a crab', num_inference_steps=3)",
}


@pytest.mark.parametrize("name", FOREIGN)
def test_other_code_makes_the_steps_unknown(name: str) -> None:
    assert faults(START + FOREIGN[name]) == []


@pytest.mark.parametrize(
    "lines",
    [
        "",
        "print(pipe)\nsave(pipe, 'x')\n",
        "pipe.unet = torch.compile(pipe.unet)\n",
        "from lab import measure\nmeasure(pipe)\n",
        "pipe.load_textual_inversion('lab/style')\n",
        "class Mine(StableDiffusionXLPipeline):\n    def shown(self):\n        return 1\n"
        f"pipe = Mine.from_pretrained({XL})\n",
    ],
)
def test_the_steps_are_known_without_other_code(lines: str) -> None:
    assert faults(f"{START}{lines}pipe('a crab', num_inference_steps=3)") == ["UN106"]


def test_a_lora_of_another_family_is_one_for_any_pipeline() -> None:
    lines = f"from lab import OwnPipeline\npipe = OwnPipeline.from_pretrained({XL})\n"
    lines += "pipe.load_lora_weights('latent-consistency/lcm-lora-sdv1-5')\npipe('a crab', num_inference_steps=2)"
    assert "UN601" in faults(START + lines)


@pytest.mark.parametrize(
    "name",
    ["someone/sdxl-turbo-fable-merge", "someone/SDXL-Turbo-Fable", "fable_xl_turbo.safetensors", "sdxl-lightning-mix"],
)
def test_a_word_in_a_name_is_a_hint(name: str) -> None:
    load = f"pipe = StableDiffusionXLPipeline.from_single_file({name!r})\n"
    assert faults(f"{START}{load}pipe('a crab', guidance_scale=2, num_inference_steps=10)") == []


@pytest.mark.parametrize("name", ["stabilityai/sdxl-turbo", "sd_xl_turbo_1.0_fp16.safetensors", "sdxl-turbo-q8_0.gguf"])
def test_a_published_name_is_proof(name: str) -> None:
    load = f"pipe = StableDiffusionXLPipeline.from_single_file({name!r})\n"
    assert "UN122" in faults(f"{START}{load}pipe('a crab', guidance_scale=1, num_inference_steps=30)")


def test_a_latent_consistency_model_has_no_guidance_to_set() -> None:
    load = "pipe = DiffusionPipeline.from_pretrained('SimianLuo/LCM_Dreamshaper_v7')\n"
    (one,) = found(f"{START}{load}pipe('a fox', negative_prompt='blurry', num_inference_steps=4)", "UN405")
    assert one.grade == WARN
    assert "true_cfg_scale" not in f"{one.measured} {one.expected} {one.suggestion}"
    (other,) = found(f"{FLUX}pipe('a fox', negative_prompt='blurry')", "UN405")
    assert "true_cfg_scale" in other.suggestion


TRAIN = """
from diffusers.optimization import get_scheduler
def train(args, model, optimizer, loader, batches, epochs, accum_steps):
    {}
    rate = get_scheduler("cosine", optimizer=optimizer, num_warmup_steps=0, num_training_steps={})
    lr_scheduler = rate
    for step, batch in {}:
        loss = model(batch) / accum_steps
        loss.backward()
        lr_scheduler.step()
        if (step + 1) % accum_steps == 0:
            optimizer.step()
            optimizer.zero_grad()
"""


@pytest.mark.parametrize(
    ("assignment", "length", "loop", "grade"),
    [
        ("pass", "batches", "zip(range(batches), loader)", None),
        ("pass", "n", "enumerate(loader)", NOTE),
        ("pass", "n", "((i, next(loader)) for i in range(n))", None),
        ("pass", "len(loader) * epochs", "enumerate(loader)", None),
        ("total = epochs * len(loader)", "total", "enumerate(loader)", None),
        ("pass", "args.max_train_steps * accum_steps", "enumerate(loader)", None),
        ("pass", "args.max_train_steps", "enumerate(loader)", WARN),
        ("pass", "len(loader) * epochs // accum_steps", "enumerate(loader)", WARN),
        ("total = epochs * len(loader) // accum_steps", "total", "enumerate(loader)", WARN),
    ],
)
def test_a_rate_that_is_counted_in_batches(assignment: str, length: str, loop: str, grade: object) -> None:
    assert [one.grade for one in found(TRAIN.format(assignment, length, loop), "UN511")] == (
        [grade] if grade is not None else []
    )


SERVE = """
pipe.enable_model_cpu_offload()
def draw(prompt):
    return pipe(prompt, num_inference_steps=30).images[0]
"""


@pytest.mark.parametrize(
    ("lines", "count"),
    [
        (
            "import gradio as gr\nwith gr.Blocks():\n    text = gr.Textbox()\n    text.submit(draw, inputs=text)",
            0,
        ),
        ("import gradio as gr\nbutton = gr.Button()\nbutton.click(draw)\nbox.submit(fn=draw)", 0),
        ("images = dataset.map(draw)", 0),
        ("from multiprocessing import Pool\nwith Pool(2) as pool:\n    pool.map(draw, prompts)", 0),
        ("series.map(lambda prompt: pipe(prompt))", 0),
        (
            "from concurrent.futures import *\nwith ThreadPoolExecutor(4) as ex:\n    ex.map(draw, ['a'])",
            1,
        ),
        ("from concurrent.futures import ThreadPoolExecutor\npool = ThreadPoolExecutor()\npool.submit(draw, 'a')", 1),
        ("from concurrent.futures import ThreadPoolExecutor\nThreadPoolExecutor(4).submit(draw, 'a')", 1),
        ("from serving import executor\nexecutor.submit(draw, 'a')", 1),
        ("import asyncio\nasync def go(p):\n    return await asyncio.to_thread(draw, p)", 1),
    ],
)
def test_only_pools_of_threads_start_threads(lines: str, count: int) -> None:
    assert len(found(START + SERVE + lines, "UN907")) == count


@pytest.mark.parametrize(
    "lines",
    [
        "pipe('a', height=64, width=64, num_inference_steps=1)",
        "pipe('a', height=64, width=64, num_inference_steps=2, guidance_scale=6.0, output_type='np')",
        "def test_it_draws():\n    image = pipe('a', num_inference_steps=2).images[0]\n    assert image is not None",
        "class TestDraw:\n    def test_size(self):\n        assert pipe('a', height=256, num_inference_steps=3)",
    ],
)
def test_tests_are_tests(lines: str) -> None:
    assert faults(START + lines) == []


@pytest.mark.parametrize(
    "lines",
    [
        "for n in [1, 2, 4, 8, 16, 50]:\n    pipe('a', num_inference_steps=n)",
        "for g in (1.0, 3.0, 7.5, 15.0, 30.0):\n    pipe('a', guidance_scale=g, negative_prompt='b')",
        "images = [pipe('a', guidance_scale=g).images[0] for g in [0, 10, 20, 30]]",
        "SCALES = [30, 20, 10, 5]\nfor g in SCALES:\n    name = f'{g}.png'\n    pipe('a', guidance_scale=g)",
        "for n, g in [(2, 1.0), (4, 10.0), (30, 30.0)]:\n    pipe('a', num_inference_steps=n, guidance_scale=g)",
        "for one in [{'n': 2}, {'n': 20}, {'n': 50}]:\n    pipe('a', num_inference_steps=one['n'])",
        "for k in range(1, 6):\n    pipe('a', num_inference_steps=k * 2)",
        "def draw(n):\n    return pipe('a', num_inference_steps=n)\nfor n in (2, 3, 20):\n    draw(n)",
    ],
)
def test_a_sweep_is_a_sweep(lines: str) -> None:
    assert faults(START + lines) == []


@pytest.mark.parametrize(
    "lines",
    [
        "for n in [4, 30]:\n    pipe('a', num_inference_steps=n)",
        "for n in [30, 3, 40]:\n    pipe('a', num_inference_steps=n)",
        "for seed in [1, 2, 3]:\n    pipe('a', num_inference_steps=3, generator=torch.Generator().manual_seed(seed))",
        "prompts = ['a', 'b', 'c']\nfor i in range(3):\n    pipe(prompts[i], num_inference_steps=3)",
    ],
)
def test_what_is_beside_a_sweep_is_no_sweep(lines: str) -> None:
    assert faults(START + lines) == ["UN106"]
