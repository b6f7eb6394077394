"""A persister and a disk made of dictionaries, at the other end of a real link.

It decodes every frame, keeps the transaction that is open, and may die at every boundary.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from gflow.model.record import Key, Record
from gflow.persistence import codec
from gflow.persistence.codec import Frame, Item

Tables = dict[str, dict[Key, Record]]


def apply(disk: dict[Key, Record], items: Iterable[Item]) -> None:
    """What a store holds after items were applied: the newest whole record of every key."""
    for item in items:
        codec.verify(item)
        record = codec.decode(item)
        if record is None:
            disk.pop(item.key, None)
        else:
            disk[item.key] = record


class Disk:
    """Receives frames; commits; answers; dies."""

    def __init__(self) -> None:
        self.committed: dict[Key, Record] = {}
        #: Frames that have come and were not looked at.
        self.inbox: list[Frame] = []
        #: Acknowledgements on their way.
        self.outbox: list[bytes] = []
        self._open: list[Item] = []
        self.largest_frame = 0

    def send(self, frame: bytes) -> None:
        """What the supervisor's channel delivers."""
        self.largest_frame = max(self.largest_frame, len(frame))
        self.inbox.append(codec.decode_frame(frame))

    def work(self) -> None:
        """Handle one frame; commit where a transaction is complete."""
        if not self.inbox:
            return
        frame = self.inbox.pop(0)
        self._open.extend(frame.items)
        committed = not frame.fields["more"]
        if committed:
            apply(self.committed, self._open)
            self._open = []
        self._answer(seq=frame.fields["seq"], committed=committed)

    def _answer(self, **fields: Any) -> None:
        self.outbox.append(codec.encode_frame("ack", **fields))

    def die(self) -> None:
        """Lose everything but what is committed."""
        self.inbox.clear()
        self.outbox.clear()
        self._open = []
