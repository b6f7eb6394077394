"""Letting others run in the middle of long work, so that no turn of the loop is long."""

from __future__ import annotations

import asyncio
import time

#: Half of the 2 ms that a turn may take: what comes next in the turn needs its share too.
_SLICE_S = 0.001


class Pause:
    """``await pause()`` in a loop: yields once the slice is used up, costs nothing before."""

    def __init__(self) -> None:
        self._began_s = time.perf_counter()

    async def __call__(self) -> None:
        if time.perf_counter() - self._began_s > _SLICE_S:
            await asyncio.sleep(0)
            self._began_s = time.perf_counter()
