"""The checks can fail: every bug on purpose is caught within some histories."""

from __future__ import annotations

import pytest

from tests.simulation.canary import CANARIES
from tests.simulation.world import World

_HISTORIES = 200


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", sorted(CANARIES))
def test_caught(name: str) -> None:
    """Some history breaks a promise, and it is told which."""
    for seed in range(1, _HISTORIES):
        try:
            World(seed, CANARIES[name](), unrest=8.0).run(120)
        except AssertionError as error:
            assert str(error)
            return
    pytest.fail(f"{name} was not noticed")
