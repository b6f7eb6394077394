"""A minute of torture: whatever is killed, stopped or filled up, the promises hold."""

from __future__ import annotations

import random

import pytest

from tools.torture import torture


@pytest.mark.timeout(400)
def test_one_minute() -> None:
    """The reference model agrees with the real programs after each round; the seed is printed."""
    assert torture(random.SystemRandom().randrange(1 << 32), minutes=1.0) == 0
