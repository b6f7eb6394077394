"""What follows a job's end once its record is durable: its run file goes, its own line runs."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from gflow.errors import Refused
from gflow.launching import request
from gflow.model.job import Job
from gflow.model.state import TERMINAL

if TYPE_CHECKING:
    from gflow.supervisor.reactor import Reactor

log = logging.getLogger("gflow")


class Conclusions:
    """Decides for each attempt that is over whether it is only forgotten or concluded."""

    def __init__(self, reactor: Reactor) -> None:
        self._reactor = reactor
        self._searches: set[asyncio.Task[None]] = set()

    def over(self, job_id: int, attempt: int) -> None:
        """The attempt is over, durably: run the job's line if that was its last one."""
        job = self._reactor.scheduler.job(job_id)
        if job is None or job.spec.on_end is None or not _is_last(job, attempt):
            self._reactor.launcher.forget(job_id, attempt)
            return
        name = job.spec.env
        env = None if name is None else self._reactor.blobs.get(name)
        if name is None or env is not None:
            self._conclude(job, env)
            return
        search = self._reactor.loop.create_task(self._search(job, attempt, name))
        self._searches.add(search)
        search.add_done_callback(self._searches.discard)

    async def _search(self, job: Job, attempt: int, name: str) -> None:
        try:
            env = await self._reactor.stored_blob(name)
        except Refused as error:
            log.warning("job %d: its on-end command waits for the next start: %s", job.id, error)
            return
        if _is_last(job, attempt):
            self._conclude(job, env)
        else:  # requeued meanwhile
            self._reactor.launcher.forget(job.id, attempt)

    def _conclude(self, job: Job, env: bytes | None) -> None:
        reactor = self._reactor
        frame = request.conclude(
            job,
            env=env,
            timeout_s=reactor.config["hooks"]["timeout_s"],
            variables=reactor.variables(job.spec, ()),
        )
        reactor.launcher.conclude(frame)


def _is_last(job: Job, attempt: int) -> bool:
    return job.attempt == attempt and job.state in TERMINAL
