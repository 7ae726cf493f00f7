"""Names of classes as prompts, and the cards that list them."""

from dataclasses import replace
from pathlib import Path

import pytest
import tiny
import torch
from torch import nn

from unnoise.card import Card, Part, from_json, to_json
from unnoise.cli.main import main
from unnoise.errors import InputError
from unnoise.loading import load
from unnoise.model_file import build, save
from unnoise.pipeline import Pipeline
from unnoise.text.labels import LabelEncoder

NET = {"channels": 1, "widths": [32, 32], "depths": [1, 1], "heads": [0, 2]}
ALONE = replace(
    tiny.CARD, net=Part("UNet", NET), space=Part("Pixels", {"channels": 1}), autoencoder=None, text=None, tokenizer=None
)
CLASSES = replace(ALONE, net=Part("UNet", {**NET, "labels": 4}), labels=("bag", "boot (red)", "shirt"))


def drawn(card: Card, path: Path) -> Pipeline:
    """Save a model with random weights, and load it."""
    save(path, tiny.pipeline(card))
    return load(path)


def test_a_name_is_the_number_of_its_class_and_none_is_the_one_after_the_last() -> None:
    encode = LabelEncoder(CLASSES.labels, nn.Linear(1, 1))
    rows = encode(["shirt", "", " bag "], "apply")
    assert [int(row.label) for row in rows if row.label is not None] == [2, 3, 0]
    assert encode.negative("").given().keys() == {"label"}
    assert not list(encode.net.parameters())
    with pytest.raises(
        InputError, match=r"prompt 'shrit': no class of this model: did you mean 'shirt'\? known: bag, "
    ):
        encode(["shrit"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": ("a", "b")}, "the card has 2 labels, and a network of 4: one for each and one for no class"),
        ({"labels": ("a", "a", "b")}, "each a name of its own"),
        ({"labels": ("a", " b", "c")}, "without spaces around it"),
        ({"labels": ("a", "", "c")}, "each a name of its own"),
        ({"text": tiny.CARD.text, "tokenizer": tiny.CARD.tokenizer}, "a text encoder and labels"),
        ({"labels": ("a", "b" * 200_000, "c")}, "a string of 200000 characters"),
    ],
)
def test_labels_that_do_not_fit_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        replace(CLASSES, **changes)  # type: ignore[arg-type]


def test_the_card_of_classes_is_read_back() -> None:
    assert from_json(to_json(CLASSES), "card") == CLASSES
    assert CLASSES.prompted
    assert not ALONE.prompted
    assert tiny.CARD.prompted


def test_classes_are_drawn_with_guidance_and_drawn_again(tmp_path: Path) -> None:
    pipeline = drawn(CLASSES, tmp_path / "classes.safetensors")
    bag, boot = pipeline.generate(["bag", "boot (red)"], seed=1, steps=2, guidance_scale=2.0, progress=False)
    assert not torch.equal(bag.x0, boot.x0)
    free = pipeline.generate("", seed=1, steps=2, guidance_scale=1.0, progress=False)[0]
    assert not torch.equal(bag.x0, free.x0)
    against = pipeline.generate("bag", seed=1, steps=2, negative_prompt="shirt", progress=False)[0]
    assert not torch.equal(bag.x0, against.x0)
    boot.save(tmp_path / "boot.png")
    again = pipeline.replay(tmp_path / "boot.png")
    assert torch.equal(again.x0, boot.x0)
    assert again.image.mode == "L"
    with pytest.raises(InputError, match="no class of this model"):
        pipeline.generate("boat", progress=False)


def test_grey_is_edited_and_kept_pixels_come_back(tmp_path: Path) -> None:
    from PIL import Image

    pipeline = drawn(CLASSES, tmp_path / "classes.safetensors")
    image = Image.effect_noise((16, 16), 60).convert("RGB")
    mask = Image.new("L", (16, 16))
    mask.paste(255, (8, 0, 16, 16))
    edited = pipeline.edit(image, "bag", mask=mask, steps=2, seed=3, progress=False)[0]
    assert edited.image.convert("RGB").crop((0, 0, 8, 16)).tobytes() == image.crop((0, 0, 8, 16)).tobytes()
    assert pipeline.edit(image, "bag", strength=0.5, steps=4, seed=3, progress=False)[0].image.mode == "L"
    edited.save(tmp_path / "edited.png")
    assert torch.equal(pipeline.replay(tmp_path / "edited.png", image=image, mask=mask).x0, edited.x0)


def test_a_model_without_prompts_draws_without_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "alone.safetensors"
    pipeline = drawn(ALONE, path)
    assert [len(pipeline.generate(n=2, steps=2, progress=False)), pipeline.plan().settings.guidance_scale] == [2, 1.0]
    out = str(tmp_path / "drawn")
    assert main(["generate", "--model", str(path), "-n", "2", "--steps", "2", "-o", f"{out}/"]) == 0
    assert "overwrites" not in capsys.readouterr().err
    for words in (["a cat"], ["--guidance-scale", "3"]):
        assert main(["generate", *words, "--model", str(path), "-o", f"{out}/"]) == 2
        assert "'tiny' has no text encoder" in capsys.readouterr().err
    for card in (CLASSES, tiny.CARD):
        with pytest.raises(InputError, match="prompt None"):
            Pipeline.of(build(card)).generate()


def test_the_command_line_lists_the_classes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "classes.safetensors"
    drawn(CLASSES, path)
    assert main(["generate", "--model", str(path)]) == 2
    assert "prompt: give a class of 'tiny': bag, boot (red), shirt; '' is the unconditional" in capsys.readouterr().err
    for command in ("models", "inspect"):
        assert main([command, str(path)]) == 0
        assert "bag, boot (red), shirt" in capsys.readouterr().out
