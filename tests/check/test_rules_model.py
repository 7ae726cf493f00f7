"""Rules of the model on files that real writers made, and the faults that they speak of in the installed diffusers."""

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
import torch
from PIL import Image, PngImagePlugin
from safetensors.torch import save_file

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import diffusers
    from diffusers.loaders import single_file_utils

from unnoise.check.catalogue import entry
from unnoise.check.engine import run_rule
from unnoise.check.references import load_subjects
from unnoise.check.rule import Finding, Severity
from unnoise.check.rules.model._shared import OF_FILES
from unnoise.check.rules.model.sd2_probe_says_v import NORM
from unnoise.check.sample_headers import SAMPLE_HEADERS, UNET

SDXL, VPRED = "stabilityai/stable-diffusion-xl-base-1.0", "noobaiXL_vPred10.safetensors"
EULER = "pipe.scheduler = EulerDiscreteScheduler.from_config(pipe.scheduler.config{})"
V, EPS = ', prediction_type="v_prediction"', ', prediction_type="epsilon"'
STABLE: dict[str, Any] = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}


def found(rule: str, *paths: Path) -> list[Finding]:
    return [finding for subject in load_subjects(paths) for finding in run_rule(entry(rule), subject)]


def network(
    path: Path, family: str, variant: str = "", more: Mapping[str, torch.Tensor] | None = None, **stated: str
) -> Path:
    """Write the network of a family, no more of it than tells it; stated: its ModelSpec."""
    shapes = {
        name: shape for name, (_, shape) in SAMPLE_HEADERS[family, variant].items() if name.startswith((UNET, "v_pred"))
    }
    tensors = {name: torch.zeros(shape, dtype=torch.half) for name, shape in shapes.items()}
    metadata = {f"modelspec.{key}": value for key, value in stated.items()}
    save_file(tensors | dict(more or {}), path, metadata)
    return path


def single(path: Path, file: str, text: str = "", class_: str = "StableDiffusionXLPipeline") -> Path:
    """Write a script that loads a single file."""
    head = f'from diffusers import *\npipe = {class_}.from_single_file("{file}")\n'
    path.write_text(f'{head}{dedent(text)}\npipe("a lighthouse")\n')
    return path


def script(path: Path, class_: str, model: str, text: str = "") -> Path:
    path.write_text(
        f'from diffusers import *\npipe = {class_}.from_pretrained("{model}")\n{text}\npipe("a lighthouse")\n'
    )
    return path


@pytest.mark.parametrize(
    ("file", "text", "expected"),
    [
        (VPRED, "", True),
        (VPRED, EULER.format(""), True),
        (VPRED, EULER.format(EPS), True),
        (VPRED, EULER.format(V), False),
        (VPRED, f"pipe.scheduler = EulerDiscreteScheduler(**{STABLE})", True),
        (VPRED, "pipe.scheduler = EulerDiscreteScheduler(**chosen)", False),
        (VPRED, 'pipe.scheduler = EulerDiscreteScheduler(beta_schedule="scaled_linear")', True),
        (VPRED, "pipe.scheduler.register_to_config(prediction_type='v_prediction')", False),
        (VPRED, "pipe.scheduler = chosen", False),
        ("sd_xl_base_1.0.safetensors", "", False),
        ("sd_xl_base_1.0.safetensors", EULER.format(V), True),
        ("my_own_mix.safetensors", EULER.format(V), False),
    ],
)
def test_v_as_noise_in_a_script(tmp_path: Path, file: str, text: str, expected: bool) -> None:
    assert bool(found("UN201", single(tmp_path / "make.py", file, text))) == expected


def test_repository_of_a_v_model_has_its_own_scheduler(tmp_path: Path) -> None:
    model = "Laxhar/noobai-XL-Vpred-1.0"
    assert not found("UN201", script(tmp_path / "a.py", "StableDiffusionXLPipeline", model))
    assert not found("UN201", script(tmp_path / "b.py", "StableDiffusionXLPipeline", model, EULER.format("")))
    assert found("UN201", script(tmp_path / "c.py", "StableDiffusionXLPipeline", model, EULER.format(EPS)))


def test_v_as_noise_by_the_file_at_hand(tmp_path: Path) -> None:
    file = network(tmp_path / "mine.safetensors", "sdxl", "v-pred")
    assert found("UN201", single(tmp_path / "a.py", "mine.safetensors"), file)
    assert not found("UN201", single(tmp_path / "b.py", "mine.safetensors", EULER.format(V)), file)
    plain = network(tmp_path / "plain.safetensors", "sdxl")
    assert not found("UN201", single(tmp_path / "c.py", "plain.safetensors"), plain)


def workflow(path: Path, file: str, sampling: str = "") -> Path:
    """Write a workflow as ComfyUI's server takes it."""
    wires = {
        "model": ["9" if sampling else "4", 0],
        "positive": ["6", 0],
        "negative": ["6", 0],
        "latent_image": ["5", 0],
    }
    inputs = {"steps": 25, "cfg": 6.0, "sampler_name": "euler", "scheduler": "normal", "denoise": 1.0, "seed": 1}
    nodes: dict[str, Any] = {
        "3": {"class_type": "KSampler", "inputs": inputs | wires},
        "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": file}},
        "5": {"class_type": "EmptyLatentImage", "inputs": {"width": 1024, "height": 1024, "batch_size": 1}},
        "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "a lighthouse", "clip": ["4", 1]}},
        "7": {"class_type": "VAEDecode", "inputs": {"samples": ["3", 0], "vae": ["4", 2]}},
        "8": {"class_type": "SaveImage", "inputs": {"images": ["7", 0], "filename_prefix": "x"}},
    }
    if sampling:
        stated = {"model": ["4", 0], "sampling": sampling, "zsnr": False}
        nodes["9"] = {"class_type": "ModelSamplingDiscrete", "inputs": stated}
    path.write_text(json.dumps(nodes))
    return path


@pytest.mark.parametrize(
    ("variant", "stated_kind", "sampling", "expected"),
    [
        ("", "v", "", True),  # ComfyUI does not read ModelSpec
        ("", "v", "v_prediction", False),
        ("v-pred", "", "", False),  # but it does look for the tensor v_pred
        ("v-pred", "", "eps", True),
        ("", "", "v_prediction", False),
        ("", "epsilon", "v_prediction", True),
        ("v-pred", "", "lcm", False),
    ],
)
def test_v_as_noise_in_a_workflow(
    tmp_path: Path, variant: str, stated_kind: str, sampling: str, expected: bool
) -> None:
    file = network(
        tmp_path / "m.safetensors", "sdxl", variant, **({"prediction_type": stated_kind} if stated_kind else {})
    )
    assert bool(found("UN201", workflow(tmp_path / "flow.json", "m.safetensors", sampling), file)) == expected


def saved(path: Path, prediction: str, size: int = 64, **unet: Any) -> Path:
    """Write a folder whose scheduler is as diffusers saves it."""
    scheduler = diffusers.DDIMScheduler(**STABLE, clip_sample=False, prediction_type=prediction or "epsilon")
    scheduler.save_pretrained(path / "scheduler")
    written = path / "scheduler" / "scheduler_config.json"
    content = json.loads(written.read_text())
    if not prediction:
        del content["prediction_type"]
        written.write_text(json.dumps(content))
    (path / "unet").mkdir()
    settings = {"_class_name": "UNet2DConditionModel", "in_channels": 4, "sample_size": size, **unet}
    (path / "unet" / "config.json").write_text(json.dumps(settings))
    index = {"_class_name": "StableDiffusionPipeline", "scheduler": ["diffusers", "DDIMScheduler"]}
    (path / "model_index.json").write_text(json.dumps(index))
    return path


def test_v_as_noise_in_a_folder(tmp_path: Path) -> None:
    mark = {"v_pred": torch.zeros(0)}
    for name, prediction in (("bad", "epsilon"), ("good", "v_prediction")):
        path = saved(tmp_path / name, prediction, cross_attention_dim=768)
        network(path / "unet" / "diffusion_pytorch_model.safetensors", "sd1", more=mark)
        assert bool(found("UN201", path)) == (name == "bad")


def test_kind_of_stable_diffusion_2(tmp_path: Path) -> None:
    plain = "StableDiffusionPipeline"
    base = single(tmp_path / "base.py", "v2-1_512-ema-pruned.safetensors", class_=plain)
    assert [finding.grade for finding in found("UN202", base)] == [Severity.ERROR]
    assert not found("UN202", single(tmp_path / "v.py", "v2-1_768-ema-pruned.safetensors", class_=plain))
    assert not found("UN202", single(tmp_path / "eps.py", "v2-1_512-ema-pruned.safetensors", EULER.format(EPS), plain))
    file = network(tmp_path / "mine.safetensors", "sd2")
    assert [finding.grade for finding in found("UN202", file)] == [Severity.NOTE]
    assert found("UN202", single(tmp_path / "mine.py", "mine.safetensors", class_=plain), file)
    assert not found("UN202", network(tmp_path / "told.safetensors", "sd2", prediction_type="v"))


def test_kind_of_stable_diffusion_2_in_a_folder(tmp_path: Path) -> None:
    wide = {"size": 96, "cross_attention_dim": 1024}
    assert found("UN202", saved(tmp_path / "a", "", **wide))
    assert not found("UN202", saved(tmp_path / "b", "v_prediction", **wide))
    assert not found("UN202", saved(tmp_path / "c", "", cross_attention_dim=1024))


def test_conversion(tmp_path: Path) -> None:
    names = {"_name_or_path": "Laxhar/noobai-XL-Vpred-1.0", "cross_attention_dim": 2048}
    assert found("UN203", saved(tmp_path / "bad", "epsilon", **names))
    assert not found("UN203", saved(tmp_path / "good", "v_prediction", **names))
    load = f'from diffusers import *\npipe = StableDiffusionXLPipeline.from_single_file("{VPRED}")\n'
    path = tmp_path / "convert.py"
    path.write_text(f'{load}pipe.save_pretrained("out")\n')
    assert found("UN203", path)
    path.write_text(f'{load}{EULER.format(V)}\npipe.save_pretrained("out")\n')
    assert not found("UN203", path)


def test_what_is_loaded_as_a_checkpoint(tmp_path: Path) -> None:
    plain, one = "StableDiffusionPipeline", torch.zeros(4, 4)
    save_file({"blocks.0.attn.qkv.weight": one}, tmp_path / "strange.safetensors")
    lora = {f"lora_unet_down_blocks_0_attentions_0_proj_in.lora_{way}.weight": one.clone() for way in ("down", "up")}
    save_file(lora, tmp_path / "style.safetensors")
    network(tmp_path / "right.safetensors", "sd1")
    for name, expected in (("strange", True), ("style", True), ("right", False), ("absent", False)):
        files = [path] if (path := tmp_path / f"{name}.safetensors").exists() else []
        using = single(tmp_path / f"{name}.py", f"{name}.safetensors", class_=plain)
        assert bool(found("UN204", using, *files)) == expected, name
    assert found("UN204", workflow(tmp_path / "flow.json", "style.safetensors"), tmp_path / "style.safetensors")


def test_averaged_weights(tmp_path: Path) -> None:
    averaged = {f"model_ema.diffusion_modelinput_blocks{number}weight": torch.zeros(8) for number in range(150)}
    file = network(tmp_path / "full.safetensors", "sd1", more=averaged)
    (note,) = found("UN205", file)
    assert note.grade == Severity.NOTE
    assert "150 tensors" in note.measured
    using = single(tmp_path / "use.py", "full.safetensors", class_="StableDiffusionPipeline")
    assert Severity.WARN in [finding.grade for finding in found("UN205", using, file)]
    assert not found("UN205", network(tmp_path / "pruned.safetensors", "sd1"))


@pytest.mark.parametrize(
    ("spread", "stated_kind", "expected"), [(0.12, "epsilon", 1), (0.05, "epsilon", 0), (0.12, "v", 0)]
)
def test_probe_of_stable_diffusion_2(tmp_path: Path, spread: float, stated_kind: str, expected: int) -> None:
    bias = torch.tensor([spread, -spread]).repeat(160).to(torch.bfloat16)
    file = network(tmp_path / "m.safetensors", "sd2", more={UNET + NORM: bias}, prediction_type=stated_kind)
    assert len(found("UN206", file)) == expected


@pytest.mark.parametrize(
    ("class_", "model", "expected"),
    [
        ("StableDiffusionPipeline", SDXL, True),
        ("StableDiffusionXLPipeline", SDXL, False),
        ("StableDiffusionXLPipeline", "segmind/SSD-1B", False),
        ("StableDiffusionXLPipeline", "stable-diffusion-v1-5/stable-diffusion-v1-5", True),
        ("FluxPipeline", "stabilityai/stable-diffusion-3.5-large", True),
        ("StableDiffusion3Pipeline", "black-forest-labs/FLUX.1-dev", True),
        ("FluxFillPipeline", "black-forest-labs/FLUX.1-Fill-dev", False),
        ("StableDiffusionPipeline", "stabilityai/stable-diffusion-2-1", False),
        ("DiffusionPipeline", SDXL, False),
        ("WanPipeline", "Lightricks/LTX-Video", True),
        ("WanPipeline", "me/my-own-model", False),
    ],
)
def test_class_and_family(tmp_path: Path, class_: str, model: str, expected: bool) -> None:
    assert bool(found("UN207", script(tmp_path / "make.py", class_, model))) == expected


def picture(path: Path, model: str, more: str = "") -> Path:
    """Write what AUTOMATIC1111 writes."""
    numbers = f"Steps: 25, Sampler: Euler, CFG scale: 6, Seed: 1, Size: 1024x1024, Model: {model}{more}"
    info = PngImagePlugin.PngInfo()
    info.add_text("parameters", f"a lighthouse\n{numbers}, Version: v1.10.1")
    Image.new("RGB", (8, 8)).save(path, pnginfo=info)
    return path


def test_refiner(tmp_path: Path) -> None:
    refiner = "stabilityai/stable-diffusion-xl-refiner-1.0"
    assert found("UN208", script(tmp_path / "a.py", "DiffusionPipeline", refiner))
    assert not found("UN208", script(tmp_path / "b.py", "StableDiffusionXLImg2ImgPipeline", refiner))
    assert found("UN208", picture(tmp_path / "a.png", "sd_xl_refiner_1.0"))
    assert not found("UN208", picture(tmp_path / "b.png", "sd_xl_refiner_1.0", ", Denoising strength: 0.25"))
    assert found("UN208", workflow(tmp_path / "a.json", "sd_xl_refiner_1.0.safetensors"))


def test_diffusers_takes_unknown_tensors_for_stable_diffusion_1() -> None:
    assert single_file_utils.infer_diffusers_model_type({"blocks.0.attn.qkv.weight": torch.zeros(1)}) == "v1"


def test_diffusers_gives_a_file_the_scheduler_of_its_shape() -> None:
    """A file that says v is taken for SDXL base; every Stable Diffusion 2 for 2.1, whose scheduler says v."""
    paths = single_file_utils.DIFFUSERS_DEFAULT_PIPELINE_PATHS
    names = {"sd1": "v1", "sd2": "v2", "sdxl": "xl_base"}
    repositories = {family: paths[name]["pretrained_model_name_or_path"] for family, name in names.items()}
    assert repositories["sd2"] == "stabilityai/stable-diffusion-2-1"
    assert repositories["sdxl"] == SDXL
    assert OF_FILES == {"sd1": "epsilon", "sd2": "v_prediction", "sdxl": "epsilon"}
    key = single_file_utils.CHECKPOINT_KEY_NAMES["xl_base"]
    shaped = {key: torch.zeros(1), "v_pred": torch.zeros(0), "ztsnr": torch.zeros(0)}
    assert single_file_utils.infer_diffusers_model_type(shaped) == "xl_base"


def test_first_guess_of_v_read_as_noise() -> None:
    """At the last level of Stable Diffusion: 15.6 x0 + 13.6 noise."""
    kept = float(diffusers.DDPMScheduler(**STABLE).alphas_cumprod[-1])
    signal, spread = kept**0.5, (1 - kept) ** 0.5
    x0, noise = 1.0, 0.0
    guesses = []
    for x0, noise in ((1.0, 0.0), (0.0, 1.0)):
        x, v = signal * x0 + spread * noise, signal * noise - spread * x0
        guesses.append((x - spread * v) / signal)
    assert guesses == pytest.approx([15.6, 13.6], abs=0.05)
