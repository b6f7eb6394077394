"""Sorted integers with cheap insertion, removal, counting and iteration from any point.

A million keys in one plain list would move 8 MB per insertion; chunks of at most 1,024 keep every
operation within microseconds, and most queues are a single chunk.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator

_CHUNK = 1024


class Ordered:
    """A sorted set of integers."""

    __slots__ = ("_chunks", "_lasts", "_size")

    def __init__(self) -> None:
        self._chunks: list[list[int]] = []
        #: Largest key of each chunk.
        self._lasts: list[int] = []
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[int]:
        for chunk in self._chunks:
            yield from chunk

    def __contains__(self, key: int) -> bool:
        index = bisect_left(self._lasts, key)
        if index == len(self._chunks):
            return False
        chunk = self._chunks[index]
        at = bisect_left(chunk, key)
        return at < len(chunk) and chunk[at] == key

    def first(self) -> int:
        """The smallest key; there must be one."""
        return self._chunks[0][0]

    def add(self, key: int) -> None:
        """Insert ``key``, which must not be there."""
        self._size += 1
        chunks, lasts = self._chunks, self._lasts
        if not chunks:
            chunks.append([key])
            lasts.append(key)
            return
        index = min(bisect_left(lasts, key), len(chunks) - 1)
        chunk = chunks[index]
        if key > chunk[-1]:
            chunk.append(key)
        else:
            insort(chunk, key)
        lasts[index] = chunk[-1]
        if len(chunk) > _CHUNK:
            half = chunk[_CHUNK // 2 :]
            del chunk[_CHUNK // 2 :]
            chunks.insert(index + 1, half)
            lasts.insert(index, chunk[-1])

    def remove(self, key: int) -> None:
        """Remove ``key``, which must be there."""
        index = bisect_left(self._lasts, key)
        chunk = self._chunks[index]
        at = bisect_left(chunk, key)
        assert chunk[at] == key, key
        del chunk[at]
        self._size -= 1
        if chunk:
            self._lasts[index] = chunk[-1]
        else:
            del self._chunks[index]
            del self._lasts[index]

    def count_below(self, key: int) -> int:
        """How many keys are smaller than ``key``."""
        index = bisect_left(self._lasts, key)
        if index == len(self._chunks):
            return self._size
        return sum(map(len, self._chunks[:index])) + bisect_left(self._chunks[index], key)

    def last_below(self, key: int) -> int | None:
        """The largest key smaller than ``key``."""
        index = bisect_left(self._lasts, key)
        if index < len(self._chunks):
            chunk = self._chunks[index]
            at = bisect_left(chunk, key)
            if at:
                return chunk[at - 1]
        return self._lasts[index - 1] if index else None

    def above(self, key: int, count: int) -> list[int]:
        """The next ``count`` keys greater than ``key``, ascending."""
        found: list[int] = []
        index = bisect_right(self._lasts, key)
        while index < len(self._chunks) and len(found) < count:
            chunk = self._chunks[index]
            at = bisect_right(chunk, key)
            found += chunk[at : at + count - len(found)]
            index += 1
        return found


#: One key as itself, or several: most sets of one are never more than that.
Compact = int | Ordered


def grown(keys: Compact | None, key: int) -> Compact:
    """``keys`` with one more; None stands for none."""
    if keys is None:
        return key
    if isinstance(keys, int):
        several = Ordered()
        several.add(keys)
        several.add(key)
        return several
    keys.add(key)
    return keys


def shrunk(keys: Compact, key: int) -> Compact | None:
    """``keys`` without one of them."""
    if isinstance(keys, int):
        assert keys == key, (keys, key)
        return None
    keys.remove(key)
    return keys if keys else None


def size(keys: Compact) -> int:
    """How many keys there are."""
    return 1 if isinstance(keys, int) else len(keys)


def first(keys: Compact) -> int:
    """The smallest key."""
    return keys if isinstance(keys, int) else keys.first()


def each(keys: Compact) -> Iterator[int]:
    """All keys, ascending."""
    return iter((keys,)) if isinstance(keys, int) else iter(keys)


def after(keys: Compact, key: int | None, count: int) -> list[int]:
    """The next ``count`` keys greater than ``key``, ascending; the first ones without it."""
    if isinstance(keys, int):
        return [keys] if key is None or keys > key else []
    return keys.above(keys.first() - 1 if key is None else key, count)


def count_below(keys: Compact, key: int) -> int:
    """How many keys are smaller than ``key``."""
    return int(keys < key) if isinstance(keys, int) else keys.count_below(key)
