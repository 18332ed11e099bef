"""Claims that write to the system are looked at after those that only read it."""
from __future__ import annotations

import pytest


def pytest_configure(config):
    config.addinivalue_line("markers", "writes: talks to an agent, which adds rows")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: item.get_closest_marker("writes") is not None)
