"""`[tool.unnoise]`: found upwards, applied by file, refused with the key or the value that is wrong."""

from pathlib import Path

import pytest

from unnoise.check.rule import WARN, Finding, Rule
from unnoise.check.settings import settings_for
from unnoise.check.subject import Location
from unnoise.errors import InputError


def finding(path: Path, id: str = "UN401") -> Finding:
    return Finding(Rule(id, "guidance-above-range", WARN), Location(str(path)), "says", "1", "2", "instead")


def test_settings_of_a_project_hold_below_it(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(
        '[tool.unnoise]\nselect = ["UN4"]\nignore = ["UN905"]\nper-file = { "examples/*.py" = ["UN4"] }\n'
    )
    inner = tmp_path / "examples" / "deep"
    inner.mkdir(parents=True)
    found = settings_for(inner)
    assert (found.select, found.ignore) == (("UN4",), ("UN905",))
    assert found.hides(finding(tmp_path / "examples" / "make.py"))
    assert not found.hides(finding(tmp_path / "examples" / "make.py", "UN101"))
    assert not found.hides(finding(tmp_path / "make.py"))


def test_the_nearest_file_counts(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[tool.unnoise]\nignore = ["UN1"]\n')
    inner = tmp_path / "inner"
    inner.mkdir()
    (inner / "unnoise.toml").write_text('ignore = ["UN2"]\n')
    assert settings_for(inner).ignore == ("UN2",)


def test_a_project_without_settings_has_none(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[project]\nname = 'x'\n")
    assert settings_for(tmp_path).ignore == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[tool.unnoise]\nselcet = []\n", "did you mean 'select'"),
        ("[tool.unnoise]\nselect = 'UN4'\n", "select 'UN4': must be a list of rules"),
        ("[tool.unnoise]\nper-file = ['UN4']\n", "per-file"),
        ("[tool]\nunnoise = 3\n", "a table"),
        ("[tool.unnoise\n", "cannot be read as TOML"),
    ],
)
def test_wrong_settings_are_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "pyproject.toml").write_text(text)
    with pytest.raises(InputError, match=message):
        settings_for(tmp_path)
