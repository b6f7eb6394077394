"""Whether the write-ahead log of a store was damaged: SQLite itself takes damage for its end.

A log that stops in the middle of a transaction is normal: nobody got an acknowledgement for that
one. A damaged frame with whole commits *behind* it is not: they were acknowledged, and SQLite
will ignore them without a word (SQLite, "Database File Format", section 4: the checksum of each
frame goes on from the one before it, so frames behind a damaged one can still be checked against
its stored checksum).
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from typing import NamedTuple

_HEADER = struct.Struct(">8I")
_FRAME = struct.Struct(">6I")
_MAGIC = 0x377F0682
#: A log is rarely over 4 MB (wal_autocheckpoint); of a longer one the beginning is looked at.
_LOOKED_AT_BYTES = 16 << 20

_Sum = tuple[int, int]


class Damage(NamedTuple):
    """A place where the log is damaged although it goes on."""

    #: Number of the damaged frame, from 1; 0 is the log's header.
    frame: int
    #: Whole commits behind it, which SQLite ignores.
    ignored_commits: int


class _Frame(NamedTuple):
    whole: bool
    commit: bool


def inspect(path: str) -> Damage | None:
    """Look at the log beside a store before SQLite does. None: there is none, or no harm is done.

    Raises OSError.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    with open(fd, "rb") as file:
        data = file.read(_LOOKED_AT_BYTES)
    return _judge(data)


def _judge(data: bytes) -> Damage | None:
    if len(data) < _HEADER.size:
        return None
    magic, _, page_bytes, _, *_, first, second = _HEADER.unpack_from(data)
    order = ">" if magic & 1 else "<"
    damaged_at: int | None = None
    if magic & ~1 != _MAGIC or _add((0, 0), data[:24], order) != (first, second):
        damaged_at = 0
        # What the header should say of its frames, they say themselves.
        order, page_bytes = "<", 4096
    ignored = doubtful = 0
    for number, frame in enumerate(_frames(data, page_bytes, order, damaged_at is None), 1):
        if damaged_at is None and frame.whole:
            continue
        ignored += damaged_at is not None and frame.whole and frame.commit
        doubtful += frame.commit
        damaged_at = number if damaged_at is None else damaged_at
    # Not whole may be the one commit that was being written; of two, one was finished.
    ignored = ignored or (doubtful if doubtful > 1 else 0)
    return Damage(damaged_at, ignored) if damaged_at is not None and ignored else None


def _frames(data: bytes, page_bytes: int, order: str, trusted: bool) -> Iterator[_Frame]:
    """Frames of the log's present generation; those behind it are left from an earlier one."""
    *_, first, second = _HEADER.unpack_from(data)
    total: _Sum = (first, second)
    salts = data[16:24] if trusted else _salts(data, page_bytes)
    start = _HEADER.size
    foreign = 0
    while start + _FRAME.size + page_bytes <= len(data):
        _, pages, *_, first, second = _FRAME.unpack_from(data, start)
        body = start + _FRAME.size
        if data[start + 8 : start + 16] != salts:
            foreign += 1
            if foreign > 1:
                return  # one may be a damaged frame header, two are another generation
            yield _Frame(False, False)
        else:
            foreign = 0
            found = _add(total, data[start : start + 8], order)
            found = _add(found, data[body : body + page_bytes], order)
            yield _Frame(found == (first, second), pages > 0)
        total = (first, second)
        start = body + page_bytes


def _salts(data: bytes, page_bytes: int) -> bytes:
    """Of the present generation, which is first in the log, when the header does not tell."""
    step = _FRAME.size + page_bytes
    for start in range(_HEADER.size, len(data) - step + 1, step):
        salts = data[start + 8 : start + 16]
        if any(salts):
            return salts
    return b""


def _add(total: _Sum, data: bytes, order: str) -> _Sum:
    """The log's checksum, continued (section 4.2)."""
    first, second = total
    for one, two in struct.iter_unpack(f"{order}2I", data):
        first = (first + one + second) & 0xFFFFFFFF
        second = (second + two + first) & 0xFFFFFFFF
    return first, second
