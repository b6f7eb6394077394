"""Looking at run files and processes, so that ``adoption`` can judge."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from gflow.launching import adoption, runfile, tree
from gflow.launching.adoption import Verdict
from gflow.launching.cgroup import Group
from gflow.launching.ledger import Entries, Key, Ledger
from gflow.launching.place import Place
from gflow.launching.protocol import Message
from gflow.launching.runfile import Contents
from gflow.process import identity, table
from gflow.process.table import Entry, Identity, Table

#: How long a survey waits in all for run files that cannot be read, and how long at a time.
_PATIENCE_S, _READ_AGAIN_S = 1.0, 0.05


class Known(NamedTuple):
    """What the supervisor knows of an attempt; nothing but the key where it does not."""

    key: Key
    #: Where its shim and its command were seen: (boot id, pid, start ticks).
    shim: tuple[str, int, int] | None = None
    command: tuple[str, int, int] | None = None
    #: Boot and moment (boot clock) of the order to start it.
    boot_id: str | None = None
    ordered_boot_s: float | None = None

    @property
    def has_begun(self) -> bool:
        """Whether one of its processes was seen."""
        return self.shim is not None or self.command is not None


class Finding:
    """One attempt and what is to be believed of it."""

    __slots__ = ("attempt", "command", "contents", "job_id", "shim", "stopped", "verdict")

    def __init__(
        self,
        job_id: int,
        attempt: int,
        verdict: Verdict,
        contents: Contents,
        shim: Identity | None,
        command: Identity | None,
        members: list[Entry] | None = None,
    ) -> None:
        self.job_id = job_id
        self.attempt = attempt
        self.verdict = verdict
        self.contents = contents
        #: Who holds the run file's lock (a shim or a follower); None: nobody, or not known.
        self.shim = shim
        self.command = command
        #: Whether the command (all of the attempt, where it was looked for) is stopped by a signal.
        self.stopped = (
            all(entry.stopped for entry in members)
            if members
            else command is not None and identity.is_stopped(*command)
        )

    @property
    def followed(self) -> bool:
        """Whether who holds the lock is a follower, as far as the run file tells."""
        first = _identity((self.contents.get("starting") or {}).get("shim"))
        replaced = first is not None and self.shim is not None and self.shim != first
        return replaced or self.contents.get("following") is not None

    def message(self, boot_id: str) -> Message:
        """The ``found`` report: the run file's facts, flat; absent ones are left out."""
        starting = self.contents.get("starting") or {}
        started = self.contents.get("started") or {}
        message: Message = {
            "t": "found",
            "verdict": self.verdict.value,
            "job_id": self.job_id,
            "attempt": self.attempt,
            "boot_id": starting.get("boot_id", boot_id),
            "array_id": starting.get("array_id"),
            "task": starting.get("task"),
            "shim": self.shim,
            "process": self.command,
            "stopped": self.stopped,
            "started_at": started.get("started_at", starting.get("at")),
            "started_boot_s": started.get("started_boot_s", starting.get("boot_s")),
            "record": starting.get("record"),
            "end_unknown": self.verdict is Verdict.FOLLOW
            or (self.followed and not self.contents.get("exit")),
        }
        for phase in ("failed", "lost", "exit"):
            message |= self.contents.get(phase) or {}
        message.pop("phase", None)
        message.pop("gone", None)
        return message


class Survey:
    """A look at one moment: the process table is read at most once, and only when needed."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._processes: Table | None = None
        self._marks: dict[str, list[Entry]] = {}
        #: Shims that are known to be about the attempt of some run file.
        self._busy: set[Identity | None] = set()
        self._entries: Entries | None = None
        #: How long may still be waited for files that cannot be read.
        self._patience_s = _PATIENCE_S

    def all(self, known: Iterable[Known] = ()) -> Iterator[Finding]:
        """Every run file, then those of ``known``, and of all that began, that have none."""
        seen = set()
        for key in runfile.keys(self._place.runs):
            finding = self.one(*key)
            if finding is not None:
                seen.add(key)
                self._busy.add(finding.shim)
                yield finding
        told = {one.key: one for one in known}
        begun = self._ledger().begun
        for key in [*told, *sorted(begun.difference(told))]:
            if key not in seen:
                # A shim that begins just now made its run file before it wrote to the ledger.
                yield self.one(*key) or self.without_file(told.get(key) or Known(key))

    def one(self, job_id: int, attempt: int) -> Finding | None:
        """What the run file of this attempt says; None: there is none."""
        place = self._place
        path = place.run_path(job_id, attempt)
        read = self._read(path)
        if read is None:
            return None
        contents, locked = read
        starting = contents.get("starting") or {}
        native = not starting or (starting.get("machine_id"), starting.get("folder")) == (
            place.machine_id,
            place.folder,
        )
        same_boot = not starting or starting.get("boot_id") == place.boot_id
        command = _identity((contents.get("started") or {}).get("process"))
        members: list[Entry] = []
        if native and same_boot and not locked and _may_live(contents):
            members = self._find_members(job_id, attempt, command, contents.group)
        verdict = adoption.judge(
            contents, locked=locked, native=native, same_boot=same_boot, alive=bool(members)
        )
        shim = _holder(contents, path) if locked else None
        return Finding(job_id, attempt, verdict, contents, shim, command, members)

    def _read(self, path: str) -> tuple[Contents, bool] | None:
        """As ``runfile.read``, but what fails is tried again: an attempt given up is lost."""
        while True:
            try:
                return runfile.read(path)
            except OSError:
                if self._patience_s <= 0:
                    return Contents({}, damaged=True), runfile.holder(path) is not None
            time.sleep(_READ_AGAIN_S)
            self._patience_s -= _READ_AGAIN_S

    def has_begun(self, key: Key) -> bool:
        """Whether an attempt without a run file has begun all the same."""
        return key in self._ledger().begun

    def without_file(self, known: Known) -> Finding:
        """An attempt whose run file is gone, or never was there."""
        contents = Contents({}, damaged=True)
        job_id, attempt = key = known.key
        shim, command = self._here(known.shim), self._here(known.command)
        if shim is not None and shim not in self._busy and _is_alive(shim):
            return Finding(job_id, attempt, Verdict.RUNNING, contents, shim, command)
        group = self._place.group(job_id, attempt)
        members = self._find_members(job_id, attempt, command, group)
        if members:
            verdict = Verdict.FOLLOW
        elif known.has_begun or not self._is_ruled_out(key, known):
            verdict = Verdict.LOST
        else:
            verdict = Verdict.NEVER_STARTED
        return Finding(job_id, attempt, verdict, contents, None, command, members)

    def _is_ruled_out(self, key: Key, known: Known) -> bool:
        ordered_s = known.ordered_boot_s
        return (
            ordered_s is not None
            and known.boot_id == self._place.boot_id
            and self._ledger().rules_out(key, ordered_s)
        )

    def _here(self, process: tuple[str, int, int] | None) -> Identity | None:
        """The identity of a process of this boot."""
        if process is None or process[0] != self._place.boot_id:
            return None
        return process[1:] if tree.is_possible(process[1:]) else None

    def _ledger(self) -> Entries:
        if self._entries is None:
            self._entries = Ledger(self._place).read()
        return self._entries

    def members(self, job_id: int, attempt: int, command: Identity | None) -> list[Entry]:
        """What lives of an attempt whose shim is dead."""
        contents = self._read(self._place.run_path(job_id, attempt))
        group = contents[0].group if contents else self._place.group(job_id, attempt)
        return self._find_members(job_id, attempt, command, group)

    def _find_members(
        self, job_id: int, attempt: int, command: Identity | None, group: Group | None
    ) -> list[Entry]:
        if self._processes is None:
            self._processes = table.read()
            self._marks = tree.marks(self._processes)
        known = list(self._marks.get(self._place.mark(job_id, attempt), ()))
        if group is not None:
            known += tree.named(self._processes, group.pids())
        return tree.members(self._processes, command, known, exclude=os.getpid())


def _may_live(contents: Contents) -> bool:
    if contents.nothing_left:
        return False
    return contents.damaged or any(contents.get(phase) for phase in ("spawning", "started", "exit"))


def _is_alive(process: Identity) -> bool:
    return tree.is_possible(process) and identity.is_alive(*process)


def _holder(contents: Contents, path: str) -> Identity | None:
    following = contents.get("following") or {}
    starting = contents.get("starting") or {}
    written = _identity(following.get("follower") or starting.get("shim"))
    if written is not None and identity.is_alive(*written):
        return written
    # A follower that found the disk full could not write who it is.
    pid = runfile.holder(path)
    ticks = identity.start_ticks(pid) if pid is not None else None
    return (pid, ticks) if pid is not None and ticks is not None else written


def _identity(value: object) -> Identity | None:
    if isinstance(value, list) and len(value) == 2:
        pid, ticks = value
        if isinstance(pid, int) and isinstance(ticks, int) and tree.is_possible((pid, ticks)):
            return pid, ticks
    return None
