"""One viewer of a terminal: its connection, how far it has seen, what it may do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gflow.launching import dialogue
from gflow.launching.scrollback import Scrollback

if TYPE_CHECKING:
    import socket

#: Output goes out in frames of at most this size, so that an answer is never far behind.
_PIECE_BYTES = 16 << 10
_READ_BYTES = 16 << 10


class Gone(Exception):
    """The viewer has left, or is none."""


class Viewer:
    """Never waited for: what it does not take now stays in the scrollback as long as that goes."""

    def __init__(self, connection: socket.socket, *, may_type: bool) -> None:
        connection.setblocking(False)
        self._connection = connection
        self._splitter = dialogue.Splitter()
        self._unsent = b""
        #: Offset in the scrollback of what comes next; None before its first frame.
        self._at: int | None = None
        #: What it types counts. False for those who may only look, or ask for no more.
        self.may_type = may_type

    def fileno(self) -> int:
        """The connection's descriptor."""
        return self._connection.fileno()

    @property
    def is_welcome(self) -> bool:
        """It has said hello."""
        return self._at is not None

    def frames(self) -> list[tuple[bytes, bytes]]:
        """What it has said. Raises Gone."""
        try:
            data = self._connection.recv(_READ_BYTES)
        except BlockingIOError:
            return []
        except OSError as error:
            raise Gone from error
        if not data:
            raise Gone
        try:
            return self._splitter.feed(data)
        except ValueError as error:
            raise Gone from error

    def welcome(self, facts: dict[str, Any], scrollback: Scrollback) -> None:
        """Begin to show it the screen, from the oldest that is kept."""
        if facts.get("read_only"):
            self.may_type = False
        self._at = scrollback.start
        self._unsent += dialogue.pack_facts(dialogue.WELCOME, read_only=not self.may_type)

    def has_unsent(self, scrollback: Scrollback) -> bool:
        """Whether ``show`` has something to do once the connection takes more."""
        return bool(self._unsent) or (self._at is not None and self._at < scrollback.end)

    def show(self, scrollback: Scrollback) -> None:
        """As much of what is new as the connection takes now. Raises Gone."""
        while self.has_unsent(scrollback):
            if not self._unsent:
                self._unsent = self._next_frames(scrollback)
            try:
                sent = self._connection.send(self._unsent)
            except BlockingIOError:
                return
            except OSError as error:
                raise Gone from error
            self._unsent = self._unsent[sent:]

    def _next_frames(self, scrollback: Scrollback) -> bytes:
        assert self._at is not None
        missed = b""
        if self._at < scrollback.start:
            lost = scrollback.start - self._at
            missed = dialogue.pack_facts(dialogue.MISSED, bytes=lost)
            self._at = scrollback.start
        piece = scrollback.read(self._at, _PIECE_BYTES)
        self._at += len(piece)
        return missed + dialogue.pack(dialogue.OUTPUT, piece)

    def end(self, kind: bytes, **facts: Any) -> None:
        """A last frame, if the connection takes it now."""
        try:
            self._connection.send(self._unsent + dialogue.pack_facts(kind, **facts))
        except OSError:
            pass

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()
