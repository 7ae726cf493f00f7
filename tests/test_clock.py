"""The clock of the tests sees work, and does not see waiting."""

from time import sleep

import pytest
from clock import MILLION, reference, within


def test_waiting_is_free_and_work_is_not() -> None:
    with within(10):
        sleep(20 * reference())
    with pytest.raises(AssertionError, match="million turns"), within(2):
        for _ in range(8 * MILLION):
            pass
