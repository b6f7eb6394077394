"""Time that passes only when the world says so. Stands for the module ``time``."""

from __future__ import annotations

import random
import time
from time import struct_time


class Clock:
    """Boot clock and wall clock of one machine; the boot clock starts anew with each boot."""

    CLOCK_BOOTTIME = time.CLOCK_BOOTTIME

    def __init__(self) -> None:
        self.boot_s = 100.0
        self.wall_s = 1_700_000_000.0

    def pass_s(self, seconds: float) -> None:
        """Let time go by on both."""
        self.boot_s += seconds
        self.wall_s += seconds

    def reboot(self) -> None:
        """The machine was off for a minute."""
        self.boot_s = 5.0
        self.wall_s += 60.0

    # --- as the module ``time`` -----------------------------------------------------------------

    def monotonic(self) -> float:
        return self.boot_s

    def time(self) -> float:
        return self.wall_s

    def clock_gettime(self, clock: int) -> float:
        assert clock == self.CLOCK_BOOTTIME
        return self.boot_s

    def gmtime(self) -> struct_time:
        return time.gmtime(self.wall_s)

    def strftime(self, form: str, moment: struct_time) -> str:
        return time.strftime(form, moment)

    def sleep(self, seconds: float) -> None:
        self.pass_s(seconds)


class RestlessClock:
    """For work in slices: at every look, a slice may be over."""

    def __init__(self, draw: random.Random) -> None:
        self._draw = draw
        self._now_s = 0.0

    def monotonic(self) -> float:
        if self._draw.random() < 0.3:
            self._now_s += 0.01
        return self._now_s
