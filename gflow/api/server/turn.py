"""Long work in short turns of the loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Generator
from typing import TypeVar

_Value = TypeVar("_Value")

#: Half of what one turn may take by design (DESIGN, section 1).
_TURN_S = 0.001


class Turn:
    """A piece of work that lets others run whenever it has had a millisecond."""

    def __init__(self) -> None:
        self._since = time.monotonic()

    async def breathe(self) -> None:
        """Let others run if this turn has been long enough. Cheap otherwise."""
        if time.monotonic() - self._since >= _TURN_S:
            await asyncio.sleep(0)
            self._since = time.monotonic()


async def in_steps(steps: Generator[None, None, _Value], turn: Turn) -> _Value:
    """The generator's value, letting others run between its steps."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
        await turn.breathe()
