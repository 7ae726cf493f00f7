"""Rules of adapters on files of real writers, and the faults that they describe in the installed diffusers."""

import json
from collections.abc import Iterator, Mapping
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from unnoise.check.catalogue import entry
from unnoise.check.engine import run_rule
from unnoise.check.references import load_subjects
from unnoise.check.rule import Finding
from unnoise.check.sample_headers import SAMPLE_HEADERS, Tensors
from unnoise.formats.header import BITS

Layers = Mapping[str, tuple[int, int]]
BLOCK = "unet_down_blocks_0_attentions_0_transformer_blocks_0"
SD1 = {f"{BLOCK}_attn2_to_k": (768, 320), f"{BLOCK}_attn2_to_v": (768, 320)}
SDXL = {"unet_input_blocks_4_1_transformer_blocks_0_attn2_to_k": (2048, 640)}
TEXT = {"te_text_model_encoder_layers_0_self_attn_q_proj": (768, 768)}
OUT = {"te_text_model_encoder_layers_0_self_attn_out_proj": (768, 768)}
CROSS = "unet_blocks_0_cross_attn_k"
WAN_SMALL, WAN_LARGE = {CROSS: (1536, 1536)}, {CROSS: (5120, 5120)}
CONTROL = "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k.weight"
PIPE = """
import torch
from diffusers import StableDiffusionPipeline
pipe = StableDiffusionPipeline.from_pretrained("stable-diffusion-v1-5/stable-diffusion-v1-5")
pipe.load_lora_weights("lora.safetensors")
"""
CALL = 'image = pipe("a", num_inference_steps=30, generator=torch.Generator("cpu").manual_seed(1)).images[0]\n'


def lora(layers: Layers, rank: int = 4, alpha: float | None = 4.0, value: float = 0.01) -> dict[str, torch.Tensor]:
    """Make what sd-scripts saves."""
    found = {}
    for layer, (into, out) in layers.items():
        found[f"lora_{layer}.lora_down.weight"] = torch.full((rank, into), 0.01)
        found[f"lora_{layer}.lora_up.weight"] = torch.full((out, rank), value)
        if alpha is not None:
            found[f"lora_{layer}.alpha"] = torch.tensor(alpha)
    return found


def hollow(path: Path, tensors: Tensors) -> None:
    """Write a safetensors file of zeros that takes no room on the disk."""
    at, content = 0, {}
    for name, (dtype, shape) in tensors.items():
        size = torch.Size(shape).numel() * BITS[dtype] // 8
        content[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + size]}
        at += size
    raw = json.dumps(content).encode()
    with path.open("wb") as file:
        file.write(len(raw).to_bytes(8, "little") + raw)
        file.truncate(8 + len(raw) + at)


def found(rule: str, *paths: Path) -> list[Finding]:
    return [finding for subject in load_subjects(paths) for finding in run_rule(entry(rule), subject)]


def workflow(node: str) -> str:
    loader = {"lora_name": "lora.safetensors", "strength_model": 1.0, "model": ["4", 0]}
    if node == "LoraLoader":
        loader |= {"strength_clip": 1.0, "clip": ["4", 1]}
    wires = {"positive": ["6", 0], "negative": ["7", 0], "latent_image": ["5", 0], "model": ["10", 0]}
    clip = ["10", 1] if node == "LoraLoader" else ["4", 1]
    numbers = {"seed": 1, "steps": 20, "cfg": 7.0, "sampler_name": "euler", "scheduler": "normal", "denoise": 1.0}
    nodes: dict[str, tuple[str, dict[str, Any]]] = {
        "3": ("KSampler", numbers | wires),
        "4": ("CheckpointLoaderSimple", {"ckpt_name": "v1-5-pruned.safetensors"}),
        "5": ("EmptyLatentImage", {"width": 512, "height": 512, "batch_size": 1}),
        "6": ("CLIPTextEncode", {"text": "a lighthouse", "clip": clip}),
        "7": ("CLIPTextEncode", {"text": "blurry", "clip": clip}),
        "8": ("VAEDecode", {"samples": ["3", 0], "vae": ["4", 2]}),
        "9": ("SaveImage", {"images": ["8", 0], "filename_prefix": "a"}),
        "10": (node, loader),
    }
    return json.dumps({key: {"class_type": kind, "inputs": inputs} for key, (kind, inputs) in nodes.items()})


BY_BASE = [
    ("UN601", ("sdxl", ""), lora(SD1), lora(SDXL)),
    ("UN601", ("sd1", ""), lora(SDXL), lora(SD1)),
    ("UN601", ("flux1", "dev"), lora(SD1), lora({"unet_single_blocks_37_linear1": (3072, 21504)})),
    ("UN607", ("sdxl", ""), {"emb_params": torch.ones(2, 768)},
     {"clip_l": torch.ones(2, 768), "clip_g": torch.ones(2, 1280)}),
    ("UN607", ("sd1", ""), {"emb_params": torch.ones(2, 1024)}, {"<cat>": torch.ones(768)}),
    ("UN608", ("sdxl", ""), {"controlnet_cond_embedding.conv_in.weight": torch.ones(1), CONTROL: torch.ones(320, 768)},
     {"controlnet_cond_embedding.conv_in.weight": torch.ones(1), CONTROL: torch.ones(640, 2048)}),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "base", "bad", "good"), BY_BASE)
def test_with_a_base(
    tmp_path: Path, rule: str, base: tuple[str, str], bad: dict[str, torch.Tensor], good: dict[str, torch.Tensor]
) -> None:
    hollow(tmp_path / "base.safetensors", SAMPLE_HEADERS[base])
    for name, tensors, expected in (("bad", bad, 1), ("good", good, 0)):
        save_file(tensors, tmp_path / f"{name}.safetensors")
        assert len(found(rule, tmp_path / "base.safetensors", tmp_path / f"{name}.safetensors")) == expected


def wan(width: int) -> Tensors:
    return {
        "head.modulation": ("F16", (1, 2, width)),
        "patch_embedding.weight": ("F16", (width, 16, 1, 2, 2)),
        "blocks.0.cross_attn.k.weight": ("F16", (width, width)),
    }


def unet(block: str, depth: int) -> dict[str, tuple[int, int]]:
    return {f"unet_{block}_transformer_blocks_{number}_attn2_to_k": (2048, 1280) for number in range(depth)}


def test_of_another_depth(tmp_path: Path) -> None:
    """A LoRA with the layers of SDXL that SSD-1B lacks; SSD-1B in diffusers' names, as its LoRAs are."""
    text = PIPE.replace("stable-diffusion-v1-5/stable-diffusion-v1-5", "segmind/SSD-1B")
    (tmp_path / "make.py").write_text(text.replace("StableDiffusionPipeline", "StableDiffusionXLPipeline") + CALL)
    down = "down_blocks_2_attentions_0"
    for layers, expected in ((unet(down, 10), 1), (unet("mid_block_attentions_0", 1), 1), (unet(down, 4), 0)):
        save_file(lora(layers), tmp_path / "lora.safetensors")
        assert len(found("UN602", tmp_path / "make.py")) == expected


def test_of_another_size(tmp_path: Path) -> None:
    hollow(tmp_path / "base.safetensors", wan(5120))
    save_file(lora(WAN_SMALL), tmp_path / "bad.safetensors")
    save_file(lora(WAN_LARGE), tmp_path / "good.safetensors")
    [finding] = found("UN602", tmp_path / "base.safetensors", tmp_path / "bad.safetensors")
    assert "1.3b" in finding.measured
    assert not found("UN602", tmp_path / "base.safetensors", tmp_path / "good.safetensors")


MIXED = lora({f"{BLOCK}_attn2_to_k": (768, 320)}, alpha=4.0) | lora(
    {f"{BLOCK}_ff_net_2": (1280, 320), f"{BLOCK}_ff_net_0_proj": (320, 2560)}, alpha=1.0
)
ALONE = [
    ("UN604", MIXED, {}, lora(SD1), {}),
    ("UN605", lora(SD1 | SDXL), {}, lora(SDXL), {}),
    ("UN609", lora(SDXL), {"ss_base_model_version": "sd_v1"}, lora(SDXL), {"ss_base_model_version": "sdxl_base_v1-0"}),
    ("UN610", lora(SD1, alpha=None) | lora(SDXL, 8, alpha=None), {}, lora(SD1, alpha=None), {}),
    ("UN611", lora(SD1, value=float("nan")), {}, lora(SD1), {}),
    ("UN611", lora(SD1, value=float("inf")), {}, lora(SD1), {}),
    ("UN612", lora(SD1, rank=0), {}, lora(SD1), {}),
    ("UN612", {}, {"ss_network_module": "networks.lora"}, lora(SD1), {"ss_network_module": "networks.lora"}),
    ("UN614", {name: value for name, value in lora(SD1).items() if "up" not in name}, {}, lora(SD1), {}),
    ("UN615", lora(SD1, value=0.0), {}, lora(SD1), {}),
]


@pytest.mark.parametrize(("rule", "bad", "metadata_bad", "good", "metadata_good"), ALONE)
def test_alone(
    tmp_path: Path,
    rule: str,
    bad: dict[str, torch.Tensor],
    metadata_bad: dict[str, str],
    good: dict[str, torch.Tensor],
    metadata_good: dict[str, str],
) -> None:
    path = tmp_path / "lora.safetensors"
    for tensors, metadata, expected in ((bad, metadata_bad, 1), (good, metadata_good, 0)):
        save_file(tensors, path, metadata)
        assert len(found(rule, path)) == expected


SCRIPTS = [
    ("UN604", MIXED, PIPE + CALL, lora(SD1), PIPE + CALL),
    ("UN606", lora(SD1), PIPE + "pipe.fuse_lora(lora_scale=0.5)\n" * 2, lora(SD1), PIPE + "pipe.fuse_lora()\n" * 2),
    (
        "UN606",
        lora(SD1),
        PIPE + "for n in range(9):\n    pipe.fuse_lora(lora_scale=0.7)\n    pipe.unfuse_lora()\n",
        lora(SD1),
        PIPE + "for n in range(9):\n    pipe.fuse_lora()\n    pipe.unfuse_lora()\n",
    ),
    (
        "UN606",
        lora(SD1),
        PIPE + "pipe.fuse_lora(lora_scale=0.5)\nif a:\n    b()\npipe.unfuse_lora()\npipe.fuse_lora(lora_scale=1.0)\n",
        lora(SD1),
        PIPE + "if large:\n    pipe.fuse_lora(lora_scale=0.5)\nelse:\n    pipe.fuse_lora(lora_scale=0.7)\n",
    ),
    (
        "UN606",
        lora(SD1),
        PIPE + "SCALE = 0.5\npipe.fuse_lora(lora_scale=SCALE)\npipe.fuse_lora(lora_scale=SCALE)\n",
        lora(SD1),
        PIPE
        + 'pipe.fuse_lora(lora_scale=0.5)\npipe.unload_lora_weights()\npipe.load_lora_weights("b")\npipe.fuse_lora()\n',
    ),
    ("UN616", lora(SD1 | TEXT), PIPE + CALL, lora(SD1 | TEXT | OUT), PIPE + CALL),
]


@pytest.mark.parametrize(("rule", "bad", "bad_text", "good", "good_text"), SCRIPTS)
def test_in_a_script(
    tmp_path: Path,
    rule: str,
    bad: dict[str, torch.Tensor],
    bad_text: str,
    good: dict[str, torch.Tensor],
    good_text: str,
) -> None:
    for tensors, text, expected in ((bad, bad_text, 1), (good, good_text, 0)):
        save_file(tensors, tmp_path / "lora.safetensors")
        (tmp_path / "make.py").write_text(text)
        assert len(found(rule, tmp_path / "make.py")) == expected


def test_model_only_loader_drops_the_text_half(tmp_path: Path) -> None:
    save_file(lora(SD1 | TEXT), tmp_path / "lora.safetensors")
    for node, expected in (("LoraLoaderModelOnly", 1), ("LoraLoader", 0)):
        (tmp_path / "workflow.json").write_text(workflow(node))
        assert len(found("UN603", tmp_path / "workflow.json")) == expected


@pytest.mark.parametrize(("trained", "expected"), [("6ce0161689", 1), ("c0d1994c73", 0)])
def test_hash_in_a_picture_against_that_in_the_lora(tmp_path: Path, trained: str, expected: int) -> None:
    from PIL import Image, PngImagePlugin

    save_file(lora(SD1), tmp_path / "style.safetensors", {"ss_new_sd_model_hash": trained + "0" * 54})
    info = PngImagePlugin.PngInfo()
    numbers = "Steps: 20, Sampler: Euler, CFG scale: 7, Seed: 1, Size: 512x512, Model hash: c0d1994c73, Model: other"
    info.add_text("parameters", f"a lighthouse <lora:style:1>\n{numbers}")
    Image.new("RGB", (8, 8)).save(tmp_path / "picture.png", pnginfo=info)
    assert len(found("UN613", tmp_path / "style.safetensors", tmp_path / "picture.png")) == expected


@pytest.fixture
def pipe() -> Iterator[Any]:
    """A U-Net and a text encoder as small as they can be, in the pipeline that loads LoRAs into them."""
    import warnings

    from diffusers import DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel, logging
    from transformers import CLIPTextConfig, CLIPTextModel, logging as text_logging

    logging.set_verbosity_error()
    text_logging.set_verbosity_error()
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 4, "num_hidden_layers": 1}
    with warnings.catch_warnings(), redirect_stderr(StringIO()), redirect_stdout(StringIO()):
        warnings.simplefilter("ignore")
        torch.manual_seed(0)
        yield StableDiffusionPipeline(
            unet=UNet2DConditionModel(
                block_out_channels=(32, 64),
                layers_per_block=1,
                down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
                up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
                cross_attention_dim=32,
                attention_head_dim=4,
                norm_num_groups=8,
            ),
            text_encoder=CLIPTextModel(CLIPTextConfig(**sizes, bos_token_id=0, eos_token_id=1, vocab_size=99)),
            vae=None,
            tokenizer=None,
            scheduler=DDIMScheduler(clip_sample=False, steps_offset=1),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )


SMALL = {f"{BLOCK}_attn1_to_q": (32, 32)}


def strengths(pipe: Any) -> dict[str, float]:
    return {name: module.scaling["a"] for name, module in pipe.unet.named_modules() if hasattr(module, "scaling")}


def test_diffusers_gives_attention_layers_the_commonest_alpha(pipe: Any) -> None:
    others = {f"{BLOCK}_ff_net_2": (128, 32), f"{BLOCK}_ff_net_0_proj": (32, 256)}
    pipe.load_lora_weights(lora(SMALL, alpha=4.0) | lora(others, alpha=1.0), adapter_name="a")
    assert strengths(pipe)["down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"] == 0.25


def test_diffusers_multiplies_the_scales_of_fusing(pipe: Any) -> None:
    pipe.load_lora_weights(lora(SMALL, value=1.0), adapter_name="a")
    weight = pipe.unet.down_blocks[0].attentions[0].transformer_blocks[0].attn1.to_q.weight
    start, added = weight.detach().clone(), []
    for _ in range(3):
        pipe.fuse_lora(lora_scale=0.5)
        added.append((weight - start).norm().item() / (4 * 0.01 * 32))
        pipe.unfuse_lora()
    assert added == pytest.approx([0.5, 0.25, 0.125], rel=1e-3)


def test_diffusers_loses_text_attention_without_out_proj(pipe: Any) -> None:
    halves = dict.fromkeys(TEXT, (32, 32))
    pipe.load_lora_weights(
        lora(SMALL | halves | {"te_text_model_encoder_layers_0_mlp_fc1": (32, 64)}), adapter_name="a"
    )
    adapted = [name for name, module in pipe.text_encoder.named_modules() if hasattr(module, "scaling")]
    assert [name.rpartition(".")[2] for name in adapted] == ["fc1"]


def test_diffusers_raises_for_half_a_layer(pipe: Any) -> None:
    with pytest.raises(KeyError, match="lora_up"):
        pipe.load_lora_weights({name: value for name, value in lora(SMALL).items() if "up" not in name})


def test_our_own_fingerprints_are_compared(tmp_path: Path) -> None:
    """A LoRA with a model, and an image that names both: other weights give a note, the same weights nothing."""
    import tiny
    from adapters.test_lora_hooks import adapter

    from unnoise.adapters.lora.compatibility import LoraCard, base_from
    from unnoise.adapters.lora.read import read as read_adapter
    from unnoise.adapters.lora.write import write
    from unnoise.loading import load
    from unnoise.model_file import save

    base = tiny.saved(tmp_path / "base.safetensors")
    save(tmp_path / "other.safetensors", tiny.pipeline(seed=1))
    other = load(tmp_path / "other.safetensors")
    write(tmp_path / "style.safetensors", replace(adapter(base), about=LoraCard(base_from(base.card))))
    style = read_adapter(tmp_path / "style.safetensors", base)
    for name, pipeline in (("base", base), ("other", other)):
        pipeline.generate("a", size=16, steps=1, lora=[style])[0].save(tmp_path / f"{name}.png")
        related = judged(tmp_path / "style.safetensors", tmp_path / f"{name}.safetensors")
        drawn = judged(tmp_path / f"{name}.png")
        for found in (related, drawn):
            assert [finding.rule.id for finding in found if finding.rule.id.startswith("UN6")] == (
                [] if name == "base" else ["UN613"]
            )


def judged(*paths: Path) -> list[Finding]:
    from unnoise.check.catalogue import chosen
    from unnoise.check.engine import judge

    return [finding for subject in load_subjects(paths) for finding in judge(subject, chosen(()))]


def test_columns_of_fuse_lora_count_letters(tmp_path: Path) -> None:
    path, call = tmp_path / "make.py", "pipe.fuse_lora(lora_scale=0.5)"
    text = f'{PIPE}{call}\npipe.unfuse_lora()\nnote = "größer é"; {call}\n'
    path.write_text(text, encoding="utf-8")
    (finding,) = found("UN606", path)
    line = text.split("\n")[(finding.place.line or 0) - 1]
    assert line[finding.place.column : finding.place.end_column] == call
