"""What comes before the loop runs."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from gflow.supervisor.service import EarlyEnd


@pytest.fixture(autouse=True)
def _handlers() -> Iterator[None]:
    """The handlers of this process come back."""
    kept = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in kept.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_before_the_loop_is_kept_for_it(number: signal.Signals) -> None:
    """It neither kills nor gets lost; the same one again would end the process at once."""
    early = EarlyEnd()
    assert not early.asked
    os.kill(os.getpid(), number)
    assert early.asked and signal.getsignal(number) is signal.SIG_DFL
