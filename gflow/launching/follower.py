"""Stands in for a shim that was killed: watches what is left of its attempt, ends it when asked.

It cannot reap, so the command's end stays unknown (unless the shim had written it). What belongs to
the attempt is told by session, mark and descent. SIGTERM and SIGINT mean what they mean to a shim.
"""

from __future__ import annotations

import os
import select
import signal
import time
from typing import NoReturn

from gflow.launching import runfile, tree
from gflow.launching.ending import Ending
from gflow.launching.place import Place
from gflow.launching.report import Reporter
from gflow.launching.survey import Finding
from gflow.process import child, identity, table
from gflow.process.table import Entry, Identity

#: Processes that are no children of ours report nothing: how often the rest of a tree is looked
#: for.
_LOOK_AGAIN_S = 0.25
#: The same while the command lives, whose end is told.
_LOOK_AT_LEAST_S = 5.0
#: Where the run file does not say it any more.
_GRACE_PERIOD_S = 10.0
LOST_MESSAGE = "its shim was killed, so nobody saw how it ended"


class Subject:
    """The attempt to be followed, from what its run file says."""

    __slots__ = (
        "attempt",
        "command",
        "exit_known",
        "grace_period_s",
        "group",
        "job_id",
        "linger",
        "title",
    )

    def __init__(self, finding: Finding) -> None:
        starting = finding.contents.get("starting") or {}
        self.job_id = finding.job_id
        self.attempt = finding.attempt
        self.title: str = starting.get("title", f"job {finding.job_id}")
        self.command = finding.command
        self.group = finding.contents.group
        #: The shim had written the exit; only the rest of the tree is left.
        self.exit_known = finding.contents.get("exit") is not None
        self.linger: bool = starting.get("linger", False)
        self.grace_period_s: float = starting.get("grace_period_s", _GRACE_PERIOD_S)


def run(subject: Subject, place: Place) -> NoReturn:
    """Live as the follower of one attempt, right after the fork. Never returns."""
    code = 70
    try:
        os.setsid()
        child.close_fds_except((0, 1, 2))
        child.set_title(subject.title)
        Follower(subject, place).live()
        code = 0
    finally:
        os._exit(code)


class Follower:
    """One attempt without a shim, until nothing of it is left."""

    def __init__(self, subject: Subject, place: Place) -> None:
        self._subject = subject
        self._mark = place.mark(subject.job_id, subject.attempt)
        path = place.run_path(subject.job_id, subject.attempt)
        self._run_fd, self._run_name = runfile.reopen(path), os.path.basename(path)
        self._reporter = Reporter(place.reports, subject.job_id, subject.attempt)
        self._ending = Ending(self._members)
        #: Members at the last look: who left session, parent and environment is known by that.
        self._seen: set[Identity] = set()
        self._ending.group = subject.group
        self._signals = _catch_signals()

    def live(self) -> None:
        """Until nothing is left; then say so."""
        subject = self._subject
        pid = os.getpid()
        self._note("following", {"follower": [pid, identity.start_ticks(pid)]})
        command_fd = identity.open_pidfd(*subject.command) if subject.command else None
        while self._members() or command_fd is not None:
            if command_fd is None and not subject.linger and not self._ending.begun:
                self._ending.begin(subject.grace_period_s)
            received = self._wait(command_fd)
            if signal.SIGINT in received:
                self._ending.begin(0.0)
            elif signal.SIGTERM in received:
                self._ending.begin(subject.grace_period_s)
            self._ending.act()
            if command_fd is not None and _has_ended(command_fd):
                os.close(command_fd)
                command_fd = None
        if subject.group is not None:
            subject.group.remove()
        if subject.exit_known:
            self._note("gone", {"at": time.time()})
            self._reporter.send("gone", {})
        else:
            self._note("lost", {"at": time.time(), "message": LOST_MESSAGE})
            self._reporter.send("lost", {"message": LOST_MESSAGE})

    def _wait(self, command_fd: int | None) -> bytes:
        """Numbers of signals that came; empty when something ended or it is time to look again."""
        poll = select.poll()
        poll.register(self._signals, select.POLLIN)
        timeout_s = self._ending.timeout_s(_LOOK_AGAIN_S)
        if command_fd is not None:
            poll.register(command_fd, select.POLLIN)
            timeout_s = self._ending.timeout_s(_LOOK_AT_LEAST_S)
        ready = poll.poll(timeout_s * 1000)
        return os.read(self._signals, 64) if any(fd == self._signals for fd, _ in ready) else b""

    def _members(self) -> list[Entry]:
        processes = table.read()
        known = tree.marks(processes).get(self._mark, [])
        known += [entry for one in self._seen if (entry := processes.get(*one))]
        if self._ending.group is not None:
            known += tree.named(processes, self._ending.group.pids())
        found = tree.members(processes, self._subject.command, known, exclude=os.getpid())
        self._seen = {entry.identity for entry in found}
        return found

    def _note(self, phase: str, facts: runfile.Facts) -> None:
        if self._run_fd is None:
            return  # deleted: there is nothing left to be remembered
        try:
            runfile.append(self._run_fd, self._run_name, phase, facts)
        except OSError:
            pass  # the report says the same


def _catch_signals() -> int:
    """A descriptor from which the numbers of signals can be read."""
    readable, writable = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(writable)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    return readable


def _has_ended(pidfd: int) -> bool:
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(0))
