"""``on_end``: a line of the submitter's own, run once when the job has ended for good.

It runs as the submitter does, in the job's folder and with its environment, outside of what the job
was given: no card is its own any more. The attempt's run file is the right to run it, taken away
before it begins; so it never runs twice, whoever dies and asks again. It fails, hangs or prints
without end at nobody's cost but its own.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from typing import NoReturn

from gflow.launching import command, ending, environment, hook, prctl
from gflow.launching.command import CannotStart, Conditions, Program
from gflow.launching.order import Order
from gflow.launching.place import Place
from gflow.launching.report import Reporter
from gflow.process import child

#: Lines that run at one time; further ones wait, and their run files with them.
_AT_ONCE = 32


class Conclusions:
    """The lines of a launcher that run or wait for their turn."""

    def __init__(
        self,
        place: Place,
        conditions: Conditions,
        *,
        watch: Callable[[int, Callable[[], None]], None],
        unwatch: Callable[[int], None],
    ) -> None:
        self._place = place
        self._conditions = conditions
        self._watch = watch
        self._unwatch = unwatch
        self._waiting: deque[Order] = deque()
        self._running = 0

    def ask(self, order: Order) -> None:
        """Run the order's command, sooner or later, unless the right to it is gone."""
        self._waiting.append(order)
        self._fork_next()

    def _fork_next(self) -> None:
        while self._waiting and self._running < _AT_ONCE:
            order = self._waiting.popleft()
            if not self._take_right(order):
                continue
            try:
                pid = os.fork()
            except OSError:
                continue  # as if it had failed: a job that has ended waits for nothing
            if pid == 0:
                run(order, self._place, self._conditions)
            self._running += 1
            fd = os.pidfd_open(pid)
            self._watch(fd, lambda fd=fd, pid=pid: self._collect(fd, pid))  # type: ignore[misc]

    def _take_right(self, order: Order) -> bool:
        try:
            os.unlink(self._place.run_path(order.job_id, order.attempt))
        except OSError:
            return order.unguarded
        return True

    def _collect(self, fd: int, pid: int) -> None:
        self._unwatch(fd)
        os.waitpid(pid, 0)
        self._running -= 1
        self._fork_next()


# --- in the process of one line -------------------------------------------------------------------


def run(order: Order, place: Place, conditions: Conditions) -> NoReturn:
    """Run one line to its end, right after the fork. Never returns."""
    try:
        failure = _conclude(order, conditions)
        if failure is not None:
            facts = {"message": f"its on-end command failed: {failure}"}
            Reporter(place.reports, order.job_id, order.attempt).send("trouble", facts)
    finally:
        os._exit(0)


def _conclude(order: Order, conditions: Conditions) -> str | None:
    """None when it succeeded, else why it did not, for people. Nothing of it is left."""
    os.setsid()
    child.close_fds_except((0, 1, 2))
    prctl.become_subreaper()
    child.set_title(f"on-end of {order.title}")
    told, tell = os.pipe()
    try:
        pid = _start(order, tell, conditions)
    except CannotStart as error:
        return str(error)
    finally:
        os.close(tell)
    failure = hook.failure_of(pid, told, order.hook_timeout_s)
    ending.end_rest()
    return failure


def _start(order: Order, tell: int, conditions: Conditions) -> int:
    """Its pid; where the job's folder is gone it runs in the root folder."""
    variables = environment.submitters(order, changes_user=conditions.changes_user(order))
    program = Program(order.command, variables)
    try:
        return command.start(order, program, lambda: os.dup(tell), conditions)
    except CannotStart:
        order.cwd = "/"
        return command.start(order, program, lambda: os.dup(tell), conditions)
