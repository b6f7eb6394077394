"""Fixtures: a machine with two cpus and the real programs on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.system.machine import Machine


@pytest.fixture
def new_machine(tmp_path: Path) -> Iterator[Callable[..., Machine]]:
    """Makes machines that are not started yet; settings are environment variables."""
    machines: list[Machine] = []

    def make(**settings: str) -> Machine:
        folder = tmp_path / f"m{len(machines)}"
        folder.mkdir()
        settings.setdefault("GFLOW_RESOURCES__CPUS", "4")
        machines.append(Machine(folder, **settings))
        return machines[-1]

    yield make
    for machine in machines:
        machine.close()


@pytest.fixture
def machine(new_machine: Callable[..., Machine]) -> Machine:
    """One machine with 4 cpus, started."""
    made = new_machine()
    made.start()
    return made
