"""A control file works on the shapes of its base, adds nothing at scale 0, and is refused for another model."""

from dataclasses import replace
from pathlib import Path

import pytest
import tiny
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

import unnoise
from unnoise.adapters.controlnet import ControlCard, attach_control, cell_factor, save_control, unet_widths
from unnoise.adapters.lora.compatibility import base_from
from unnoise.card import Part
from unnoise.errors import InputError, InputWarning
from unnoise.formats.header import read_header
from unnoise.generation.metadata import from_json, to_json
from unnoise.model_file import save
from unnoise.pipeline import Pipeline

CONTROL_IMAGE = Image.linear_gradient("L").resize((16, 16)).convert("RGB")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> tuple[Pipeline, Path]:
    path = tmp_path_factory.mktemp("control") / "base.safetensors"
    return tiny.saved(path), path


@pytest.fixture(scope="module")
def file(base: tuple[Pipeline, Path]) -> Path:
    """A control with random weights, also where it begins at zero."""
    pipeline, path = base
    about = ControlCard(base_from(pipeline.card), unet_widths(pipeline), pipeline.space.factor, 16)
    torch.manual_seed(3)
    control = about.build()
    for parameter in control.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    save_control(path.with_name("control.safetensors"), control, about)
    return path.with_name("control.safetensors")


def changed(file: Path, name: str, value: torch.Tensor | None) -> Path:
    tensors = load_file(file)
    tensors.pop(name)
    if value is not None:
        tensors[name] = value
    other = file.with_name("changed.safetensors")
    save_file(tensors, other, dict(read_header(file).metadata))
    return other


def test_a_control_acts_and_the_base_does_not_change(base: tuple[Pipeline, Path], file: Path) -> None:
    pipeline, path = base
    with_control = unnoise.load(path, control=file)
    before = pipeline.generate("a dog", seed=1)[0]
    followed, without = (
        with_control.generate("a dog", seed=1, control_image=CONTROL_IMAGE, control_scale=w)[0] for w in (1, 0)
    )
    assert not torch.allclose(followed.x0, before.x0, atol=1e-2)
    assert torch.allclose(without.x0, before.x0, atol=1e-6)
    assert pipeline.generate("a dog", seed=1)[0].image.tobytes() == before.image.tobytes()


def test_a_control_of_a_folded_net_has_its_resolution() -> None:
    net = Part("UNet", tiny.CARD.net.args | {"patch": 2})
    pipeline = tiny.pipeline(replace(tiny.CARD, net=net))
    assert cell_factor(pipeline) == 2 * pipeline.space.factor
    about = ControlCard(base_from(pipeline.card), unet_widths(pipeline), cell_factor(pipeline), 16)
    with_control = Pipeline.of(attach_control(pipeline, about.build()))
    drawn, plain = (
        one.generate("a dog", seed=1, size=16, **image)[0].x0
        for one, image in ((with_control, {"control_image": CONTROL_IMAGE}), (pipeline, {}))
    )
    torch.testing.assert_close(drawn, plain)  # as the control begins at zero


def test_a_control_image_needs_a_control_and_a_control_an_image(base: tuple[Pipeline, Path], file: Path) -> None:
    with pytest.raises(
        InputError, match=r"control_image: 'tiny' was loaded without control; use load\(..., control=...\)"
    ):
        base[0].generate("a dog", control_image=CONTROL_IMAGE)
    with pytest.raises(InputError, match="control_image: none is given, and 'tiny' was loaded with control"):
        unnoise.load(base[1], control=file).generate("a dog")


def test_replay_takes_the_control_of_the_sample_and_no_other(base: tuple[Pipeline, Path], file: Path) -> None:
    pipeline, path = base
    sample = unnoise.load(path, control=file).generate("a dog", seed=1, steps=2, control_image=CONTROL_IMAGE)[0]
    again = unnoise.load(path, control=file).replay(sample, control_image=CONTROL_IMAGE)
    assert torch.equal(again.x0, sample.x0)
    name = "enter.weight"
    other = unnoise.load(path, control=changed(file, name, load_file(file)[name] + 1e-3))
    with pytest.raises(InputError, match=r"drawn with the control [0-9a-f]{12}; this one is [0-9a-f]{12}"):
        other.replay(sample, control_image=CONTROL_IMAGE)
    with pytest.raises(InputError, match=r"drawn with the control [0-9a-f]{12}; the model was loaded without one"):
        pipeline.replay(sample, control_image=CONTROL_IMAGE)


def test_another_architecture_is_refused(file: Path, tmp_path: Path) -> None:
    tiny.saved(tmp_path / "wide.safetensors", net=Part("UNet", tiny.CARD.net.args | {"widths": [32, 64]}))
    with pytest.raises(InputError, match=r"a control for 'tiny', of widths \[32, 32\]; 'tiny' is unnoise of widths"):
        unnoise.load(tmp_path / "wide.safetensors", control=file)
    dit = Part("DiT", {"channels": 4, "width": 64, "depth": 1, "context": 16, "vector": 16})
    save(tmp_path / "dit.safetensors", tiny.pipeline(replace(tiny.CARD, net=dit)))
    with pytest.raises(InputError, match="control: needs a U-Net of this program; 'tiny' is a DiT"):
        unnoise.load(tmp_path / "dit.safetensors", control=file)


def test_another_base_of_the_same_shapes_is_warned_of(file: Path, tmp_path: Path) -> None:
    save(tmp_path / "other.safetensors", tiny.pipeline(replace(tiny.CARD, name="other"), seed=1))
    with pytest.warns(UserWarning, match="trained on 'tiny' with weights .* used on 'other' with weights"):
        unnoise.load(tmp_path / "other.safetensors", control=file)


def test_a_damaged_file_is_refused(base: tuple[Pipeline, Path], file: Path) -> None:
    path = base[1]
    name = "enter.weight"
    whole = load_file(file)[name]
    for value, message in (
        (torch.full_like(whole, torch.nan), "contains NaN"),
        (whole[:, :1].contiguous(), "size mismatch"),
        (None, "enter.weight"),
    ):
        with pytest.raises(InputError, match=message):
            unnoise.load(path, control=changed(file, name, value))
    with pytest.raises(InputError, match=r"not a control of this program; its header has no unnoise\.control"):
        unnoise.load(path, control=path)
    with pytest.raises(InputError, match="unknown control 'outlin'"):
        unnoise.load(path, control="outlin")


def test_how_a_control_image_is_fitted_is_recorded_and_replayed(base: tuple[Pipeline, Path], file: Path) -> None:
    pipeline = unnoise.load(base[1], control=file)
    wide = Image.linear_gradient("L").resize((32, 16)).convert("RGB")
    drawn = {}
    for how in ("crop", "pad", "stretch"):
        with pytest.warns(InputWarning, match="control_image of 32x16: "):
            sample = pipeline.generate("a dog", seed=1, control_image=wide, control_resize=how)[0]
        assert sample.metadata.control_resize == how
        with pytest.warns(InputWarning, match="control_image of 32x16: "):
            again = pipeline.replay(from_json(to_json(sample.metadata), "metadata"), control_image=wide)
        assert torch.equal(again.x0, sample.x0)
        drawn[how] = sample.x0
    assert not torch.equal(drawn["crop"], drawn["pad"])
    with pytest.raises(InputError, match="control_resize 'fill': known: crop, pad, stretch"):
        pipeline.generate("a dog", seed=1, control_image=wide, control_resize="fill")
