"""The length of a tokenizer: its own, the default, or refused."""

from types import SimpleNamespace
from typing import Any

import pytest

from unnoise.errors import InputError
from unnoise.text.tokenizer_length import own_length


@pytest.mark.parametrize(("stated", "found"), [(64, 64), (4096, 4096), (None, 128), (10**30, 128), (1e30, 128)])
def test_its_own_length_counts_and_an_unset_one_does_not(stated: Any, found: int) -> None:
    assert own_length(SimpleNamespace(model_max_length=stated), 128) == found
    assert own_length(SimpleNamespace(), 128) == 128


@pytest.mark.parametrize("stated", [0, -1, 4097, 10**9, 7.5, True, "77", [77]])
def test_other_lengths_are_refused(stated: Any) -> None:
    with pytest.raises(InputError, match=r"model_max_length .*: a whole number from 1 to 4096"):
        own_length(SimpleNamespace(model_max_length=stated), 128)
