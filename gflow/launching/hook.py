"""Hooks of the administrator: programs that run before and after the command, by the shim.

They run as the scheduler does, with an environment of their own: nothing in the submitter's may
reach a program that may be root.
"""

from __future__ import annotations

import os
import select
import time

from gflow.launching import environment, spawn
from gflow.launching.command import CannotStart
from gflow.launching.order import Order

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#: Of what a hook prints, this much is kept to explain a failure.
_KEPT_BYTES = 400


def run(path: str, order: Order, timeout_s: float, outcome: dict[str, str]) -> str | None:
    """Run one hook to its end. None when it succeeded, else why it did not, for people.

    ``outcome``: further variables. A hook that takes too long is killed; what it leaves running
    stays below this process.
    """
    variables = {
        "PATH": _PATH,
        "GFLOW_JOB_USER": order.user,
        "GFLOW_JOB_UID": str(order.uid),
        **environment.allocation(order),
        **outcome,
    }
    told, tell = os.pipe()
    try:
        pid = spawn.spawn(path, [path], variables, tell, tell)
    except (OSError, ValueError) as error:
        os.close(told)
        return str(CannotStart.because_of(error))
    finally:
        os.close(tell)
    try:
        return failure_of(pid, told, timeout_s)
    finally:
        os.close(told)


def failure_of(pid: int, told: int, timeout_s: float) -> str | None:
    """Await a child that prints into the pipe ``told``. None when it succeeded, else why not.

    One that takes too long is killed. What it prints beyond the first words is dropped.
    """
    pidfd = os.pidfd_open(pid)
    try:
        said, done = _listen(told, pidfd, time.monotonic() + timeout_s)
    finally:
        os.close(pidfd)
    if not done:
        os.kill(pid, 9)  # not reaped yet: it is still this one's pid
    _, status = os.waitpid(pid, 0)
    if not done:
        return f"not done within {timeout_s:g} s"
    code = os.waitstatus_to_exitcode(status)
    if code == 0:
        return None
    ended = f"exit {code}" if code > 0 else f"signal {-code}"
    words = " ".join(said.decode("utf-8", "replace").split())
    return f"{ended}: {words}" if words else ended


def _listen(told: int, pidfd: int, deadline_s: float) -> tuple[bytes, bool]:
    """What it says first, and whether it ended in time. More than is kept is read and dropped."""
    said = b""
    poll = select.poll()
    poll.register(told, select.POLLIN)
    poll.register(pidfd, select.POLLIN)
    while (left_s := deadline_s - time.monotonic()) > 0:
        ready = dict(poll.poll(left_s * 1000))
        if told in ready:
            part = os.read(told, 65536)
            said = (said + part)[:_KEPT_BYTES]
            if part:
                continue
            poll.unregister(told)
        if pidfd in ready:
            return said, True
    return said, False
