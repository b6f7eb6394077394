"""Shims and followers, one small step at a time; they may be killed between any two.

Modelled after ``gflow.launching.shim`` and ``follower``: the same lines in the same order, the same
reports. A ``Machine`` is where they live.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any

from gflow.launching.follower import LOST_MESSAGE, Subject
from gflow.launching.order import Order
from gflow.launching.shim import ALREADY_STARTED
from gflow.launching.survey import Finding
from tests.simulation.attempt import Command, Key, RunFile

if TYPE_CHECKING:
    from tests.simulation.machine import Machine


class Phase(Enum):
    """What a shim does next."""

    CLAIM = "claim"
    SPAWN = "spawn"
    TELL_STARTED = "tell started"
    FOLLOW = "follow"
    TELL_EXIT = "tell exit"
    SYNC = "sync"
    LINGER = "linger"
    WRITE = "write"
    OVER = "over"


class Watcher:
    """A shim or a follower, as the launcher knows it: a pid and a pidfd."""

    def __init__(self, machine: Machine, key: Key) -> None:
        self.machine = machine
        self.key = key
        self.identity = machine.new_identity()
        self.alive = True
        #: It holds the lock of the state folder that it inherited.
        self.newborn = True
        self.run_file: RunFile | None = None
        self.command: Command | None = None

    @property
    def wants_step(self) -> bool:
        """Whether a step would do something now."""
        raise NotImplementedError

    def step(self) -> None:
        """The next thing it does."""
        raise NotImplementedError

    def signal(self, number: int, grace_period_s: float) -> None:
        """SIGTERM: end the tree with patience; SIGINT: at once; SIGKILL: die."""
        if number == 9:
            self.die()
        elif self.command is not None:
            at_s = self.machine.clock.boot_s + (grace_period_s if number == 15 else 0.0)
            before = self.command.kill_at_s
            self.command.kill_at_s = at_s if before is None else min(before, at_s)

    def die(self) -> None:
        """It is no more; its locks are free."""
        self.alive = False
        self.newborn = False
        if self.run_file is not None and self.run_file.holder is self:
            self.run_file.holder = None
        if self.command is not None and self.command.alive:
            self.command.unwatched = True

    def leave(self) -> None:
        """It has done its work."""
        self.alive = False
        self.newborn = False
        if self.run_file is not None and self.run_file.holder is self:
            self.run_file.holder = None

    def report(self, what: str, facts: dict[str, Any]) -> None:
        """One line for whichever launcher lives."""
        job_id, attempt = self.key
        self.machine.report({"t": what, "job_id": job_id, "attempt": attempt, **facts})


class Shim(Watcher):
    """One attempt from the fork to the last of its processes."""

    def __init__(self, machine: Machine, order: Order) -> None:
        super().__init__(machine, (order.job_id, order.attempt))
        self._order = order
        self._phase = Phase.CLAIM
        self._exit: dict[str, Any] = {}
        #: What is told of the start together with the exit of a command that ended at once.
        self._start: dict[str, Any] = {}
        #: A signal that came before there was a command.
        self._pending: tuple[int, float] | None = None
        self._unwritten: list[tuple[str, dict[str, Any]]] = []

    def signal(self, number: int, grace_period_s: float) -> None:
        if number != 9 and self.command is None:
            self._pending = (number, self._order.grace_period_s)
            return
        super().signal(number, self._order.grace_period_s)

    def die(self) -> None:
        super().die()
        unwritten = self._phase in (Phase.TELL_STARTED, Phase.FOLLOW) or self._unwritten
        if self.command is not None and unwritten:
            self.command.unwatched = True

    @property
    def wants_step(self) -> bool:
        if not self.alive:
            return False
        if self._phase is Phase.FOLLOW:
            return self.command is not None and not self.command.running
        if self._phase is Phase.LINGER:
            return self.command is not None and self.command.children == 0
        if self._phase is Phase.WRITE:
            return not self.machine.disk.no_room or self.run_file is None or self.run_file.deleted
        return True

    def step(self) -> None:
        _STEPS[self._phase](self)

    def _claim(self) -> None:
        machine = self.machine
        if machine.restarts_attempts and self.key in machine.run_files:
            del machine.run_files[self.key]
        if self.key in machine.run_files:
            machine.exit_codes[self.identity[0]] = ALREADY_STARTED
            self.leave()
            return
        if machine.disk.no_room:
            self._cannot_start("no space left on device", transient=True)
            return
        machine.ledger += b"\n+%d.%d\n" % self.key
        place, order = machine.place, self._order
        self.run_file = machine.new_run_file(self, self.key)
        self.newborn = False
        facts = {
            "job_id": order.job_id,
            "attempt": order.attempt,
            "boot_id": place.boot_id,
            "machine_id": place.machine_id,
            "folder": place.folder,
            "shim": list(self.identity),
            "array_id": order.array_id,
            "task": order.task,
            "title": order.title,
            "grace_period_s": order.grace_period_s,
            "linger": order.linger,
            "at": machine.clock.wall_s,
            "boot_s": machine.clock.boot_s,
        }
        self.run_file.append("starting", facts, order.record)
        self._phase = Phase.SPAWN

    def _spawn(self) -> None:
        machine = self.machine
        draw = machine.draw.random()
        if self.run_file is not None and self.run_file.deleted:
            self._cannot_start("cannot start: it was deleted", transient=True)
        elif draw < machine.fault_rate:
            self._cannot_start("cannot start: out of memory", transient=True)
        elif draw < 2 * machine.fault_rate:
            self._cannot_start("cannot start job: No such file or directory", transient=False)
        else:
            assert self.run_file is not None
            self.run_file.append("spawning", {})
            self.command = machine.exec(self._order)
            self.command.unwatched = self.run_file.deleted
            self._phase = Phase.TELL_STARTED
            if self._pending is not None:
                self.signal(*self._pending)

    def _cannot_start(self, message: str, *, transient: bool) -> None:
        facts = {"message": message, "transient": transient}
        if self.run_file is not None and transient:
            self.machine.ledger += b"\n-%d.%d\n" % self.key
            self.machine.delete(self.key)
        elif self.run_file is not None:
            self.run_file.append("failed", facts)
        self.report("start_failed", facts)
        self.leave()

    def _tell_started(self) -> None:
        assert self.command is not None
        clock = self.machine.clock
        facts = {
            "process": list(self.command.identity),
            "started_at": clock.wall_s,
            "started_boot_s": clock.boot_s,
        }
        self._note("started", facts)
        facts |= {"shim": list(self.identity), "boot_id": self.machine.place.boot_id}
        if self.command.running:
            self.report("started", facts)
        else:
            self._start = {"start": facts}
        self._phase = Phase.FOLLOW

    def _write_exit(self) -> None:
        command = self.command
        assert command is not None
        self._exit = {
            "exit_code": command.exit_code,
            "signal": command.signal,
            "finished_at": self.machine.clock.wall_s,
            "usage": {"cpu_s": 0.5, "max_rss_bytes": 1 << 20},
            "gone": command.children == 0,
        }
        self._note("exit", self._exit)
        self._phase = Phase.TELL_EXIT

    def _tell_exit(self) -> None:
        self.report("exited", self._exit | self._start)
        self._phase = Phase.SYNC

    def _sync(self) -> None:
        assert self.run_file is not None and self.command is not None
        if not self.machine.disk.no_room:
            self.run_file.sync()
        if self._exit["gone"]:
            self._phase = Phase.WRITE
            return
        if not self._order.linger:
            self.command.kill_at_s = self.machine.clock.boot_s + self._order.grace_period_s
        self._phase = Phase.LINGER

    def _gone(self) -> None:
        self._note("gone", {"at": self.machine.clock.wall_s})
        self.report("gone", {})
        self._phase = Phase.WRITE

    def _write(self) -> None:
        """Not before the exit is on the disk, or no longer needed."""
        unwritten, self._unwritten = self._unwritten, []
        for phase, facts in unwritten:
            self._note(phase, facts)
        if not self._unwritten or self.run_file is None or self.run_file.deleted:
            self._phase = Phase.OVER
            self.leave()

    def _note(self, phase: str, facts: dict[str, Any]) -> None:
        assert self.run_file is not None
        if self.machine.disk.no_room:
            self._unwritten.append((phase, facts))
        else:
            self.run_file.append(phase, facts)


_STEPS = {
    Phase.CLAIM: Shim._claim,
    Phase.SPAWN: Shim._spawn,
    Phase.TELL_STARTED: Shim._tell_started,
    Phase.FOLLOW: Shim._write_exit,
    Phase.TELL_EXIT: Shim._tell_exit,
    Phase.SYNC: Shim._sync,
    Phase.LINGER: Shim._gone,
    Phase.WRITE: Shim._write,
}


class Follower(Watcher):
    """Stands in for a killed shim until nothing of its attempt is left."""

    def __init__(self, machine: Machine, finding: Finding) -> None:
        key = (finding.job_id, finding.attempt)
        super().__init__(machine, key)
        self.newborn = False
        self._subject = Subject(finding)
        self.command = machine.commands.get(key)
        self._begun = False

    @property
    def wants_step(self) -> bool:
        if not self.alive:
            return False
        command = self.command
        if not self._begun or command is None or not command.alive:
            return True
        return not command.running and command.kill_at_s is None

    def signal(self, number: int, grace_period_s: float) -> None:
        super().signal(number, self._subject.grace_period_s)

    def step(self) -> None:
        command, machine = self.command, self.machine
        if not self._begun:
            self._begun = True
            run_file = machine.run_files.get(self.key)
            if run_file is not None and run_file.holder is None:
                self.run_file = run_file
                run_file.holder = self
                self._note("following", {"follower": list(self.identity)})
        elif command is not None and command.alive:
            command.kill_at_s = machine.clock.boot_s + self._subject.grace_period_s
        elif self._subject.exit_known:
            self._note("gone", {"at": machine.clock.wall_s})
            self.report("gone", {})
            self.leave()
        else:
            facts = {"message": LOST_MESSAGE}
            self._note("lost", {"at": machine.clock.wall_s, **facts})
            self.report("lost", facts)
            self.leave()

    def _note(self, phase: str, facts: dict[str, Any]) -> None:
        if self.run_file is not None and not self.machine.disk.no_room:
            self.run_file.append(phase, facts)
