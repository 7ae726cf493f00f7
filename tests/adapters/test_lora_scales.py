"""PEFT's configuration speaks for its own file, in bounded time, and never over an alpha of the file."""

import json
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from clock import within
from safetensors.torch import save_file

from unnoise.adapters.lora.delta import LowRank
from unnoise.adapters.lora.read import read
from unnoise.adapters.lora.scales import METADATA, Alphas, read_scales
from unnoise.errors import InputError

PLAIN = {"enter.lora_A.weight": torch.ones(4, 6, 3, 3), "enter.lora_B.weight": torch.ones(32, 4, 1, 1)}
OWN = {**PLAIN, "enter.alpha": torch.tensor(2.0)}


def factor(path: Path, base: Any) -> float:
    (found,) = read(path, base).deltas.values()
    assert isinstance(found, LowRank)
    return found.scale


@pytest.mark.parametrize("stabilised", [False, True])
def test_a_configuration_is_for_its_own_file_alone(tmp_path: Path, stabilised: bool) -> None:
    base = tiny.saved(tmp_path / "tiny.safetensors")
    config = {"r": 4, "lora_alpha": 32, "use_rslora": stabilised}
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    for name in ("style", "adapter_model"):
        save_file(PLAIN, tmp_path / f"{name}.safetensors")
        save_file(OWN, tmp_path / f"{name}-own.safetensors")
    assert factor(tmp_path / "adapter_model.safetensors", base) == (16 if stabilised else 8)
    assert factor(tmp_path / "style.safetensors", base) == 1
    for name in ("style", "adapter_model"):
        assert factor(tmp_path / f"{name}-own.safetensors", base) == 0.5
    save_file(OWN, tmp_path / "adapter_model.safetensors")
    assert factor(tmp_path / "adapter_model.safetensors", base) == 0.5
    header = {METADATA: json.dumps({f"net.{key}": value for key, value in config.items()})}
    save_file({f"net.{key}": value for key, value in OWN.items()}, tmp_path / "header.safetensors", header)
    assert factor(tmp_path / "header.safetensors", base) == 0.5


def test_alphas_are_found_as_peft_does() -> None:
    """Names fit the ends of names at a dot; the first pattern that fits counts, a name or an expression."""
    alphas = Alphas(
        9.0, {"to_k": 1.0, r"^down\.0\.to_q": 2.0, r".*mid.*to_v": 3.0, "0.to_v": 4.0, "to_k.0": 5.0}, False
    )
    found = {path: alphas.of(path) for path in ("a.to_k", "ato_k", "down.0.to_q", "b.mid.0.to_v", "b.0.to_v", "x")}
    assert found == {"a.to_k": 1, "ato_k": 9, "down.0.to_q": 2, "b.mid.0.to_v": 3, "b.0.to_v": 4, "x": 9}


@pytest.mark.parametrize(
    "config",
    [
        '{"net.lora_alpha": "4"}', '{"net.lora_alpha": true}', '{"net.lora_alpha": NaN}', '{"net.lora_alpha": 1e999}',
        '{"net.alpha_pattern": [1]}', '{"net.alpha_pattern": {"to_q": null}}', '{"net.use_rslora": 1}', "[", "[1]",
        "[" * 100_000, '{"net.lora_alpha": ' + "9" * 5000 + "}", '{"net": ' + '{"a":' * 50_000 + "1" + "}" * 50_001,
    ],
)  # fmt: skip
def test_a_configuration_that_is_not_sound_is_refused(config: str) -> None:
    with pytest.raises(InputError, match="its PEFT configuration: ") as error:
        read_scales(Path("a.safetensors"), {METADATA: config})
    assert len(str(error.value)) < 300


@pytest.mark.parametrize("pattern", ["(a+)+b", "(", "a*b*c*d", "x" * 201 + "*", "(a|b){9}", "[", "(?:a|a)*$"])
def test_expressions_that_could_take_long_are_refused(pattern: str) -> None:
    with pytest.raises(InputError, match="alpha_pattern"):
        Alphas(None, {pattern: 1.0}, False).of("a" * 100)


def test_patterns_take_linear_time() -> None:
    names = {f"blocks.{k}.attn.to_q": float(k) for k in range(3000)}
    alphas = Alphas(None, {**names, ".*z.*y": 1.0}, False)
    with within(30):
        found = [alphas.of(f"net.{name}") for name in names]
    assert found == list(names.values())
