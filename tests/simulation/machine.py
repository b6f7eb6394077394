"""One machine and its processes: what ``os``, ``runfile``, ``identity`` and ``tree`` would find."""

from __future__ import annotations

import json
import random
from typing import Any

from gflow.launching import ledger, protocol, runfile
from gflow.launching.order import Order
from gflow.launching.place import Place
from gflow.process.table import Identity
from tests.simulation.attempt import Command, Key, RunFile
from tests.simulation.clock import Clock
from tests.simulation.disk import Disk
from tests.simulation.shim import Watcher

CPUS = 4
GPUS = 3


def place_of(state_dir: str, boot_id: str) -> Place:
    """Where attempts leave their files, on a boot of our own."""
    place = Place(state_dir)
    place.boot_id, place.groups = boot_id, None
    return place


class Machine:
    """Shims, commands, run files, the FIFO of reports; and a clock that may start anew."""

    #: For a bug on purpose: shims do not mind that their attempt began elsewhere.
    restarts_attempts = False

    def __init__(self, draw: random.Random, clock: Clock, disk: Disk) -> None:
        self.draw = draw
        self.clock = clock
        self.disk = disk
        #: Share of starts that fail for want of something; the same share for good.
        self.fault_rate = 0.03
        self._boots = 1
        self._last_pid = 1000
        self.place = place_of(disk.folder, "boot-1")
        #: Every command that ever came to exec.
        self.commands: dict[Key, Command] = {}
        self._alive: list[Command] = []
        self.run_files: dict[Key, RunFile] = {}
        self.watchers: dict[int, Watcher] = {}
        #: What shims exited with, by pid; no entry: 0.
        self.exit_codes: dict[int, int] = {}
        #: What the ledger of attempts says.
        self.ledger = b""
        #: Attempts whose run files somebody deleted.
        self._deleted: set[Key] = set()
        #: What is in files that are no attempt's any more.
        self._spares: list[bytes] = []
        #: What is in the FIFO; None: no launcher holds it.
        self.reports: bytes | None = None
        #: What the launcher is about to fork.
        self.forking: Watcher | None = None

    @property
    def boot_id(self) -> str:
        return self.place.boot_id

    def new_identity(self) -> Identity:
        """The next pid and its start ticks."""
        self._last_pid += 1
        return self._last_pid, int(self.clock.boot_s * 100)

    # --- what happens ---------------------------------------------------------------------------

    def exec(self, order: Order) -> Command:
        """A command begins. No attempt ever begins twice."""
        key = (order.job_id, order.attempt)
        assert not self.has_begun(key), f"attempt {key} was started twice"
        wanted = json.loads(order.record or b"{}")["spec"].get("env")
        assert (wanted is None) == (order.env is None), f"{key} begins without {wanted}"
        for other in self.alive():
            assert other.job_id != order.job_id, f"{key} begins, {other.attempt} lives"
        lasts_s = self.draw.choice((0.0, 0.0, 0.5, 3.0, 30.0))
        children = int(self.draw.random() < 0.2)
        command = Command(order, self.new_identity(), self.clock.boot_s + lasts_s, children)
        self.commands[key] = command
        self._alive.append(command)
        self._check_capacity()
        return command

    def _check_capacity(self) -> None:
        alive = [command for command in self.alive() if not self._is_nowhere(command)]
        cards = [index for command in alive for index in command.gpu_ids]
        assert len(cards) == len(set(cards)), f"a card was given out twice: {_names(alive)}"
        cpus = sum(command.cpus for command in alive)
        assert cpus <= CPUS, f"{cpus} of {CPUS} cpus are in use: {_names(alive)}"

    def _is_nowhere(self, command: Command) -> bool:
        """Its run file was deleted before its job was saved: nobody knows what it takes."""
        deleted = (command.job_id, command.attempt) in self._deleted
        return deleted and ("job", command.job_id) not in self.disk.content

    def has_begun(self, key: Key) -> bool:
        """Whether an attempt came to exec, as far as a machine that lost power can know."""
        return key in self.commands and not self.commands[key].forgotten

    def alive(self) -> list[Command]:
        """Commands of which something is left."""
        self._alive = [command for command in self._alive if command.alive]
        return self._alive

    def endings(self) -> list[Command]:
        """Commands, or what they left, that may end now."""
        now_s = self.clock.boot_s
        return [
            command
            for command in self.alive()
            if command.kill_at_s is not None or self._is_due(command, now_s)
        ]

    @staticmethod
    def _is_due(command: Command, now_s: float) -> bool:
        lasts_s = 0.0 if command.running else 5.0
        return not command.stopped and command.ends_at_s + lasts_s <= now_s

    def end(self, command: Command) -> None:
        """One of them ends."""
        if not command.running:
            command.children = 0
            return
        due = self._is_due(command, self.clock.boot_s)
        command.end(killed=not due or (command.kill_at_s is not None and self.draw.random() < 0.5))
        if command.kill_at_s is not None and self.draw.random() < 0.7:
            command.children = 0

    def report(self, facts: dict[str, Any]) -> None:
        """A shim writes to the FIFO; nobody hears it when no launcher is there."""
        if self.reports is not None:
            self.reports += protocol.encode(facts) + b"\n"

    def new_run_file(self, holder: Any, key: Key) -> RunFile:
        """The file of an attempt that begins; a spare one, if there is any."""
        before = self._spares.pop() if self._spares else b""
        found = self.run_files[key] = RunFile(holder, key, before)
        return found

    def forget(self, key: Key) -> None:
        """A run file is nobody's any more: another attempt may get it."""
        found = self.run_files.get(key)
        if found is not None:
            self._spares.append(found.data)
        self.delete(key)

    def delete(self, key: Key) -> None:
        """Unlink a run file."""
        found = self.run_files.pop(key, None)
        if found is not None:
            found.deleted = True

    def delete_run_files(self) -> None:
        """Somebody deletes one of them, or all: of some ends nobody will know."""
        keys = list(self.run_files)
        if keys and self.draw.random() < 0.3:
            keys = [self.draw.choice(keys)]
        for key in keys:
            self.delete(key)
            self._deleted.add(key)
            if key in self.commands:
                self.commands[key].unwatched = True

    def power_was_cut(self) -> None:
        """Everything is dead; run files are what was synced and some of the rest."""
        self.ledger = self.ledger[: self.draw.randint(0, len(self.ledger))]
        for command in self.commands.values():
            if command.alive:
                command.running, command.children, command.unwatched = False, 0, True
            elif not self._exit_is_synced(command):
                command.unwatched = True
        self.watchers.clear()
        self.reports = None
        for key, found in list(self.run_files.items()):
            if not found.power_was_cut(self.draw):
                del self.run_files[key]
                if key in self.commands:
                    self.commands[key].forgotten = True
        listed = ledger.parse(self.ledger, self.place).begun
        for key in self._deleted.difference(listed):
            if key in self.commands:
                self.commands[key].forgotten = True
        self._boots += 1
        self.clock.reboot()
        self.place = place_of(self.disk.folder, f"boot-{self._boots}")

    def _exit_is_synced(self, command: Command) -> bool:
        found = self.run_files.get((command.job_id, command.attempt))
        return found is not None and bool(
            runfile.parse(found.data[: found.synced], found.name).get("exit")
        )

    # --- what the launcher's modules ask --------------------------------------------------------

    def fork(self) -> int:
        """os.fork() in the parent: what is ``forking`` begins to live."""
        watcher, self.forking = self.forking, None
        assert watcher is not None
        if self.draw.random() < self.fault_rate / 3:
            raise OSError(11, "Resource temporarily unavailable")
        pid = watcher.identity[0]
        self.watchers[pid] = watcher
        return pid

    def signal_fd(self, fd: int, number: int) -> None:
        """A signal through a pidfd (a pidfd is the pid here)."""
        watcher = self.watchers.get(fd)
        if watcher is not None and watcher.alive:
            watcher.signal(int(number), 0.0)

    def open_pidfd(self, pid: int, ticks: int) -> int | None:
        """As ``identity.open_pidfd``."""
        watcher = self.watchers.get(pid)
        found = watcher is not None and watcher.alive and watcher.identity == (pid, ticks)
        return pid if found else None

    def has_ended(self, fd: int) -> bool:
        """Whether a pidfd is readable."""
        watcher = self.watchers.get(fd)
        return watcher is None or not watcher.alive

    def read_run_file(self, path: str) -> tuple[runfile.Contents, bool] | None:
        """As ``runfile.read``."""
        found = self.run_files.get(key_of(path))
        return None if found is None else (found.contents(), found.holder is not None)

    def holder(self, path: str) -> int | None:
        """As ``runfile.holder``."""
        found = self.run_files.get(key_of(path))
        return None if found is None or found.holder is None else int(found.holder.identity[0])

    def start_ticks(self, pid: int) -> int | None:
        """As ``identity.start_ticks``."""
        watcher = self.watchers.get(pid)
        return None if watcher is None or not watcher.alive else watcher.identity[1]

    def unlink(self, path: str) -> None:
        """os.unlink of a run file or of a script."""
        if "/runs/" in path and path.rpartition(".")[2].isdecimal():
            self.delete(key_of(path))

    def members(self, job_id: int, attempt: int) -> list[Any]:
        """What lives of an attempt beside its shim."""
        command = self.commands.get((job_id, attempt))
        return [command] if command is not None and command.alive else []


def key_of(path: str) -> Key:
    """(job id, attempt) from the path of a run file."""
    job_id, _, attempt = path.rpartition("/")[2].partition(".")
    return int(job_id), int(attempt)


def _names(commands: list[Command]) -> list[tuple[int, int, int, tuple[int, ...]]]:
    return [(one.job_id, one.attempt, one.cpus, one.gpu_ids) for one in commands]
