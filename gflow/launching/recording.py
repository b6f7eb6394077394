"""What a terminal shows, on its way to the job's log."""

from __future__ import annotations

import json
import os

from gflow.launching import output, privilege
from gflow.launching.command import CannotStart, Conditions
from gflow.launching.order import Order
from gflow.launching.relay import Capped


def open_file(order: Order, logs: str, conditions: Conditions) -> int:
    """A descriptor of the file that the job's output goes to. Raises OSError, CannotStart.

    What the submitter named is opened as the submitter.
    """
    log = output.open_log(order, logs)
    if not conditions.changes_user(order):
        return log if log is not None else _open_named(order)
    if log is not None:
        os.fchown(log, order.uid, order.gid)
        return log
    return _open_as_submitter(order)


def _open_named(order: Order) -> int:
    umask = os.umask(0o077 if order.umask is None else order.umask)
    try:
        os.chdir(order.cwd)
        return output.open_both(order, None)[0]
    finally:
        os.umask(umask)
        os.chdir("/")


def _open_as_submitter(order: Order) -> int:
    """Have a child become the submitter, open the file and hand it over."""
    import socket

    ours, theirs = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        try:
            try:
                privilege.become(order.user, order.uid, order.gid)
                fd = _open_named(order)
            except (OSError, ValueError) as problem:
                error = CannotStart.because_of(problem)
                theirs.send(json.dumps([str(error), error.transient]).encode())
            else:
                socket.send_fds(theirs, [b"-"], [fd])
        finally:
            os._exit(0)
    theirs.close()
    with ours:
        words, fds, _, _ = socket.recv_fds(ours, 4096, 1)
    os.waitpid(pid, 0)
    if fds:
        return fds[0]
    message, transient = json.loads(words or b'["cannot start: its output was not opened", true]')
    raise CannotStart(message, transient=transient)


class Recording:
    """Writes to one file without ever waiting for it. Owns the descriptor.

    Lines end in it as in any text file: the carriage return that a terminal puts before a newline
    is left out. What a full disk does not take is lost, as for a job that writes to it itself.
    """

    def __init__(self, fd: int, limit_bytes: int = 0) -> None:
        """``limit_bytes``: what is beyond is dropped (see :class:`gflow.launching.relay.Capped`).

        0: any amount is written.
        """
        os.set_blocking(fd, False)
        self.fd = fd
        self._capped = Capped(self._put, limit_bytes) if limit_bytes else None
        #: What the file (a FIFO with a slow reader) did not take yet.
        self._pending = b""
        #: A carriage return after which nothing has come yet.
        self._held = b""

    @property
    def is_full(self) -> bool:
        """Nothing more may be written before ``flush`` has done its work."""
        return bool(self._pending)

    def write(self, data: bytes) -> None:
        """Bytes from the terminal; not while it is full."""
        data = self._held + data
        self._held = b"\r" if data.endswith(b"\r") else b""
        if self._held:
            data = data[:-1]
        self._add(data.replace(b"\r\n", b"\n"))
        self.flush()

    def _add(self, data: bytes) -> None:
        if self._capped is not None:
            self._capped.write(data)
        else:
            self._put(data)

    def _put(self, data: bytes) -> None:
        self._pending += data

    def flush(self) -> None:
        """As much as the file takes now."""
        while self._pending:
            try:
                written = os.write(self.fd, self._pending)
            except BlockingIOError:
                return
            except OSError:  # no space, nobody reads it any more
                self._pending = b""
                return
            self._pending = self._pending[written:]

    def close(self) -> None:
        """What was held back, then the end."""
        self._add(self._held)
        if self._capped is not None:
            self._capped.finish()
        self.flush()
        os.close(self.fd)
