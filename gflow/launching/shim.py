"""The shim: parent of one attempt's command, and the only one who knows for sure how it ended.

Forked from the launcher, it outlives everything above it. As a subreaper it inherits every orphan
of the command, so "no child left" proves that nothing of the attempt is left. SIGTERM asks it to
end the whole tree with the order's grace period, SIGINT to end it at once. Signals are never
handled but waited for: the launcher blocks them before it forks.

A process whose attempt was a short and plain one is as good as new: it offers itself to its
launcher for another (two thirds of what a ``true`` costs were fork and end of its shim). One
attempt at a time, each with its own run file and lock; a process that anything was changed in, or
that was asked to end an attempt, ends with it.
"""

from __future__ import annotations

import os
import resource
import signal
import time
import zlib
from typing import NoReturn

from gflow.launching import (
    command,
    ending,
    environment,
    hook,
    oom,
    output,
    prctl,
    terminal,
    tree,
    usage,
)
from gflow.launching.arrears import Arrears
from gflow.launching.cgroup import Group
from gflow.launching.command import CannotStart, Conditions, Program
from gflow.launching.ending import Ending
from gflow.launching.journal import Journal
from gflow.launching.ledger import Ledger
from gflow.launching.line import ShimEnd
from gflow.launching.order import Order
from gflow.launching.place import Place, remove
from gflow.launching.report import Reporter
from gflow.launching.runfile import Facts
from gflow.launching.terminal import Terminal
from gflow.process import child, identity

#: Exit code of a shim that found the attempt's run file: somebody else starts or started it.
ALREADY_STARTED = 17
#: Blocked in the launcher and in all that it forks; a shim waits for them.
WAITED_FOR = (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT)
_ASKED_TO_END = (signal.SIGTERM, signal.SIGINT)
#: As the launcher's.
_UMASK = 0o077
_LONGEST_WAIT_S = 3600.0
#: Whatever a process has reaped counts with it (the monitor looks at its tree): above this it has
#: had more than short jobs.
_SHORT_CPU_S = 0.1
#: A process that has grown by this would keep memory for nothing.
_LARGEST_GROWTH_BYTES = 4 << 20
#: A command that ends within this time is told of once: its start together with its end.
_MOMENT_S = 0.01
#: When a stopped launcher's full FIFO is tried again.
_REPORT_AGAIN_S = 0.1


def run(
    order: Order, place: Place, conditions: Conditions, lock_fd: int | None, line: ShimEnd
) -> NoReturn:
    """Live as the shim of one attempt after the other, right after the fork. Never returns."""
    code = 70
    try:
        code = _serve(order, place, conditions, lock_fd, line)
    finally:
        os._exit(code)


def _serve(
    order: Order, place: Place, conditions: Conditions, lock_fd: int | None, line: ShimEnd
) -> int:
    launcher = os.getppid()
    _isolate(line.fileno(), lock_fd)
    itself = [os.getpid(), identity.start_ticks(os.getpid())]
    largest_bytes = usage.own_peak_bytes() + _LARGEST_GROWTH_BYTES
    arrears = Arrears()
    while True:
        shim = Shim(order, place, itself, arrears, line, largest_bytes)
        code = shim.live(conditions, lock_fd)
        handed = None
        if shim.as_good_as_new:
            child.set_title("shim")
            arrears.release()
            handed = line.take(launcher, _ASKED_TO_END, arrears)
        if handed is None:
            arrears.settle()
            return code
        order, lock_fd = handed.order, handed.lock_fd
        conditions.oom_kills = handed.oom_kills


def _isolate(line_fd: int, lock_fd: int | None) -> None:
    os.setsid()
    child.close_fds_except([fd for fd in (0, 1, 2, line_fd, lock_fd) if fd is not None])
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    os.close(null)
    prctl.become_subreaper()


class Shim:
    """One attempt, from its order to the last of its processes."""

    def __init__(
        self,
        order: Order,
        place: Place,
        itself: list[int | None],
        arrears: Arrears,
        line: ShimEnd,
        largest_bytes: int,
    ) -> None:
        """``itself``: identity of this process. ``arrears``: exits of its earlier attempts.

        With a peak above ``largest_bytes`` it takes no other attempt.
        """
        self._order = order
        self._place = place
        self._journal = Journal(place.run_path(order.job_id, order.attempt), order.spare)
        self._identity = itself
        self._arrears = arrears
        self._ledger = Ledger(place)
        self._largest_bytes = largest_bytes
        self._reporter = Reporter(place.reports, order.job_id, order.attempt, line)
        self._command = -1
        #: What is to be told of its start; None: it was told, or there is nothing yet.
        self._started: Facts | None = None
        self._oom_kills: int | None = None
        self._exited = False
        self._exit_code: int | None = None
        self._signal: int | None = None
        self._gone_told = False
        #: Spent by earlier attempts and by a prolog.
        self._cpu_before_s = usage.children_cpu_s()
        self._ending = Ending(lambda: tree.descendants(os.getpid()))
        #: None: the command has none.
        self._terminal: Terminal | None = None
        #: Something was changed in this process that is not undone.
        self._altered = order.pty or order.prolog is not None or order.epilog is not None
        #: The command begins at once: no more than a moment's work stands before it.
        self._plain = order.script is None and not self._altered
        self.as_good_as_new = False
        """Whether another attempt finds in this process what it finds in a new one."""

    def live(self, conditions: Conditions, lock_fd: int | None) -> int:
        """The exit code of the shim. ``lock_fd``: a lock to hold until the run file's own is."""
        child.set_title(self._order.title)
        try:
            if not self._claim(lock_fd):
                return ALREADY_STARTED
            self._start(conditions)
        except CannotStart as error:
            self._fail(error)
            return 0
        self._follow()
        self._finish()
        return 0

    # --- before the command -----------------------------------------------------------------------

    def _claim(self, lock_fd: int | None) -> bool:
        """Make the run file. False: it is there already, so this attempt began elsewhere."""
        order, place = self._order, self._place
        if not self._journal.begin():
            return False
        try:
            self._ledger.begin((order.job_id, order.attempt))
        except OSError as error:
            message = f"cannot start: {self._ledger.path}: {error.strerror}"
            raise CannotStart(message, transient=True) from None
        if lock_fd is not None:
            os.close(lock_fd)
        group = place.group(order.job_id, order.attempt)
        facts = {
            "job_id": order.job_id,
            "attempt": order.attempt,
            "boot_id": place.boot_id,
            "machine_id": place.machine_id,
            "folder": place.folder,
            "shim": self._identity,
            "array_id": order.array_id,
            "task": order.task,
            "title": order.title,
            "grace_period_s": order.grace_period_s,
            "linger": order.linger,
            "group": group.path if group else None,
            "at": time.time(),
            "boot_s": time.clock_gettime(time.CLOCK_BOOTTIME),
        }
        self._journal.claim("starting", facts, order.record, "spawning" if self._plain else None)
        return True

    def _start(self, conditions: Conditions) -> None:
        order, place = self._order, self._place
        self._oom_kills = conditions.oom_kills
        try:
            variables = environment.build(
                order,
                place.mark(order.job_id, order.attempt),
                place.reason_path(order.job_id, order.attempt),
                changes_user=conditions.changes_user(order),
            )
            spool_path = place.spool_path(order.job_id, order.attempt)
            program = command.prepare(order, variables, spool_path, conditions)
        except (OSError, ValueError) as error:
            raise CannotStart.because_of(error) from None
        except zlib.error as error:
            raise CannotStart(f"cannot start: script or environment damaged: {error}") from None
        self._prologue()
        if order.pty:
            self._terminal = terminal.begin(order, place, conditions, WAITED_FOR)
        if not self._plain:
            self._journal.claim("spawning", {})
        self._command = self._start_in_group(program, conditions)
        os.chdir("/")
        os.umask(_UMASK)
        facts = {
            "process": [self._command, identity.start_ticks(self._command)],
            "started_at": time.time(),
            "started_boot_s": time.clock_gettime(time.CLOCK_BOOTTIME),
        }
        self._journal.note("started", facts)
        self._started = {"shim": self._identity, "boot_id": place.boot_id, **facts}

    def _prologue(self) -> None:
        order = self._order
        if order.prolog is None:
            return
        failure = hook.run(order.prolog, order, order.hook_timeout_s, {})
        self._cpu_before_s = usage.children_cpu_s()
        if failure is not None:
            raise CannotStart(f"prolog {order.prolog} failed: {failure}", transient=True, hold=True)

    def _start_in_group(self, program: Program, conditions: Conditions) -> int:
        """Start the command in a control group of its own, if there are any; its pid."""
        order, place = self._order, self._place
        device = self._terminal.device if self._terminal else None

        def open_log() -> int | None:
            return output.open_log(order, place.logs)

        group = place.group(order.job_id, order.attempt)
        if group is None:
            return command.start(order, program, open_log, conditions, device)
        try:
            group.make()
            group.enter()
        except OSError:
            self._altered = True
            return command.start(order, program, open_log, conditions, device)
        try:
            return command.start(order, program, open_log, conditions, device)
        finally:
            try:
                group.leave()
                self._ending.group = group
                if order.memory_bytes and place.limit_refusal is None:
                    group.limit_memory(order.memory_bytes)
            except OSError:
                self._altered = True  # a stroke against it would hit this process: it is not used

    def _fail(self, error: CannotStart) -> None:
        ending.end_rest()
        facts = {"message": str(error), "transient": error.transient, "hold": error.hold}
        if error.transient:
            self._ledger.settle((self._order.job_id, self._order.attempt))
            self._journal.discard()  # the same attempt may be tried again
        else:
            self._journal.note("failed", facts)
        self._reporter.send("start_failed", facts)
        self._clean_up()
        if self._terminal is not None:
            self._terminal.close(None, None)

    # --- beside the command -----------------------------------------------------------------------

    def _follow(self) -> None:
        """Until nothing is left: reap, report the command's end, end the rest of the tree."""
        grace_period_s = self._order.grace_period_s
        if self._terminal is None:
            signal.sigtimedwait((signal.SIGCHLD,), _MOMENT_S)
        while self._reap():
            self._tell_start()
            if self._exited and not self._order.linger and not self._ending.begun:
                self._ending.begin(grace_period_s)
            received = self._wait()
            if received == signal.SIGTERM:
                self._ending.begin(grace_period_s)
            elif received == signal.SIGINT:
                self._ending.begin(0.0)
            self._ending.act()
        if self._order.epilog is not None:
            self._epilogue(self._order.epilog)
        if self._terminal is not None:
            self._terminal.finish()
        if not self._gone_told:
            self._journal.note("gone", {"at": time.time()})
            self._reporter.send("gone", {})

    def _epilogue(self, path: str) -> None:
        outcome = {
            name: str(value)
            for name, value in (
                ("GFLOW_EXIT_CODE", self._exit_code),
                ("GFLOW_SIGNAL", self._signal),
            )
            if value is not None
        }
        failure = hook.run(path, self._order, self._order.hook_timeout_s, outcome)
        ending.end_rest()
        if failure is not None:
            facts = {"message": f"epilog {path} failed: {failure}"}
            self._journal.note("trouble", facts)
            self._reporter.send("trouble", facts)

    def _reap(self) -> bool:
        """Collect every child that ended. False: there are no children, thus no descendants."""
        ended = None
        while True:
            try:
                pid, status, spent = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                left = False
                break
            if pid == 0:
                left = True
                break
            if pid == self._command and not self._exited:
                ended = status, spent
                self._exited = True
        if ended is not None:
            if self._terminal is not None:
                self._terminal.drain()
            self._gone_told = not left and self._order.epilog is None
            self._report_exit(*ended)
        return left

    def _tell_start(self) -> None:
        if self._started is not None:
            self._reporter.send("started", self._started)
            self._started = None

    def _report_exit(self, status: int, spent: resource.struct_rusage) -> None:
        """Tell it first, then make it last."""
        self._exit_code = os.WEXITSTATUS(status) if os.WIFEXITED(status) else None
        self._signal = os.WTERMSIG(status) if os.WIFSIGNALED(status) else None
        told: Facts = {} if self._started is None else {"start": self._started}
        self._started = None
        facts: Facts = {
            "exit_code": self._exit_code,
            "signal": self._signal,
            "finished_at": time.time(),
            "usage": usage.of_command(spent, self._cpu_before_s),
            "gone": self._gone_told,
        }
        group = self._ending.group
        if group is not None:
            usage.add_group(facts["usage"], group)
        if self._signal == signal.SIGKILL and self._was_victim(group):
            facts["usage"]["oom_killed"] = True
            if group is not None and group.limited:
                facts["usage"]["memory_limit_bytes"] = self._order.memory_bytes
        self._journal.note("exit", facts)
        self.as_good_as_new = self._gone_told and self._is_unchanged()
        self._reporter.send("exited", facts | told, idle=self.as_good_as_new)
        if not self._gone_told:
            self._journal.sync()  # else later: the end is near

    def _was_victim(self, group: Group | None) -> bool:
        if self._ending.begun:
            return False
        if group is not None and group.limited and group.oom_kills():
            return True
        return oom.was_victim(self._command, self._oom_kills)

    def _wait(self) -> int | None:
        """A signal that came, or None when it is time for something."""
        if self._reporter.waiting:
            self._reporter.flush()
        longest_s = _REPORT_AGAIN_S if self._reporter.waiting else _LONGEST_WAIT_S
        longest_s = min(longest_s, self._arrears.due_in_s())
        timeout_s = self._ending.timeout_s(longest_s)
        if self._terminal is not None:
            self._terminal.relay(timeout_s)
            timeout_s = 0.0
        received = signal.sigtimedwait(WAITED_FOR, timeout_s)
        if not self._arrears.due_in_s():
            self._arrears.settle_aside()
        return received.si_signo if received else None

    # --- the end ---------------------------------------------------------------------------------

    def _finish(self) -> None:
        """Clean up, and do not leave before the exit is on the disk or no longer needed."""
        self._clean_up()
        self._journal.finish()
        self._arrears.add(self._journal)
        if self._reporter.waiting:
            self._reporter.flush()
        if self._terminal is not None:
            self._terminal.close(self._exit_code, self._signal)
        self.as_good_as_new = not self._reporter.waiting and (
            self.as_good_as_new or self._is_unchanged()
        )

    def _is_unchanged(self) -> bool:
        return not (
            self._altered
            or self._ending.begun
            or self._journal.is_behind
            or usage.children_cpu_s() > _SHORT_CPU_S
            or usage.own_peak_bytes() > self._largest_bytes
        )

    def _clean_up(self) -> None:
        if self._ending.group is not None:
            self._ending.group.remove()
        if self._order.script is None:
            return
        remove(self._place.spool_path(self._order.job_id, self._order.attempt))
