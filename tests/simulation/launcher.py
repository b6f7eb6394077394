"""The real launcher, with processes of the simulated machine below it."""

from __future__ import annotations

import errno
import os
from types import SimpleNamespace
from typing import Any, cast

from gflow.launching import launcher, ledger, protocol, reader
from gflow.launching.custody import Custody
from gflow.launching.ledger import Entries, Key, Ledger
from gflow.launching.order import Order
from gflow.launching.place import Place
from gflow.launching.pool import Pool
from gflow.launching.report import Reports
from gflow.launching.survey import Finding
from gflow.process.channel import ChannelClosed
from tests.simulation.machine import Machine, key_of
from tests.simulation.pipe import Pipe
from tests.simulation.shim import Follower, Shim


class _Channel:
    """The launcher's end of its pipe."""

    def __init__(self, pipe: Pipe) -> None:
        self._pipe = pipe

    def queue(self, frame: bytes) -> None:
        try:
            self._pipe.tell(frame)
        except BrokenPipeError:
            raise ChannelClosed("broken pipe") from None


class _Reports(Reports):
    """The FIFO, which the machine has."""

    def open(self) -> None:
        self._fd = 0


class SimulatedLedger(Ledger):
    """Keeps its lines on the machine."""

    machine: Machine = cast(Any, None)

    def __init__(self, place: Place) -> None:
        self._place = place

    def read(self) -> Entries:
        return ledger.parse(self.machine.ledger, self._place)

    def tend(self) -> None:
        entries, machine = self.read(), self.machine
        if entries.complete_since_s is None:
            entries.begun.update(machine.run_files)
        if entries.complete_since_s is None or machine.draw.random() < 0.01:
            machine.ledger = ledger.compose(entries, self._place, machine.clock.boot_s)

    def _append(self, line: bytes) -> None:
        if self.machine.disk.no_room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.machine.ledger += line


class _Custody(Custody):
    """Forks followers of the machine."""

    machine: Machine

    def _follow(self, finding: Finding) -> None:
        self.machine.forking = Follower(self.machine, finding)
        super()._follow(finding)


class _Attic:
    """Files are free at once; who begins an attempt takes one by himself."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    def put(self, path: str, _: float) -> None:
        self._machine.forget(key_of(path))

    def take(self, _: float) -> None:
        return None

    def clear(self, _: float) -> None:
        pass


class LauncherProcess(launcher.Launcher):
    """The process. ``ended`` says how it ended, None while it lives."""

    def __init__(self, pipe: Pipe, machine: Machine) -> None:
        self._pipe = pipe
        self._machine = machine
        self._channel = cast(Any, _Channel(pipe))
        self._place = machine.place
        self._conditions = cast(Any, SimpleNamespace(oom_kills=None, system=False))
        self._lock_fd = None
        self._callbacks = {}
        self._reports = _Reports(self._place, watch=self._watch, unwatch=self._unwatch)
        self._pool = Pool(watch=self._watch, unwatch=self._unwatch)
        self._custody = _Custody(
            self._place,
            self._pool,
            watch=self._watch,
            unwatch=self._unwatch,
            send=self._send,
            forward=self._forward,
            read_reports=self._reports.read,
        )
        self._custody.machine = machine
        self._reports.deliver = self._custody.pass_on
        self._ledger = SimulatedLedger(self._place)
        self._readers = reader.Readers(self._watch, self._unwatch, self._send)
        self._frugal = set()
        self._attic = cast(Any, _Attic(machine))
        self._heartbeat_at_s = 0.0
        self._serving = True
        self._begun = False
        self.ended: str | None = None
        self.stopped = False

    @property
    def wants_turn(self) -> bool:
        """Whether a turn would do something now."""
        if self.ended is not None or self.stopped:
            return False
        if not self._begun and any(one.newborn for one in self._machine.watchers.values()):
            return False  # its exec takes longer than the first steps of a shim
        if not self._begun or self._pipe.child_readable or self._machine.reports:
            return True
        if any(self._machine.has_ended(fd) for fd in self._callbacks):
            return True
        due_s = min(self._custody.impatient_at_s, self._heartbeat_at_s)
        return due_s <= self._machine.clock.boot_s

    def turn(self) -> None:
        """One wake-up of its loop: one frame, or what the machine has for it."""
        machine = self._machine
        try:
            if not self._begun:
                self._begun = True
                machine.reports = b""
                self._reports.open()
                self._ledger.tend()
            self._tick(machine.clock.boot_s)
            choices = [self._reports.read] if machine.reports else []
            choices += [self._callbacks[fd] for fd in self._callbacks if machine.has_ended(fd)]
            if self._pipe.child_readable:
                choices.append(self._serve_frame)
            if choices:
                machine.draw.choice(choices)()
        except ChannelClosed:
            self.end("exit 0")
        if not self._serving:
            self.end("exit 0")

    def _serve_frame(self) -> None:
        try:
            frame = self._pipe.take()
        except EOFError:
            raise ChannelClosed("end of file") from None
        message, blobs = protocol.unpack(frame)
        if message["t"] == "start":
            self._machine.forking = Shim(self._machine, Order(message, blobs))
        self._handle(message, blobs, frame)

    def _fork(self, _: Order) -> tuple[int, None]:
        """A shim of the machine takes one order."""
        return self._machine.fork(), None

    def end(self, how: str) -> None:
        """It ends; the FIFO forgets what nobody has read."""
        self.ended = how
        self._machine.reports = None
        self._pipe.child_gone = True
        self._pipe.to_child.clear()

    # --- in the place of epoll ------------------------------------------------------------------

    def _watch(self, fd: int, callback: Any) -> None:
        self._callbacks[fd] = callback

    def _unwatch(self, fd: int) -> None:
        del self._callbacks[fd]

    def _say_all(self) -> None:
        pass


class SimulatedSystem:
    """``os``, ``identity``, ``tree`` and ``runfile`` as the launcher's modules see them."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    # --- os ---

    waitstatus_to_exitcode = staticmethod(os.waitstatus_to_exitcode)

    def fork(self) -> int:
        return self._machine.fork()

    def pidfd_open(self, pid: int) -> int:
        return pid

    def waitpid(self, pid: int, options: int) -> tuple[int, int]:
        return pid, self._machine.exit_codes.get(pid, 0) << 8

    def unlink(self, path: str) -> None:
        self._machine.unlink(path)

    def getpid(self) -> int:
        return 1

    def close(self, fd: int) -> None:
        pass

    # --- os, runfile ---

    def read(self, what: int | str, size: int = 0) -> Any:
        """A run file by its path, or all of the FIFO."""
        if isinstance(what, str):
            return self._machine.read_run_file(what)
        if not self._machine.reports:
            raise BlockingIOError
        data, self._machine.reports = self._machine.reports, b""
        return data

    def keys(self, folder: str) -> list[Key]:
        """The attempts that have a run file."""
        return sorted(self._machine.run_files)

    def holder(self, path: str) -> int | None:
        return self._machine.holder(path)

    # --- identity ---

    def open_pidfd(self, pid: int, ticks: int) -> int | None:
        return self._machine.open_pidfd(pid, ticks)

    def is_alive(self, pid: int, ticks: int) -> bool:
        return self._machine.open_pidfd(pid, ticks) is not None

    def start_ticks(self, pid: int) -> int | None:
        return self._machine.start_ticks(pid)

    def is_stopped(self, pid: int, ticks: int) -> bool:
        """Of a command."""
        wanted = (pid, ticks)
        return any(one.stopped for one in self._machine.alive() if one.identity == wanted)

    # --- tree ---

    def descendants(self, pid: int) -> list[Any]:
        """The command below a shim; it stands for its whole tree."""
        watcher = self._machine.watchers.get(pid)
        command = None if watcher is None else watcher.command
        return [command] if command is not None and command.alive else []

    def send(self, command: Any, number: int) -> None:
        """SIGSTOP and SIGCONT; other signals are the command's own business."""
        if number in (18, 19):
            command.stopped = number == 19
