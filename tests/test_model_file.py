"""A model's file gives the same model back, and nothing else than a sound one is ever loaded."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import safetensors
import tiny
import torch
from clock import within
from torch import Tensor

from unnoise.card import KEY, Part, to_json
from unnoise.devices import known_device
from unnoise.diffusion.conditioning import Conditioning
from unnoise.errors import InputError
from unnoise.formats.header import read_header
from unnoise.formats.tensors import read_tensors, write_tensors
from unnoise.model_file import load, save
from unnoise.pipeline import Pipeline


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    save(path, tiny.pipeline())
    return path


def contents(path: Path) -> tuple[dict[str, Tensor], dict[str, object]]:
    with safetensors.safe_open(path, "pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, json.loads(file.metadata()[KEY])  # noqa: SIM118


def changed(path: Path, into: Path, change: Callable[[dict[str, Tensor], dict[str, object]], object]) -> Path:
    tensors, card = contents(path)
    change(tensors, card)
    write_tensors(into / "changed.safetensors", tensors, {KEY: json.dumps(card)})
    return into / "changed.safetensors"


def test_a_saved_model_is_loaded_unchanged(path: Path) -> None:
    made, loaded = tiny.pipeline(), load(path)
    for role, net in made.networks().items():
        for name, value in net.state_dict().items():
            found = loaded.networks()[role].state_dict()[name]
            assert found.dtype == torch.float32
            assert torch.equal(found, value.half().float())
    assert not any(value.requires_grad for net in loaded.networks().values() for value in net.parameters())
    assert loaded.text_encoder is not None
    assert not loaded.text_encoder.net.training


def test_float32_is_kept_where_asked(tmp_path: Path) -> None:
    made = tiny.pipeline()
    save(tmp_path / "whole.safetensors", made, torch.float32)
    x, sigma = torch.randn(1, 4, 4, 4), torch.ones(1)
    again = load(tmp_path / "whole.safetensors")
    assert made.text_encoder is not None
    assert again.text_encoder is not None
    cond, other = made.text_encoder(["a heart"])[0], again.text_encoder(["a heart"])[0]
    assert torch.equal(made.denoiser(x, sigma, cond), again.denoiser(x, sigma, other))


def test_library_reads_the_file(path: Path) -> None:
    tensors, card = contents(path)
    assert {name.partition(".")[0] for name in tensors} == {"net", "autoencoder", "text"}
    assert {value.dtype for value in tensors.values()} == {torch.float16}
    assert card == json.loads(to_json(load(path).card))


def test_same_weights_same_bytes(path: Path, tmp_path: Path) -> None:
    card = save(tmp_path / "again.safetensors", tiny.pipeline())
    assert (tmp_path / "again.safetensors").read_bytes() == path.read_bytes()
    other = save(tmp_path / "other.safetensors", tiny.pipeline(seed=1))
    assert len({card.fingerprint, other.fingerprint}) == 2


def test_one_changed_bit_of_a_weight_is_refused(path: Path, tmp_path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1000] ^= 1
    (tmp_path / "flipped.safetensors").write_bytes(content)
    with pytest.raises(InputError, match=r"its weights have the fingerprint .*, its card names"):
        load(tmp_path / "flipped.safetensors")


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda tensors, card: tensors.pop("net.enter.weight"), "1 missing tensors .*net.enter.weight"),
        (lambda tensors, card: tensors.update({"net.more": torch.zeros(1)}), "1 unexpected tensors .*net.more"),
        (lambda tensors, card: tensors.update({"net.enter.bias": torch.zeros(3)}), r"'net.enter.bias' is \[3\]"),
        (lambda tensors, card: tensors.update({"net.enter.bias": torch.zeros(32).int()}), "is I32, weights must be"),
        (lambda tensors, card: card.pop("fingerprint"), "its weights have the fingerprint .*, its card names none"),
        (lambda tensors, card: card["net"]["args"].pop("widths"), "net UNet of the card: .*widths"),
        (lambda tensors, card: card["net"]["args"].update(more=1), "net UNet of the card: .*more"),
        (lambda tensors, card: card["net"]["args"].update(widths=3), "net UNet of the card"),
        (lambda tensors, card: card["net"]["args"].update(depths=[2**20, 1]), "need more than"),
        (lambda tensors, card: card["text"]["args"].update(depth=2**20), "need more than"),
        (lambda tensors, card: card["text"]["args"].update(vocab=2**20, width=2**20), "is .*the network needs"),
        (lambda tensors, card: card["autoencoder"]["args"].update(factor=2**20), "is .*the network needs"),
        (lambda tensors, card: card["space"]["args"].update(scale=[0.0]), "space Latent of the card: scale"),
        (lambda tensors, card: card["space"]["args"].update(shift=[0.0, 0.0]), "space Latent of the card: shift"),
        (lambda tensors, card: card["process"]["args"].update(shift="x"), "process Flow of the card"),
        (lambda tensors, card: card["process"]["args"].update(shift=-1.0), "process Flow of the card"),
        (lambda tensors, card: card["tokenizer"]["args"].update(merges=5), "tokenizer Tokenizer of the card"),
        (
            lambda tensors, card: card["tokenizer"]["args"].update(merges=[[98, 99], [1, 2]]),
            "the components of the card",
        ),
    ],
)
def test_refuses_tensors_that_do_not_match(
    path: Path, tmp_path: Path, change: Callable[[dict[str, Tensor], dict[str, object]], object], fault: str
) -> None:
    with within(300), pytest.raises(InputError, match=fault) as refusal:
        load(changed(path, tmp_path, change))
    assert "\n" not in str(refusal.value)


def test_components_that_do_not_match_are_refused(tmp_path: Path) -> None:
    odd = replace(tiny.CARD, net=Part("UNet", tiny.CARD.net.args | {"context": 24}))
    save(tmp_path / "odd.safetensors", tiny.pipeline(odd))
    with pytest.raises(InputError, match=r"the components of the card: .*24"):
        load(tmp_path / "odd.safetensors")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e6])
def test_save_refuses_weights_that_are_not_finite(tmp_path: Path, value: float) -> None:
    made = tiny.pipeline()
    with torch.no_grad():
        next(made.denoiser.parameters())[0] = value
    with pytest.raises(InputError, match=r"tensor net\.\S+ is not finite in torch.float16"):
        save(tmp_path / "bad.safetensors", made)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("axes", "value"), [(1, 1e6), (1, float("nan")), (2, float("inf")), (2, float("nan"))])
def test_save_in_8_bits_refuses_weights_that_are_not_finite(tmp_path: Path, axes: int, value: float) -> None:
    """A vector is stored in float16, in which 1e6 is infinity; a matrix has a scale, which must be finite."""
    made = tiny.pipeline()
    with torch.no_grad():
        next(one for one in made.denoiser.parameters() if min(one.ndim, 2) == axes)[0] = value
    with pytest.raises(InputError, match=r"tensor net\.\S+ is not finite in torch.float(16|32)"):
        save(tmp_path / "bad.safetensors", made, torch.int8)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_shrinks_while_it_is_read_is_refused(path: Path, tmp_path: Path) -> None:
    short = tmp_path / "short.safetensors"
    header = read_header(path)
    short.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match="ends within tensor"):
        list(read_tensors(short, header))


def test_device_must_be_there() -> None:
    assert known_device("cpu") == torch.device("cpu")
    for name in ("gpu", "cuda:77", "meta2"):
        with pytest.raises(InputError, match=f"device '{name}'"):
            known_device(name)


def test_unconditional_model_of_pixels(tmp_path: Path) -> None:
    net = Part("UNet", {"channels": 1, "widths": [32, 32], "depths": [1, 1], "heads": [0, 0]})
    pixels = Part("Pixels", {"channels": 1, "shift": [-0.5], "scale": [0.3]})
    card = replace(tiny.CARD, net=net, space=pixels, autoencoder=None, text=None, tokenizer=None)
    save(tmp_path / "grey.safetensors", tiny.pipeline(card))
    grey = load(tmp_path / "grey.safetensors")
    assert grey.denoiser(torch.zeros(2, 1, 4, 4), torch.ones(2), Conditioning()).shape == (2, 1, 4, 4)
    assert Pipeline.of(grey).generate("", seed=1)[0].image.mode == "L"


# The peak is the kernel's of this program alone: `getrusage` starts from that of the process which began it.
MEASURE = """
import re, sys, torch
from unnoise.model_file import load
peak = lambda: int(re.search(r"VmHWM:\\s*(\\d+)", open("/proc/self/status").read())[1]) * 1024
load(sys.argv[1])            # once, for what libraries load at their first use
del sys.modules["unnoise"]
before = peak()
kept = load(sys.argv[2])
print(peak() - before, *(name for name in ("torch._dynamo", "sympy") if name in sys.modules))
"""


def test_loading_holds_the_weights_once_and_imports_no_compiler(path: Path, tmp_path: Path) -> None:
    args = tiny.CARD.net.args | {"widths": [128, 256], "depths": [2, 2]}
    large = tmp_path / "large.safetensors"
    save(large, tiny.pipeline(replace(tiny.CARD, net=Part("UNet", args))))
    done = subprocess.run([sys.executable, "-c", MEASURE, path, large], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    grown, *compilers = done.stdout.split()
    assert int(grown) < 2.5 * large.stat().st_size
    assert not compilers
