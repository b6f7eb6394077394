"""What really happens to attempts: commands, what is left of them, and the run files they leave.

The truth that the rest is measured against: how often a command was started, how it ended, whether
anything of it lives, and what was done to whoever should have seen it.
"""

from __future__ import annotations

import random
from typing import Any

from gflow.launching import protocol, runfile
from gflow.launching.order import Order
from gflow.process.table import Identity

Key = tuple[int, int]


class Command:
    """One command that came to exec, and the processes that it left behind."""

    def __init__(self, order: Order, identity: Identity, ends_at_s: float, children: int) -> None:
        self.job_id = order.job_id
        self.attempt = order.attempt
        self.cpus = order.cpus
        self.gpu_ids = tuple(order.gpu_ids)
        #: What it exits with when nobody kills it.
        self.code = int(order.command[2])
        self.identity = identity
        #: On the boot clock.
        self.ends_at_s = ends_at_s
        self.running = True
        self.children = children
        self.exit_code: int | None = None
        self.signal: int | None = None
        #: Its shim was killed or the power went: its end may be unknown.
        self.unwatched = False
        #: The power went before anything of it was on the disk.
        self.forgotten = False
        #: Moment from which on it is killed outright; None: nobody asked.
        self.kill_at_s: float | None = None
        self.stopped = False

    @property
    def alive(self) -> bool:
        """Whether anything of it is left."""
        return self.running or self.children > 0

    def end(self, *, killed: bool) -> None:
        """It ends, by itself or by a signal."""
        self.running = False
        if killed:
            self.signal = 9 if self.stopped else 15
        else:
            self.exit_code = self.code


class RunFile:
    """One run file: bytes, how many of them are synced, and who holds its lock."""

    def __init__(self, holder: Any, key: Key, before: bytes = b"") -> None:
        """``before``: what the file held when it was another attempt's."""
        self.name = f"{key[0]}.{key[1]}"
        self.data = b""
        self._before = before
        self.synced = 0
        #: A process with an ``identity``; None: nobody.
        self.holder: Any = holder
        self.deleted = False

    def append(self, phase: str, facts: dict[str, Any], record: bytes | None = None) -> None:
        """A line as ``runfile.append`` writes it."""
        body = protocol.encode({"phase": phase, **facts})
        if record is not None:
            body = b"".join((body[:-1], b',"record":', record, b"}"))
        self.data += runfile.compose(self.name, body)

    def contents(self) -> runfile.Contents:
        """What it says now."""
        return runfile.parse(self.data, self.name)

    def sync(self) -> None:
        """All of it survives a power cut."""
        self.synced = len(self.data)

    def power_was_cut(self, draw: random.Random) -> bool:
        """Keep what was synced and any piece of the rest. False: not even its name was."""
        self.holder = None
        if not self.synced and draw.random() < 0.3:
            return False
        if not self.synced and self._before and draw.random() < 0.5:
            self.data = self._before  # it has its name, and was not emptied
        self.data = self.data[: draw.randint(self.synced, len(self.data))]
        self.synced = len(self.data)
        return True
