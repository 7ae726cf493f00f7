"""The suite counts its skips and fails above the cap; shown on suites of three lines."""

from pathlib import Path

import conftest
import pytest

pytest_plugins = ["pytester"]

SKIPPING = "import pytest\n" + "".join(f"def test_{i}(): pytest.skip('shown')\n" for i in range(conftest.SKIPS_ALLOWED))
FAILING_AS_EXPECTED = "@pytest.mark.xfail\ndef test_one_more(): assert False\n"


@pytest.fixture
def suite(pytester: pytest.Pytester) -> pytest.Pytester:
    pytester.makeconftest(Path(conftest.__file__).read_text())
    return pytester


def test_skips_up_to_the_cap_pass(suite: pytest.Pytester) -> None:
    suite.makepyfile(SKIPPING + "def test_passes(): pass\n")
    result = suite.runpytest_inprocess()
    assert result.ret == 0
    result.stdout.fnmatch_lines([f"skips: {conftest.SKIPS_ALLOWED} of at most {conftest.SKIPS_ALLOWED}"])


@pytest.mark.parametrize("more", ["def test_more(): pytest.skip('one too many')\n", FAILING_AS_EXPECTED])
def test_one_skip_more_fails(suite: pytest.Pytester, more: str) -> None:
    suite.makepyfile(SKIPPING + more)
    result = suite.runpytest_inprocess()
    assert result.ret == 1
    result.stdout.fnmatch_lines(["FAILED, too many skips: *"])
