"""Fixes that can be trusted: written at the argument, in its quotes, checked again, and nothing else differs."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from unnoise.check.apply_fixes import FixedFiles
from unnoise.check.compare_texts import only_changes
from unnoise.check.engine import judge
from unnoise.check.examples import script, toml
from unnoise.check.fix_files import fix_files
from unnoise.check.read.dispatch import read_text
from unnoise.check.rule import Finding, Fix, Rewrite
from unnoise.check.subject import Location, Subject
from unnoise.cli.main import main

XL = "stabilityai/stable-diffusion-xl-base-1.0"
START = f"""from diffusers import AutoPipelineForText2Image, DDIMScheduler, EulerDiscreteScheduler
base = AutoPipelineForText2Image.from_pretrained("{XL}")
turbo = AutoPipelineForText2Image.from_pretrained("stabilityai/sdxl-turbo")
"""
KOHYA = """pretrained_model_name_or_path = "sd_xl_base_1.0.safetensors"
train_data_dir = "train"
network_module = "networks.lora"
resolution = "1024,1024"
caption_dropout_rate = 0.1
"""


def fixed(path: Path, text: str, unsafe: bool = True) -> str:
    """Write a file, fix it, and return what it is after that."""
    path.write_bytes(text.encode())
    main(["check", str(path), "--fix", *(["--unsafe"] if unsafe else [])])
    return path.read_bytes().decode()


@pytest.mark.parametrize(
    ("lines", "old", "new"),
    [
        ("turbo('a', guidance_scale=7.5, num_inference_steps=2)", "=7.5", "=1.0"),
        ("G = 7.5\nturbo('a', guidance_scale=G, num_inference_steps=2)", "G = 7.5", "G = 1.0"),
        ("G = 7.5\nturbo('a', guidance_scale=G, num_inference_steps=2)\nbase('a', guidance_scale=G)",
         "=G, num_inference_steps", "=1.0, num_inference_steps"),
        ("G = 7.5\nprint(G)\ndef go(p):\n    return turbo(p, guidance_scale=G, num_inference_steps=2)\ngo('a')",
         "=G, ", "=1.0, "),
        ("G = 7.5\ndef go(pipe):\n    return pipe('a', guidance_scale=G, num_inference_steps=4)\ngo(turbo)\ngo(base)",
         "", ""),
        ("def go(g):\n    print(g)\n    return turbo('a', guidance_scale=g, num_inference_steps=2)\ngo(7.5)", "", ""),
        ("for g in (1.0, 7.5):\n    print(g)\n    turbo('a', guidance_scale=g, num_inference_steps=2)", "", ""),
    ],
)  # fmt: skip
def test_a_fix_is_written_at_the_argument(tmp_path: Path, lines: str, old: str, new: str) -> None:
    text = f"{START}{lines}\n"
    assert fixed(tmp_path / "make.py", text) == (text.replace(old, new, 1) if old else text)


def test_a_finding_is_at_the_argument_where_the_constant_is_shared() -> None:
    device = "device = 'cuda'\npipe = base.to(device)\nnoise = torch.Generator(device).manual_seed(1)\n"
    (one,) = judge(script(f"import torch\n{START}{device}pipe('a', num_inference_steps=25, generator=noise)\n"))
    assert (one.rule.id, one.place.line, one.place.column) == ("UN905", 7, 24)


@pytest.mark.parametrize("quote", ["'", '"'])
def test_quotes_are_those_of_the_file(tmp_path: Path, quote: str) -> None:
    line = "base.scheduler = EulerDiscreteScheduler.from_config(base.scheduler.config, timestep_spacing={})"
    text = f"{START}{line.format(quote + 'leading' + quote)}\nbase('a', num_inference_steps=4)\n"
    assert fixed(tmp_path / "make.py", text) == text.replace(f"{quote}leading{quote}", f"{quote}trailing{quote}")


def test_quotes_of_a_new_text_are_the_usual_ones(tmp_path: Path) -> None:
    line = "base.scheduler = EulerDiscreteScheduler.from_config(base.scheduler.config, timestep_spacing=SPACING)"
    text = f"{START}SPACING = 'leading'\nprint(SPACING)\n{line}\nbase('a', num_inference_steps=4)\n"
    assert fixed(tmp_path / "make.py", text) == text.replace("timestep_spacing=SPACING", 'timestep_spacing="trailing"')
    text = text.replace('"', "'")
    assert fixed(tmp_path / "make.py", text) == text.replace("timestep_spacing=SPACING", "timestep_spacing='trailing'")


@pytest.mark.parametrize("quote", ["'", '"'])
def test_quotes_of_toml_stay(tmp_path: Path, quote: str) -> None:
    text = f"{KOHYA}mixed_precision = {quote}fp16{quote} # fast\n"
    assert fixed(tmp_path / "train.toml", text) == text.replace("fp16", "bf16")


@pytest.mark.parametrize(
    ("settings", "is_written"),
    [
        ("", True),
        ("full_fp16 = true", False),
        ("full_fp16 = false", True),
        ("full_bf16 = false", True),
    ],
)
def test_what_the_tool_refuses_is_not_written(tmp_path: Path, settings: str, is_written: bool) -> None:
    text = f'{KOHYA}mixed_precision = "fp16"\n{settings}\n'
    assert fixed(tmp_path / "train.toml", text) == (text.replace('"fp16"', '"bf16"') if is_written else text)


def test_a_target_that_another_switch_needs_is_kept(tmp_path: Path) -> None:
    text = f"{KOHYA}v_parameterization = true\n"
    assert fixed(tmp_path / "train.toml", text) == text.replace("= true", "= false")
    text += "scale_v_pred_loss_like_noise_pred = true\n"
    assert fixed(tmp_path / "train.toml", text) == text


def test_line_ends_and_marks_stay(tmp_path: Path) -> None:
    text = f"\N{ZERO WIDTH NO-BREAK SPACE}{START}turbo('é', guidance_scale=7.5, num_inference_steps=2)".replace(
        "\n", "\r\n"
    )
    assert fixed(tmp_path / "make.py", text) == text.replace("7.5", "1.0")


@pytest.mark.parametrize("listed", [True, False])
def test_a_notebook_is_fixed_in_its_cells(tmp_path: Path, listed: bool) -> None:
    cells = [
        "!pip install diffusers\n" + START,
        "# \"größer\"\n\\\nturbo('a', guidance_scale=7.5, num_inference_steps=2)",
    ]
    sources = [one.splitlines(keepends=True) if listed else one for one in cells]
    outputs = [{"output_type": "stream", "text": ["guidance_scale=7.5"]}]
    content = [{"cell_type": "code", "source": one, "outputs": outputs} for one in sources]
    text = json.dumps({"cells": content, "nbformat": 4}, indent=1, ensure_ascii=listed)
    assert fixed(tmp_path / "draw.ipynb", text) == text.replace("guidance_scale=7.5, num", "guidance_scale=1.0, num")


def test_diff_shows_and_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "make.py"
    text = f"{START}turbo('a', guidance_scale=7.5, num_inference_steps=2)"
    path.write_text(text)
    assert main(["check", str(path), "--diff", "--unsafe"]) == 1
    shown = capsys.readouterr()
    assert path.read_text() == text
    assert [line for line in shown.out.splitlines() if line[:1] in "+-\\"] == [
        f"--- {path}",
        f"+++ {path}",
        "-turbo('a', guidance_scale=7.5, num_inference_steps=2)",
        "\\ No newline at end of file",
        "+turbo('a', guidance_scale=1.0, num_inference_steps=2)",
        "\\ No newline at end of file",
    ]
    assert "would fix 1 finding" in shown.err
    assert main(["check", str(path), "--diff"]) == 0


def changed(subject: Subject, place: Location, after: str) -> bool:
    return only_changes(subject, after, place.path, [Rewrite(place, 1.0)])


def test_only_the_argument_may_differ() -> None:
    subject = script("import diffusers\nf(g=7.5, n=2)  # 7.5\n", "make.py")
    place = Location("make.py", line=2, column=4, end_line=2, end_column=7)
    assert changed(subject, place, "import diffusers\nf(g=1.0, n=2)  # 7.5\n")
    assert changed(subject, place, "import diffusers\nf(g=x(), n=2)\n")
    for other in (
        "f(g=1.0, n=3)",
        "f(h=1.0, n=2)",
        "f(g=1.0)",
        "f(g=1.0, n=2",
        "f(g=1.0, n=2)\nx = 1",
        "h(g=7.5, n=2)",
    ):
        assert not changed(subject, place, f"import diffusers\n{other}\n"), other
    table = toml(f'{KOHYA}mixed_precision = "fp16"\n')
    place = Location("train.toml", ("mixed_precision",))
    assert changed(table, place, f'{KOHYA}mixed_precision = "bf16"\n')
    assert not changed(table, place, f'{KOHYA}mixed_precision = "bf16"\nseed = 1\n')
    assert not changed(table, place, f'{KOHYA.replace("0.1", "0.2")}mixed_precision = "bf16"\n')
    shell = read_text("python train_network.py --mixed_precision fp16 --seed 1\n", Path("a.sh"))
    place = Location("a.sh", line=1)
    assert changed(shell, place, "python train_network.py --mixed_precision bf16 --seed 1\n")
    assert not changed(shell, place, "python train_network.py --mixed_precision bf16 --seed 2\n")
    assert not changed(shell, place, "python train_network.py --mixed_precision b f16 --seed 1\n")


def test_a_fix_that_makes_a_file_no_better_is_left_out(tmp_path: Path) -> None:
    """Of two offered fixes the one that leaves its finding is not applied, and the other is."""
    path = tmp_path / "make.py"
    text = f"{START}turbo('a', guidance_scale=7.5, num_inference_steps=40)\n"
    path.write_text(text)

    def find(subject: Subject) -> list[Finding]:
        found = judge(subject)
        useless = Fix("unsafe", "", tuple(Rewrite(one.place, 30.0) for one in found if one.rule.id == "UN402"))
        return [replace(one, fix=useless) if one.rule.id == "UN402" else one for one in found]

    result = fix_files([path], None, find, ("unsafe",))
    assert result == FixedFiles({str(path): text}, {str(path): text.replace("40", "4")}, 1)
