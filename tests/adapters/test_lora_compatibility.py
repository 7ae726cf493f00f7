"""An adapter belongs to its base: a wrong base is refused or warned of, and no file is read in part unless allowed."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import tiny
import torch
from adapters.test_lora_hooks import adapter
from integrations import peers, test_foreign_sd, test_foreign_sdxl
from safetensors.torch import load_file, save_file
from torch import Tensor

import unnoise
from unnoise.adapters.lora.compatibility import Base, LoraCard, base_from
from unnoise.adapters.lora.read import read
from unnoise.adapters.lora.write import write
from unnoise.card import Distilled, Part
from unnoise.errors import InputError
from unnoise.families.own import LORA
from unnoise.pipeline import Pipeline


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    return tiny.saved(tmp_path_factory.mktemp("base") / "tiny.safetensors")


@pytest.fixture
def file(base: Pipeline, tmp_path: Path) -> Path:
    """A sound adapter of the base."""
    path = tmp_path / "style.safetensors"
    write(path, replace(adapter(base), about=LoraCard(base_from(base.card))), dtype=torch.float32)
    return path


def kohya(path: Path, width: int, layer: str = "down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k") -> Path:
    tensors = {
        f"lora_unet_{layer}.lora_down.weight": torch.randn(4, width),
        f"lora_unet_{layer}.lora_up.weight": torch.randn(320, 4),
        f"lora_unet_{layer}.alpha": torch.tensor(4.0),
    }
    save_file(tensors, path)
    return path


def test_a_valid_adapter_is_read_completely(base: Pipeline, file: Path) -> None:
    found = read(file, base)
    assert found.notes == ()
    assert found.deltas.keys() == adapter(base).deltas.keys()


# Six kinds of a wrong base.
def test_another_family_is_refused(base: Pipeline, tmp_path: Path) -> None:
    for width, family in ((768, "sd1"), (2048, "sdxl")):
        with pytest.raises(InputError, match=f"a LoRA for {family}, by .*{width} in; 'tiny' is unnoise"):
            read(kohya(tmp_path / "other.safetensors", width), base)


def test_another_foreign_family_is_refused(tmp_path: Path) -> None:
    model = unnoise.load(peers.saved(test_foreign_sdxl.pipe(tmp_path), tmp_path / "model"))
    with pytest.raises(InputError, match=r"a LoRA for sd1, .*; 'model' is sdxl"):
        read(kohya(tmp_path / "other.safetensors", 768), model)


def test_ours_for_another_family_is_refused(file: Path, tmp_path: Path) -> None:
    model = unnoise.load(peers.saved(test_foreign_sd.pipe(tmp_path), tmp_path / "model"))
    with pytest.raises(InputError, match="a LoRA for 'tiny', unnoise, by its own metadata; 'model' is sd1"):
        read(file, model)


def test_another_architecture_is_refused(file: Path, tmp_path: Path) -> None:
    args = tiny.CARD.net.args | {"widths": [32, 64]}
    wider = tiny.saved(tmp_path / "wider.safetensors", net=Part("UNet", args))
    with pytest.raises(InputError, match=r"does not fit net.* made for another architecture"):
        read(file, wider)


def test_another_base_of_the_family_is_warned_of(base: Pipeline, file: Path, tmp_path: Path) -> None:
    trained = tiny.pipeline(replace(tiny.CARD, name="other"), seed=1)
    from unnoise.loading import load
    from unnoise.model_file import save

    save(tmp_path / "other.safetensors", trained)
    (note,) = read(file, load(tmp_path / "other.safetensors")).notes
    assert f"trained on 'tiny' with weights {base.card.fingerprint[:12]}" in note
    assert "used on 'other' with weights" in note


def test_a_student_and_its_teacher_are_named(base: Pipeline, file: Path, tmp_path: Path) -> None:
    """A LoRA of the teacher on the student, and the reverse, with what works instead."""
    from unnoise.loading import load
    from unnoise.model_file import save

    distilled = Distilled("match", "tiny", base.card.fingerprint, (1.0, 1.0), (1, 2))
    save(tmp_path / "fast.safetensors", tiny.pipeline(replace(tiny.CARD, name="fast", distilled=distilled), seed=1))
    student = load(tmp_path / "fast.safetensors")
    (note,) = read(file, student).notes
    assert (
        f"trained on 'tiny' with weights {base.card.fingerprint[:12]}, and used on 'fast', which is distilled" in note
    )
    assert "use it on 'tiny', or merge it into that and distil the result" in note
    about = LoraCard(base_from(student.card))
    assert about.base.teacher == base.card.fingerprint
    write(tmp_path / "of-fast.safetensors", replace(adapter(base), about=about), dtype=torch.float32)
    (note,) = read(tmp_path / "of-fast.safetensors", base).notes
    assert "used on 'tiny', from which that is distilled" in note
    assert "use it on 'fast', or train it again on 'tiny'" in note
    assert not read(tmp_path / "of-fast.safetensors", student).notes


def test_another_variant_is_warned_of(base: Pipeline, tmp_path: Path) -> None:
    made = replace(adapter(base), about=LoraCard(Base("tiny turbo", "unnoise", "turbo")))
    write(tmp_path / "turbo.safetensors", made, dtype=torch.float32)
    here = replace(base, card=replace(base.card, variant="plain"))
    (note,) = read(tmp_path / "turbo.safetensors", here).notes
    assert "made for 'tiny turbo', unnoise turbo, and 'tiny' is unnoise plain" in note


def test_an_adapter_given_by_file_warns_as_it_is_read(base: Pipeline, file: Path, tmp_path: Path) -> None:
    from unnoise.loading import load
    from unnoise.model_file import save

    save(tmp_path / "other.safetensors", tiny.pipeline(replace(tiny.CARD, name="other"), seed=1))
    with pytest.warns(UserWarning, match="trained on 'tiny' with weights .* used on 'other' with weights"):
        load(tmp_path / "other.safetensors").generate("a dog", seed=1, lora=file)


# Bad input.
@pytest.mark.parametrize("weight", [5, -4.1, float("nan"), float("inf"), True])
def test_a_weight_out_of_range_is_refused(base: Pipeline, file: Path, weight: float) -> None:
    with pytest.raises(InputError, match="lora weight"):
        base.generate("a dog", seed=1, lora={file: weight})


def changed(file: Path, **changes: Tensor | None) -> Path:
    tensors = load_file(file)
    for name, value in changes.items():
        key = next(key for key in tensors if key.endswith(name.replace("__", ".")))
        if value is None:
            del tensors[key]
        else:
            tensors[key] = value
    save_file(tensors, file.parent / "changed.safetensors")
    return file.parent / "changed.safetensors"


def test_nan_is_refused(base: Pipeline, file: Path) -> None:
    bad = load_file(file)
    name = next(iter(bad))
    with pytest.raises(InputError, match=f"tensor '{name}' contains NaN or infinity"):
        read(changed(file, **{name.replace(".", "__"): torch.full_like(bad[name], float("nan"))}), base)


def test_rank_zero_is_refused(base: Pipeline, tmp_path: Path) -> None:
    save_file({"net.enter.lora_A.weight": torch.zeros(0, 6, 3, 3), "net.enter.lora_B.weight": torch.zeros(32, 0, 1, 1)},
              tmp_path / "zero.safetensors")  # fmt: skip
    with pytest.raises(InputError, match=r"net.enter: rank 0; it must be at least 1"):
        read(tmp_path / "zero.safetensors", base)


def test_a_missing_half_is_refused(base: Pipeline, file: Path) -> None:
    with pytest.raises(InputError, match="contains down, which is not LoRA"):
        read(changed(file, lora_B__weight=None), base)


def test_halves_that_do_not_match_are_refused(base: Pipeline, tmp_path: Path) -> None:
    file = {"net.enter.lora_A.weight": torch.zeros(2, 6, 3, 3), "net.enter.lora_B.weight": torch.zeros(32, 5, 1, 1)}
    save_file(file, tmp_path / "odd.safetensors")
    with pytest.raises(InputError, match=r"net\.enter: its tensors do not match"):
        read(tmp_path / "odd.safetensors", base)


def test_foreign_keys_are_counted_and_named(base: Pipeline, file: Path, tmp_path: Path) -> None:
    more = load_file(file)
    more |= {"net.nothing.lora_A.weight": torch.ones(2, 4), "net.nothing.lora_B.weight": torch.ones(4, 2)}
    save_file(more | {"extra": torch.ones(1)}, tmp_path / "more.safetensors")
    total = len(load_file(file)) // 2 + 2
    with pytest.raises(InputError, match=f"2 of {total} modules fit nothing in 'tiny': extra, net.nothing; --partial"):
        read(tmp_path / "more.safetensors", base)
    found = read(tmp_path / "more.safetensors", base, partial=True)
    assert found.deltas.keys() == read(file, base).deltas.keys()
    assert "2 modules fit nothing and are ignored: extra, net.nothing" in found.notes[1]


def test_without_alpha_is_warned_of(base: Pipeline, tmp_path: Path) -> None:
    file = {"lora_unet_enter.lora_down.weight": torch.ones(2, 6, 3, 3)}
    file["lora_unet_enter.lora_up.weight"] = torch.ones(32, 2, 1, 1)
    save_file(file, tmp_path / "none.safetensors")
    (note,) = read(tmp_path / "none.safetensors", base).notes
    assert "1 modules have no alpha; the rank is used" in note


def test_larger_than_its_base_is_warned_of(base: Pipeline, tmp_path: Path) -> None:
    file = {"net.enter.lora_A.weight": torch.ones(64, 6, 3, 3), "net.enter.lora_B.weight": torch.ones(32, 64, 1, 1)}
    save_file(file, tmp_path / "large.safetensors")
    found = read(tmp_path / "large.safetensors", base)
    assert any(
        "has 5,504 parameters to change 1,728: larger than the layers that it changes" in note for note in found.notes
    )


def test_a_file_that_is_not_an_adapter_is_refused(base: Pipeline, tmp_path: Path) -> None:
    save_file({"weight": torch.ones(2)}, tmp_path / "x.safetensors")
    with pytest.raises(InputError, match="not a LoRA: none of its 1 tensors"):
        read(tmp_path / "x.safetensors", base)
    (tmp_path / "y.safetensors").write_bytes(b"no")
    with pytest.raises(InputError, match=r"y.safetensors"):
        read(tmp_path / "y.safetensors", base)


@pytest.mark.parametrize("card", ["{", '{"base": 1}', '{"base": {"name": "a", "family": "unnoise"}, "more": 1}'])
def test_a_card_that_is_not_valid_is_refused(base: Pipeline, file: Path, tmp_path: Path, card: str) -> None:
    save_file(load_file(file), tmp_path / "bad.safetensors", {LORA: card})
    with pytest.raises(InputError, match=r"bad.safetensors: unnoise\.lora"):
        read(tmp_path / "bad.safetensors", base)


@pytest.mark.parametrize("config", ["{", "[1]", json.dumps({"net.alpha_pattern": {"(": 1.0}})])
def test_a_configuration_that_is_not_valid_is_refused(base: Pipeline, file: Path, tmp_path: Path, config: str) -> None:
    save_file(load_file(file), tmp_path / "bad.safetensors", {"lora_adapter_metadata": config})
    with pytest.raises(InputError, match=r"configuration|alpha_pattern"):
        read(tmp_path / "bad.safetensors", base)


def test_a_model_is_no_adapter_and_an_adapter_no_model(base: Pipeline, file: Path, tmp_path: Path) -> None:
    tiny.saved(tmp_path / "model.safetensors")
    with pytest.raises(InputError, match="not a LoRA"):
        read(tmp_path / "model.safetensors", base)
    with pytest.raises(InputError):
        unnoise.load(file)
