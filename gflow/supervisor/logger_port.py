"""The supervisor's end of the logger: only its death matters, lines go through the handler."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from gflow.supervisor.child import Child
from gflow.supervisor.logger import PipeHandler
from gflow.supervisor.port import Port


class LoggerPort(Port):
    """Keeps the handler writing to whichever logger lives."""

    def __init__(self, child: Child, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(child, loop)
        found = [one for one in logging.getLogger("gflow").handlers if isinstance(one, PipeHandler)]
        self._handler = found[0] if found else PipeHandler()

    def on_frame(self, frame: bytes) -> None:
        """A logger says nothing."""

    def on_lost(self) -> None:
        """Lines are dropped and counted until there is a new one."""
        self._handler.attach(-1)

    def on_replaced(self) -> None:
        """Write to the new one."""
        assert self.child.channel is not None
        self._handler.attach(self.child.channel.fileno())

    def describe(self) -> dict[str, Any]:
        """What ``status`` shows of it."""
        return {**super().describe(), "dropped": self._handler.dropped}
