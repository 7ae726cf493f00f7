"""Command lines of stable-diffusion.cpp."""

from pathlib import Path

import pytest

from unnoise.check.engine import judge
from unnoise.check.examples import command
from unnoise.check.read.commands import read_commands
from unnoise.check.read.dispatch import read_text
from unnoise.check.subject import GenerationRun


def run(line: str) -> GenerationRun:
    (found,) = command(line).runs
    return found


def test_every_option() -> None:
    found = run(
        r"""
        .\bin\sd-cli.exe -M img_gen --diffusion-model models\flux1-dev-q8_0.gguf --vae ae.safetensors -v \
          -p "a heron <lora:ink:0.8>" -n 'blurry' --cfg-scale 1.0 --guidance=3.5 --sampling-method euler \
          --scheduler karras --steps 20 -W 1024 -H 768 -b 2 -s 42 --clip-skip 2 --flow-shift 3 --clip-on-cpu
        """
    )
    model, vae = found.model, found.vae
    assert model
    assert vae
    assert (found.tool, found.task, model.identity.family, model.identity.variant) == ("sdcpp", "text", "flux1", "dev")
    plain = (
        "guidance",
        "embedded",
        "sampler",
        "grid",
        "steps",
        "width",
        "height",
        "batch",
        "seed",
        "clip_skip",
        "shift",
    )
    values = [getattr(found, name).value for name in plain]
    assert values == [1.0, 3.5, "euler", "karras", 20, 1024, 768, 2, 42, 2, 3]
    assert [(use.adapter.name, use.strength and use.strength.value) for use in found.adapters] == [("ink", 0.8)]


@pytest.mark.parametrize(
    ("options", "task", "strength"),
    [
        ("--strength 0.4", "text", None),
        ("-i a.png --strength 0.4", "image", 0.4),
        ("-i a.png --mask m.png --strength 1", "inpaint", 1),
        ("-r a.png", "edit", None),
    ],
)
def test_tasks(options: str, task: str, strength: float | None) -> None:
    found = run(f"./sd -m v1-5-pruned.safetensors -p cat {options}")
    assert (found.task, found.strength.value if found.strength else None) == (task, strength)


@pytest.mark.parametrize(
    "line",
    [
        "./sd -M convert -m a.safetensors -o a.gguf",
        "./sd -m a.safetensors",
        "sd before after file.txt",
        "sd -p 'a' file.txt",
        "docker build -t sd .",
    ],
)
def test_commands_that_draw_nothing(line: str) -> None:
    assert read_commands(line, "x.sh").runs == ()


def test_defaults_are_not_stated() -> None:
    found = run("sd-cli -m sd_xl_base_1.0.safetensors -p a b c --seed -1 --clip-skip -1")
    assert (found.seed, found.clip_skip, found.guidance, found.width) == (None, None, None, None)
    assert found.prompt
    assert found.prompt.value == "a b c"


def test_variables_and_findings() -> None:
    draw = './sd -m flux1-schnell-q4_0.gguf -p "a cat" --cfg-scale 1 --steps $STEPS -s $s'
    text = f"STEPS=30\nfor s in 1 2; do\n  {draw}\ndone"
    (one,) = judge(command(text))
    assert (one.rule.id, one.place.line, one.place.column) == ("UN122", 1, 6)


def test_a_text_without_an_ending_is_read() -> None:
    assert read_text("#!/usr/bin/env bash\n./sd -m x.gguf -p cat\n", Path("draw")).runs
    assert read_text("sd-cli -m x.gguf -p cat\n", Path("notes.txt")).runs
