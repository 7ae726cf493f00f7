"""Rules of records and safety on real pictures, scripts and folders, and what the installed libraries do."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image, PngImagePlugin
from safetensors.torch import save_file

from unnoise.check.catalogue import entry
from unnoise.check.engine import run_rule
from unnoise.check.references import load_subjects
from unnoise.check.rule import NOTE, WARN, Finding

LOAD = """
import torch
from diffusers import StableDiffusionPipeline
pipe = StableDiffusionPipeline.from_pretrained("stable-diffusion-v1-5/stable-diffusion-v1-5"{loading}).to("cuda")
"""


def found(rule: str, path: Path, models: Path | None = None) -> list[Finding]:
    return [finding for subject in load_subjects([path], models) for finding in run_rule(entry(rule), subject)]


def make(tmp_path: Path, text: str, loading: str = "") -> Path:
    path = tmp_path / "make.py"
    path.write_text(LOAD.replace("{loading}", loading) + text)
    return path


CUDA = 'pipe("a", generator=torch.Generator(device="cuda").manual_seed(1))'
CPU = 'pipe("a", generator=torch.Generator(device="cpu").manual_seed(1))'
FOUR = 'pipe("a", num_images_per_prompt=4, generator={})'
EACH = "[torch.Generator().manual_seed(k) for k in range(4)]"
SCRIPTS = [
    ("UN905", CUDA, CPU),
    ("UN905", CUDA, 'pipe("a", generator=torch.manual_seed(1))'),
    ("UN906", FOUR.format("torch.manual_seed(1)"), FOUR.format(EACH)),
    ("UN906", 'pipe(["a", "b"], generator=torch.manual_seed(1))', 'pipe(["a"], generator=torch.manual_seed(1))'),
    ("UN913", 'pipe("a", num_images_per_prompt=4)', FOUR.format(EACH)),
    ("UN909", 'state = torch.load("a.bin", weights_only=False)', 'state = torch.load("a.bin", weights_only=True)'),
]


@pytest.mark.parametrize(("rule", "bad", "good"), SCRIPTS)
def test_in_a_script(tmp_path: Path, rule: str, bad: str, good: str) -> None:
    assert len(found(rule, make(tmp_path, bad))) == 1
    assert not found(rule, make(tmp_path, good))


@pytest.mark.parametrize(
    ("loading", "expected"),
    [
        (", trust_remote_code=True", 1),
        (", custom_pipeline='someone/theirs'", 1),
        (", use_safetensors=False", 1),
        (", use_safetensors=True", 0),
        (", custom_pipeline='lpw_stable_diffusion'", 0),
        (", custom_pipeline='someone/theirs', revision='0123abc'", 0),
    ],
)
def test_foreign_code(tmp_path: Path, loading: str, expected: int) -> None:
    assert len(found("UN909", make(tmp_path, 'pipe("a")', loading))) == expected


FASTAPI = 'from fastapi import FastAPI\napp = FastAPI()\n@app.get("/a")\n{} draw(prompt: str):\n    {}pipe(prompt)\n'
POOL = "from concurrent.futures import ThreadPoolExecutor\ndef draw(prompt):\n    return pipe(prompt)\n"
SERVERS = [
    (FASTAPI.format("def", ""), FASTAPI.format("async def", "")),
    (FASTAPI.format("def", ""), FASTAPI.format("def", "StableDiffusionPipeline.from_pipe(pipe)(prompt); ''.")),
    (
        'from flask import Flask\napp = Flask("a")\n@app.route("/draw")\ndef draw():\n    return pipe("a")\n',
        'from flask import Flask\napp = Flask("a")\n@app.route("/draw")\ndef draw():\n    return "a"\n',
    ),
    (
        POOL + "with ThreadPoolExecutor(4) as pool:\n    list(pool.map(draw, ['a', 'b']))\n",
        POOL + "with ThreadPoolExecutor(4) as pool:\n    list(map(draw, ['a', 'b']))\n",
    ),
    (
        "import threading\ndef draw():\n    pipe('a')\nfor _ in 'ab':\n    threading.Thread(target=draw).start()\n",
        "import threading\ndef draw():\n    pipe('a')\nthreading.Thread(target=draw).start()\n",
    ),
    (
        "from threading import Thread\none = [Thread(target=pipe, args=[prompt]) for prompt in 'ab']\n",
        "from threading import Thread\none = [Thread(target=print, args=[prompt]) for prompt in 'ab']\n",
    ),
    (
        "import asyncio\nasync def draw(loop):\n    await loop.run_in_executor(None, lambda: pipe('a'))\n",
        "import asyncio\nlock = asyncio.Lock()\nasync def draw(loop):\n    async with lock:\n"
        "        await loop.run_in_executor(None, lambda: pipe('a'))\n",
    ),
]


@pytest.mark.parametrize(("bad", "good"), SERVERS)
def test_threads(tmp_path: Path, bad: str, good: str) -> None:
    assert len(found("UN907", make(tmp_path, bad))) == 1
    assert not found("UN907", make(tmp_path, good))


@pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")
def test_a_scheduler_counts_the_steps_of_two_calls_together() -> None:
    from diffusers import EulerDiscreteScheduler

    shared, x = EulerDiscreteScheduler(), torch.zeros(1, 4, 2, 2)
    shared.set_timesteps(2)
    for at in shared.timesteps:
        shared.step(x, at, x)
    with pytest.raises(IndexError):
        shared.step(x, shared.timesteps[-1], x)


def infotext(tmp_path: Path, settings: str) -> Path:
    info = PngImagePlugin.PngInfo()
    info.add_text("parameters", f"a lighthouse\nNegative prompt: blurry\nSteps: 20, Sampler: Euler a, {settings}")
    Image.new("RGB", (8, 8)).save(tmp_path / "picture.png", pnginfo=info)
    return tmp_path / "picture.png"


HASH = "CFG scale: 7, Seed: 1, Size: 512x512, Model hash: 6ce0161689"


def test_in_a_picture(tmp_path: Path) -> None:
    assert len(found("UN908", infotext(tmp_path, HASH))) == 1
    assert not found("UN908", infotext(tmp_path, f"{HASH}, Version: v1.10.1"))
    assert len(found("UN913", infotext(tmp_path, HASH.replace("Seed: 1", "Seed: -1")))) == 1
    assert not found("UN913", infotext(tmp_path, HASH))


def invokeai(tmp_path: Path, **more: Any) -> Path:
    model = {"key": "1", "hash": "blake3:00", "name": "sd_xl_base_1.0", "base": "sdxl", "type": "main"}
    record = {"generation_mode": "sdxl_txt2img", "positive_prompt": "a", "seed": 1, "steps": 30, "model": model}
    info = PngImagePlugin.PngInfo()
    info.add_text("invokeai_metadata", json.dumps(record | more))
    Image.new("RGB", (8, 8)).save(tmp_path / "picture.png", pnginfo=info)
    return tmp_path / "picture.png"


def test_in_a_picture_of_invokeai(tmp_path: Path) -> None:
    assert len(found("UN908", invokeai(tmp_path))) == 1
    assert len(found("UN905", invokeai(tmp_path, app_version="5.6.0", rand_device="cuda"))) == 1
    good = invokeai(tmp_path, app_version="5.6.0", rand_device="cpu")
    assert not found("UN908", good) + found("UN905", good) + found("UN913", good)


INDEX = {"_class_name": "StableDiffusionPipeline", "_diffusers_version": "0.42.1"}


def folder(tmp_path: Path, index: Mapping[str, Any]) -> Path:
    """Save a network and an autoencoder as diffusers does, under an index."""
    from diffusers import AutoencoderKL, UNet2DConditionModel

    kinds = {"down_block_types": ("CrossAttnDownBlock2D",), "up_block_types": ("CrossAttnUpBlock2D",)}
    sizes = {"block_out_channels": (8,), "norm_num_groups": 2}
    unet = UNet2DConditionModel(layers_per_block=1, cross_attention_dim=8, attention_head_dim=2, **kinds, **sizes)
    unet.save_pretrained(tmp_path / "unet", max_shard_size="20KB")
    AutoencoderKL(**sizes).save_pretrained(tmp_path / "vae")
    parts = {"unet": ["diffusers", "UNet2DConditionModel"], "vae": ["diffusers", "AutoencoderKL"]}
    (tmp_path / "model_index.json").write_text(json.dumps({**INDEX, **parts, **index}))
    return tmp_path


def test_in_a_folder(tmp_path: Path) -> None:
    for index, expected in (({}, 0), ({"text_encoder": ["transformers", "CLIPTextModel"]}, 1)):
        assert len(found("UN911", folder(tmp_path, index))) == expected
    for index, expected in (({}, 0), ({"unet": ["my_unet", "MyUNet"]}, 1), ({"_class_name": ["pipeline", "Mine"]}, 1)):
        findings = found("UN909", folder(tmp_path, index))
        assert [finding.grade for finding in findings] == [WARN] * expected
    assert not found("UN912", tmp_path)


def test_parts_of_weights(tmp_path: Path) -> None:
    folder(tmp_path, {})
    [shards] = (tmp_path / "unet").glob("*.safetensors.index.json")
    content = json.loads(shards.read_text())
    some = next(iter(content["weight_map"]))
    content["weight_map"][some] = "../../secret.safetensors"
    shards.write_text(json.dumps(content))
    assert [finding for finding in found("UN912", tmp_path) if "outside" in finding.measured]
    assert not found("UN901", tmp_path)
    next((tmp_path / "unet").glob("*-00001-of-*.safetensors")).unlink()
    assert len(found("UN912", tmp_path)) == 2


def test_named_file(tmp_path: Path) -> None:
    models = tmp_path / "models"
    models.mkdir()
    save_file({"a": torch.ones(1)}, models / "other.safetensors")
    path = make(tmp_path, 'pipe.load_lora_weights("style.safetensors")\npipe("a")\n')
    assert not found("UN910", path)
    findings = [finding for finding in found("UN910", path, models) if finding.place.path == str(path)]
    assert len(findings) == 1
    save_file({"a": torch.ones(1)}, models / "style.safetensors")
    assert not found("UN910", path, models)


def test_faults(tmp_path: Path) -> None:
    whole = tmp_path / "a.safetensors"
    save_file({"a": torch.ones(64)}, whole)
    assert not found("UN901", whole)
    whole.write_bytes(whole.read_bytes()[:-9])
    assert found("UN901", whole)
    torch.save({"a": torch.ones(1)}, tmp_path / "a.pt")
    assert found("UN902", tmp_path / "a.pt")
    (tmp_path / "a.txt").write_text("a lighthouse")
    [finding] = found("UN903", tmp_path / "a.txt")
    assert finding.grade == NOTE
