"""A folder that is named: what its files name is found among its models, and what is not is said once."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import unnoise
from unnoise.check.examples import workflow
from unnoise.check.references import load_subjects
from unnoise.check.rule import NOTE, WARN, Finding

SD1 = {"unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k": (768, 320)}
SDXL = {"unet_input_blocks_4_1_transformer_blocks_0_attn2_to_k": (2048, 640)}


def lora(path: Path, layers: Mapping[str, tuple[int, int]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = {}
    for layer, (into, out) in layers.items():
        tensors[f"lora_{layer}.lora_down.weight"] = torch.full((4, into), 0.01)
        tensors[f"lora_{layer}.lora_up.weight"] = torch.full((out, 4), 0.01)
        tensors[f"lora_{layer}.alpha"] = torch.tensor(4.0)
    save_file(tensors, path)


def flow(path: Path, name: str) -> None:
    """Write a workflow of SDXL with one LoRA."""
    loader = {"lora_name": name, "strength_model": 1.0, "strength_clip": 1.0, "model": ["4", 0], "clip": ["4", 1]}
    extra = {"10": {"class_type": "LoraLoader", "inputs": loader}}
    [text] = workflow(extra=extra, model=["10", 0]).texts.values()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def found(rule: str, *paths: Path, models: Path | None = None) -> list[Finding]:
    return unnoise.check(list(paths), select=[rule], models=models)


@pytest.mark.parametrize("name", ["dress.safetensors", "styles/dress.safetensors", "styles\\dress.safetensors"])
@pytest.mark.parametrize("place", ["dress.safetensors", "loras/dress.safetensors", "a/b/dress.safetensors"])
def test_a_lora_that_a_workflow_names_and_the_folder_holds(tmp_path: Path, name: str, place: str) -> None:
    flow(tmp_path / "flows" / "a.json", name)
    lora(tmp_path / place, SD1)
    [finding] = found("UN601", tmp_path)
    assert finding.place.path == str(tmp_path / "flows" / "a.json")
    lora(tmp_path / place, SDXL)
    assert found("UN601", tmp_path) == []


@pytest.mark.parametrize("name", ["../loras/dress.safetensors", "/workspace/loras/dress.safetensors"])
def test_a_script_names_the_folder_of_another_machine(tmp_path: Path, name: str) -> None:
    (tmp_path / "make.py").write_text(
        "from diffusers import StableDiffusionXLPipeline\n"
        'pipe = StableDiffusionXLPipeline.from_pretrained("stabilityai/stable-diffusion-xl-base-1.0")\n'
        f"pipe.load_lora_weights({name!r})\npipe('a dress')\n"
    )
    lora(tmp_path / "loras" / "dress.safetensors", SD1)
    assert len(found("UN601", tmp_path)) == 1


def test_a_file_beside_a_folder_is_related_to_its_models(tmp_path: Path) -> None:
    flow(tmp_path / "a.json", "dress.safetensors")
    lora(tmp_path / "models" / "dress.safetensors", SD1)
    assert found("UN601", tmp_path / "a.json") == []
    assert len(found("UN601", tmp_path / "a.json", tmp_path / "models")) == 1


def test_one_of_two_models_of_a_name_is_chosen_by_its_folder_or_not_at_all(tmp_path: Path) -> None:
    flow(tmp_path / "flows" / "a.json", "dress.safetensors")
    lora(tmp_path / "sd1" / "dress.safetensors", SD1)
    lora(tmp_path / "sdxl" / "dress.safetensors", SDXL)
    assert unnoise.check(tmp_path, select=["UN601", "UN910"]) == []
    flow(tmp_path / "flows" / "a.json", "sd1/dress.safetensors")
    assert len(found("UN601", tmp_path)) == 1
    flow(tmp_path / "flows" / "a.json", "sdxl/dress.safetensors")
    assert found("UN601", tmp_path) == []


def test_a_name_that_every_folder_has_tells_nothing_alone(tmp_path: Path) -> None:
    flow(tmp_path / "flows" / "a.json", "pytorch_lora_weights.safetensors")
    lora(tmp_path / "loras" / "one" / "pytorch_lora_weights.safetensors", SD1)
    assert found("UN601", tmp_path) == []
    flow(tmp_path / "flows" / "a.json", "one/pytorch_lora_weights.safetensors")
    assert len(found("UN601", tmp_path)) == 1


def test_names_that_stay_unresolved_are_one_note(tmp_path: Path) -> None:
    for number in range(3):
        flow(tmp_path / f"{number}.json", "dress.safetensors")
    flow(tmp_path / "3.json", "hat.safetensors")
    assert found("UN910", tmp_path) == []  # a folder of workflows alone
    lora(tmp_path / "loras" / "shoes.safetensors", SDXL)
    [finding] = found("UN910", tmp_path)
    assert finding.grade == NOTE
    assert finding.place.path == str(tmp_path / "0.json")
    assert finding.measured == "dress.safetensors, hat.safetensors"  # the base is known by its name


def test_many_unresolved_names_are_counted(tmp_path: Path) -> None:
    lora(tmp_path / "loras" / "shoes.safetensors", SDXL)
    for number in range(20):
        flow(tmp_path / f"{number}.json", f"dress-{number}.safetensors")
    [finding] = found("UN910", tmp_path)
    assert finding.measured.endswith("dress-15.safetensors, and 12 more")


def test_a_missing_model_is_reported_once_with_the_folder_of_the_models(tmp_path: Path) -> None:
    for number in range(3):
        flow(tmp_path / "flows" / f"{number}.json", "dress.safetensors")
    lora(tmp_path / "models" / "sd_xl_base_1.0.safetensors", SDXL)
    [finding] = found("UN910", tmp_path / "flows", models=tmp_path / "models")
    assert finding.grade == WARN
    assert finding.measured.startswith("dress.safetensors is neither")
    assert finding.place.path == str(tmp_path / "flows" / "0.json")


def test_a_folder_counts_its_files_once(tmp_path: Path) -> None:
    flow(tmp_path / "a.json", "dress.safetensors")
    lora(tmp_path / "shoes.safetensors", SDXL)
    assert len({subject.path for subject in load_subjects([tmp_path])}) == 2


def test_a_fix_in_a_folder_is_checked_with_its_models(tmp_path: Path) -> None:
    from unnoise.check.engine import judge
    from unnoise.check.fix_files import fix_files

    flow(tmp_path / "flows" / "a.json", "dress.safetensors")
    lora(tmp_path / "loras" / "dress.safetensors", SDXL)
    text = json.loads((tmp_path / "flows" / "a.json").read_text())
    text["3"]["inputs"]["cfg"] = 40.0
    (tmp_path / "flows" / "a.json").write_text(json.dumps(text))
    fixed = fix_files([tmp_path], None, judge, ["unsafe"])
    assert [json.loads(one)["3"]["inputs"]["cfg"] for one in fixed.after.values()] == [13.0]
