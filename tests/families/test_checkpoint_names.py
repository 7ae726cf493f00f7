"""Fine-tunes and merges are recognised by the names of their files and by the hashes that images record."""

from collections.abc import Sequence

import pytest
from clock import within
from hypothesis import example, given, settings, strategies as st

from unnoise.families.facts import facts
from unnoise.families.file_names import given_names, stated_side
from unnoise.families.identity import Identity
from unnoise.families.markers import FOLDERS, MARKERS
from unnoise.families.names import _rows, by_checkpoint, by_hash, by_name
from unnoise.families.table import FAMILIES, VARIANTS

# One name, as people and sites write it.
REALISTIC = (
    "realisticVisionV51_v51VAE.safetensors", "Realistic_Vision_V5.1_fp16-no-ema.safetensors",
    "realisticVisionV60B1.ckpt", "SG161222/Realistic_Vision_V6.0_B1_noVAE", "realistic-vision-v1-3",
    "Realistic Vision v2.0.ckpt", "RealisticVision", "sd\\checkpoints\\realisticVision_v60.safetensors",
)  # fmt: skip
NAMED = {
    "sd1": "dreamshaper_8.safetensors DreamShaper_8_pruned.safetensors anything-v3-fp16-pruned.safetensors"
    " revAnimated_v122.safetensors Counterfeit-V3.0_fp16.safetensors deliberate_v2.ckpt"
    " AbyssOrangeMix2_hard.safetensors meinamix_meinaV11.safetensors absolutereality_v181.safetensors"
    " epicrealism_naturalSinRC1VAE.safetensors"
    " majicmixRealistic_v7.safetensors toonyou_beta6.safetensors chilloutmix_NiPrunedFp32Fix.safetensors"
    " mymodel_sd15.safetensors SD1.5/my_own.safetensors v1-5/my_own.ckpt",
    "sd1 inpaint": "dreamshaper_8Inpainting.safetensors epicrealism_pureEvolutionV5-inpainting.safetensors",
    "sd2": "wd-1-5-beta2-fp32.safetensors my-tune-sd21.safetensors",
    "sdxl": "ponyDiffusionV6XL_v6StartWithThisOne.safetensors waiNSFWIllustrious_v140.safetensors"
    " animaPencilXL_v500.safetensors"
    " Illustrious-XL-v1.0.safetensors noobaiXLNAIXL_epsilonPred11Version.safetensors prefectPonyXL_v3.safetensors"
    " cyberrealisticPony_v8.safetensors albedobaseXL_v21.safetensors bigLove_xl1.safetensors my_SDXL_tune.safetensors"
    " SDXL/my_own.safetensors pony\\my_own.safetensors novaAnimeXL_ilV100.safetensors"
    " DreamShaperXL_Turbo_v2_1.safetensors topRatedTurboxlLCM_v10.safetensors",
    "sdxl v-pred": "noobaiXLNAIXL_vPred10Version.safetensors my_illustrious_vpred.safetensors",
    "sd3": "my_sd3.5_tune.safetensors",
    "flux1": "fluxmania_V.safetensors jibMixFlux_v8.safetensors acornIsSpinningFLUX_v12.gguf flux/my_own.safetensors",
    "flux1 dev": "flux1-dev-bnb-nf4-v2.safetensors flux1-dev-Q4_K_S.gguf",
    "flux1 schnell": "myFluxMerge_schnellV2.safetensors",
    "flux1 dedistilled": "my-flux-dedistilled-v1.safetensors flux_mix_undistilled_fp8.safetensors",
    "auraflow": "ponyV7_v70.safetensors",
    "wan": "wan2.2_smoothmix_high.safetensors",
    "z-image turbo": "my_zit_v2.safetensors zit_realism.safetensors",
    "anima": "waiANIMA_v10Base10.safetensors realDream_animaV2.safetensors anima_baseV10.safetensors"
    " miaomiaoHarem_anima14.safetensors ANIMA\\my_own.safetensors AnimaYume_v01.safetensors",
    "qwen-image edit": "qwen-image-edit-mix.safetensors",
    "unknown": "V07_v07.safetensors turbo lcm lightning my-lightning-photos.safetensors influx-dev.safetensors"
    " model.safetensors final_v2_fp16.safetensors my_own.safetensors reflux.safetensors axle.ckpt excel_v1.ckpt"
    " civil-1.safetensors illuminate.safetensors ponytail_girl.safetensors swan2.safetensors 15.safetensors"
    " Qwen/Qwen-Image-2.1 checkpoints/my_own.safetensors pixel-1-50.ckpt",
}  # fmt: skip

# Kinds of public sources of a row.
SOURCES = (
    "civitai",
    "ai horde",
    "draw things",
    "comfyui manager",
    "prodia",
    "published file",
    "webui list",
    "model card",
)


@pytest.mark.parametrize("name", REALISTIC)
def test_one_name_in_many_writings(name: str) -> None:
    assert str(by_checkpoint(name)) == "sd1"


@pytest.mark.parametrize(("expected", "names"), NAMED.items(), ids=list(NAMED))
def test_fine_tunes_are_recognised(expected: str, names: str) -> None:
    for name in names.split():
        assert str(by_checkpoint(name)) == expected, name


@pytest.mark.parametrize("suffix", ["", "_fp16", "-pruned", ".fp16", "_v2", "-V2.1", "_Q4_K_M", "-q8_0", "_bakedVAE"])
@pytest.mark.parametrize(("name", "family"), [("epiCRealism", "sd1"), ("juggernautXL", "sdxl"), ("fluxmania", "flux1")])
def test_words_on_precision_and_version_do_not_count(name: str, family: str, suffix: str) -> None:
    assert by_checkpoint(name + suffix).family == family


def test_a_published_name_is_what_it_was() -> None:
    """What `by_name` knows, `by_checkpoint` knows as well."""
    for name in ("v1-5-pruned-emaonly", "stabilityai/sdxl-turbo", "sd_xl_refiner_1.0", "flux1-schnell-fp8", "svd_xt"):
        assert by_checkpoint(name) == by_name(name) != by_checkpoint("")


@pytest.mark.parametrize(
    "name", ["topRatedTurboxlLCM_v10", "dreamshaperXL_turboDPMSDE", "sdxl-turbo-mario-merge-top-rated", "xlTurboMix"]
)
def test_turbo_in_a_name_is_a_hint(name: str) -> None:
    """Merges of SDXL Turbo take guidance and more steps; only the official name is the official model."""
    assert str(by_checkpoint(name)) == "sdxl"
    assert str(by_checkpoint("stabilityai/sdxl-turbo")) == "sdxl turbo"


@pytest.mark.parametrize(
    ("hashed", "expected"),
    [
        ("6ce0161689", "sd1"),  # v1-5-pruned-emaonly.safetensors
        ("cc6cb27103", "sd1"),  # v1-5-pruned-emaonly.ckpt
        ("31e35c80fc", "sdxl"),  # sd_xl_base_1.0.safetensors
        ("7440042bbd", "sdxl refiner"),
        ("7460a6fa", "sd1"),  # of 2022: v1-4
        ("7460A6FA", "sd1"),
        ("0123456789", "unknown"),
        ("6ce016168", "unknown"),
        ("", "unknown"),
        ("hash", "unknown"),
    ],
)
def test_hashes(hashed: str, expected: str) -> None:
    assert str(by_hash(hashed)) == expected


@pytest.mark.parametrize(("file", "width"), [("checkpoints.tsv", 3), ("hashes.tsv", 4)])
def test_tables(file: str, width: int) -> None:
    rows = list(_rows(file))
    keys = [row[0] for row in rows]
    assert keys == sorted(set(keys))
    for key, family, *rest in rows:
        assert len(rest) == width - 2
        assert rest[-1] in SOURCES
        assert key.isalnum()
        assert key == key.lower()
        assert facts_of(family, rest) is not None
    if file == "hashes.tsv":
        assert all(len(key) in (8, 10) and int(key, 16) >= 0 for key in keys)
    else:
        assert all(key in given_names(key) for key in keys)


def facts_of(family: str, rest: Sequence[str]) -> object:
    variant = rest[0] if len(rest) == 2 else ""
    assert not variant or variant in VARIANTS[family]
    return facts(Identity(family, variant))


def test_markers_and_folders_name_families() -> None:
    for _, family, variant in MARKERS:
        assert not family or family in FAMILIES
        assert not variant or variant in VARIANTS[family]
    assert set(FOLDERS.values()) <= set(FAMILIES)
    assert all(folder.isalnum() for folder in FOLDERS)


@pytest.mark.parametrize(
    ("name", "side"),
    [
        ("VBP23-1024-ep49-sd-v1-4", 1024),
        ("Sana_1600M_1024px_diffusers", 1024),
        ("PixArt-XL-2-512x512.pth", 512),
        ("kontext-768px", 768),
        ("v2-1_768-ema-pruned", 768),
        ("sd_xl_base_1.0", None),
        ("mix-512-1024", None),
        ("lora-step-1024", None),
        ("style_e1024", None),
        ("mix1024", None),
        ("mix-1000", None),
        ("mix-4096", None),
        ("rank-1024", None),
        ("", None),
    ],
)
def test_the_side_that_a_name_states(name: str, side: int | None) -> None:
    assert stated_side(name) == side


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=400))
@example("_")
@example("\\/.safetensors")
def test_any_name_is_recognised_or_unknown(name: str) -> None:
    found = by_checkpoint(name)
    assert not found.known or found.family in FAMILIES
    assert not by_name(name).known or by_name(name) == found
    assert stated_side(name) is None or 256 <= (stated_side(name) or 0) <= 2048
    assert all(given == given.lower() for given in given_names(name))


def test_recognition_is_fast() -> None:
    with within(60):
        for name in ("wan2" * 75, "flux" * 75, "a_" * 150, "xlv" * 100, "1024" * 75, "de-distil" * 33, "-" * 100_000):
            by_checkpoint(name)
            stated_side(name)
            list(given_names(name[-300:]))
