"""The supervisor's end of the gpu process, against one whose words the test chooses."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from gflow import config
from gflow.model.job import Job, Process, Spec
from gflow.process.channel import Channel
from gflow.supervisor import gpu_port
from gflow.supervisor.card import Cards
from gflow.supervisor.gpu_port import GpuPort
from tests.supervisor.test_card import GIB, facts, process

_PATIENCE_S = 20.0


class ScriptedChild:
    """Stands in for the child: a real process to be killed, and a pipe whose end the test has."""

    def __init__(self) -> None:
        self.name = "gpu"
        self.restarts = -1
        self.killed: list[int] = []
        self.state_word = "running"
        self.respawned_after_s: list[float] = []
        self.replace()

    def replace(self) -> None:
        import socket

        ours, theirs = socket.socketpair()
        self.channel: Channel | None = Channel(ours.detach())
        self.theirs = Channel(theirs.detach())
        self.pid = os.posix_spawn("/bin/sleep", ["sleep", "600"], {})
        self.pidfd = os.pidfd_open(self.pid)
        self.restarts += 1

    @property
    def alive(self) -> bool:
        return self.pidfd >= 0

    def reap(self) -> str:
        os.waitpid(self.pid, 0)
        os.close(self.pidfd)
        self.pidfd = -1
        assert self.channel is not None
        self.channel.close()
        self.theirs.close()
        return "SIGKILL"

    def respawn_delay_s(self) -> float:
        return 0.0

    def send_signal(self, number: int) -> None:
        self.killed.append(number)
        signal.pidfd_send_signal(self.pidfd, number)

    def state(self) -> str:
        return self.state_word

    def describe(self) -> dict[str, Any]:
        return {"pid": self.pid, "state": self.state(), "restarts": self.restarts}

    def say(self, **message: Any) -> None:
        self.theirs.send(json.dumps(message).encode())

    def heard(self) -> list[dict[str, Any]]:
        return [json.loads(frame) for frame in self.theirs.receive()]


class Stage:
    """A port, its child, and what became of things."""

    def __init__(self, stalled_after_s: float) -> None:
        self.child = ScriptedChild()
        self.cards = Cards({**config.defaults()["gpus"]}, asked=True)
        self.active: list[Job] = []
        self.samples: list[Any] = []
        self.changes = 0
        self.told: list[dict[str, Any]] = []
        self.port = GpuPort(
            self.child,  # type: ignore[arg-type]
            asyncio.get_running_loop(),
            self.cards,
            active=lambda: self.active,
            on_changed=self._on_changed,
            on_samples=self.samples.extend,
            stalled_after_s=stalled_after_s,
        )
        self.port.attach()

    def _on_changed(self) -> None:
        self.changes += 1

    def report(self, *cards: dict[str, Any]) -> None:
        self.child.say(t="cards", cards=cards, groups=[], driver="1", round_s=0.001)

    async def until(self, holds: Callable[[], Any]) -> Any:
        async with asyncio.timeout(_PATIENCE_S):
            while not (found := holds()):
                await asyncio.sleep(0.01)
            return found

    async def told_to(self, what: str, count: int = 1) -> dict[str, Any]:
        """The ``count``-th message of a kind that the child got."""

        def found() -> dict[str, Any] | None:
            self.told += self.child.heard()
            matching = [message for message in self.told if message["t"] == what]
            return matching[count - 1] if len(matching) >= count else None

        message: dict[str, Any] = await self.until(found)
        return message

    def unusable(self) -> str | None:
        (card,) = self.cards.cards(self.port.holders()) or ()
        return card.unusable


def play(script: Callable[[Stage], Awaitable[None]], stalled_after_s: float = 60.0) -> None:
    async def live() -> None:
        stage = Stage(stalled_after_s)
        try:
            await script(stage)
        finally:
            await stage.port.close()
            if stage.child.alive:
                os.kill(stage.child.pid, signal.SIGKILL)
                await asyncio.wait({stage.port.ended}, timeout=_PATIENCE_S)

    asyncio.run(live())


def holder(job_id: int = 7) -> Job:
    spec = Spec(name="job", user="ada", uid=1, gid=1, command=("true",), cwd="/")
    job = Job(job_id, spec, submitted_at=0.0, attempt=1, gpu_ids=(0,))
    job.shim, job.process = Process("boot", 10, 100), Process("boot", 11, 101)
    return job


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_port, "_WATCH_S", 0.05)
    monkeypatch.setattr(gpu_port, "_LOOK_S", 0.02)
    monkeypatch.setattr(gpu_port, "_RELEASE_S", 0.5)


def test_absence() -> None:
    """A child that says there is no driver is not replaced, and its absence is an answer."""

    async def script(stage: Stage) -> None:
        stage.child.say(t="absent", message="there is no driver")
        await stage.port.first_answer(_PATIENCE_S)
        os.kill(stage.child.pid, signal.SIGKILL)
        await asyncio.wait({stage.port.ended}, timeout=_PATIENCE_S)
        assert stage.child.restarts == 0
        assert stage.port.describe()["state"] == "absent"
        assert stage.cards.cards({}) == ()

    play(script)


def test_use_of_cards() -> None:
    """What a job's own processes use on its cards is the job's; use adds up."""

    async def script(stage: Stage) -> None:
        stage.active = [holder()]
        used = facts("A", processes=[process(job_id=7), process(job_id=8)], utilisation=0.5)
        stage.report(used)
        await stage.until(lambda: stage.samples)
        ((job_id, attempt, figures),) = stage.samples
        assert (job_id, attempt) == (7, 1)
        assert figures["gpu_memory_bytes"] == GIB and figures["gpu_utilisation"] == 0.5
        assert figures["gpu_s"] >= 0

    play(script)


def test_watched_processes() -> None:
    """Only jobs that hold cards are told, with shim and command."""

    async def script(stage: Stage) -> None:
        job = holder()
        without = holder(8)
        without.gpu_ids = ()
        stage.port.watch(without)
        stage.port.watch(job)
        message = await stage.told_to("watch")
        assert message == {"t": "watch", "job_id": 7, "roots": [[10, 100], [11, 101]]}

    play(script)


def test_release_looks_until_memory_is_free() -> None:
    """The end is told when a look shows that the memory is free, not before."""

    async def script(stage: Stage) -> None:
        stage.report(facts("A", utilisation=None))
        await stage.until(lambda: stage.changes)
        done: list[bool] = []
        job = holder()
        stage.active = [job]
        stage.port.release(job, lambda: done.append(True))
        first = await stage.told_to("look")
        full = {"uuid": "A", "used_bytes": 9 * GIB, "processes": []}
        stage.child.say(t="looked", number=first["number"], cards=[full])
        second = await stage.told_to("look", 2)
        assert not done
        stage.child.say(t="looked", number=second["number"], cards=[{**full, "used_bytes": 0}])
        await stage.until(lambda: done)
        assert stage.unusable() is None

    play(script)


def test_memory_that_stays() -> None:
    """A job does not wait for ever: it ends, and its card is kept back."""

    async def script(stage: Stage) -> None:
        full = facts("A", used_bytes=9 * GIB, utilisation=None)
        stage.report(full)
        await stage.until(lambda: stage.changes)
        done: list[str | None] = []
        job = holder()
        stage.active = [job]
        stage.port.release(job, lambda: done.append(stage.unusable()))
        count = 0
        while not done:
            count += 1
            try:
                look = await asyncio.wait_for(stage.told_to("look", count), 0.2)
            except TimeoutError:
                continue
            stage.child.say(t="looked", number=look["number"], cards=[full])
        # Kept back before the end was told: the end would have given the card out.
        assert "the memory of job 7 is not free" in str(done[0])
        stage.active = []
        assert "the memory of job 7 is not free" in str(stage.unusable())

    play(script)


def test_release_while_the_driver_hangs() -> None:
    """Without an answer the job ends all the same; its card waits for the driver's next word."""

    async def script(stage: Stage) -> None:
        stage.report(facts("A", utilisation=None))
        await stage.until(lambda: stage.changes)
        done: list[bool] = []
        stage.port.release(holder(), lambda: done.append(True))
        await stage.until(lambda: done)
        assert "is not free" in str(stage.unusable()) or "does not tell" in str(stage.unusable())
        stage.report(facts("A", utilisation=None))
        await stage.until(lambda: stage.unusable() is None)

    play(script)


def test_silence() -> None:
    """A silent child is stalled, killed and replaced; its first word ends that."""

    async def script(stage: Stage) -> None:
        stage.report(facts("A", utilisation=None))
        await stage.until(lambda: stage.port.describe()["state"] == "stalled")
        await stage.until(lambda: stage.child.restarts == 1)
        assert stage.child.killed[0] == signal.SIGKILL
        assert stage.port.describe()["state"] == "stalled"
        stage.child.say(t="alive")
        await stage.until(lambda: stage.port.describe()["state"] == "running")
        assert stage.unusable() is None

    play(script, stalled_after_s=0.2)


def test_uninterruptible() -> None:
    """A child that cannot die is not killed: what was known stays and nothing is lost."""

    async def script(stage: Stage) -> None:
        stage.report(facts("A", utilisation=None))
        stage.child.state_word = "uninterruptible"
        await stage.until(lambda: stage.port.describe()["state"] == "stalled")
        await stage.until(lambda: stage.port.describe()["silent_s"] > 0.6)
        assert stage.child.killed == []
        assert stage.port.describe()["process_state"] == "uninterruptible"

    play(script, stalled_after_s=0.2)


def test_replacement_is_told_everything() -> None:
    """A new child learns whose processes are whose, and what the old one did not answer."""

    async def script(stage: Stage) -> None:
        stage.report(facts("A", utilisation=None))
        await stage.until(lambda: stage.changes)
        stage.active = [holder(8)]
        done: list[bool] = []
        stage.port.release(holder(), lambda: done.append(True))
        os.kill(stage.child.pid, signal.SIGKILL)
        await stage.until(lambda: stage.child.restarts == 1)
        stage.told.clear()
        assert (await stage.told_to("watch"))["job_id"] == 8
        look = await stage.told_to("look")
        stage.child.say(
            t="looked",
            number=look["number"],
            cards=[{"uuid": "A", "used_bytes": 0, "processes": []}],
        )
        await stage.until(lambda: done)

    play(script)
