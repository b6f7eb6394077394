"""A real persister at the end of a real pipe, driven by a real link; and records to give it."""

from __future__ import annotations

import multiprocessing
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any, ClassVar, TypeVar

import gflow
from gflow.model.record import Key, Record
from gflow.persistence import message, persister
from gflow.persistence.link import Link
from gflow.process import child
from gflow.process.channel import Channel, ChannelClosed

DEADLINE_S = 20.0
#: The package is found wherever the tests run.
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.path.dirname(os.path.dirname(gflow.__file__))}
M = TypeVar("M")


def job(id: int, state: str = "PENDING", **fields: Any) -> dict[str, Any]:
    """A job's record as the core writes it, as far as the store looks at it."""
    spec = {
        "name": fields.pop("name", f"job{id}"),
        "user": fields.pop("user", "ada"),
        "project": fields.pop("project", None),
        "command": ["true"],
        "env": fields.pop("env", None),
        "script": fields.pop("script", None),
        "resources": {"cpus": 1, "gpus": 0, "memory_bytes": 0},
        "dependencies": fields.pop("dependencies", []),
    }
    record = {"id": id, "spec": spec, "state": state, "submitted_at": 1000.0, **fields}
    if state in ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL"):
        record.setdefault("finished_at", 2000.0 + id)
        record["final"] = True
    return record


class Supervisor:
    """The supervisor's side: memory, link, channel. Sends and receives only when asked to."""

    #: For the clean-up after a test.
    started: ClassVar[list[Supervisor]] = []

    def __init__(self, state_dir: str, **settings: Any) -> None:
        self.started.append(self)
        self.settings = {"state_dir": state_dir, **settings}
        self.memory: dict[Key, Record] = {}
        self.link = Link(lambda key: self.memory.get(key), **settings.pop("link", {}))
        self.settings.pop("link", None)
        self.messages: list[message.Message] = []
        self.replacement: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        """Fork a persister with the present settings."""
        context = multiprocessing.get_context("fork")
        ours, theirs = context.Pipe()
        self.channel = Channel(os.dup(ours.fileno()))
        ours.close()
        self.process = context.Process(
            target=persister.main, args=(theirs.fileno(), self.settings), name="persister"
        )
        self.process.start()
        theirs.close()

    def start_by_exec(self) -> None:
        """Start a fresh interpreter, as a replacement is started."""
        ours, theirs = multiprocessing.Pipe()
        fd = theirs.fileno()
        self.channel = Channel(os.dup(ours.fileno()))
        ours.close()
        command = [sys.executable, "-P", "-m", "gflow.persistence.persister"]
        command += child.words(fd, self.settings)
        self.replacement = subprocess.Popen(command, pass_fds=[fd], cwd="/", env=ENVIRONMENT)
        theirs.close()
        self.link.restarted()

    def put(self, records: dict[Key, Record], *, atomic: bool = False) -> int:
        """Change memory and tell the link."""
        self.memory.update(records)
        return self.link.add(records, atomic=atomic)

    def pump(self, wait_s: float = 0.0) -> None:
        """Send what may be sent and receive what has come. Raises ChannelClosed."""
        while (frame := self.link.next_frame(time.monotonic())) is not None:
            self.channel.send(frame)
        events = select.POLLIN | (select.POLLOUT if self.channel.wants_write else 0)
        poll = select.poll()
        poll.register(self.channel.fileno(), events)
        for _, ready in poll.poll(1000 * wait_s):
            if ready & select.POLLOUT:
                self.channel.flush()
            if ready & ~select.POLLOUT:
                for data in self.channel.receive():
                    self.messages.extend(self.link.receive(data, time.monotonic()))

    def pump_until(self, condition: Callable[[], object]) -> None:
        """Pump until something is true. Fails after the deadline."""
        deadline_s = time.monotonic() + DEADLINE_S
        while not condition():
            assert time.monotonic() < deadline_s, f"nothing of it came: {self.messages[-5:]}"
            self.pump(0.05)

    def expect(self, kind: type[M]) -> M:
        """Wait for the next message of a kind and take it (and all before it) off the list."""
        self.pump_until(lambda: any(isinstance(found, kind) for found in self.messages))
        while True:
            found = self.messages.pop(0)
            if isinstance(found, kind):
                return found

    def save(self, records: dict[Key, Record], *, atomic: bool = False) -> None:
        """Change memory and wait until it is durable."""
        position = self.put(records, atomic=atomic)
        self.pump_until(lambda: self.link.durable >= position)

    def ask(self, what: str, **args: Any) -> message.Answer:
        """Ask the store and wait for the answer."""
        id = self.link.query(what, args)
        while True:
            found = self.expect(message.Answer)
            if found.id == id:
                return found

    def loaded(self) -> tuple[dict[Key, Record], dict[str, Any]]:
        """Everything that comes at load, and what ``loaded`` says."""
        rows: dict[Key, Record] = {}
        self.pump_until(lambda: any(isinstance(m, message.Loaded) for m in self.messages))
        info = {}
        for found in self.messages:
            if isinstance(found, message.Rows):
                rows.update(found.records)
            elif isinstance(found, message.Loaded):
                info = found.info
        self.messages.clear()
        return rows, info

    def stop(self) -> int:
        """End orderly. Returns the exit code."""
        self.link.flush()
        self.pump_until(lambda: self.link.drained)
        self.channel.send(self.link.sentinel_frame())
        self.expect(message.Closed)
        return self.leave()

    def leave(self) -> int:
        """Close our end and wait for the process. Returns its exit code."""
        self.channel.close()
        self.process.join(DEADLINE_S)
        code = self.process.exitcode
        assert code is not None
        return code

    def kill(self) -> None:
        """Kill the persister, and see its death as the supervisor would."""
        assert self.process.pid is not None
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.join(DEADLINE_S)
        while True:
            try:
                self.pump(0.01)
            except ChannelClosed:
                break
        self.channel.close()
        self.messages.extend(self.link.lost(time.monotonic()))

    def end(self) -> None:
        """Leave nothing behind, whatever state it is in."""
        self.channel.close()
        self.process.kill()
        self.process.join()
        if self.replacement is not None:
            self.replacement.kill()
            self.replacement.wait()

    def replace(self) -> None:
        """Start another persister that loads nothing."""
        self.settings["load"] = False
        self.start()
        self.link.restarted()
