"""The pseudo-terminal of one attempt, kept by its shim.

The command has it as standard input, output and error and as its controlling terminal. What it
shows goes to the log and to the viewers that have joined through a socket; nobody but the command
and its log is ever waited for. Everything runs in the shim's one thread, between its signals.

``socket`` is loaded by the shims that need it: in the launcher it would cost every fork (0.5 MB).
"""

from __future__ import annotations

import fcntl
import os
import pwd
import select
import signal
import struct
import termios
import time
from typing import TYPE_CHECKING, Any

from gflow.launching import dialogue, prctl, recording
from gflow.launching.command import CannotStart, Conditions
from gflow.launching.order import Order
from gflow.launching.place import Place, remove
from gflow.launching.recording import Recording
from gflow.launching.scrollback import Scrollback
from gflow.launching.viewer import Gone, Viewer

if TYPE_CHECKING:
    import socket

#: Rows and columns until somebody looks.
_SIZE = (24, 80)
#: What a viewer that joins is shown of the past, and how far one may fall behind.
_SCROLLBACK_BYTES = 256 << 10
_READ_BYTES = 64 << 10
#: Typed and not yet taken by the command; beyond it, viewers have to wait.
_LARGEST_INPUT_BYTES = 64 << 10
_MOST_VIEWERS = 16
#: At the end: for what is still on its way to the log, and to viewers.
_LAST_LOOK_S, _LAST_WORDS_S = 0.2, 1.0
_CREDENTIALS = struct.Struct("3i")


class Terminal:
    """One pseudo-terminal and its socket at ``path``. Raises OSError when it cannot be made."""

    def __init__(self, order: Order, path: str, recording: Recording, signals: int) -> None:
        """``signals``: a descriptor that is readable when the shim has to look up."""
        self._recording = recording
        self._signals = signals
        self._path = path
        self._order = order
        self._master, self._slave = os.openpty()
        os.set_blocking(self._master, False)
        #: The terminal's file, for the command to open.
        self.device = os.ttyname(self._slave)
        os.fchmod(self._slave, 0o600)
        if os.geteuid() != order.uid:
            os.fchown(self._slave, order.uid, -1)
        self._resize(_SIZE)
        self._watchers = _uids(order.watchers)
        self._listener = _listen(path, order.uid, open_to_others=bool(self._watchers))
        self._scrollback = Scrollback(_SCROLLBACK_BYTES)
        self._viewers: list[Viewer] = []
        self._input = b""
        #: Nobody has it open any more.
        self._hung_up = False

    # --- while the command runs -------------------------------------------------------------------

    def relay(self, timeout_s: float) -> None:
        """Pass everything on until a signal waits or the time is over."""
        end_s = time.monotonic() + timeout_s
        while True:
            ready = dict(self._poll(max(0.0, end_s - time.monotonic())))
            self._serve(ready)
            if self._signals in ready or time.monotonic() >= end_s:
                return

    def _poll(self, timeout_s: float) -> list[tuple[int, int]]:
        poll = select.poll()
        poll.register(self._signals, select.POLLIN)
        poll.register(self._listener, select.POLLIN)
        events = 0 if self._recording.is_full else select.POLLIN
        events |= select.POLLOUT if self._input else 0
        if events and not self._hung_up:
            poll.register(self._master, events)
        if self._recording.is_full:
            poll.register(self._recording.fd, select.POLLOUT)
        for viewer in self._viewers:
            full = viewer.is_welcome and len(self._input) >= _LARGEST_INPUT_BYTES
            events = 0 if full else select.POLLIN
            poll.register(
                viewer, events | (select.POLLOUT if viewer.has_unsent(self._scrollback) else 0)
            )
        return poll.poll(timeout_s * 1000)

    def _serve(self, ready: dict[int, int]) -> None:
        if self._recording.fd in ready:
            self._recording.flush()
        if self._master in ready:
            self._type()
            if ready[self._master] & (select.POLLIN | select.POLLHUP):
                self._read()
        if self._listener.fileno() in ready:
            self._accept()
        for viewer in tuple(self._viewers):
            try:
                if ready.get(viewer.fileno(), 0) & ~select.POLLOUT:
                    self._listen_to(viewer)
                viewer.show(self._scrollback)
            except Gone:
                self._drop(viewer)

    def _read(self) -> bool:
        """Take what was shown; False when there was nothing."""
        if self._recording.is_full:
            return False
        try:
            data = os.read(self._master, _READ_BYTES)
        except BlockingIOError:
            return False
        except OSError:  # EIO: the last one has closed it
            self._hung_up = True
            return False
        self._scrollback.append(data)
        self._recording.write(data)
        return bool(data)

    def _type(self) -> None:
        if not self._input:
            return
        try:
            written = os.write(self._master, self._input)
        except BlockingIOError:
            return
        except OSError:
            written = len(self._input)
        self._input = self._input[written:]

    def _resize(self, size: tuple[Any, Any]) -> None:
        """The kernel sends SIGWINCH for it."""
        self._size = size
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("4H", *size, 0, 0))

    # --- viewers ----------------------------------------------------------------------------------

    def _accept(self) -> None:
        import socket

        try:
            connection, _ = self._listener.accept()
        except OSError:
            return
        size = _CREDENTIALS.size
        credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
        _, uid, _ = _CREDENTIALS.unpack(credentials)
        may_type = uid in (0, self._order.uid, os.geteuid())
        viewer = Viewer(connection, may_type=may_type)
        if not may_type and uid not in self._watchers:
            self._refuse(viewer, f"it is {self._order.user}'s")
        elif len(self._viewers) >= _MOST_VIEWERS:
            self._refuse(viewer, f"{_MOST_VIEWERS} viewers look at it already")
        else:
            self._viewers.append(viewer)

    def _refuse(self, viewer: Viewer, why: str) -> None:
        viewer.end(dialogue.REFUSED, message=f"cannot attach to {self._order.title}: {why}")
        viewer.close()

    def _listen_to(self, viewer: Viewer) -> None:
        for kind, payload in viewer.frames():
            if kind == dialogue.HELLO:
                facts = dialogue.facts_of(payload)
                viewer.welcome(facts, self._scrollback)
                if viewer.may_type and not self._take_size(facts):
                    self._redraw()
            elif not viewer.may_type:
                continue
            elif kind == dialogue.INPUT:
                self._input += payload
                self._type()
            elif kind == dialogue.SIZE:
                self._take_size(dialogue.facts_of(payload))

    def _take_size(self, facts: dict[str, Any]) -> bool:
        """The window of whoever spoke last is the terminal's; whether that is a change."""
        size = (facts.get("rows"), facts.get("columns"))
        if size == self._size or not all(isinstance(n, int) and 0 < n < 1 << 16 for n in size):
            return False
        self._resize(size)
        return True

    def _redraw(self) -> None:
        """Have a program that fills the screen draw it again, although the size is the same."""
        try:
            group = os.tcgetpgrp(self._master)
            if group > 1:
                os.killpg(group, signal.SIGWINCH)
        except OSError:
            pass  # nobody is there, or no more

    def _drop(self, viewer: Viewer) -> None:
        self._viewers.remove(viewer)
        viewer.close()

    # --- the end ----------------------------------------------------------------------------------

    def drain(self) -> None:
        """The command has ended: what it has shown goes to the log before that is told."""
        self._release()
        end_s = time.monotonic() + _LAST_LOOK_S
        while self._read() and time.monotonic() < end_s:
            pass

    def _release(self) -> None:
        """Close our own end, so that the last one to leave is noticed."""
        if self._slave >= 0:
            os.close(self._slave)
            self._slave = -1

    def finish(self) -> None:
        """Nothing is left of the attempt: take in the rest, as far as it comes."""
        self._release()
        end_s = time.monotonic() + _LAST_LOOK_S
        while not self._hung_up and time.monotonic() < end_s:
            self._serve(dict(self._poll(0.01)))
        self._recording.close()

    def close(self, exit_code: int | None, number: int | None) -> None:
        """Let viewers see the rest, as long as they keep up; then how it ended."""
        self._listener.close()
        remove(self._path)
        end_s = time.monotonic() + _LAST_WORDS_S
        while waiting := [one for one in self._viewers if one.has_unsent(self._scrollback)]:
            rest_s = end_s - time.monotonic()
            if rest_s <= 0:
                break
            select.select((), waiting, (), rest_s)
            for viewer in waiting:
                try:
                    viewer.show(self._scrollback)
                except Gone:
                    self._drop(viewer)
        for viewer in self._viewers:
            viewer.end(dialogue.END, exit_code=exit_code, signal=number)
            viewer.close()


def begin(
    order: Order, place: Place, conditions: Conditions, signals: tuple[signal.Signals, ...]
) -> Terminal:
    """The terminal of an attempt, recorded in its log. It looks up when one of ``signals`` waits.

    Raises CannotStart.
    """
    path = place.terminal_path(order.job_id, order.attempt)
    try:
        fd = recording.open_file(order, place.logs, conditions)
        return Terminal(
            order, path, Recording(fd, order.max_output_bytes), prctl.signal_fd(signals)
        )
    except (OSError, ValueError) as problem:
        raise CannotStart.because_of(problem) from None


def _listen(path: str, uid: int, *, open_to_others: bool) -> socket.socket:
    """A socket at a path of any length: bound through its folder, whose name is short."""
    import socket

    folder, name = os.path.split(path)
    folder_fd = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        try:
            os.unlink(path)
        except FileNotFoundError:
            pass
        listener.bind(f"/proc/self/fd/{folder_fd}/{name}")
        os.chmod(path, 0o666 if open_to_others else 0o600)
        if os.geteuid() != uid:
            os.chown(path, uid, -1)
        listener.listen(_MOST_VIEWERS)
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    finally:
        os.close(folder_fd)
    return listener


def _uids(names: list[str]) -> frozenset[int]:
    """Of those users that exist."""
    found = set()
    for name in names:
        try:
            found.add(pwd.getpwnam(name).pw_uid)
        except KeyError:
            pass
    return frozenset(found)
