"""What a distillation is trained on, where it needs no images: captions alone, lines of a file, classes, or nothing."""

from dataclasses import replace
from pathlib import Path

import pytest
import tiny
from PIL import Image

from unnoise.card import Card, Part
from unnoise.distill.consistency_options import ConsistencyOptions
from unnoise.distill.pools import open_images, open_pools
from unnoise.distill.recipe import DistillRecipe
from unnoise.distill.rows import Pool
from unnoise.distill.teacher import Teacher
from unnoise.errors import InputError, InputWarning
from unnoise.train.fit_options import FitOptions
from unnoise.train.recipe import DataOptions

NO_REPORT = None  # nothing is encoded
WITHOUT = {"text": None, "tokenizer": None}
NET = {"channels": 4, "widths": [32, 32], "depths": [1, 1], "heads": [0, 0]}


@pytest.fixture(autouse=True)
def without_images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ConsistencyOptions, "images", False)
    monkeypatch.setattr(ConsistencyOptions, "check", lambda options, recipe: None)


def pools(source: str | None, card: object = tiny.CARD, **data: object) -> list[Pool]:
    options = None if source is None else DataOptions(source, **{"size": 16, "views": 2} | data)  # type: ignore[arg-type]
    recipe = DistillRecipe("a", "tiny", FitOptions(9), data=options, consistency=ConsistencyOptions())
    teacher = Teacher(tiny.pipeline(card), False)  # type: ignore[arg-type]
    return open_pools(recipe, teacher, open_images(recipe, teacher), Path("nowhere"), NO_REPORT)  # type: ignore[arg-type]


def sized(*sizes: tuple[int, int]) -> Card:
    return replace(tiny.CARD, advice=replace(tiny.CARD.advice, sizes=sizes))


def test_captions_of_images_are_read_without_decoding_them(tmp_path: Path) -> None:
    for name in ("ab", "bc"):
        Image.new("RGB", (16, 16)).save(tmp_path / f"{name}.png")
        (tmp_path / f"{name}.txt").write_text(f"a {name}")
    (pool,) = pools(str(tmp_path))
    assert pool.x0 is None
    assert pool.shape == (4, 4, 4)
    assert [*pool.prompts] == ["a ab", "a ab", "a bc", "a bc"]
    assert (len(pool.members), pool.views) == (2, 2)


def test_lines_of_a_file_are_prompts(tmp_path: Path) -> None:
    (tmp_path / "prompts.txt").write_text("a cat\n\n  two dogs \n")
    (pool,) = pools(str(tmp_path / "prompts.txt"), sized((16, 16), (32, 32)), size=32)
    assert [*pool.prompts] == ["a cat", "two dogs"]
    assert pool.shape == (4, 8, 8)
    (tmp_path / "long.txt").write_text("abcdefgh " * 9)
    with pytest.warns(InputWarning, match="1 of 1 captions have more than 16 tokens"):
        pools(str(tmp_path / "long.txt"))


def test_a_size_that_the_teacher_does_not_draw_is_refused_where_no_images_are_trained_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.new("RGB", (32, 32)).save(tmp_path / "a.png")
    (tmp_path / "a.txt").write_text("a cat")
    for source in (tmp_path / "a.txt", tmp_path):
        with pytest.raises(InputError, match=r"data.size 64: 'tiny' draws 16x16, and .*; set data.size = 16"):
            pools(str(source), size=64)
        assert pools(str(source), sized((24, 16)), size=64)[0].shape == (
            4,
            16,
            16,
        )  # of squares, no other size is known
    monkeypatch.setattr(ConsistencyOptions, "images", True)
    recipe = DistillRecipe(
        "a", "tiny", FitOptions(9), data=DataOptions(str(tmp_path)), consistency=ConsistencyOptions()
    )
    assert open_images(recipe, Teacher(tiny.pipeline(), False)) is not None


def test_classes_and_nothing_are_read_from_the_teacher() -> None:
    classes = replace(tiny.CARD, **WITHOUT, labels=("x", "y"), net=Part("UNet", NET | {"labels": 3}))
    (pool,) = pools(None, classes)
    assert [*pool.prompts] == ["x", "y"]
    plain = replace(tiny.CARD, **WITHOUT, net=Part("UNet", NET))
    assert [*pools(None, plain)[0].prompts] == [""]


def test_prompts_that_do_not_fit_the_teacher_are_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_text("\n")
    (tmp_path / "one.txt").write_text("a cat")
    with pytest.raises(InputError, match="holds no prompts"):
        pools(str(tmp_path / "empty.txt"))
    with pytest.raises(InputError, match="takes no prompts; leave it out"):
        pools(str(tmp_path / "one.txt"), replace(tiny.CARD, **WITHOUT, net=Part("UNet", NET)))
    classes = replace(tiny.CARD, **WITHOUT, labels=("x", "y"), net=Part("UNet", NET | {"labels": 3}))
    with pytest.raises(InputError, match="no class of this model"):
        pools(str(tmp_path / "one.txt"), classes)
    with pytest.raises(InputError, match="takes prompts, and none are given"):
        pools(None)
