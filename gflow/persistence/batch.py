"""How a batch is cut from the line of changed keys: one transaction, in frames that are quickly
made.

A batch takes up to so many records and bytes; a larger record travels alone, an atomic addition
goes to its end, however long. Its frames are smaller, because encoding one must not hold up the
event loop.
"""

from __future__ import annotations

from collections.abc import Callable

from gflow.model.record import Key, Record
from gflow.persistence import codec
from gflow.persistence.backlog import Backlog


class Batch:
    """Takes keys into flight. One at a time is open; the next begins when it is complete."""

    def __init__(
        self, encode: Callable[[Key], Record], records: int, bytes: int, frame_records: int
    ) -> None:
        self._encode = encode
        self._records = records
        self._bytes = bytes
        self._frame_records = frame_records
        self.reset()

    def reset(self) -> None:
        """Begin anew: what was taken is committed, or went back."""
        self._taken = 0
        self._taken_bytes = 0
        self._last = 0
        #: Whether frames of this batch were made, but not its last.
        self.open = False

    def frame(self, backlog: Backlog) -> list[codec.Item]:
        """The items of the next frame; afterwards ``open`` says whether another one follows."""
        items: list[codec.Item] = []
        size = 0
        while len(items) < self._frame_records and (head := backlog.head()) is not None:
            key, position = head
            torn = position == self._last and backlog.torn(position)
            if self._taken >= self._records and not torn:
                break
            record = self._encode(key)
            if record is None and key[0] == "blob":
                # Memory needs it no more, but history may name it: the store lets go of it alone.
                backlog.take()
                continue
            item = codec.encode(key, record)
            length = len(item.payload or b"")
            if items and size + length > self._bytes:
                break
            if self._taken and not torn and self._taken_bytes + length > self._bytes:
                break
            backlog.take()
            items.append(item)
            size += length
            self._taken += 1
            self._taken_bytes += length
            self._last = position
        cut = len(items) == self._frame_records and self._taken < self._records
        self.open = backlog.torn(self._last) or (cut and backlog.waiting > 0)
        return items
