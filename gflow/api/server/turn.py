"""Long work in short turns of the loop."""

from __future__ import annotations

import asyncio
import time

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
