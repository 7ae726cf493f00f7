"""Command lines in os.system and subprocess of Python scripts are read like those of a shell."""

import pytest

from unnoise.check.engine import judge
from unnoise.check.examples import script
from unnoise.check.rule import Finding

WORDS = [
    *("accelerate", "launch", "flux_train_network.py", "--pretrained_model_name_or_path=flux1-dev.safetensors"),
    *("--dataset_config", "data.toml", "--guidance_scale", "1.0", "--timestep_sampling", "sigmoid"),
]
LINE, SECOND = " ".join(WORDS), " ".join(WORDS[6:])
FIRST = " ".join(WORDS[:6])
LISTED = ",\n    ".join(f'"{word}"' for word in WORDS)


def found(text: str) -> list[Finding]:
    return judge(script(f"import os, subprocess\n{text}\n"))


@pytest.mark.parametrize(
    "text",
    [
        f"os.system('{LINE}')",
        f"os.system('''\n{FIRST} \\\n  {SECOND}\n''')",
        f"subprocess.run(\"{LINE}\", shell=True, check=True)",
        f"subprocess.check_call({WORDS!r})",
        f"subprocess.Popen([\n    {LISTED},\n])",
        f"command = [\n    {LISTED}]\nsubprocess.run(args=command)",
        f"def go(lr, *more):\n    subprocess.run([{LISTED}, '--learning_rate', str(lr), '--output_name', 'a b'])",
    ],
)  # fmt: skip
def test_a_training_that_a_script_starts(text: str) -> None:
    (one,) = found(text)
    assert (one.rule.id, one.fix and one.fix.kind) == ("UN501", "show")
    place = one.place
    lines = f"import os, subprocess\n{text}\n".split("\n")
    assert place.line is not None
    assert lines[place.line - 1][place.column : place.end_column] == "sigmoid"


@pytest.mark.parametrize(
    "text",
    [
        f"print('{LINE}')",
        f"os.system('echo {LINE}')",
        f"command = {WORDS!r}\ncommand.extend(more())\nsubprocess.run(command)",
        f"command = {WORDS!r}\ncommand += more()\nsubprocess.run(command)",
        f"os.system(f'{LINE} {{x}}')",
        f"subprocess.run(['bash', '-c', '''{FIRST}\n{SECOND}'''])",
        f"subprocess.run({[*WORDS[:-1], '$HOW']!r})",
    ],
)
def test_what_is_not_run_or_not_known_is_left(text: str) -> None:
    assert not found(text)


def test_a_run_of_stable_diffusion_cpp() -> None:
    text = "subprocess.run(['./sd-cli', '-m', 'flux1-dev.gguf', '-p', 'a crab', '--cfg-scale', '7', '--steps', '20'])"
    assert "UN404" in {one.rule.id for one in found(text)}
