"""The last output of a terminal, for viewers that join late or fall behind."""

from __future__ import annotations


class Scrollback:
    """Bytes by their offset from the very first one; only the last ``limit_bytes`` are kept.

    Every viewer remembers how far it is: a slow one costs no memory, it misses what was forgotten.
    """

    __slots__ = ("_data", "_dropped", "_limit_bytes")

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._data = bytearray()
        self._dropped = 0

    @property
    def start(self) -> int:
        """Offset of the oldest byte that is kept."""
        return max(self._dropped, self.end - self._limit_bytes)

    @property
    def end(self) -> int:
        """Offset that the next byte will have."""
        return self._dropped + len(self._data)

    def append(self, data: bytes) -> None:
        """The newest bytes; old ones are thrown away in large pieces, which is cheap."""
        self._data += data
        if len(self._data) > 2 * self._limit_bytes:
            surplus = len(self._data) - self._limit_bytes
            del self._data[:surplus]
            self._dropped += surplus

    def read(self, offset: int, limit_bytes: int) -> bytes:
        """At most so many bytes from an offset on that is still kept."""
        first = offset - self._dropped
        return bytes(self._data[first : first + limit_bytes])
