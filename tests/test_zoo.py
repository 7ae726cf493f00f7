"""The embedded model: small, described, and able to draw what it is told. `make evaluate` takes its full figures."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import unnoise
from unnoise.cli.main import main
from unnoise.data.noto import open_noto
from unnoise.data.outline import outlines
from unnoise.embedded import ADAPTERS, find
from unnoise.generation.images import image_tensor
from unnoise.generation.sample import Sample
from unnoise.pipeline import Pipeline
from unnoise.sampling import default
from unnoise.train import evaluate as figures

FIGURES = {"named_by_picture", "named_by_concept", "background", "ratio_by_picture", "background_ratio", "psnr"}
BLUE = (31, 46, 115)  # of the ink in examples/style/make.py
FACTS = {"data", "pictures", "steps", "autoencoder_seconds", "denoiser_seconds", "hardware", "torch", "figures"}


@pytest.fixture(scope="module")
def emoji() -> Pipeline:
    return unnoise.load("emoji")


def pixels(image: object) -> np.ndarray:
    return np.asarray(image).astype(int)


def test_the_file_is_small() -> None:
    assert find("emoji").stat().st_size <= 28_000_000


def test_the_card_states_how_it_was_made_and_how_good_it_is(emoji: Pipeline) -> None:
    training = emoji.card.training
    assert training.keys() >= FACTS
    assert training["figures"].keys() >= FIGURES
    assert "Apache-2.0" in emoji.card.licence


def test_the_default_under_guidance_is_closer_than_that_without(emoji: Pipeline) -> None:
    def drawn(sampler: object, grid: tuple[float, ...]) -> torch.Tensor:
        options = {"seed": 5, "guidance_scale": 3.0, "sampler": sampler, "schedule": grid}
        return torch.stack([one.x0 for one in emoji.generate(["a cat face", "a rocket"], **options)])

    exact = drawn(*default(40, 14.6, 0.0, guided=True))
    guided, plain = (drawn(*default(10, 14.6, 0.0, guided)) for guided in (True, False))
    assert (guided - exact).pow(2).mean() < 0.5 * (plain - exact).pow(2).mean()


@pytest.mark.slow
def test_names_give_their_pictures(emoji: Pipeline) -> None:
    source = open_noto()
    picked = figures.choose_images(source, 24, seed=0, by="concept")
    named = figures.evaluate_names(figures.image_generator(emoji, 0, lambda share: None), source, picked)
    assert named.share >= 0.8  # blind: 1 of 3,780


def test_held_out_backgrounds_have_their_colour(emoji: Pipeline) -> None:
    generate = figures.image_generator(emoji, 1, lambda share: None)
    assert figures.evaluate_backgrounds(generate, open_noto(), 16, 1).share >= 0.85


def test_words_matter(emoji: Pipeline) -> None:
    red, blue = (emoji.generate(f"{colour} heart", seed=7)[0].image for colour in ("red", "blue"))
    middle = [pixels(image)[24:40, 24:40].mean(axis=(0, 1)) for image in (red, blue)]
    assert middle[0][0] > middle[0][2] + 40
    assert middle[1][2] > middle[1][0] + 40


def test_a_sample_hardly_depends_on_its_batch(emoji: Pipeline) -> None:
    together = emoji.generate("a red heart", seed=7, n=8)
    for k in (0, 3, 7):
        alone = emoji.generate("a red heart", seed=7 + k)[0]
        apart = np.abs(pixels(alone.image) - pixels(together[k].image))
        assert (apart <= 1).mean() >= 0.999


def test_the_same_seed_gives_the_same_bytes_and_a_replay_gives_them_again(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("a.png", "b.png", "c.png")]
    for path in paths[:2]:
        assert main(["generate", "a red heart", "--seed", "7", "-o", str(path)]) == 0
    assert main(["replay", str(paths[0]), "-o", str(paths[2])]) == 0
    assert len({path.read_bytes() for path in paths}) == 1


def test_the_weights_are_finite_and_their_fingerprint_is_theirs(emoji: Pipeline) -> None:
    assert len(emoji.card.fingerprint) == 64
    for net in emoji.networks().values():
        assert all(torch.isfinite(tensor).all() for tensor in net.state_dict().values())


def test_the_adapter_is_the_models_and_draws_in_its_style(emoji: Pipeline) -> None:
    """It draws lines of blue ink, which the base does not, and what it draws keeps its colour."""
    from unnoise.adapters.lora.read import read

    ink = read(find("ink", ADAPTERS), emoji)
    assert ink.notes == ()
    prompts = ["red apple", "sunflower", "cat face", "rocket"]
    plain, inked = ([pixels(one.image) for one in emoji.generate(prompts, seed=3, lora=lora)] for lora in ((), ink))
    for before, after in zip(plain, inked, strict=True):
        lines = [(np.linalg.norm(image - BLUE, axis=-1) < 70).mean() for image in (before, after)]
        assert lines[1] > lines[0] + 0.015
    middle = inked[0][28:44, 20:44]
    assert middle[..., 0].mean() > middle[..., 2].mean() + 40


def test_the_control_follows_outlines(emoji: Pipeline) -> None:
    """What is drawn along outlines has them where they are, far more than what is drawn without."""
    following = unnoise.load("emoji", control="outline")
    shape = image_tensor(emoji.generate("red heart", seed=7)[0].image)
    lines = outlines(shape)
    control_image = Image.fromarray((lines[0, 0] * 255).byte().numpy()).convert("RGB")
    names = ["green apple", "sunflower", "cat face"]
    free, followed = emoji.generate(names, seed=3), following.generate(names, seed=3, control_image=control_image)

    def apart(samples: list[Sample]) -> float:
        return float(torch.cat([outlines(image_tensor(one.image)) - lines for one in samples]).square().mean())

    assert apart(followed) < 0.8 * apart(free)
