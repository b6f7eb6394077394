"""What a viewer and a terminal say to each other: a kind (one byte), a length, a payload.

==========  =========  =============================================================================
``HELLO``   viewer     JSON {read_only, rows, columns}: the first frame; rows None: no window
``INPUT``   viewer     bytes that were typed
``SIZE``    viewer     JSON {rows, columns}: its window has this size now
``WELCOME`` terminal   JSON {read_only}: whether input is listened to
``OUTPUT``  terminal   bytes for the screen, first those that were shown lately
``MISSED``  terminal   JSON {bytes}: output that the viewer was too slow for
``END``     terminal   JSON {exit_code, signal} of the command: nothing follows
``REFUSED`` terminal   JSON {message}: nothing follows
==========  =========  =============================================================================
"""

from __future__ import annotations

import json
from typing import Any

HELLO, INPUT, SIZE = b"h", b"i", b"s"
WELCOME, OUTPUT, MISSED, END, REFUSED = b"w", b"o", b"m", b"e", b"r"

#: A frame is never larger; who says so is no viewer of ours.
LARGEST_BYTES = 64 << 10
_HEADER_BYTES = 5


def pack(kind: bytes, payload: bytes) -> bytes:
    """One frame."""
    assert len(kind) == 1 and len(payload) <= LARGEST_BYTES
    return kind + len(payload).to_bytes(4, "big") + payload


def pack_facts(kind: bytes, **facts: Any) -> bytes:
    """One frame of JSON."""
    return pack(kind, json.dumps(facts).encode())


def facts_of(payload: bytes) -> dict[str, Any]:
    """The JSON object in a frame; an empty one for anything else."""
    try:
        facts = json.loads(payload)
    except ValueError:
        return {}
    return facts if isinstance(facts, dict) else {}


class Splitter:
    """Frames out of a stream."""

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[tuple[bytes, bytes]]:
        """(kind, payload) of what is complete by now. Raises ValueError: these are no frames."""
        data = self._rest + data
        frames = []
        start = 0
        while len(data) - start >= _HEADER_BYTES:
            length = int.from_bytes(data[start + 1 : start + _HEADER_BYTES], "big")
            if length > LARGEST_BYTES:
                raise ValueError(f"a frame of {length} bytes")
            stop = start + _HEADER_BYTES + length
            if len(data) < stop:
                break
            frames.append((data[start : start + 1], data[start + _HEADER_BYTES : stop]))
            start = stop
        self._rest = data[start:]
        return frames
