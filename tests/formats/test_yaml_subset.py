"""The part of YAML that configs are written in: what is read, what is refused, and that reading is linear."""

from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from clock import within

from unnoise.errors import InputError
from unnoise.formats.yaml_subset import LARGEST, parse_yaml, read_yaml

CONFIG = """\
---
# a comment
model:
  base_learning_rate: 1.0e-04
  target: ldm.models.diffusion.ddpm.LatentDiffusion   # of SD 1
  params:
    parameterization: "v"
    linear_start: 0.00085
    timesteps: 1000
    monitor: val/loss_simple_ema
    use_ema: False
    text: '# no comment'
    nothing:
    empty: {}
    unet_config:
      params:
        attention_resolutions: [ 4, 2, 1 ]
        channel_mult:
        - 1
        - 2.5
        names:
          - target: a.B
            params:
              x: ~
          - plain
          -
            y: true
"""


def test_a_config_of_latent_diffusion() -> None:
    params = parse_yaml(CONFIG, "x")["model"]["params"]
    assert parse_yaml(CONFIG, "x")["model"]["base_learning_rate"] == 1e-4
    assert parse_yaml(CONFIG, "x")["model"]["target"] == "ldm.models.diffusion.ddpm.LatentDiffusion"
    inner = params.pop("unet_config")["params"]
    assert params == {
        "parameterization": "v", "linear_start": 0.00085, "timesteps": 1000, "monitor": "val/loss_simple_ema",
        "use_ema": False, "text": "# no comment", "nothing": None, "empty": {},
    }  # fmt: skip
    assert inner == {
        "attention_resolutions": [4, 2, 1],
        "channel_mult": [1, 2.5],
        "names": [{"target": "a.B", "params": {"x": None}}, "plain", {"y": True}],
    }
    assert parse_yaml("", "x") == parse_yaml("# nothing\n", "x") == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\na: 2", "x:2: 'a' is given twice"),
        ("a: &b 1", "x:1: '&' is not supported"),
        ("a: *b", r"x:1: '\*' is not supported"),
        ("a: !!python/object:os.system ls", "x:1: '!' is not supported"),
        ("a: |\n  text", r"x:1: '\|' is not supported"),
        ("a: {b: 1}", "x:1: '{' is not supported"),
        ("a: [1, [2]]", "x:1: lists in a list"),
        ("a: 'b", "x:1: a text in quotes"),
        ("a: 1\n   b: 2", "x:2: indented further"),
        ("\ta: 1", "x:1: indented by a tab"),
        ("- 1\n- 2", "not a table of settings"),
        ("words", "x:1: not a setting"),
        ("a: 1\n--- \nb: 2", "x:2: not a setting"),
        ("\n".join("  " * k + "a:" for k in range(40)), "more than 32 tables in each other"),
        ("a:\n  " + "- " * 40 + "1", "more than 32 tables in each other"),
    ],
)
def test_what_is_not_supported_is_refused(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_yaml(text, "x")


def test_a_file(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(b"\xef\xbb\xbfa: 1\n")
    assert read_yaml(path) == {"a": 1}
    path.write_bytes(b"a: \xff")
    with pytest.raises(InputError, match="not UTF-8"):
        read_yaml(path)
    path.write_bytes(b"#" * (LARGEST + 1))
    with pytest.raises(InputError, match="larger than"):
        read_yaml(path)
    with pytest.raises(InputError, match="cannot be read"):
        read_yaml(tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        "a: " + "1" * LARGEST, "a: " + "1e" * (LARGEST // 2), "a:" + " " * LARGEST, "a" * LARGEST,
        "- " * (LARGEST // 2),
        "\n".join(f"a{k}: {{}}" for k in range(LARGEST // 10)), "a: [" + "," * LARGEST + "]", "a b" * (LARGEST // 3),
        "a: " + "'\"" * (LARGEST // 2), "a: #" + "#" * LARGEST, "\n".join("a:" for _ in range(LARGEST // 3)),
        "a:\n" + "- 1\n" * (LARGEST // 4),
    ],
)  # fmt: skip
def test_no_text_takes_long(text: str) -> None:
    with within(60), suppress(InputError):
        parse_yaml(text[:LARGEST], "x")


def test_values_are_plain() -> None:
    values: dict[str, Any] = {
        "-3": -3, "+4": 4, "1.": 1.0, ".5": 0.5, "1e3": 1000.0, "true": True, "No": "No", "null": None, "1_0": "1_0",
        "9" * 40: 1e40, "9" * 70: "9" * 70, "a: b": "a: b", "nan": "nan", "- 1": "- 1",
    }  # fmt: skip
    for text, value in values.items():
        assert parse_yaml(f"a: {text}", "x")["a"] == value
