"""Drives a real launcher over a real pipe, as the supervisor does."""

from __future__ import annotations

import json
import os
import resource
import select
import signal
import socket
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gflow.launching import protocol
from gflow.process import child, identity
from gflow.process.channel import Channel, ChannelClosed

LIMIT_S = 30.0
ORDER = {"name": "test", "user": "tester", "uid": os.getuid(), "gid": os.getgid()}


def until(condition: Callable[[], Any], what: str = "the condition") -> Any:
    """The first true value of ``condition``, which changes without telling us."""
    deadline_s = time.monotonic() + LIMIT_S
    while not (value := condition()):
        assert time.monotonic() < deadline_s, f"{what} did not come true within {LIMIT_S:.0f} s"
        time.sleep(0.01)
    return value


def pids() -> list[int]:
    """All processes; not by glob, which fails when one vanishes under it."""
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


class Driver:
    """One launcher on one state folder; ``kill`` and ``spawn`` replace it."""

    def __init__(self, state_dir: Path, **settings: Any) -> None:
        self.state_dir = state_dir
        self._settings = {"state_dir": str(state_dir), **settings}
        self.files_limit = list(resource.getrlimit(resource.RLIMIT_NOFILE))
        self.messages: list[dict[str, Any]] = []
        self.spawn()

    # --- its life ---

    def spawn(self) -> None:
        ours, theirs = socket.socketpair()
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-P", "-m", "gflow.launching.launcher"),
                *child.words(theirs.fileno(), self._settings),
            ],
            pass_fds=[fd for fd in (theirs.fileno(), self._settings.get("lock_fd")) if fd],
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        )
        theirs.close()
        self.channel = Channel(ours.detach())

    def kill(self) -> None:
        """kill -9, as at the worst moment."""
        self.process.kill()
        self.process.wait()
        self.channel.close()

    def close(self) -> None:
        """End the launcher, then everything that it started."""
        self.channel.close()
        self.process.wait(LIMIT_S)
        for pid in self.processes():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass

    def fd_count(self) -> int:
        """Descriptors that the launcher has open."""
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def children(self) -> list[int]:
        """Shims and readers of the launcher, zombies included."""
        found = []
        for pid in pids():
            fields = identity.stat_fields(pid)
            if fields and int(fields[1]) == self.process.pid:
                found.append(pid)
        return found

    # --- talking ---

    def send(self, frame: bytes) -> None:
        self.channel.send(frame)

    def start(
        self,
        *command: str,
        job_id: int = 1,
        attempt: int = 1,
        env: dict[str, str] | bool | None = None,
        script: str | None = None,
        **fields: Any,
    ) -> None:
        order = {
            **ORDER,
            "t": "start",
            "job_id": job_id,
            "attempt": attempt,
            "command": command,
            "cwd": "/",
            "grace_period_s": 10.0,
            **fields,
        }
        environment = {"PATH": os.environ["PATH"]} if env is None else env
        blobs = (
            zlib.compress(json.dumps(environment).encode(), 1) if environment else None,
            None if script is None else zlib.compress(script.encode()),
            json.dumps({"id": job_id, "name": "test"}).encode(),
        )
        self.send(protocol.pack(order, blobs))

    def ask(self, what: str, job_id: int = 1, attempt: int = 1, **fields: Any) -> None:
        self.send(protocol.pack({"t": what, "job_id": job_id, "attempt": attempt, **fields}))

    def wait_for(self, what: str, *, limit_s: float = LIMIT_S, **fields: Any) -> dict[str, Any]:
        """The first message of that kind and with these values; each is returned once."""
        deadline_s = time.monotonic() + limit_s
        while True:
            for position, message in enumerate(self.messages):
                if message["t"] == what and fields.items() <= message.items():
                    return self.messages.pop(position)
            assert time.monotonic() < deadline_s, f"no {what} {fields} among {self.messages}"
            self.receive(deadline_s - time.monotonic())

    def receive(self, timeout_s: float) -> None:
        """Take what is said within this time."""
        select.select([self.channel], [], [], max(0.0, timeout_s))
        try:
            frames = self.channel.receive()
        except ChannelClosed:
            raise AssertionError(f"the launcher ended; heard {self.messages}") from None
        for frame in frames:
            message, blobs = protocol.unpack(frame)
            if start := message.pop("start", None):  # told with an end that came at once
                about = {name: message[name] for name in ("job_id", "attempt")}
                self.messages.append({"t": "started", **about, **start})
            if message["t"] != "heartbeat":
                self.messages.append({**message, "content": blobs[0] if blobs else None})

    def drain(self) -> list[dict[str, Any]]:
        """Everything said so far: up to the answer to a question that is asked last."""
        self.send(protocol.pack({"t": "read", "id": -1, "what": "stat", "path": "/"}))
        self.wait_for("read_result", id=-1)
        messages, self.messages = self.messages, []
        return messages

    def drain_into(self, messages: list[dict[str, Any]]) -> bool:
        """Add what was said so far; False: nothing."""
        drained = self.drain()
        messages += drained
        return bool(drained)

    def run(self, *command: str, **fields: Any) -> dict[str, Any]:
        """Start and see the end: the ``exited`` message."""
        self.start(*command, **fields)
        return self.wait_for("exited", job_id=fields.get("job_id", 1))

    # --- looking ---

    def log(self, name: str = "1") -> str:
        """What the job has printed so far."""
        path = self.state_dir / "logs" / f"{name}.log"
        return path.read_text() if path.exists() else ""

    def run_file(self, job_id: int = 1, attempt: int = 1) -> Path:
        return self.state_dir / "runs" / f"{job_id}.{attempt}"

    def processes(self, job_id: int | None = None) -> list[int]:
        """Pids of living processes (not zombies) of this folder's attempts, by their mark."""
        status = os.stat(self.state_dir)
        mark = f"GFLOW_ATTEMPT_ID={status.st_dev:x}:{status.st_ino:x}:"
        if job_id is not None:
            mark += f"{job_id}."
        found = []
        for pid in pids():
            try:
                environment = Path(f"/proc/{pid}/environ").read_bytes()
            except OSError:
                continue
            if mark.encode() in environment and identity.process_state(pid) not in (None, "Z"):
                found.append(pid)
        return found
