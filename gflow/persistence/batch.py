"""How a batch is cut from the line of changed keys: one transaction, in small frames.

A batch takes up to so many records and bytes, more behind a long line; a larger record travels
alone, an atomic addition goes to its end, however long, and a job takes the transitions along that
its record counts. Its frames are smaller, because encoding
one must not hold up the event loop.
"""

from __future__ import annotations

from collections.abc import Callable

from gflow.model.record import Key, Record
from gflow.persistence import codec
from gflow.persistence.backlog import Backlog

#: Behind a long line of changes batches grow up to so many times: a slow disk counts commits.
_MOST_GROWTH = 8
#: Transitions of one job that may wait behind a stopped disk and still go in one piece.
_MOST_COMPANIONS = 64


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
        self._growth = 1
        #: Whether frames of this batch were made, but not its last.
        self.open = False

    def frame(self, backlog: Backlog) -> list[codec.Item]:
        """The items of the next frame; afterwards ``open`` says whether another one follows."""
        if not self.open:
            self._growth = max(1, min(_MOST_GROWTH, backlog.waiting // (8 * self._records)))
        items: list[codec.Item] = []
        size = 0
        complete = True
        while (head := backlog.head()) is not None:
            key, position = head
            torn = position == self._last and backlog.torn(position)
            if self._is_full(0) and not torn:
                break
            if len(items) == self._frame_records:
                complete = False
                break
            record = self._encode(key)
            if record is None and key[0] == "blob":
                # Memory needs it no more, but history may name it: the store lets go of it alone.
                backlog.take()
                continue
            item = codec.encode(key, record)
            length = len(item.payload or b"")
            if self._is_full(length) and not torn:
                break
            if items and size + length > self._bytes:
                complete = False
                break
            backlog.take()
            items.append(item)
            size += length
            self._taken += 1
            self._taken_bytes += length
            self._last = position
            for companion in _companions(key, record, backlog):
                backlog.take_along(companion, position)
                items.append(codec.encode(companion, self._encode(companion)))
        self.open = not complete or backlog.torn(self._last)
        return items

    def _is_full(self, more_bytes: int) -> bool:
        """Whether the transaction has no room for one more record of that size."""
        if not self._taken:
            return False
        limit_bytes = self._growth * self._bytes
        return (
            self._taken >= self._growth * self._records
            or self._taken_bytes + more_bytes > limit_bytes
        )


def _companions(key: Key, record: Record, backlog: Backlog) -> list[Key]:
    """Transitions that a record counts and that wait: with it or never, so that none is missing."""
    if key[0] not in ("job", "array") or record is None or isinstance(record, bytes):
        return []
    count = record.get("transitions", 0)
    found: list[Key] = []
    while len(found) < min(count, _MOST_COMPANIONS):
        transition = ("transition", key[1], count - len(found))
        if not backlog.waits(transition):
            break
        found.append(transition)
    return found[::-1]
