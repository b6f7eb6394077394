"""Drives a real monitor over a real pipe."""

from __future__ import annotations

import json
import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gflow.process import child, identity
from gflow.process.channel import Channel

LIMIT_S = 30.0


class Driver:
    """One monitor, sampling fast."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-P", "-m", "gflow.monitoring.monitor"),
                *child.words(theirs.fileno(), {"interval_s": 0.05}),
            ],
            pass_fds=[theirs.fileno()],
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        )
        theirs.close()
        self.channel = Channel(ours.detach())

    def watch(self, pid: int, job_id: int = 1, **fields: Any) -> None:
        """Have the tree below a process watched."""
        message = {"t": "watch", "job_id": job_id, "attempt": 1, "pid": pid, **fields}
        message["ticks"] = identity.start_ticks(pid)
        self.channel.send(json.dumps(message).encode())

    def unwatch(self, job_id: int = 1) -> None:
        message = {"t": "unwatch", "job_id": job_id, "attempt": 1}
        self.channel.send(json.dumps(message).encode())

    def messages(self) -> list[dict[str, Any]]:
        """What comes next."""
        select.select([self.channel], [], [], LIMIT_S)
        return [json.loads(frame) for frame in self.channel.receive()]

    def until(self, condition: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
        """The first message for which the condition holds."""
        deadline_s = time.monotonic() + LIMIT_S
        while time.monotonic() < deadline_s:
            for message in self.messages():
                if condition(message):
                    return message
        raise AssertionError("it did not come")

    def figures(self, condition: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
        """The first figures of job 1 for which the condition holds."""
        found: dict[str, Any] = {}

        def holds(message: dict[str, Any]) -> object:
            for job_id, _, figures in message.get("samples", ()):
                if job_id == 1 and condition(figures):
                    found.update(figures)
                    return True
            return False

        self.until(holds)
        return found

    def close(self) -> None:
        self.channel.close()
        self.process.wait(LIMIT_S)
