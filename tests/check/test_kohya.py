"""Reading trainings: sd-scripts' TOML, commands of sd-scripts and diffusers, folders of images."""

import os
import time
from pathlib import Path

import pytest
from clock import within
from hypothesis import given, strategies as st

from unnoise.check.examples import command, toml
from unnoise.check.locate import locate
from unnoise.check.read.commands import LONGEST, read_commands
from unnoise.check.read.dispatch import read
from unnoise.check.read.kohya import read_toml
from unnoise.check.read.trainers.scripts import EXAMPLES, SD_SCRIPTS
from unnoise.check.subject import Location, Subject, Training

COMMAND = r"""
export MODEL_NAME="stabilityai/stable-diffusion-2-1"  # a note
OUT=out
accelerate launch --mixed_precision="fp16"  train_text_to_image.py \
  --pretrained_model_name_or_path=$MODEL_NAME --center_crop \
  --output_dir="${OUT}/x" --learning-rate -1e-5 \
  --snr_gamma "5.0" --tags a 'b c' --name=über && echo done
python.exe C:\sd-scripts\sdxl_train_network.py ^
  --network_dim=8 --pretrained_model_name_or_path "my base.safetensors"
"""


def shown(subject: Subject, place: Location) -> str:
    """Give what stands at a place of the subject's text."""
    assert place.line is not None
    assert place.line == place.end_line
    return subject.texts[place.path].split("\n")[place.line - 1][place.column : place.end_column]


def only(subject: Subject) -> Training:
    (training,) = subject.trainings
    return training


def test_commands() -> None:
    subject = read_commands(COMMAND, "train.sh")
    first, second = subject.trainings
    settings = {key: (setting.value, shown(subject, setting.place)) for key, setting in first.settings.items()}
    assert settings == {
        "mixed_precision": ("fp16", '"fp16"'),
        "pretrained_model_name_or_path": ("stabilityai/stable-diffusion-2-1", '"stabilityai/stable-diffusion-2-1"'),
        "center_crop": (True, "--center_crop"),
        "output_dir": ("out/x", '"${OUT}/x"'),
        "learning_rate": (-1e-5, "-1e-5"),
        "snr_gamma": (5.0, '"5.0"'),
        "tags": (["a", "b c"], "a 'b c'"),
        "name": ("über", "über"),
    }
    assert (first.tool, first.script) == ("diffusers", "train_text_to_image.py")
    assert first.base
    assert first.base.identity.family == "sd2"
    assert (second.tool, second.script) == ("kohya", "sdxl_train_network.py")
    assert second.base
    assert (second.base.name, second.base.identity.family) == ("my base.safetensors", "sdxl")


@pytest.mark.parametrize(
    ("line", "family"),
    [
        ("train_network.py --pretrained_model_name_or_path x.safetensors", "sd1"),
        ("train_network.py --v2 --pretrained_model_name_or_path x.safetensors", "sd2"),
        ("flux_train_network.py --pretrained_model_name_or_path x.safetensors", "flux1"),
        ("flux_train_network.py --model_type chroma --pretrained_model_name_or_path x.safetensors", "chroma"),
        ("train_network.py --pretrained_model_name_or_path sd_xl_base_1.0.safetensors", "sdxl"),
        ("train_text_to_image.py --pretrained_model_name_or_path x", "unknown"),
        ("train_network.py --pretrained_model_name_or_path $UNSET", "sd1"),
    ],
)
def test_base_of_a_command(line: str, family: str) -> None:
    base = only(command(f"accelerate launch {line}")).base
    assert base is not None
    assert base.identity.family == family


def test_text_without_a_training_is_a_fault() -> None:
    (fault,) = read_commands("echo train_network.pyc", "x.sh").faults
    assert fault.kind == "unknown"


def test_flat_and_sectioned_toml_mean_the_same() -> None:
    flat = only(toml('pretrained_model_name_or_path = "x"\nnetwork_module = "networks.lora_flux"\nfull_fp16 = true'))
    parts = only(
        toml('[m]\npretrained_model_name_or_path = "x"\nnetwork_module = "networks.lora_flux"\n[t]\nfull_fp16 = true')
    )
    assert {key: setting.value for key, setting in flat.settings.items()} == {
        key: setting.value for key, setting in parts.settings.items()
    }
    assert parts.settings["full_fp16"].place.keys == ("t", "full_fp16")
    assert flat.base
    assert flat.base.identity.family == "flux1"


def test_data_sets_inherit() -> None:
    subject = toml(
        """
        [general]
        caption_extension = ".txt"
        [[datasets]]
        resolution = 512
        [[datasets.subsets]]
        image_dir = "a"
        [[datasets.subsets]]
        image_dir = "b"
        caption_extension = ".cap"
        """
    )
    first, second = subject.trainings
    assert [one.settings["caption_extension"].value for one in (first, second)] == [".txt", ".cap"]
    assert first.settings["resolution"].value == second.settings["resolution"].value == 512
    place = locate(second.settings["caption_extension"].place, subject.texts[subject.path])
    assert (place.line, place.column) == (9, 20)


def folder(home: Path, *names: str) -> Path:
    home.mkdir(parents=True)
    for name in names:
        (home / name).write_bytes(b"")
    return home


CONFIG = """
[general]
caption_extension = "{}"
[[datasets]]
resolution = 512
[[datasets.subsets]]
image_dir = "{}"
"""


def test_captions_of_a_folder(tmp_path: Path) -> None:
    cats = folder(tmp_path / "cats", "1.png", "1.txt", "2.JPG", "notes.md")
    path = tmp_path / "data.toml"
    for ending, missing in [(".txt", ("2.JPG",)), ("caption", ("1.png", "2.JPG"))]:
        path.write_text(CONFIG.format(ending, cats))
        (data,) = read(path).datasets
        assert (data.pictures, data.without_caption, data.stale) == (2, missing, ())


def test_class_names_replace_captions(tmp_path: Path) -> None:
    folder(tmp_path / "train" / "10_sks dog", "1.png", "2.png")
    folder(tmp_path / "train" / "loose", "3.png")
    path = tmp_path / "train.toml"
    path.write_text('pretrained_model_name_or_path = "x"\ntrain_data_dir = "train"\noutput_name = "o"')
    (data,) = read(path).datasets
    assert (data.pictures, data.without_caption) == (2, ())


def test_stale_caches(tmp_path: Path) -> None:
    names = ["1.png", "1_0512x0512_sdxl.npz", "2.png", "2_te_outputs.npz", "2.txt", "3.png", "3.npz", "3.txt", "1.txt"]
    cats = folder(tmp_path / "cats", *names)
    for name, age in [("1_0512x0512_sdxl.npz", 3600), ("2_te_outputs.npz", 3600), ("3.npz", 30)]:
        os.utime(cats / name, (time.time() - age,) * 2)
    (tmp_path / "data.toml").write_text(CONFIG.format(".txt", "cats"))
    (data,) = read(tmp_path / "data.toml").datasets
    assert data.stale == ("1_0512x0512_sdxl.npz", "2_te_outputs.npz")


@pytest.mark.parametrize("named", ["../secret", "/", "//host/share", "link", "", "x" * 2000, "a\\u0000b"])
def test_folders_outside_are_not_read(tmp_path: Path, named: str) -> None:
    folder(tmp_path / "secret", "1.png")
    home = folder(tmp_path / "home")
    (home / "link").symlink_to(tmp_path / "secret")
    (home / "data.toml").write_text(CONFIG.format(".txt", named))
    assert read(home / "data.toml").datasets == ()


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
KEYS = st.sampled_from(
    ["datasets", "general", "subsets", "image_dir", "pretrained_model_name_or_path", "resolution", "v2", "model_type"]
)
JUNK = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner), max_leaves=12)


@given(st.dictionaries(KEYS, JUNK))
def test_any_table_is_read(content: dict[str, object]) -> None:
    for training in read_toml(content, "x.toml", "").trainings:
        assert training.tool == "kohya"


PIECES = ["python ", "train_network.py ", "--a", "=", "$a", '"', "'", "\\", "\n", "a=", " ", "`", "${", "}", "%a%", ";"]


@given(st.lists(st.sampled_from(PIECES) | st.text(max_size=3), max_size=60).map("".join))
def test_any_text_is_read(text: str) -> None:
    for training in read_commands(f"python train_network.py {text}", "x.sh").trainings:
        for setting in training.settings.values():
            assert setting.place.line is not None


@pytest.mark.parametrize("piece", ['"', "'\"", '"\\', "\\", "a ", "a=$a;", "--a=$a ", "b=$a$a\n"])
def test_long_texts_are_read_in_time(piece: str) -> None:
    with within(120):
        read_commands("python train_network.py " + piece * (LONGEST // len(piece)), "x.sh")


def test_scripts_are_of_one_tool() -> None:
    assert not SD_SCRIPTS.keys() & EXAMPLES.keys()
