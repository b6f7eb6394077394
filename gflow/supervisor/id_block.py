"""Job ids come from blocks that are on disk before the first of them is given out."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from gflow.errors import Refused

if TYPE_CHECKING:
    from gflow.supervisor.reactor import Reactor

log = logging.getLogger("gflow")

#: Ids are reserved on disk in blocks of this size; a crash leaves at most such a gap.
_BLOCK = 2_000
_PATIENCE_S = 60.0


class IdBlock:
    """Keeps the committed floor of ids ahead of use."""

    def __init__(self, reactor: Reactor) -> None:
        self._reactor = reactor
        #: Commit of the latest id floor.
        self._floor: asyncio.Task[None] | None = None

    async def reserve(self, count: int) -> None:
        """Make sure that ``count`` ids may be given out. Raises Refused when the disk is stuck."""
        scheduler = self._reactor.scheduler
        if scheduler.id_floor - scheduler.next_id < count + _BLOCK // 2:
            self._floor = self._reactor.loop.create_task(self._raise_floor(count))
        timeout_s = self._reactor.config["persistence"]["ack_timeout_s"]
        if scheduler.ids_left < count and self._floor is not None:
            await asyncio.wait({self._floor}, timeout=timeout_s)
        if scheduler.ids_left < count:
            raise Refused(
                Refused.UNAVAILABLE, "cannot submit: new job ids cannot be saved just now"
            )

    async def _raise_floor(self, count: int) -> None:
        """Have a higher floor committed; the core learns of it when it is."""
        floor = self._reactor.scheduler.next_id + count + _BLOCK
        self._reactor.scheduler.raise_floor(floor)
        position = self._reactor.finish([], self._reactor.scheduler.take_changes())
        while not await self._reactor.persister.durable(position, _PATIENCE_S):
            log.error("a new block of job ids cannot be saved")
        self._reactor.scheduler.commit_id_floor(floor)
