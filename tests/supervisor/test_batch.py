"""What the supervisor's ends of launcher and monitor keep to themselves for a moment."""

from __future__ import annotations

import asyncio
import json
from typing import Any, cast

from gflow.launching import protocol
from gflow.model.job import Job, Process, Spec
from gflow.supervisor.launcher_port import LauncherPort
from gflow.supervisor.monitor_port import MonitorPort

SPEC = Spec(name="n", user="ann", uid=1, gid=1, cwd="/", command=("true",))


class Told:
    """Collects frames in the place of a child."""

    sent: list[bytes]

    def send(self, frame: bytes) -> bool:
        self.sent.append(frame)
        return True


class Monitor(Told, MonitorPort):
    """Its port."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        given: Any = dict.fromkeys(("on_samples", "on_excess", "on_claims"))
        super().__init__(cast(Any, None), loop, active=lambda: (), **given)
        self.sent = []

    def said(self) -> list[tuple[str, int]]:
        messages = [json.loads(frame) for frame in self.sent]
        return [(message["t"], message["job_id"]) for message in messages]


class Launcher(Told, LauncherPort):
    """Its port."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        nobody = cast(Any, None)
        super().__init__(nobody, loop, build=nobody, active=lambda: (), on_report=nobody)
        self.sent = []


async def told(monitor: Monitor) -> None:
    """Until the monitor was told of all that it is to be told of."""
    async with asyncio.timeout(20.0):
        while monitor._timer is not None:
            await asyncio.sleep(0.01)


def running(job_id: int) -> Job:
    job = Job(id=job_id, spec=SPEC, submitted_at=0.0)
    job.attempt = 1
    job.shim = Process("boot", 10, 100)
    return job


def test_a_short_attempt_is_not_measured() -> None:
    """One that ends before the monitor is told costs no message; the others are told of."""

    async def scene() -> None:
        monitor = Monitor()
        monitor.watch(running(1))
        monitor.watch(running(2))
        monitor.unwatch(1, 1)
        await told(monitor)
        assert monitor.said() == [("watch", 2)]
        monitor.unwatch(2, 1)
        assert monitor.said() == [("watch", 2), ("unwatch", 2)]

    asyncio.run(scene())


def test_an_attempt_that_comes_later_is_measured_as_well() -> None:
    """Also after everything that was to be told of has ended."""

    async def scene() -> None:
        monitor = Monitor()
        monitor.watch(running(1))
        monitor.unwatch(1, 1)
        await told(monitor)
        monitor.watch(running(2))
        await told(monitor)
        assert monitor.said() == [("watch", 2)]

    asyncio.run(scene())


def test_attempts_are_forgotten_together() -> None:
    """Those of one turn of the loop in one message, those of the next in another."""

    async def scene() -> None:
        launcher = Launcher()
        launcher.forget(1, 1)
        launcher.forget(2, 3)
        await asyncio.sleep(0)
        launcher.forget(4, 1)
        await asyncio.sleep(0)
        messages = [protocol.unpack(frame)[0] for frame in launcher.sent]
        assert [one["attempts"] for one in messages] == [[[1, 1], [2, 3]], [[4, 1]]]

    asyncio.run(scene())
