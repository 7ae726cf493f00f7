"""The rules of students of `unnoise distill`: what their cards say, for requests, images, recipes and LoRAs."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import tiny

from unnoise.card import Card, Part, to_json
from unnoise.check.engine import check, judge
from unnoise.check.examples import command, lora, model, request_on_student, student_card, together
from unnoise.check.read.recipe import identify_toml, model_of, read_recipe
from unnoise.check.rule import Finding
from unnoise.check.subject import Subject
from unnoise.families.own import LORA
from unnoise.generation.metadata import CallShape, Metadata, to_json as metadata_to_json
from unnoise.model_file import save

STEPS = (1, 2, 4)
METADATA = Metadata(
    model="fast.safetensors",
    fingerprint="f" * 64,
    prompt="cat",
    negative_prompt="",
    seed=7,
    size=(64, 64),
    sampler=Part("DDIM", {"eta": 0.0}),
    levels=("inf", 1.0, 0.0),
    guidance_scale=1.0,
    guidance_interval=(0.0, "inf"),
    guidance_rescale=0.0,
    dtype="float32",
    device="cpu",
    calls=(CallShape(2, 1, 0, 1, 0),),
    versions={"unnoise": "0.2.0"},
    distilled_guidance=3.0,
)


def found(subject: Subject) -> dict[str, Finding]:
    return {one.rule.id: one for one in judge(subject) if one.rule.id != "UN912"}


def test_the_facts_of_a_student_are_those_of_its_card() -> None:
    facts = model_of(student_card("fast", STEPS), "x").facts
    assert facts is not None
    assert (facts.distilled, facts.steps, facts.guidance, facts.embedded) == ("steps", (1, 4), (1.0, 1.0), (1.0, 5.0))
    assert [(steps, sampler, levels[:1]) for steps, sampler, _, levels in facts.trained] == [
        (1, "DDIM", (0.0,)), (2, "DDIM", (1.0,)), (4, "DDIM", (3.0,)),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("options", "rule", "measured", "expected"),
    [
        ({"steps": 3}, "UN125", "3 steps", "1, 2, 4 steps"),
        ({"steps": 30}, "UN125", "30 steps", "1, 2, 4 steps"),
        ({"steps": 2, "sampler": "dpmpp-2m"}, "UN126", "sampler dpmpp-2m", "sampler DDIM"),
        ({"steps": 2, "sampler": "euler-a"}, "UN126", "sampler euler-a", "sampler DDIM"),
        ({"steps": 2, "schedule": "angle"}, "UN126", "schedule angle", "levels 1 0"),
        ({"schedule": (float("inf"), 2.0, 0.0)}, "UN126", "levels 2 0", "levels 1 0"),
        ({"guidance_scale": 4.0}, "UN402", "guidance_scale 4", "1 to 1"),
        ({"distilled_guidance": 7.5}, "UN411", "guidance 7.5", "1 to 5"),
        ({"distilled_guidance": 0.5}, "UN411", "guidance 0.5", "1 to 5"),
    ],
)
def test_a_request(options: dict[str, object], rule: str, measured: str, expected: str) -> None:
    findings = found(request_on_student(**options))
    assert set(findings) == {rule}
    assert (findings[rule].measured, findings[rule].expected) == (measured, expected)


@pytest.mark.parametrize(
    "options",
    [
        {}, {"steps": 1}, {"steps": 4, "sampler": "euler"}, {"distilled_guidance": 5.0}, {"guidance_scale": 1.0},
        {"schedule": (float("inf"), 1.0, 0.0), "sampler": "ddim"}, {"image": "a.png", "strength": 0.5, "steps": 8},
    ],
)  # fmt: skip
def test_a_request_within_the_training(options: dict[str, object]) -> None:
    assert not found(request_on_student(**options))


@pytest.mark.parametrize(
    ("changes", "rules"),
    [
        ({}, set()),
        ({"levels": ("inf", 3.0, 1.0, 0.333333, 0.0)}, set()),
        ({"levels": (12.0, 3.0, 0.5, 0.0), "strength": 0.5}, set()),
        ({"levels": ("inf", 2.0, 1.0, 0.0)}, {"UN125"}),
        ({"levels": ("inf", 2.0, 0.0)}, {"UN126"}),
        ({"sampler": Part("DDIM", {"eta": 1.0})}, {"UN126"}),
        ({"sampler": Part("Consistency")}, {"UN126"}),
        ({"guidance_scale": 3.0}, {"UN402"}),
        ({"distilled_guidance": 8.0}, {"UN411"}),
    ],
)
def test_an_image_beside_the_file_of_its_student(changes: dict[str, object], rules: set[str]) -> None:
    text = metadata_to_json(replace(METADATA, **changes))  # type: ignore[arg-type]
    image = together(model("fast.safetensors", STEPS), read_recipe(text, "a.json"))
    assert set(found(image)) == rules


def test_an_image_of_an_unknown_model_is_left_alone() -> None:
    text = metadata_to_json(replace(METADATA, levels=("inf", 2.0, 1.0, 0.0)))
    assert not found(together(read_recipe(text, "a.json")))


def test_a_lora_of_the_teacher_on_its_student_and_the_reverse() -> None:
    student, base = model("fast.safetensors", STEPS), model("base.safetensors")
    of_base, of_student = lora("ink.safetensors", "base.safetensors"), lora("ink.safetensors", "fast.safetensors")
    one = found(together(student, of_base))
    assert set(one) == {"UN617"}
    assert "was trained on base, the teacher of fast.safetensors" in one["UN617"].message
    assert (one["UN617"].measured, one["UN617"].expected) == ("model fa57fa57fa57", "model ba5eba5eba5e")
    other = found(together(base, of_student))
    assert set(other) == {"UN516", "UN617"}
    assert "was trained on fast.safetensors, the student of base" in other["UN617"].message
    assert set(found(together(student, of_student))) == {"UN516"}
    assert not found(together(base, of_base))


def test_a_lora_of_an_unrelated_model_is_still_one_of_another_base() -> None:
    other = lora("ink.safetensors", "base.safetensors")
    (weights,) = other.weights
    text = weights.header.metadata[LORA].replace("ba5e", "0123")
    header = replace(weights.header, metadata={LORA: text})
    changed = replace(weights, header=header)
    subject = replace(other, weights=(changed,), models=(replace(other.models[0], weights=changed),))
    assert set(found(together(model("fast.safetensors", STEPS), subject))) == {"UN613"}


def test_a_training_on_a_foreign_distilled_model() -> None:
    line = "accelerate launch sdxl_train_network.py --pretrained_model_name_or_path {} --dataset_config data.toml"
    said = found(command(line.format("sd_xl_turbo_1.0.safetensors")))
    assert "UN516" in said
    assert said["UN516"].measured == "a base of 1 to 4 steps"
    adapted = line.format("sd_xl_turbo_1.0.safetensors") + " --base_weights dedistil.safetensors"
    assert "UN516" not in found(command(adapted))
    assert "UN516" not in found(command(line.format("sd_xl_base_1.0.safetensors")))


@pytest.mark.parametrize(("key", "table"), [("base", ""), ("init", "[denoiser]\n")])
def test_a_recipe_that_trains_a_student(tmp_path: Path, key: str, table: str) -> None:
    """Its file is found beside the recipe."""
    for name in ("fast", "plain"):
        card = student_card(name, STEPS) if name == "fast" else tiny.CARD
        made = tiny.pipeline(card if name == "plain" else _drawable(card))
        save(tmp_path / f"{name}.safetensors", made)
        recipe = tmp_path / "recipe.toml"
        sections = "[data]\nsource = 'x'\n[lora]\nrank = 4\n[fit]\nsteps = 9\n" if key == "base" else "[data]\n"
        recipe.write_text(f"name = 'a'\n{table}{key} = '{name}.safetensors'\n{sections}")
        rules = {one.rule.id for one in check(recipe)}
        assert ("UN516" in rules) == (name == "fast"), (name, rules)


def _drawable(card: Card) -> Card:
    """Give the network the input that its card says it has."""
    return replace(card, net=replace(card.net, args=card.net.args | {"guidance": True}))


@pytest.mark.parametrize("method", ["imitate", "consistency", "match"])
def test_the_recipe_of_a_distillation_is_known(method: str) -> None:
    assert identify_toml({"name": "fast", "fit": {"steps": 9}, method: {}}) == "unnoise"


def test_the_card_of_the_examples_is_valid() -> None:
    assert json.loads(to_json(student_card("fast", STEPS)))["distilled"]["teacher"] == "base"
