"""Ignore warnings of the reference libraries about themselves, which `error` would turn into failures."""

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.parent.name in ("integrations", "adapters"):
            item.add_marker(pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"))
            item.add_marker(pytest.mark.filterwarnings("ignore:.*weight_norm. is deprecated:FutureWarning"))
