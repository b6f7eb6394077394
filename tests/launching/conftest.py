"""A launcher per test, in a private folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.launching.driver import Driver


@pytest.fixture
def launcher(tmp_path: Path) -> Iterator[Driver]:
    """A running launcher; nothing that it started is left afterwards."""
    driver = Driver(tmp_path)
    yield driver
    driver.close()
