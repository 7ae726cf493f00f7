"""A terminal shows what takes long, and only that; a file or a pipe shows nothing."""

import io
from contextlib import redirect_stderr

import pytest

from unnoise import progress
from unnoise.cli.busy import busy
from unnoise.progress import ProgressBar

SHOW_CURSOR, CLEAR_LINE = "\x1b[?25h", "\r\x1b[1A\x1b[2K"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    monkeypatch.setenv("TERM", "xterm")
    return Terminal()


def work(error: type[BaseException] | None = None) -> None:
    with ProgressBar("drawing 3") as bar:
        for share in (0.25, 0.5, 1.0):
            bar(share)
        if error:
            raise error


def test_long_work_has_a_bar(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "PATIENCE", 0.0)
    with redirect_stderr(terminal):
        work()
    assert "drawing 3" in terminal.getvalue()


def test_short_work_has_none(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "PATIENCE", 1e9)
    with redirect_stderr(terminal):
        work()
    assert terminal.getvalue() == ""


def test_a_bar_is_taken_away_when_work_fails(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "PATIENCE", 0.0)
    with redirect_stderr(terminal), pytest.raises(KeyboardInterrupt):
        work(KeyboardInterrupt)
    assert terminal.getvalue().endswith(SHOW_CURSOR + CLEAR_LINE)


def test_a_line_is_taken_away(terminal: Terminal) -> None:
    with redirect_stderr(terminal), busy("loading emoji"):
        assert terminal.getvalue() == "\rloading emoji ..."
    assert terminal.getvalue().endswith("\r\x1b[K")


def test_a_pipe_shows_nothing(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(progress, "PATIENCE", 0.0)
    with busy("loading"):
        work()
    assert capsys.readouterr() == ("", "")
