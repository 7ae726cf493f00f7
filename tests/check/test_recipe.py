"""Reading what this program writes: cards, metadata of images and sheets, recipes of trainings."""

import tomllib
from dataclasses import replace
from math import inf
from pathlib import Path

import pytest
import tiny
from PIL import Image

from unnoise.card import Advice, Part, read_card as card_of, to_json
from unnoise.check.read.recipe import identify_toml, model_of, read_card, read_recipe, read_request, read_training
from unnoise.embedded import find
from unnoise.formats.header import Header
from unnoise.generation.media.image import KEY, write_image
from unnoise.generation.metadata import CallShape, Metadata, to_json as metadata_to_json
from unnoise.generation.request import request_of

RECIPES = Path(__file__).resolve().parents[2] / "recipes"
METADATA = Metadata(
    model="tiny",
    fingerprint="f" * 64,
    prompt="a red heart",
    negative_prompt="",
    seed=7,
    size=(24, 16),
    sampler=Part("DPMpp2M"),
    levels=("inf", 1.0, 0.0),
    guidance_scale=3.0,
    guidance_interval=(0.0, "inf"),
    guidance_rescale=0.0,
    dtype="float32",
    device="cpu",
    calls=(CallShape(2, 1, 0, 1, 0),),
    versions={"unnoise": "0.2.0"},
)


def test_card() -> None:
    model = read_card(Header({"unnoise": to_json(tiny.CARD)}, {}, 10), "tiny.safetensors")
    assert (model.name, model.identity.family, model.identity.prediction) == ("tiny", "unnoise", "flow")
    known = model.facts
    assert known is not None
    assert (known.process, known.guidance, known.size, known.area) == ("flow", (1.0, 4.0), (16, 16), (1.0, 1.5))


def test_unsound_card_has_no_facts() -> None:
    model = read_card(Header({"unnoise": "{"}, {}, 10), "x/tiny.safetensors")
    assert (model.name, model.identity.family, model.known) == ("tiny.safetensors", "unnoise", None)


def test_card_without_advice_gives_no_ranges() -> None:
    known = model_of(replace(tiny.CARD, advice=Advice()), "x").facts
    assert known is not None
    assert (known.guidance, known.size, known.area) == (None, None, (0.0, inf))


def test_recipes_of_pictures_and_sheets(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    for recipes, count in [(METADATA, 1), ([METADATA, METADATA], 2)]:
        write_image(path, Image.new("RGB", (8, 8)), recipes)  # type: ignore[arg-type]
        with Image.open(path) as image:
            subject = read_recipe(image.info[KEY], str(path))
        assert len(subject.runs) == count
        run = subject.runs[-1]
        assert run.sampler_facts is not None
        assert run.sampler_facts.name == "dpmpp-2m"
        assert [located.value for located in (run.steps, run.guidance, run.width, run.height, run.seed) if located] == [
            2, 3.0, 24, 16, 7,
        ]  # fmt: skip


@pytest.mark.parametrize("text", ["", "{}", "[", "[1]", "[[" * 100_000, "null", metadata_to_json(METADATA)[:-1]])
def test_unsound_recipes_are_faults(text: str) -> None:
    (fault,) = read_recipe(text, "x.png").faults
    assert fault.kind == "broken"


def test_request_is_filled_from_the_card() -> None:
    run = read_request(request_of("a", steps=9), tiny.CARD, "tiny").runs[0]
    assert [located.value for located in (run.steps, run.guidance, run.width, run.height) if located] == [
        9,
        2.0,
        16,
        16,
    ]
    assert (run.sampler, run.facts and run.facts.title) == (None, "unnoise tiny")
    run = read_request(
        request_of("a", schedule=(inf, 1.0, 0.0), sampler="heun", guidance_scale=5), tiny.CARD, "tiny"
    ).runs[0]
    assert [located.value for located in (run.steps, run.guidance, run.sampler) if located] == [2, 5, "heun"]


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.toml")), ids=lambda path: path.stem)
def test_recipes_of_trainings(path: Path) -> None:
    text = path.read_text()
    content = tomllib.loads(text)
    assert identify_toml(content) == "unnoise"
    (training,) = read_training(content, str(path), text).trainings
    keys = ("denoiser", "fit", "learning_rate") if "denoiser" in content else ("fit", "learning_rate")
    located = training.settings[".".join(keys)]
    assert (located.value, located.place.keys) == (content.get("denoiser", content)["fit"]["learning_rate"], keys)


@pytest.mark.parametrize(
    ("text", "tool"),
    [
        ("[project]\nname = 'x'", ""),
        ("name = 'x'\nlearning_rate = 1", ""),
        ("pretrained_model_name_or_path = 'x'", "kohya"),
        ("[a]\npretrained_model_name_or_path = 'x'", "kohya"),
        ("[[datasets]]\n[[datasets.subsets]]\nimage_dir = 'x'", "kohya"),
        ("[[datasets]]\nimage_directory = 'x'", ""),
        ("datasets = 1", ""),
        ("network_module = 'networks.lora'\nnetwork_dim = 8\nlearning_rate = 1e-4", "kohya"),
        ("data = 1\ndenoiser = 2", ""),
    ],
)
def test_trainer_of_a_file(text: str, tool: str) -> None:
    assert identify_toml(tomllib.loads(text)) == tool


def test_recipe_of_an_embedded_model_is_checked_against_its_card() -> None:
    card = card_of(find("emoji"))
    drawn = replace(METADATA, model="emoji", fingerprint=card.fingerprint, guidance_scale=30.0, size=(64, 64))
    (run,) = read_recipe(metadata_to_json(drawn), "x.png").runs
    assert run.facts is not None
    assert run.facts.guidance == card.advice.guidance_range
    (other,) = read_recipe(metadata_to_json(replace(drawn, fingerprint="0" * 64)), "x.png").runs
    assert other.facts is None or other.facts.guidance is None
