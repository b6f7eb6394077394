"""The viewer's end: the terminal that we were called from, joined to a job's, and given back.

Whatever is typed goes to the job as it is, Ctrl-C included; only the detach key is ours.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
import termios
from typing import Any

from gflow.launching import dialogue

_READ_BYTES = 16 << 10
#: Typed and not taken by the job; what exceeds it is not read, or dropped if it comes from keys.
_LARGEST_INPUT_BYTES = 64 << 10
#: Undoes what a program that fills the screen may have left: a screen of its own, no cursor,
#: colours, the mouse, bracketed paste.
_RESTORE = b"\x1b[?1049l\x1b[?25h\x1b[0m\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1006l\x1b[?2004l"


class Outcome:
    """How a visit ended: ``kind`` is ``end``, ``detached``, ``refused`` or ``lost``."""

    def __init__(self, kind: str, facts: dict[str, Any] | None = None) -> None:
        self.kind = kind
        #: Of the last frame: exit_code and signal, or a message.
        self.facts = facts or {}


def connect(path: str) -> socket.socket | None:
    """A connection to a terminal's socket at a path of any length; None: nobody is there.

    Raises PermissionError.
    """
    folder, name = os.path.split(path)
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        folder_fd = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            connection.connect(f"/proc/self/fd/{folder_fd}/{name}")
        finally:
            os.close(folder_fd)
    except (FileNotFoundError, ConnectionRefusedError):
        connection.close()
        return None
    except OSError:
        connection.close()
        raise
    return connection


class Visit:
    """One stay at a job's terminal."""

    def __init__(self, connection: socket.socket, *, read_only: bool, detach_key: bytes) -> None:
        self._connection = connection
        self._read_only = read_only
        self._detach_key = detach_key
        self._keys = sys.stdin.isatty() if sys.stdin else False
        self._reading = sys.stdin is not None
        self._splitter = dialogue.Splitter()
        self._unsent = b""
        self._detached = False
        #: It has let us in: what it shows from now on is all there is to see.
        self.is_welcome = False

    def run(self) -> Outcome:
        """Until the job ends, we are detached, or the connection is lost."""
        saved = _make_raw() if self._keys else None
        wake, waker = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        before = signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
        handlers = {
            number: signal.signal(number, handler)
            for number, handler in (
                (signal.SIGWINCH, _ignore),
                (signal.SIGTERM, _leave),
                (signal.SIGHUP, _leave),
            )
        }
        try:
            return self._relay(wake)
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(before)
            os.close(wake)
            os.close(waker)
            self._connection.close()
            if saved is not None:
                _give_back(saved)

    def _relay(self, wake: int) -> Outcome:
        self._connection.setblocking(False)
        self._send(dialogue.pack_facts(dialogue.HELLO, read_only=self._read_only, **_size()))
        while True:
            ready = dict(self._poll(wake))
            if wake in ready:
                os.read(wake, 64)
                self._send(dialogue.pack_facts(dialogue.SIZE, **_size()))
            if self._connection.fileno() in ready:
                self._send(b"")
                outcome = self._show()
                if outcome is not None:
                    return outcome
            if 0 in ready:
                self._type()
            if self._detached:
                return Outcome("detached")

    def _poll(self, wake: int) -> list[tuple[int, int]]:
        poll = select.poll()
        poll.register(wake, select.POLLIN)
        poll.register(self._connection, select.POLLIN | (select.POLLOUT if self._unsent else 0))
        if self._reading and (self._keys or len(self._unsent) < _LARGEST_INPUT_BYTES):
            poll.register(0, select.POLLIN)
        return poll.poll()

    def _show(self) -> Outcome | None:
        try:
            data = self._connection.recv(_READ_BYTES)
            frames = self._splitter.feed(data)
        except BlockingIOError:
            return None
        except (OSError, ValueError):
            return Outcome("lost")
        for kind, payload in frames:
            if kind == dialogue.OUTPUT:
                _write(payload)
            elif kind == dialogue.WELCOME:
                self.is_welcome = True
            elif kind == dialogue.MISSED:
                count = dialogue.facts_of(payload).get("bytes")
                _write(f"\r\n[gflow: {count} bytes were not shown]\r\n".encode())
            elif kind == dialogue.END:
                return Outcome("end", dialogue.facts_of(payload))
            elif kind == dialogue.REFUSED:
                return Outcome("refused", dialogue.facts_of(payload))
        return None if data else Outcome("lost")

    def _type(self) -> None:
        try:
            data = os.read(0, _READ_BYTES)
        except OSError:
            data = b""
        if not data:
            self._reading = False
            self._detached = self._keys  # the window is gone
            return
        if self._keys:
            data, found, _ = data.partition(self._detach_key)
            self._detached = bool(found)
        if data and not self._read_only and len(self._unsent) < _LARGEST_INPUT_BYTES:
            self._send(dialogue.pack(dialogue.INPUT, data))

    def _send(self, data: bytes) -> None:
        self._unsent += data
        try:
            while self._unsent:
                self._unsent = self._unsent[self._connection.send(self._unsent) :]
        except BlockingIOError:
            pass
        except OSError:
            self._unsent = b""  # reading tells the same


def _ignore(number: int, frame: object) -> None:
    """The pipe of wake-ups tells it."""


def _leave(number: int, frame: object) -> None:
    raise SystemExit(128 + number)


def _size() -> dict[str, int | None]:
    try:
        columns, rows = os.get_terminal_size(1)
    except OSError:
        return {"rows": None, "columns": None}
    return {"rows": rows, "columns": columns}


def _write(data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(1, view) :]


def _make_raw() -> list[Any]:
    """Every key as it is (termios(3), cfmakeraw); what was set before."""
    saved = termios.tcgetattr(0)
    mode = list(saved)
    mode[0] &= ~(
        termios.IGNBRK
        | termios.BRKINT
        | termios.PARMRK
        | termios.ISTRIP
        | termios.INLCR
        | termios.IGNCR
        | termios.ICRNL
        | termios.IXON
    )
    mode[1] &= ~termios.OPOST
    mode[2] = mode[2] & ~(termios.CSIZE | termios.PARENB) | termios.CS8
    mode[3] &= ~(termios.ECHO | termios.ECHONL | termios.ICANON | termios.ISIG | termios.IEXTEN)
    mode[6] = list(saved[6])
    mode[6][termios.VMIN], mode[6][termios.VTIME] = 1, 0
    termios.tcsetattr(0, termios.TCSADRAIN, mode)
    return saved


def _give_back(saved: list[Any]) -> None:
    if os.isatty(1):
        _write(_RESTORE)
    try:
        termios.tcsetattr(0, termios.TCSADRAIN, saved)
    except termios.error:
        pass  # the window is gone
