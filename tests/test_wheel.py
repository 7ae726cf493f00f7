"""The wheel holds the whole package, its data and licences, and nothing else."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=120)
    (path,) = folder.glob("*.whl")
    return zipfile.ZipFile(path)


def test_wheel_holds_the_package_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    package = {
        path.relative_to(ROOT / "src").as_posix()
        for path in (ROOT / "src/unnoise").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    found = {name for name in wheel.namelist() if not name.startswith("unnoise-")}
    assert found == package
    assert {"unnoise/py.typed", "unnoise/zoo/emoji.safetensors", "unnoise/zoo/emoji/pictures.webp"} <= found


def test_wheel_names_its_command_and_licences(wheel: zipfile.ZipFile) -> None:
    about = {Path(name).name: wheel.read(name).decode() for name in wheel.namelist() if ".dist-info/" in name}
    assert "unnoise = unnoise.cli.main:main" in about["entry_points.txt"]
    assert "License-Expression: Apache-2.0 AND OFL-1.1 AND BSD-3-Clause AND Unicode-3.0" in about["METADATA"]
    licences = [name for name in wheel.namelist() if ".dist-info/licenses/" in name]
    assert any(name.endswith("/LICENSE") for name in licences)
    texts = {Path(name).name: wheel.read(name).decode() for name in licences if "zoo/emoji" in name}
    assert "SIL OPEN FONT LICENSE" in texts["LICENSE"]
    assert "Taehoon Kim, Kevin Wurster" in texts["LICENSE-emoji"]
    assert "UNICODE LICENSE V3" in texts["LICENSE-CLDR"]
