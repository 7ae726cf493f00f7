"""A LoRA's modules and its base are told from names and shapes in the layouts that trainers write."""

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from unnoise.families.lora import Lora, Module, base_of, by_metadata, by_shapes, dialects, read_lora, target
from unnoise.formats.header import Entry, read_header

Shapes = Mapping[str, tuple[int, ...]]
DEEP = "unet_down_blocks_2_attentions_0_transformer_blocks"
DOWN = "unet_down_blocks_0_attentions_0_transformer_blocks_0"


def entries(shapes: Shapes) -> dict[str, Entry]:
    return {name: Entry("F16", shape, 0, 0) for name, shape in shapes.items()}


def read(shapes: Shapes, metadata: Mapping[str, str] | None = None) -> Lora:
    found = read_lora(entries(shapes), metadata or {})
    assert found is not None
    return found


def kohya(*layers: tuple[str, int, int], prefix: str = "lora_") -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    for layer, into, out in layers:
        shapes |= {f"{prefix}{layer}.lora_down.weight": (4, into), f"{prefix}{layer}.lora_up.weight": (out, 4)}
        shapes[f"{prefix}{layer}.alpha"] = ()
    return shapes


def peft(*layers: tuple[str, int, int], middle: str = "") -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    for layer, into, out in layers:
        shapes |= {f"{layer}.lora_A{middle}.weight": (4, into), f"{layer}.lora_B{middle}.weight": (out, 4)}
    return shapes


LINEAR = f"lora_{DOWN}_attn2_to_k"
MODULES = [
    ("lora", {"lora_down.weight": (4, 768), "lora_up.weight": (320, 4), "alpha": ()}, 4, (768, 320), False),
    ("dora", {"lora_down.weight": (4, 768), "lora_up.weight": (320, 4), "dora_scale": (320, 1)}, 4, (768, 320), False),
    (
        "lora",
        {"lora_down.weight": (4, 768, 1, 1), "lora_mid.weight": (4, 4, 3, 3), "lora_up.weight": (320, 4, 1, 1)},
        4,
        (768, 320),
        True,
    ),
    ("lora", {"lora_down.weight": (4, 768, 3, 3), "lora_up.weight": (320, 4, 1, 1)}, 4, (768, 320), True),
    (
        "loha",
        {"hada_w1_a": (320, 4), "hada_w1_b": (4, 768), "hada_w2_a": (320, 4), "hada_w2_b": (4, 768)},
        4,
        (768, 320),
        False,
    ),
    ("lokr", {"lokr_w1": (16, 16), "lokr_w2": (20, 48)}, None, (768, 320), False),
    ("lokr", {"lokr_w1": (16, 16), "lokr_w2_a": (20, 4), "lokr_w2_b": (4, 48)}, 4, (768, 320), False),
    (
        "lokr",
        {"lokr_w1_a": (16, 2), "lokr_w1_b": (2, 16), "lokr_w2": (20, 48, 3, 3)},
        2,
        (768, 320),
        True,
    ),
    ("oft", {"oft_blocks": (4, 80, 80), "alpha": ()}, None, (None, 320), False),
    (
        "glora",
        {"a1.weight": (768, 4), "a2.weight": (4, 768), "b1.weight": (320, 4), "b2.weight": (4, 768)},
        4,
        (None, 320),
        False,
    ),
    ("ia3", {"weight": (320,), "on_input": ()}, None, (None, 320), False),
    ("full", {"diff": (320, 768), "diff_b": (320,)}, None, (768, 320), False),
    ("norm", {"w_norm": (320,), "b_norm": (320,)}, None, (None, 320), False),
]


QKV_LORA1 = "double_blocks_0_processor_qkv_lora1"  # the image stream of XLabs; the text stream has another name


@pytest.mark.parametrize(("kind", "halves", "rank", "width", "conv"), MODULES)
def test_kinds_of_modules(
    kind: str, halves: Shapes, rank: int | None, width: tuple[int | None, int | None], conv: bool
) -> None:
    lora = read({f"{LINEAR}.{half}": shape for half, shape in halves.items()})
    alpha = f"{LINEAR}.alpha" if "alpha" in halves else ""
    assert lora.modules == {LINEAR: Module("denoiser", kind, rank, alpha, width, conv)}
    assert lora.strange == 0
    assert lora.layout == ("kohya" if kind in ("lora", "dora", "full", "norm") else "lycoris")


@pytest.mark.parametrize(
    ("name", "layout", "part", "layer"),
    [
        ("lora_te1_text_model_mlp_fc1.lora_down.weight", "kohya", "text", "text_model_mlp_fc1"),
        ("lora_te2_text_projection.lora_down.weight", "kohya", "text_2", "text_projection"),
        ("lora_te3_encoder_block_0_q.lora_down.weight", "kohya", "text_3", "encoder_block_0_q"),
        ("lora_transformer_transformer_blocks_0_k.lora_down.weight", "kohya", "denoiser", "transformer_blocks_0_k"),
        ("lora_prior_unet_down_blocks_0_1.lora_down.weight", "kohya", "denoiser", "down_blocks_0_1"),
        ("lycoris_transformer_blocks_0_k.lora_down.weight", "kohya", "denoiser", "transformer_blocks_0_k"),
        ("unet.mid_block.attentions.0.to_k.lora_A.weight", "peft", "denoiser", "mid_block_attentions_0_to_k"),
        ("text_encoder_2.text_model.layers.0.q_proj.lora_A.weight", "peft", "text_2", "text_model_layers_0_q_proj"),
        ("base_model.model.unet.mid_block.to_k.lora_A.weight", "peft", "denoiser", "mid_block_to_k"),
        ("diffusion_model.blocks.0.self_attn.q.lora_A.weight", "peft", "denoiser", "blocks_0_self_attn_q"),
        ("transformer_blocks.0.attn.to_k.lora_A.default.weight", "peft", "denoiser", "transformer_blocks_0_attn_to_k"),
        ("unet.mid_block.attn1.to_k.lora.down.weight", "diffusers", "denoiser", "mid_block_attn1_to_k"),
        ("unet.mid_block.processor.to_k_lora.down.weight", "diffusers", "denoiser", "mid_block_processor_to_k"),
        ("text_encoder.text_model.q_proj.lora_linear_layer.down.weight", "diffusers", "text", "text_model_q_proj"),
        ("double_blocks.0.processor.qkv_lora1.down.weight", "diffusers", "denoiser", QKV_LORA1),
        ("diffusion_model.blocks.0.cross_attn.k.lora_down.weight", "kohya", "denoiser", "blocks_0_cross_attn_k"),
    ],
)  # fmt: skip
def test_layouts(name: str, layout: str, part: str, layer: str) -> None:
    for down, up in (("lora_down", "lora_up"), (".down.", ".up."), ("lora_A", "lora_B")):
        other = name.replace(down, up)
        if other != name:
            lora = read({name: (8, 768), other: (640, 8)})
    assert lora.layout == layout
    [(module, held)] = lora.modules.items()
    assert (held.part, held.rank, held.width, held.missing) == (part, 8, (768, 640), "")
    assert target(module) == layer


# Names and widths of published models: the classes' defaults in diffusers, or their original code.
BASES = [
    ("sd1", "", kohya((f"{DOWN}_attn2_to_k", 768, 320))),
    ("sd1", "", kohya(("te_text_model_encoder_layers_0_self_attn_q_proj", 768, 768))),
    ("sd1", "", peft(("unet.up_blocks.1.attentions.0.transformer_blocks.0.attn2.to_v", 768, 1280))),
    ("sd1", "", {f"{LINEAR}.lokr_w1": (16, 16), f"{LINEAR}.lokr_w2": (20, 48)}),
    ("sd2", "", kohya((f"{DOWN}_attn2_to_k", 1024, 320))),
    ("sd2", "", kohya(("te_text_model_encoder_layers_0_self_attn_q_proj", 1024, 1024))),
    ("sdxl", "", kohya(("unet_input_blocks_4_1_transformer_blocks_0_attn2_to_k", 2048, 640))),
    ("sdxl", "", kohya(("unet_down_blocks_2_attentions_0_transformer_blocks_9_attn1_to_q", 1280, 1280))),
    ("sdxl", "", kohya(("unet_output_blocks_0_1_transformer_blocks_4_ff_net_0_proj", 1280, 10240))),
    ("sdxl", "refiner", kohya(("unet_input_blocks_4_1_transformer_blocks_0_attn2_to_k", 1280, 768))),
    ("sdxl", "ssd-1b", kohya(*((f"{DEEP}_{n}_attn2_to_k", 2048, 1280) for n in range(4)))),
    ("sdxl", "vega", kohya(*((f"{DEEP}_{n}_attn2_to_k", 2048, 1280) for n in range(2)))),
    ("sd3", "medium", kohya(("unet_joint_blocks_0_x_block_attn_qkv", 1536, 4608))),
    ("sd3", "3.5-medium", kohya(("unet_joint_blocks_0_x_block_attn2_qkv", 1536, 4608))),
    ("sd3", "3.5-large", peft(("transformer.transformer_blocks.37.attn.to_q", 2432, 2432))),
    ("flux1", "", kohya(("unet_single_blocks_37_linear1", 3072, 21504))),
    ("flux1", "", kohya(("unet_double_blocks_18_img_attn_qkv", 3072, 9216))),
    ("flux1", "", peft(("transformer.single_transformer_blocks.37.proj_mlp", 3072, 12288))),
    ("flux2", "klein-4b", kohya(("unet_single_blocks_0_linear1", 3072, 27648))),
    ("flux2", "klein-9b", peft(("transformer.transformer_blocks.0.attn.to_q", 4096, 4096))),
    ("flux2", "dev", peft(("diffusion_model.double_blocks.0.img_attn.qkv", 6144, 18432))),
    ("chroma", "", kohya(("unet_distilled_guidance_layer_layers_0_in_layer", 5120, 5120))),
    ("wan", "1.3b", peft(("diffusion_model.blocks.0.cross_attn.k", 1536, 1536))),
    ("wan", "14b", kohya(("unet_blocks_0_self_attn_q", 5120, 5120))),
    ("wan", "5b", peft(("transformer.blocks.0.attn1.to_q", 3072, 3072))),
    ("qwen-image", "", peft(("transformer.transformer_blocks.0.img_mlp.net.0.proj", 3072, 12288))),
    ("qwen-image", "", peft(("transformer_blocks.59.attn.to_q", 3072, 3072), middle=".default")),
    ("z-image", "", peft(("diffusion_model.layers.0.attention.qkv", 3840, 11520))),
    ("hunyuan-video", "", kohya(("unet_double_blocks_0_img_mlp_fc1", 3072, 12288))),
    ("hunyuan-video", "", peft(("transformer.single_transformer_blocks.39.attn.to_q", 3072, 3072))),
    ("ltx", "", peft(("transformer.transformer_blocks.0.attn2.to_k", 2048, 2048))),
    ("lumina2", "", kohya(("unet_layers_0_attention_qkv", 2304, 3840))),
    ("unknown", "", peft(("transformer.transformer_blocks.0.attn.to_q", 3072, 3072))),
    ("unknown", "", kohya(("te1_text_model_encoder_layers_0_self_attn_q_proj", 768, 768))),
    ("unknown", "", kohya((f"{DOWN}_attn1_to_q", 320, 320))),
    ("unknown", "", peft(("model.layers.0.self_attn.q_proj", 4096, 4096))),
]  # fmt: skip


@pytest.mark.parametrize(("family", "variant", "shapes"), BASES)
def test_base_from_shapes(family: str, variant: str, shapes: Shapes) -> None:
    found = by_shapes(read(shapes))
    assert (found.family, found.variant) == (family, variant)
    assert bool(found.known_by) == (family != "unknown")


@pytest.mark.parametrize(
    ("metadata", "family", "prediction"),
    [
        ({"ss_base_model_version": "sdxl_base_v1-0"}, "sdxl", ""),
        ({"ss_base_model_version": "sd_v2_v"}, "sd2", "v"),
        ({"ss_base_model_version": "sd_v1"}, "sd1", ""),
        ({"ss_base_model_version": "flux1"}, "flux1", ""),
        ({"modelspec.architecture": "stable-diffusion-v1/lora", "modelspec.prediction_type": "epsilon"}, "sd1", "eps"),
        ({"modelspec.architecture": "stable-diffusion-xl-v1-base/lora", "modelspec.prediction_type": "v"}, "sdxl", "v"),
        ({"modelspec.architecture": "Flux.1-dev/lora"}, "flux1", ""),
        ({"modelspec.architecture": "somebody's own"}, "unknown", ""),
        ({}, "unknown", ""),
    ],
)
def test_base_from_metadata(metadata: Mapping[str, str], family: str, prediction: str) -> None:
    found = by_metadata(metadata)
    assert (found.family, found.prediction) == (family, prediction)


def test_shapes_beat_metadata_except_where_shapes_are_the_same() -> None:
    xl = kohya(("unet_input_blocks_4_1_transformer_blocks_0_attn2_to_k", 2048, 640))
    assert base_of(read(xl), {"ss_base_model_version": "sd_v1"}).family == "sdxl"
    v = {"ss_base_model_version": "sdxl_base_v1-0", "modelspec.prediction_type": "v"}
    assert base_of(read(xl), v).prediction == "v"
    flux = kohya(("unet_single_blocks_37_linear1", 3072, 21504))
    assert base_of(read(flux), {"ss_base_model_version": "chroma"}).family == "chroma"
    text = kohya(("te1_text_model_encoder_layers_0_self_attn_q_proj", 768, 768))
    found = base_of(read(text), {"ss_base_model_version": "sdxl_base_v1-0"})
    assert found.family == "sdxl"
    assert "ss_base_model_version" in found.known_by


def test_dialects() -> None:
    ldm = kohya(("unet_input_blocks_4_1_proj_in", 640, 640), ("unet_middle_block_1_proj_in", 640, 640))
    assert read(ldm).dialect == "ldm"
    assert read(kohya((f"{DOWN}_attn2_to_k", 768, 320))).dialect == "diffusers"
    assert read(kohya(("unet_double_blocks_0_img_attn_qkv", 3072, 9216))).dialect == "transformer"
    assert read(kohya(("te_text_model_encoder_layers_0_mlp_fc1", 768, 3072))).dialect == ""
    mixed = read(ldm | kohya((f"{DOWN}_attn2_to_k", 768, 320)))
    assert dialects(mixed.modules) == {"ldm": 2, "diffusers": 1}


@pytest.mark.parametrize(
    "shapes",
    [
        {},
        {"model.diffusion_model.input_blocks.0.0.weight": (320, 4, 3, 3)},
        {"decoder.layers.0.alpha": (1, 128, 1), "decoder.layers.0.beta": (1, 128, 1)},  # an activation of Oobleck
        {"x.weight": (1,), "y.weight": (2,), "z.weight": (3,), "a.lora_A.weight": (4, 5)},
        {"a1.weight": (3, 4)},
        {"layer.diff": (3, 4), "layer.diff_b": (3,)},
    ],
)
def test_what_is_no_lora(shapes: Shapes) -> None:
    assert read_lora(entries(shapes), {}) is None


def test_an_empty_file_of_a_trainer_is_an_empty_lora() -> None:
    assert read_lora({}, {"ss_network_module": "networks.lora"}) == Lora("kohya", {})


@pytest.mark.parametrize("shape", [(), (0,), (2**40, 2**40, 1, 1), (1,) * 32])
def test_any_shape_is_read(shape: tuple[int, ...]) -> None:
    ends = ["lora_down.weight", "lora_up.weight", "lora_mid.weight", "hada_w1_a", "hada_w1_b", "hada_t1", "lokr_w1"]
    ends += ["lokr_w2_a", "lokr_w2_b", "lokr_t2", "oft_blocks", "a1.weight", "b1.weight", "on_input", "diff", "w_norm"]
    for end in ends:
        lora = read({f"{LINEAR}.{end}": shape})
        by_shapes(lora)
    assert read({f"{LINEAR}.lora_down.weight": (4, 768)}).modules[LINEAR].missing == "up"


def test_real_files_of_diffusers_and_peft(tmp_path: Path) -> None:
    """A LoRA that diffusers itself saves, from a U-Net with the widths of SD 1 where it counts."""
    from diffusers import StableDiffusionPipeline, UNet2DConditionModel
    from peft import LoraConfig
    from peft.utils import get_peft_model_state_dict

    with torch.device("meta"):
        unet = UNet2DConditionModel(
            block_out_channels=(32, 64),
            layers_per_block=1,
            down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
            cross_attention_dim=768,
            attention_head_dim=4,
            norm_num_groups=8,
        )
    unet.add_adapter(LoraConfig(r=8, lora_alpha=4, target_modules=["to_q", "to_k"], init_lora_weights=False))
    state = {name: torch.zeros(value.shape) for name, value in get_peft_model_state_dict(unet).items()}
    StableDiffusionPipeline.save_lora_weights(tmp_path, unet_lora_layers=state)
    header = read_header(tmp_path / "pytorch_lora_weights.safetensors")
    lora = read_lora(header.tensors, header.metadata)
    assert lora is not None
    assert (lora.layout, lora.dialect, lora.strange) == ("peft", "diffusers", 0)
    assert {(module.kind, module.rank, module.part) for module in lora.modules.values()} == {("lora", 8, "denoiser")}
    assert base_of(lora, header.metadata).family == "sd1"


def test_real_file_of_the_library(tmp_path: Path) -> None:
    shapes = kohya((f"{DOWN}_attn2_to_k", 768, 320))
    save_file(
        {name: torch.zeros(shape) for name, shape in shapes.items()}, tmp_path / "a.safetensors", {"ss_v2": "False"}
    )
    header = read_header(tmp_path / "a.safetensors")
    assert read_lora(header.tensors, header.metadata) == read(shapes)
