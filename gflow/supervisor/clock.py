"""The present moment on both clocks; the core never reads one."""

from __future__ import annotations

import time

from gflow.model.state import Instant


def now() -> Instant:
    """Boot clock (suspend counts) and wall clock."""
    return Instant(time.clock_gettime(time.CLOCK_BOOTTIME), time.time())
