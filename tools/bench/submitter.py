"""The supervisor's end alone: the real link with a real persister, and nothing else in the way."""

from __future__ import annotations

import multiprocessing
import os
import select
import signal
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from gflow.model.record import Key, Record
from gflow.persistence import message, persister
from gflow.persistence.link import Link
from gflow.process.channel import Channel
from tools.bench import archive, sample

_PATIENCE_S = 120.0


class Submitter:
    """Memory, link, channel and a forked persister on a state folder."""

    def __init__(self, state_dir: Path, **settings: Any) -> None:
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._memory: dict[Key, Record] = {}
        self.link = Link(self._memory.get)
        self._answers: dict[int, message.Answer] = {}
        self._loaded = False
        context = multiprocessing.get_context("fork")
        ours, theirs = context.Pipe()
        self._channel = Channel(os.dup(ours.fileno()))
        ours.close()
        self._process = context.Process(
            target=persister.main,
            args=(theirs.fileno(), {"state_dir": str(state_dir), "init_empty": True, **settings}),
        )
        self._process.start()
        theirs.close()
        self._poll = select.poll()
        self._poll.register(self._channel.fileno(), select.POLLIN)
        self.until(lambda: self._loaded)

    def __enter__(self) -> Submitter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._process.pid is not None
        self._channel.close()
        os.kill(self._process.pid, signal.SIGKILL)
        self._process.join()

    @property
    def pid(self) -> int:
        """The persister's pid."""
        assert self._process.pid is not None
        return self._process.pid

    # --- the channel ----------------------------------------------------------------------------

    def put(self, records: dict[Key, Record]) -> int:
        """Change memory; the position that must be durable."""
        self._memory.update(records)
        return self.link.add(records)

    def forget(self, key: Key) -> None:
        """Let go of a record that is durable."""
        self._memory.pop(key, None)

    def turn(self) -> None:
        """Send what may be sent, wait for something, receive it."""
        while (frame := self.link.next_frame(time.monotonic())) is not None:
            self._channel.send(frame)
        if self._channel.wants_write:
            self._poll.modify(self._channel.fileno(), select.POLLIN | select.POLLOUT)
            self._poll.poll(100)
            self._channel.flush()
            self._poll.modify(self._channel.fileno(), select.POLLIN)
            ready = self._poll.poll(0)
        else:
            ready = self._poll.poll(100)
        for frame in self._channel.receive() if ready else ():
            for found in self.link.receive(frame, time.monotonic()):
                self._take(found)

    def _take(self, found: message.Message) -> None:
        if isinstance(found, message.Answer):
            self._answers[found.id] = found
        elif isinstance(found, message.Loaded):
            self._loaded = True
        assert not isinstance(found, message.OpenRefused | message.Crashed), found

    def until(self, condition: Callable[[], object]) -> None:
        """Turn until it is true."""
        end_s = time.monotonic() + _PATIENCE_S
        while not condition():
            assert time.monotonic() < end_s, "the persister does not answer"
            self.turn()

    # --- work -----------------------------------------------------------------------------------

    def save(self, records: dict[Key, Record]) -> float:
        """Seconds until these records are durable."""
        began_s = time.perf_counter()
        position = self.put(records)
        self.until(lambda: self.link.durable >= position)
        return time.perf_counter() - began_s

    def crowd(self, clients: int, count: int, first_id: int) -> tuple[float, list[float]]:
        """Durable submissions per second of so many clients at once, and the seconds of each."""
        took: list[float] = []
        waiting: list[tuple[int, int, float]] = []
        job_id = first_id
        began_s = time.perf_counter()
        while len(took) < count:
            while len(waiting) < clients and job_id < first_id + count:
                position = self.put(submission(job_id))
                waiting.append((position, job_id, time.perf_counter()))
                job_id += 1
            self.turn()
            durable, now_s = self.link.durable, time.perf_counter()
            took += [now_s - sent_s for position, _, sent_s in waiting if position <= durable]
            waiting = [one for one in waiting if one[0] > durable]
        return count / (time.perf_counter() - began_s), took

    def lives(self, count: int, first_id: int, clients: int = 64) -> None:
        """So many jobs from submission to end, each step durable before its next, as they come."""
        steps: tuple[Callable[[int], dict[Key, Record]], ...] = (submission, start, end)
        waiting: list[tuple[int, int, int]] = []
        job_id, done = first_id, 0
        while done < count:
            while len(waiting) < clients and job_id < first_id + count:
                waiting.append((self.put(submission(job_id)), job_id, 0))
                job_id += 1
            self.turn()
            left = []
            for position, number, step in waiting:
                if position > self.link.durable:
                    left.append((position, number, step))
                elif step == 2:
                    done += 1
                    self.forget(("job", number))
                else:
                    left.append((self.put(steps[step + 1](number)), number, step + 1))
            waiting = left

    def ask(self, what: str, **args: Any) -> float:
        """Seconds until a question is answered."""
        return sample.timed(lambda: self._wait(self.link.query(what, args)))

    def begin(self, what: str, **args: Any) -> Callable[[], bool]:
        """Ask, and go on: whether the answer has come."""
        number = self.link.query(what, args)
        return lambda: number in self._answers

    def _wait(self, number: int) -> None:
        self.until(lambda: number in self._answers)
        answer = self._answers.pop(number)
        assert answer.error is None, answer.error


def _with_transition(record: dict[str, Any], number: int, cause: str) -> dict[Key, Record]:
    entry = {"at": record["submitted_at"], "to": record.get("state", "PENDING"), "cause": cause}
    job_id = record["id"]
    return {("job", job_id): record, ("transition", job_id, number): entry}


def submission(job_id: int) -> dict[Key, Record]:
    """What changes when a job is submitted."""
    return {("job", job_id): archive.waiting(job_id)}


def start(job_id: int) -> dict[Key, Record]:
    """What changes when it starts."""
    return _with_transition(archive.active(job_id), 1, "scheduled")


def end(job_id: int) -> dict[Key, Record]:
    """What changes when it ends."""
    return _with_transition(archive.ended(job_id), 2, "exited")
