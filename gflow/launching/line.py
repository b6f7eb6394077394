"""The line between a launcher and a shim: reports one way, and the order for an idle shim back.

An order travels with the lock that a newborn shim inherits: as long as it is on its way, the lock
on the state folder is held (unix(7), SCM_RIGHTS), so that a new supervisor waits for it as well.
"""

from __future__ import annotations

import _socket
import os
import select
import signal
import struct
from collections.abc import Iterable

from gflow.launching import prctl, protocol
from gflow.launching.arrears import Arrears
from gflow.launching.order import Order

#: An order above this is for a new shim: it might not fit into the socket at once.
LARGEST_ORDER_BYTES = 1 << 16
_FD = struct.Struct("i")
#: Behind a report, which is one line and may be empty.
_IDLE = b"idle"
#: Reports are made to fit into a FIFO as well.
_LONGEST_BYTES = select.PIPE_BUF + len(_IDLE)
_LONGEST_WAIT_MS = 3_600_000.0


def pair() -> tuple[LauncherEnd, ShimEnd]:
    """Both ends, before the fork; each side closes the other's. Raises OSError."""
    ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
    return LauncherEnd(ours), ShimEnd(theirs)


def order(frame: bytes, oom_kills: int | None, spare: str | None) -> bytes:
    """A start message as the launcher got it, behind what a newborn shim would find there."""
    return b"\n".join((protocol.encode({"oom_kills": oom_kills, "spare": spare}), frame))


class LauncherEnd:
    """Never waits."""

    __slots__ = ("_socket",)

    def __init__(self, end: _socket.socket) -> None:
        end.setblocking(False)
        self._socket = end

    def fileno(self) -> int:
        return self._socket.fileno()

    def detach(self) -> int:
        """The descriptor, to be closed by the caller; then the shim ends, once it is idle."""
        return self._socket.detach()

    def close(self) -> None:
        self._socket.close()

    def hand(self, order: bytes, lock_fd: int | None) -> bool:
        """Give an order of at most ``LARGEST_ORDER_BYTES`` to an idle shim. False: it is gone."""
        rights = []
        if lock_fd is not None:
            rights = [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, _FD.pack(lock_fd))]
        try:
            self._socket.sendmsg([order], rights, _socket.MSG_NOSIGNAL)
        except OSError:
            return False
        return True

    def hear(self) -> tuple[bytes, bool] | None:
        """A report (or none: empty), and whether the shim is idle from now on.

        None: nothing was said. Raises EOFError: nothing will be said any more.
        """
        try:
            said = self._socket.recv(_LONGEST_BYTES)
        except BlockingIOError:
            return None
        except OSError:
            said = b""
        if not said:
            raise EOFError
        report, _, idle = said.partition(b"\n")
        return report, idle == _IDLE


class ShimEnd:
    """Waits for orders. Not for a shim that is busy: that hears signals only."""

    __slots__ = ("_idle_told", "_poll", "_signals", "_socket")

    def __init__(self, end: _socket.socket) -> None:
        self._socket = end
        self._signals = -1
        self._poll = select.poll()
        self._idle_told = False

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()

    def say(self, report: bytes, *, idle: bool) -> bool:
        """Send a report; with ``idle`` the launcher may count on this shim from now on.

        False: the launcher is gone, or has no line to this shim. Raises BlockingIOError: it is
        stopped, and has not read what was said before.
        """
        try:
            flags = _socket.MSG_NOSIGNAL | _socket.MSG_DONTWAIT
            self._socket.send(report + b"\n" + _IDLE if idle else report, flags)
        except BlockingIOError:
            raise
        except OSError:
            return False
        self._idle_told = idle
        return True

    def take(
        self, launcher: int, ending: Iterable[signal.Signals], arrears: Arrears
    ) -> Handed | None:
        """Say that this shim is idle, unless that was said, and wait for an order.

        None: it is to end.

        That is when the launcher (a pid) is gone, when it hangs up, or when one of the blocked
        signals in ``ending`` comes while there is no order; with one, the signal is about it. What
        is in ``arrears`` is settled meanwhile.
        """
        try:
            if not self._idle_told:
                self._socket.send(b"\n" + _IDLE, _socket.MSG_NOSIGNAL)
            self._idle_told = False
            if self._signals < 0:
                self._signals = prctl.signal_fd(ending)
                for fd in (self._socket.fileno(), self._signals):
                    self._poll.register(fd, select.POLLIN)
            poll = self._poll
            ready = poll.poll(min(arrears.due_in_s() * 1000, _LONGEST_WAIT_MS))
            if not ready:
                arrears.settle_aside()
                ready = poll.poll()
            if all(fd == self._signals for fd, _ in ready):
                return None
            data, rights, flags, _ = self._socket.recvmsg(
                LARGEST_ORDER_BYTES,
                _socket.CMSG_SPACE(_FD.size),
                _socket.MSG_CMSG_CLOEXEC,
            )
        except OSError:
            return None
        # A dead launcher's successor gives every order again that was not answered.
        if not data or os.getppid() != launcher:
            return None
        assert not flags & (_socket.MSG_TRUNC | _socket.MSG_CTRUNC), "an order is whole"
        return Handed(data, _FD.unpack(rights[0][2])[0] if rights else None)


class Handed:
    """An order, and what a newborn shim would have found in its launcher's memory."""

    __slots__ = ("lock_fd", "oom_kills", "order")

    def __init__(self, order: bytes, lock_fd: int | None) -> None:
        found, _, frame = order.partition(b"\n")
        facts = protocol.decode(found)
        self.order = Order(*protocol.unpack(frame))
        self.order.spare = facts["spare"]
        self.lock_fd = lock_fd
        self.oom_kills: int | None = facts["oom_kills"]
