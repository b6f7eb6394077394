"""Run files of jobs that nobody remembers: they bring their job along, or they go."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

from gflow.supervisor.attempt import Attempts


class _Reactor:
    """Memory and history are empty; what is restored and forgotten is noted."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.restored: list[Any] = []
        self.forgotten: list[tuple[int, int]] = []
        self.launcher = SimpleNamespace(forget=lambda *key: self.forgotten.append(key))
        self.scheduler = SimpleNamespace(
            job=lambda _: None,
            waiting_task=lambda _: None,
            restore=lambda record, _: self.restored.append(record),
            take_changes=list,
        )

    async def from_history(self, _: int) -> None:
        return None

    def finish(self, *_: Any) -> None:
        """Nothing has changed."""


def found(attempt: int, verdict: str, record: Any = None) -> dict[str, Any]:
    """What a scan tells of an attempt of job 7."""
    return {"t": "found", "job_id": 7, "attempt": attempt, "verdict": verdict, "record": record}


def told(*reports: dict[str, Any]) -> _Reactor:
    """After these reports, when everything was looked up."""

    async def tell() -> _Reactor:
        reactor = _Reactor(asyncio.get_running_loop())
        attempts = Attempts(cast(Any, reactor))
        for report in reports:
            attempts.on_report(report)
        while attempts._lookups:
            await asyncio.wait(attempts._lookups)
        return reactor

    return asyncio.run(tell())


def test_every_torn_run_file_of_an_unknown_job_goes() -> None:
    """Nothing says what the job was: none of its attempts stays until the next start."""
    reactor = told(found(1, "lost"), found(2, "lost"))
    assert sorted(reactor.forgotten) == [(7, 1), (7, 2)]


def test_what_lives_keeps_its_run_file() -> None:
    """It holds the lock of that file, by which the next start finds it."""
    reactor = told(found(1, "lost"), found(2, "running"))
    assert reactor.forgotten == [(7, 1)]


def test_job_comes_from_its_last_whole_run_file() -> None:
    """One torn file among several does not make a job unknown."""
    reactor = told(found(1, "lost"), found(2, "lost", {"id": 7, "attempt": 2}), found(3, "lost"))
    assert reactor.restored == [{"id": 7, "attempt": 2}]
