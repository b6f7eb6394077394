"""Predicts the starts of jobs that wait, now and then, so that predictions can be judged later.

Nobody waits for it: the queue is played forward on a copy, in short turns, and rarely enough to
take a small share of one core.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from gflow.api.server.turn import Turn
from gflow.supervisor import clock

if TYPE_CHECKING:
    from gflow.supervisor.reactor import Reactor

#: Between two looks at whether somebody waits anew.
_PAUSE_S = 10.0
#: The share of the time that it may take.
_SHARE = 0.02
#: Steps between two looks at the time.
_STEPS = 2
#: A start that is nearer says nothing.
_SOON_S = 1.0


class Forecaster:
    """Gives each job that waits its first predicted start, where limits tell it."""

    def __init__(self, reactor: Reactor) -> None:
        self._reactor = reactor
        #: Jobs submitted when it last looked.
        self._seen = -1

    async def run(self) -> None:
        """For ever."""
        while True:
            await asyncio.sleep(_PAUSE_S)
            submitted = self._reactor.tally.submitted
            if submitted == self._seen or not self._reactor.scheduler.queued(1):
                continue
            self._seen = submitted
            await asyncio.sleep(await self._look() / _SHARE)

    async def _look(self) -> float:
        """One play of the queue; the seconds of processor time that it took."""
        scheduler, now = self._reactor.scheduler, clock.now()
        play, turn = scheduler.outlook(now), Turn()
        spent_s = 0.0
        parts: tuple[Callable[[], bool], ...] = (lambda: play.step(_STEPS), play.let_go)
        for part in parts:
            done = False
            while not done:
                began_s = time.thread_time()
                done = part()
                spent_s += time.thread_time() - began_s
                await turn.breathe()
        for job_id, start_at in play.starts.items():
            if start_at > now.wall_s + _SOON_S:
                scheduler.note_prediction(job_id, start_at)
            await turn.breathe()
        self._reactor.finish([], scheduler.take_changes())
        return spent_s
