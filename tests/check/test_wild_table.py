"""`make wild DIR`: the table of what the rules find in any folder."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
BAD = "from diffusers import FluxPipeline\npipe = FluxPipeline.from_pretrained('black-forest-labs/FLUX.1-schnell')\n"


def table(folder: Path) -> list[str]:
    command = [sys.executable, str(ROOT / "scripts" / "wild.py"), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def test_a_folder_of_repositories(tmp_path: Path) -> None:
    for name in ("one", "two", "three"):
        (tmp_path / name).mkdir()
    for name in ("one", "two"):
        (tmp_path / name / "make.py").write_text(f"{BAD}pipe('a|b', num_inference_steps=50)\n" * 2)
    (tmp_path / "one" / "broken.safetensors").write_text("{")
    (tmp_path / "three" / "notes.md").write_text("nothing")
    head, line, *rows = table(tmp_path)
    assert (head, line) == ("| rule | level | count | files | an example |", "|---|---|---|---|---|")
    first, second, _, files, runs = rows
    assert first.startswith("| UN901 unreadable | error | 1 | 1 | one/broken.safetensors")
    assert second.startswith(
        "| UN122 steps-outside-range | warning | 4 | 2 | one/make.py:3:33: FLUX.1 schnell is meant"
    )
    assert files == "files: 3, findings above a note: 5, crashes: 0, unreadable: 1"
    assert runs == "runs of diffusers: 4, family known: 4 (100%)"


def test_one_folder_of_files(tmp_path: Path) -> None:
    (tmp_path / "make.py").write_text(f"{BAD}pipe('a', num_inference_steps=50)\n")
    (tmp_path / "package.json").write_text("{}")
    assert table(tmp_path)[-2:] == [
        "files: 1, findings above a note: 1, crashes: 0, unreadable: 0",
        "runs of diffusers: 1, family known: 1 (100%)",
    ]


def test_a_folder_must_be_named() -> None:
    done = subprocess.run([sys.executable, str(ROOT / "scripts" / "wild.py")], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (2, "name one folder: make wild DIR\n")
