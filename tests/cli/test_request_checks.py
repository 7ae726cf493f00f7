"""`generate` and `train` check their own request: they say what is probably not meant, and --strict refuses it."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import tiny

from unnoise.check.rule import NOTE, WARN, Finding, Rule, Severity
from unnoise.check.subject import Subject
from unnoise.cli import preflight as warning
from unnoise.cli.main import main

Run = Callable[..., tuple[int, str, str]]
RECIPE = """
name = "x"
data = {{ source = "none", size = 64 }}
advice = {{ guidance_scale = 2.0 }}
[denoiser]
caption_dropout = {}
process = {{ class = "Flow" }}
fit = {{ steps = 100, warmup = 10 }}
net = {{ class = "UNet", args = {{ channels = 3, widths = [8], depths = [1], heads = [0] }} }}
"""
SAID = "unnoise: warning UN499: the guidance is too high: guidance 9, expected 1 to 4. write 4\n"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("checks") / "tiny.safetensors"
    tiny.saved(path)
    return path


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command in an empty folder; give its exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> tuple[int, str, str]:
        code = main(arguments)
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


@pytest.fixture
def judged(monkeypatch: pytest.MonkeyPatch) -> Callable[[Severity], None]:
    """Let one rule stand for all: it holds every request to its model's range of guidance."""

    def stand_in(severity: Severity) -> None:
        rule = Rule("UN499", "stand-in", severity)

        def judge(subject: Subject, rules: object) -> list[Finding]:
            (one,) = subject.runs
            assert one.guidance is not None
            assert one.facts is not None
            assert one.facts.guidance is not None
            low, high = one.facts.guidance
            weight = one.guidance.value
            message = ("the guidance is too high", f"guidance {weight:g}", f"{low:g} to {high:g}", f"write {high:g}")
            return [] if weight <= high else [Finding(rule, one.guidance.place, *message)]

        monkeypatch.setattr(warning, "judge", judge)

    return stand_in


@pytest.mark.parametrize(
    ("severity", "guidance", "said"), [(WARN, "9", SAID), (NOTE, "9", ""), (WARN, "3", ""), (WARN, None, "")]
)
def test_generate_says_it_and_draws(
    run: Run,
    judged: Callable[[Severity], None],
    model: Path,
    severity: Severity,
    guidance: str | None,
    said: str,
) -> None:
    judged(severity)
    code, out, err = run("generate", "a", "-m", str(model), *(["--guidance", guidance] if guidance else []))
    assert (code, out.count(".png")) == (0, 1)
    assert err.startswith(said)
    assert err.count("warning") == bool(said)


def test_generate_refuses_where_strict(
    run: Run, judged: Callable[[Severity], None], model: Path, tmp_path: Path
) -> None:
    judged(WARN)
    code, out, err = run("generate", "a", "-m", str(model), "--guidance", "9", "--strict")
    assert (code, out, err) == (2, "", SAID.replace("unnoise: ", "unnoise: strict: "))
    assert not any(tmp_path.rglob("*.png"))
    assert run("generate", "a", "-m", str(model), "--guidance", "3", "--strict")[0] == 0


def test_usual_requests_are_not_warned_of(run: Run, model: Path) -> None:
    for how in ([], ["--steps", "10"], ["--guidance", "3"], ["--size", "24x16"], ["--seed", "7", "-n", "2"]):
        code, _, err = run("generate", "a", "-m", str(model), "--strict", *how)
        assert (code, err) == (0, "")


@pytest.mark.parametrize(("dropout", "strict", "code"), [(0.0, False, 0), (0.0, True, 2), (0.1, True, 0)])
def test_train_checks_its_recipe(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, dropout: float, strict: bool, code: int
) -> None:
    path = tmp_path / "x.toml"
    path.write_text(RECIPE.format(dropout))
    monkeypatch.setattr("unnoise.train.train_recipe.train_recipe", lambda *asked: path)
    ended, _, err = run("train", str(path), *(["--strict"] if strict else []))
    assert ended == code
    assert err.startswith("unnoise: strict: warning UN502: " if strict and code else "unnoise: " if not dropout else "")
    assert err.count("warning UN502: no captions are dropped") == (dropout == 0)


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (["generate", "a", "--seed", "1.5"], "seed '1.5': must be a whole number"),
        (["generate", "a", "-n", "1.9"], "n '1.9': must be a whole number"),
        (["generate", "a", "--steps", "1e3"], "steps '1e3': must be a whole number"),
        (["generate", "a", "--seed", "9" * 30], "seed 9{30}: a whole number from 0"),
        (["evaluate", "emoji", "-n", "1.5"], "'1.5': must be a whole number"),
        (["evaluate", "emoji", "--seed", "9" * 5000], "'9+...9+': must be a whole number"),
        (["tune", "grid", "emoji", "--seeds", "1.5"], "'1.5': must be a whole number"),
        (["tune", "grid", "emoji", "--steps", "5", "--steps", "5.5"], "'5.5': must be a whole number"),
        (["train", "a.toml", "--out", "b", "--threads", "0x2"], "'0x2': must be a whole number"),
    ],
)
def test_whole_numbers_are_whole(arguments: list[str], fault: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert re.search(fault, capsys.readouterr().err)
