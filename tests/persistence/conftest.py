"""Private state folders, and no process left over."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.persistence.harness import Supervisor


@pytest.fixture
def state_dir(tmp_path: Path) -> str:
    """A private, empty state folder."""
    folder = tmp_path / "state"
    folder.mkdir(mode=0o700)
    return str(folder)


@pytest.fixture(autouse=True)
def no_process_left() -> Iterator[None]:
    """End every persister that a test started."""
    yield
    for supervisor in Supervisor.started:
        supervisor.end()
    Supervisor.started.clear()


@pytest.fixture
def supervisor(state_dir: str) -> Supervisor:
    """A supervisor with a fresh store, loaded."""
    supervisor = Supervisor(state_dir)
    supervisor.loaded()
    return supervisor
