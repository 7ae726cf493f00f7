"""Rules of prompts on real scripts, workflows and pictures, and what the installed diffusers does with such prompts."""

import json
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from clock import within
from PIL import Image, PngImagePlugin
from safetensors.torch import save_file

from unnoise.check.catalogue import entry
from unnoise.check.engine import run_rule
from unnoise.check.references import load_subjects
from unnoise.check.rule import ERROR, Finding
from unnoise.check.rules.text._shared import fewest

XL = "StableDiffusionXLPipeline", "stabilityai/stable-diffusion-xl-base-1.0"
SD = "StableDiffusionPipeline", "stable-diffusion-v1-5/stable-diffusion-v1-5"
SD3 = "StableDiffusion3Pipeline", "stabilityai/stable-diffusion-3.5-medium"
DEV = "FluxPipeline", "black-forest-labs/FLUX.1-dev"
SCHNELL = "FluxPipeline", "black-forest-labs/FLUX.1-schnell"
LONG = "a lighthouse on a cliff above the sea at dawn " * 8


def found(rule: str, *paths: Path) -> list[Finding]:
    return [finding for subject in load_subjects(paths) for finding in run_rule(entry(rule), subject)]


def make(tmp_path: Path, pipeline: tuple[str, str], call: str, loading: str = "", more: str = "") -> Path:
    class_, model = pipeline
    path = tmp_path / "make.py"
    path.write_text(
        f"from diffusers import {class_}\nimport torch\n"
        f'pipe = {class_}.from_pretrained("{model}"{loading})\n{more}\npipe({call})\n'
    )
    return path


CALLS = [
    ("UN801", XL, repr(LONG), repr(LONG[:200])),
    ("UN801", SD, f"'a', negative_prompt={LONG!r}", "'a', negative_prompt='blurry'"),
    ("UN801", SD, repr("1girl, 2024, " * 12), repr("1girl, 2024, " * 5)),
    ("UN801", SD3, repr("a white lighthouse " * 90), repr("a white lighthouse " * 80)),
    ("UN801", SD3, repr("a white lighthouse " * 180) + ", max_sequence_length=512",
     repr("a white lighthouse " * 90) + ", max_sequence_length=512"),
    ("UN802", SD, "'a (sunset:1.3) over the sea'", "'a sunset (from above) over the sea'"),
    ("UN802", XL, "'a ((sunset)) over the sea'", "'a sunset, ratio 4:3 (film)'"),
    ("UN802", DEV, "'a [fox:cat:0.5] at night'", "'a [fox] at 10:30'"),
    ("UN802", SD, "'a (fox:2) at night'", "'a fox (ratio 16:9), a clock [at:10:30]'"),
    ("UN803", XL, "'a', clip_skip=1", "'a'"),
    ("UN803", SD3, "'a', clip_skip=2", "'a', clip_skip=0"),
    ("UN803", SD, "'a', clip_skip=2", "'a', clip_skip=1"),
    ("UN803", SD, "'a', clip_skip=-2", "'a', clip_skip=0"),
    ("UN804", SCHNELL, "'a', max_sequence_length=512", "'a', max_sequence_length=256"),
    ("UN804", DEV, "'a', max_sequence_length=1024", "'a', max_sequence_length=512"),
    ("UN805", XL, "'a', original_size=(256, 256)", "'a', negative_original_size=(256, 256)"),
    ("UN807", SD, "'a cat <lora:style:0.7>'", "'a cat <style>'"),
    ("UN808", SD, "'a cat', negative_prompt='embedding:EasyNegative'", "'a cat', negative_prompt='EasyNegative'"),
    ("UN809", SD, "'a cat. Negative prompt: blurry'", "'a cat, positive mood'"),
    ("UN810", SD, "'a cat BREAK a dog'", "'A CAT AND A DOG'"),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "pipeline", "bad", "good"), CALLS)
def test_in_a_script(tmp_path: Path, rule: str, pipeline: tuple[str, str], bad: str, good: str) -> None:
    assert len(found(rule, make(tmp_path, pipeline, bad))) == 1
    assert not found(rule, make(tmp_path, pipeline, good))


def test_community_pipelines_parse_weights(tmp_path: Path) -> None:
    call = "'a (sunset:1.3) BREAK over the sea'"
    for loading, expected in (("", 1), (', custom_pipeline="lpw_stable_diffusion"', 0)):
        path = make(tmp_path, ("DiffusionPipeline", SD[1]), call, loading)
        assert len(found("UN802", path)) == len(found("UN810", path)) == expected


@pytest.mark.parametrize(
    ("pipeline", "loading", "more", "call", "expected"),
    [
        (SD, ", text_encoder=None", "", "'a'", 1),
        (SD, ", text_encoder=None", "", "prompt_embeds=embeds", 0),
        (DEV, ", text_encoder_2=None", "", "'a'", 1),
        (DEV, ", text_encoder_2=None", "pipe.text_encoder_2 = encoder", "'a'", 0),
        (SD3, ", text_encoder_3=None, tokenizer_3=None", "", "'a'", 0),
    ],
)
def test_without_an_encoder(
    tmp_path: Path, pipeline: tuple[str, str], loading: str, more: str, call: str, expected: int
) -> None:
    assert len(found("UN806", make(tmp_path, pipeline, call, loading, more))) == expected


def test_folder_without_an_encoder(tmp_path: Path) -> None:
    index: dict[str, Any] = {"_class_name": "StableDiffusionPipeline", "unet": ["diffusers", "UNet2DConditionModel"]}
    for encoder, expected in (([None, None], 1), (["transformers", "CLIPTextModel"], 0)):
        (tmp_path / "model_index.json").write_text(json.dumps(index | {"text_encoder": encoder}))
        findings = found("UN806", tmp_path)
        assert [finding.grade for finding in findings] == [ERROR] * expected


def workflow(tmp_path: Path, positive: str, layer: int = -2) -> Path:
    wires = {"model": ["4", 0], "positive": ["6", 0], "negative": ["7", 0], "latent_image": ["5", 0]}
    numbers = {"seed": 1, "steps": 20, "cfg": 7.0, "sampler_name": "euler", "scheduler": "normal", "denoise": 1.0}
    nodes: dict[str, tuple[str, dict[str, Any]]] = {
        "3": ("KSampler", numbers | wires),
        "4": ("CheckpointLoaderSimple", {"ckpt_name": "sd_xl_base_1.0.safetensors"}),
        "5": ("EmptyLatentImage", {"width": 1024, "height": 1024, "batch_size": 1}),
        "6": ("CLIPTextEncode", {"text": positive, "clip": ["10", 0]}),
        "7": ("CLIPTextEncode", {"text": "blurry", "clip": ["10", 0]}),
        "8": ("VAEDecode", {"samples": ["3", 0], "vae": ["4", 2]}),
        "9": ("SaveImage", {"images": ["8", 0], "filename_prefix": "a"}),
        "10": ("CLIPSetLastLayer", {"stop_at_clip_layer": layer, "clip": ["4", 1]}),
    }
    path = tmp_path / "workflow.json"
    path.write_text(json.dumps({key: {"class_type": kind, "inputs": given} for key, (kind, given) in nodes.items()}))
    return path


@pytest.mark.parametrize(
    ("rule", "positive"),
    [
        ("UN807", "a cat <lora:style:0.7>"),
        ("UN809", "a cat\nNegative prompt: blurry\nSteps: 20, Sampler: Euler a"),
        ("UN810", "a cat BREAK a dog"),
    ],
)
def test_in_a_workflow(tmp_path: Path, rule: str, positive: str) -> None:
    assert len(found(rule, workflow(tmp_path, positive))) == 1
    assert not found(rule, workflow(tmp_path, "a (cat:1.2), embedding:style"))
    assert not found("UN802", workflow(tmp_path, "a (cat:1.2), " * 30))


def test_last_layer_of_clip_in_a_workflow(tmp_path: Path) -> None:
    assert found("UN803", workflow(tmp_path, "a cat", layer=-1))
    assert not found("UN803", workflow(tmp_path, "a cat", layer=-2))


def picture(tmp_path: Path, prompt: str, more: str) -> Path:
    info = PngImagePlugin.PngInfo()
    settings = f"Steps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1, Size: 512x512, {more}, Version: v1.10.1"
    info.add_text("parameters", f"{prompt}\nNegative prompt: blurry\n{settings}")
    Image.new("RGB", (8, 8)).save(tmp_path / "picture.png", pnginfo=info)
    return tmp_path / "picture.png"


def test_in_a_picture(tmp_path: Path) -> None:
    assert len(found("UN808", picture(tmp_path, "a cat, embedding:style", "Model: v1-5-pruned"))) == 1
    assert len(found("UN803", picture(tmp_path, "a cat", "Model: sd_xl_base_1.0, Clip skip: 2"))) == 1
    fine = picture(tmp_path, "a (cat:1.2) BREAK <lora:style:1>, style" * 9, "Model: v1-5-pruned, Clip skip: 2")
    for rule in ("UN801", "UN802", "UN803", "UN807", "UN808", "UN809", "UN810"):
        assert not found(rule, fine)


def test_lora_that_was_trained_with_a_mask(tmp_path: Path) -> None:
    layer = "lora_unet_double_blocks_0_img_attn_proj"
    tensors = {f"{layer}.lora_down.weight": torch.ones(4, 3072), f"{layer}.lora_up.weight": torch.ones(3072, 4)}
    path = make(tmp_path, DEV, "'a'", more='pipe.load_lora_weights("style.safetensors")')
    for masked, expected in (("True", 1), ("False", 0)):
        save_file(tensors, tmp_path / "style.safetensors", {"ss_apply_t5_attn_mask": masked})
        assert len(found("UN811", path)) == expected


@pytest.mark.parametrize("rule", ["UN801", "UN802", "UN807", "UN808", "UN809", "UN810"])
def test_long_prompts_take_no_time(tmp_path: Path, rule: str) -> None:
    for piece in ("(", "((a", "[a:", "<lora:", "embedding:", "\n, ", "\n"):
        text = piece * (19_000 // len(piece))
        path = make(tmp_path, SD, repr(text))
        [subject] = load_subjects([path])
        with within(30):
            list(run_rule(entry(rule), subject))


def test_tokens_are_counted_from_below() -> None:
    """What CLIP's pattern parts is at least one token; its merges join only within a piece."""
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers

    pattern = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(pattern), behavior="removed", invert=True)
    assert fewest("a lighthouse, 35mm film") == 8 - 1
    drawn = random.Random(3)
    for _ in range(300):
        text = "".join(drawn.choices("ab' sS,.:()_-12é漢²’😀\u00a0\n", k=drawn.randrange(60)))
        assert fewest(text) <= len(tokenizer.encode(text).ids)


def test_diffusers_takes_the_layer_that_is_named() -> None:
    import inspect

    from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline

    assert "[-(clip_skip + 1)]" in inspect.getsource(StableDiffusionPipeline.encode_prompt)
    assert "[-(clip_skip + 2)]" in inspect.getsource(StableDiffusionXLPipeline.encode_prompt)


def test_diffusers_raises_above_512_tokens() -> None:
    from diffusers import FluxPipeline

    with pytest.raises(ValueError, match="512"):
        FluxPipeline.check_inputs(
            type("Pipe", (), {"vae_scale_factor": 8, "_callback_tensor_inputs": []})(), "a", None, 512, 512,
            max_sequence_length=513,
        )  # fmt: skip
