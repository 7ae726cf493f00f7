"""Notebooks: magics in every form, cells that are left out, and places in cells and in the file itself."""

import ast
import json
from pathlib import Path

import pytest

from unnoise.check.engine import judge
from unnoise.check.notebook_places import in_file
from unnoise.check.read.notebook import read_notebook
from unnoise.check.read.python.ipython import as_python, is_python
from unnoise.check.report.machine import to_github, to_sarif
from unnoise.check.report.text import where
from unnoise.check.subject import Subject

LOAD = (
    "import torch\nfrom diffusers import FluxPipeline\n"
    'pipe = FluxPipeline.from_pretrained("black-forest-labs/FLUX.1-dev")'
)
DRAW = 'pipe("a heron", negative_prompt="blurry", num_inference_steps=20)'


def notebook(*sources: str | list[str], language: str = "", indent: int | None = 1) -> str:
    """Write a notebook of code cells, and one of prose before the last."""
    cells = [{"cell_type": "code", "metadata": {}, "outputs": [], "source": source} for source in sources]
    cells.insert(len(cells) - 1, {"cell_type": "markdown", "metadata": {}, "source": ["# draw\n", "with it"]})
    metadata = {"language_info": {"name": language}} if language else {}
    return json.dumps({"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}, indent=indent)


def read(*sources: str | list[str]) -> Subject:
    return read_notebook(notebook(*sources), "draw.ipynb")


def found(subject: Subject) -> list[tuple[str, str]]:
    return [(one.rule.id, where(one.place)) for one in judge(subject)]


@pytest.mark.parametrize(
    "cell",
    [
        "!pip install diffusers",
        "pip install -q diffusers transformers",
        "%pip install diffusers",
        "conda install -c conda-forge diffusers",
        "cd ..",
        "mkdir -p out/it's",
        "%cd /content",
        "%load_ext autoreload\n%autoreload 2",
        '!accelerate launch train.py \\\n  --resolution=512 \\\n  --caption="it\'s"',
        "files = !ls *.png",
        'a, b = !echo "it\'s"',
        "took = %timeit -o -n 1 f()",
        "shape = %time model(x).shape",
        "pipe?",
        "pipe.scheduler??",
        "?pipe",
        "??pipe",
        "FluxPipeline.from_pretrained?",
        "%%bash\nif [ -d out ]; then\n  rm -rf out\nfi",
        "%%writefile config.yaml\nsteps: 20",
        "%%html\n<b>one</b>",
        "%%capture\n!pip install x\nimport os",
        "%%time\n%%capture out\nimport os",
        "for name in names:\n    !cp {name} out/\n    print(name)",
        "if colab:\n    %cd /content\n    !pip install x",
        "await asyncio.sleep(1)",
        "  import os\n  import sys",
        "",
    ],
)
def test_a_cell_with_magics_hides_no_other(cell: str) -> None:
    subject = read(cell, LOAD, DRAW)
    assert not subject.faults
    assert found(subject) == [("UN405", "draw.ipynb:cell 4:1:33")]


@pytest.mark.parametrize("magic", ["%%time", "%%capture out", "%%timeit -n 1 x = 1", "%%time\n%%capture", "%%prun"])
def test_the_body_of_some_magics_is_python(magic: str) -> None:
    assert found(read(LOAD, f"{magic}\n{DRAW}")) == [("UN405", f"draw.ipynb:cell 3:{magic.count('%%') + 1}:33")]


@pytest.mark.parametrize("magic", ["%%bash", "%%writefile make.py", "%%script python", "%%python3", "%%sql", "%%R"])
def test_the_body_of_other_magics_is_not(magic: str) -> None:
    assert not is_python(f"{magic}\n{DRAW}")
    assert found(read(LOAD, f"{magic}\n{DRAW}")) == []


@pytest.mark.parametrize(
    "text",
    [
        'x = ("a %s"\n     % name)',
        'text = """\n!pip\n%cd\nwhat?\n"""',
        "img = f(\n    scale=3.5,  # is this right?\n)",
        "x = a \\\n  % b",
        "cd = 1\ncd -= 1",
        "ls = [1]\nls [0]",
        "cat = pip - rm",
        "s = 'a = !b'\nt = 'a?'",
        "ok = a != b",
        "n %= 7",
    ],
)
def test_python_is_left_as_it_is(text: str) -> None:
    ast.parse(text)
    assert as_python(text) == text


def test_only_the_bad_cell_is_left_out() -> None:
    subject = read(LOAD, "x = 1\nprint 'a'", DRAW)
    assert found(subject) == [("UN901", "draw.ipynb:cell 2:2"), ("UN405", "draw.ipynb:cell 4:1:33")]
    fault, _ = judge(subject)
    assert fault.grade.name == "NOTE"
    assert fault.measured.startswith("cell 2 is not Python: ")


def test_findings_are_in_the_order_of_the_notebook() -> None:
    later = f"x = 1\n\n{DRAW}"
    assert [place for _, place in found(read(LOAD, later, DRAW))] == [
        "draw.ipynb:cell 2:3:33",
        "draw.ipynb:cell 4:1:33",
    ]


def test_rules_of_scripts_have_places_in_cells() -> None:
    """A rule that walks the syntax tree itself gives the line of its cell, too."""
    loop = (
        "for i, batch in enumerate(loader):\n    loss(batch).backward()\n    lr_scheduler.step()\n"
        "    if (i + 1) % accumulation == 0:\n        optimizer.step()\n        optimizer.zero_grad()"
    )
    subject = read("lr_scheduler = get_scheduler('cosine', num_training_steps=steps)", loop)
    assert found(subject) == [("UN511", "draw.ipynb:cell 3:3:5")]


def test_a_comment_allows_a_finding() -> None:
    assert found(read(LOAD, f"{DRAW}  # unnoise: ignore[UN405]")) == []


@pytest.mark.parametrize(
    "source",
    [
        ["# größer \N{GRINNING FACE}\n", DRAW],
        f'x = "\\t"\n{DRAW}',
        [f"{DRAW}\n", "x = 1"],
        ["x = 1\n", "\n", f'# "é" \\\\\n{DRAW}'],
    ],
)
@pytest.mark.parametrize("indent", [1, None])
def test_machines_get_the_place_in_the_file(source: str | list[str], indent: int | None) -> None:
    raw = notebook(LOAD, source, indent=indent)
    subject = read_notebook(raw, "draw.ipynb")
    (one,) = judge(subject)
    place = in_file(one, subject.notebook).place
    assert place.line is not None
    assert place.line == place.end_line
    line = raw.split("\n")[place.line - 1]
    assert json.loads(f'"{line[place.column : place.end_column]}"') == '"blurry"'
    region = json.loads(to_sarif([in_file(one, subject.notebook)]))["runs"][0]["results"][0]["locations"][0]
    assert region["physicalLocation"]["region"]["startLine"] == place.line
    assert f"line={place.line}," in to_github([in_file(one, subject.notebook)])


def test_other_line_ends_have_the_line_of_the_cell() -> None:
    raw = notebook(LOAD, f"x = 1\r\n{DRAW}")
    subject = read_notebook(raw, "draw.ipynb")
    (one,) = judge(subject)
    assert where(one.place) == "draw.ipynb:cell 3:2:33"
    line = in_file(one, subject.notebook).place.line
    assert line is not None
    assert "negative_prompt" in raw.split("\n")[line - 1]


def test_the_command_shows_the_line_of_the_cell(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from unnoise.cli.main import main

    path = tmp_path / "draw.ipynb"
    path.write_text(notebook(LOAD, "def broken(:", DRAW))
    assert main(["check", str(path)]) == 1
    assert f"  1 | {DRAW}\n    | {' ' * 32}^^^^^^^^\n" in capsys.readouterr().out


def test_a_notebook_of_another_language_is_not_python() -> None:
    subject = read_notebook(notebook("x <- 1", language="R"), "a.ipynb")
    assert [(fault.kind, fault.message) for fault in subject.faults] == [("unknown", "is a notebook of r")]


@pytest.mark.parametrize("text", ["", "[]", '{"cells": 3}', "[" * 100_000, '{"cells": [{"cell_type": "code"}, 7]}'])
def test_broken_notebooks_are_refused(text: str) -> None:
    assert read_notebook(text, "a.ipynb").runs == ()


def test_a_script_that_was_exported_from_a_notebook_is_read() -> None:
    from unnoise.check.read.script import read_script

    subject = read_script(f"!pip install diffusers\n{LOAD}\n%time\n{DRAW}\n", "draw.py")
    assert not subject.faults
    assert found(subject) == [("UN405", "draw.py:6:33")]


TRAIN = "!accelerate launch train_dreambooth_lora_flux.py --pretrained_model_name_or_path={}"


@pytest.mark.parametrize(
    ("cells", "name"),
    [
        (("MODEL = 'own/flux'", TRAIN.format("{MODEL}")), "own/flux"),
        (("MODEL = 'own/flux'", TRAIN.format("$MODEL")), "own/flux"),
        (("%env MODEL=own/flux", TRAIN.format("$MODEL")), "own/flux"),
        (("%env MODEL own/flux", TRAIN.format("$MODEL")), "own/flux"),
        (("import os\nos.environ['MODEL'] = 'own/flux'", TRAIN.format('"${MODEL}"')), "own/flux"),
        (("x = 1", "for i in range(2):\n    " + TRAIN.format("own/flux \\\n    --rank=4")), "own/flux"),
        (("x = 1", "%%bash\nMODEL=own/flux\n" + TRAIN[1:].format("$MODEL")), "own/flux"),
        (("x = 1", "%%capture\n" + TRAIN.format("own/flux")), "own/flux"),
        (("x = 1", "%%writefile -a 'my train.sh'\nMODEL=own/flux\n" + TRAIN[1:].format("$MODEL")), "own/flux"),
        (("x = 1", TRAIN.format("{unknown}")), "{unknown}"),
    ],
)
def test_shell_commands(cells: tuple[str, ...], name: str) -> None:
    subject = read(*cells, "y = 2")
    (training,) = subject.trainings
    assert training.script == "train_dreambooth_lora_flux.py"
    assert training.base
    assert (training.base.name, training.base.identity.family) == (name, "flux1")


@pytest.mark.parametrize(
    "cell",
    [
        "# " + TRAIN.format("x"),
        f"'''\n{TRAIN}\n'''".replace("!", "# !"),
        "%%writefile a\n!ls",
        "%%writefile a.md\n" + TRAIN,
    ],
)
def test_what_is_no_shell_command(cell: str) -> None:
    assert read(cell, "x = 1").trainings == ()


def test_places_of_shell_commands() -> None:
    subject = read("rank = 4", "!./sd -m flux1-schnell.gguf \\\n  -p 'a cat' --cfg-scale 1 --steps 20", "x = 1")
    (one,) = judge(subject)
    assert (one.rule.id, where(one.place)) == ("UN122", "draw.ipynb:cell 2:2:36")
