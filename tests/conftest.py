"""What holds for every test: one quiet thread, the same random examples each time, and counted skips."""

import os

import pytest
from hypothesis import settings

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch is first imported; docs/design.md says why
# Tiny tensors cost more CPU with two threads, for nothing; tests/test_isa.py runs what depends on threads with two.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Raise it only together with the skip that needs it: a test that never runs protects nothing.
SKIPS_ALLOWED = 3

settings.register_profile("unnoise", derandomize=True, deadline=None, print_blob=True)
settings.load_profile("unnoise")


def skips(config: pytest.Config) -> int:
    """Count the tests that were skipped or failed as expected."""
    stats = config.pluginmanager.get_plugin("terminalreporter").stats
    return len(stats.get("skipped", [])) + len(stats.get("xfailed", []))


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Fail a run that skips more than is allowed."""
    if exitstatus == pytest.ExitCode.OK and skips(session.config) > SKIPS_ALLOWED:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say how many tests did not run, of how many that may."""
    count = skips(config)
    verdict = "FAILED, too many skips" if count > SKIPS_ALLOWED else "skips"
    terminalreporter.write_line(f"{verdict}: {count} of at most {SKIPS_ALLOWED}")
