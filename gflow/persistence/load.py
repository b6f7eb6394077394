"""What the supervisor needs to know at its start, read from the store in pieces.

In order: meta and facts, arrays and jobs by id, the blobs that they name, then ended jobs: those
that live jobs depend on, and those that ended a short while ago. A damaged row is set aside and
told, the rest loads.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from gflow.model.record import Key
from gflow.persistence import codec
from gflow.persistence.codec import DamagedRecord, Item
from gflow.persistence.store import Store

_PIECE_RECORDS = 500
_PIECE_BYTES = 1 << 18


class Loading:
    """One pass over the store. Iterate ``pieces``, then read the findings."""

    def __init__(self, store: Store, *, finished_since_at: float, finished_limit: int) -> None:
        """``finished_since_at``: epoch seconds; what ended later comes along, newest first kept."""
        self._store = store
        self._finished_since_at = finished_since_at
        self._finished_limit = finished_limit
        #: Rows set aside: {table, key, reason}.
        self.quarantined: list[dict[str, Any]] = []
        self._blobs: dict[str, None] = {}
        self._parents: set[int] = set()
        #: Arrays whose tasks are compared one by one (aftercorr): all their ended tasks come along.
        self._parent_arrays: set[int] = set()
        self._arrays: list[int] = []

    def pieces(self) -> Iterator[list[Item]]:
        """Lists of verified items, each small enough for one frame."""
        yield from _in_pieces(self._small())
        yield from _in_pieces(self._live())
        yield from _in_pieces(self._named_blobs())
        yield from _in_pieces(self._ended())

    def array_ended(self) -> dict[int, dict[str, int]]:
        """For each live array, how many of its tasks ended in which state."""
        found: dict[int, dict[str, int]] = {}
        for array_id in self._arrays:
            rows = self._store.connection.execute(
                "SELECT state, count(*) FROM history INDEXED BY history_by_array"
                " WHERE array_id = ? GROUP BY state",
                (array_id,),
            ).fetchall()
            if rows:
                found[array_id] = dict(rows)
        return found

    def array_ended_positions(self) -> dict[int, list[tuple[int, int]]]:
        """For each live array, the positions of its ended tasks as half-open ranges, ascending.

        An array's record and those of its tasks may lie in different transactions; what has a
        record of its own is not pending, whatever the array's record says.
        """
        found: dict[int, list[tuple[int, int]]] = {}
        for array_id in self._arrays:
            rows = self._store.connection.execute(
                "SELECT id FROM history INDEXED BY history_by_array WHERE array_id = ?",
                (array_id,),
            )
            positions = sorted(id - array_id - 1 for (id,) in rows)
            if positions:
                found[array_id] = _ranges(positions)
        return found

    # --- sources ----------------------------------------------------------------------------------

    def _small(self) -> Iterator[Item]:
        execute = self._store.connection.execute
        for name, crc, record in execute("SELECT name, crc, record FROM meta").fetchall():
            if not name.startswith("store."):
                yield from self._checked("meta", "name", name, Item(("meta", name), crc, record))
        for text, crc, record in execute("SELECT key, crc, record FROM fact").fetchall():
            yield from self._checked("fact", "key", text, Item(fact_key(text), crc, record))

    def _live(self) -> Iterator[Item]:
        last = -1 << 63
        while True:
            rows = self._store.connection.execute(
                "SELECT id, kind, crc, record FROM live WHERE id > ? ORDER BY id LIMIT ?",
                (last, _PIECE_RECORDS),
            ).fetchall()
            if not rows:
                return
            last = rows[-1][0]
            for id, kind, crc, record in rows:
                for item in self._checked("live", "id", id, Item((kind, id), crc, record)):
                    self._note_references(item)
                    yield item

    def _named_blobs(self) -> Iterator[Item]:
        for hash in self._blobs:
            row = self._store.connection.execute(
                "SELECT crc, data FROM blob WHERE hash = ?", (hash,)
            ).fetchone()
            if row is not None:
                yield from self._checked("blob", "hash", hash, Item(("blob", hash), *row))

    def _ended(self) -> Iterator[Item]:
        """Ended jobs that are still needed, each once."""
        execute = self._store.connection.execute
        wanted = set(self._parents)
        for array_id in self._parent_arrays:
            rows = execute("SELECT id FROM history WHERE array_id = ?", (array_id,))
            wanted.update(id for (id,) in rows)
        recent = execute(
            "SELECT id FROM history WHERE finished_at >= ? ORDER BY finished_at DESC, id DESC"
            " LIMIT ?",
            (self._finished_since_at, self._finished_limit),
        )
        wanted.update(id for (id,) in recent)
        for id in sorted(wanted):
            row = execute("SELECT kind, crc, record FROM history WHERE id = ?", (id,)).fetchone()
            if row is not None:
                kind, crc, record = row
                yield from self._checked("history", "id", id, Item((kind, id), crc, record))

    # --- checks and references --------------------------------------------------------------------

    def _checked(self, table: str, column: str, row: Any, item: Item) -> Iterator[Item]:
        try:
            codec.verify(item)
        except DamagedRecord as error:
            found = self._store.quarantine(table, item.key, column, row, str(error))
            self.quarantined.append(found)
            return
        yield item

    def _note_references(self, item: Item) -> None:
        record = codec.decode(item)
        assert isinstance(record, dict)
        if item.key[0] == "array":
            self._arrays.append(int(item.key[1]))
        self._blobs.update(dict.fromkeys(blobs(record)))
        for kind, ids in dependencies(record):
            self._parents.update(ids)
            if kind == "aftercorr":
                self._parent_arrays.update(ids)


def fact_key(text: str) -> Key:
    """The key of a row of ``fact``; one that no checksum fits when the text is damaged."""
    try:
        return tuple(codec.decode_json(text.encode("utf-8", "surrogateescape")))
    except (DamagedRecord, TypeError):
        return ("fact", text)


def blobs(record: dict[str, Any]) -> Iterator[str]:
    """Hashes of the blobs that a job's or array's record names."""
    spec = record.get("spec") or {}
    for name in ("script", "env"):
        if spec.get(name):
            yield spec[name]


def dependencies(record: dict[str, Any]) -> Iterator[tuple[str, list[int]]]:
    """Type and job ids of each dependency in a job's or array's record."""
    for dependency in (record.get("spec") or {}).get("dependencies") or ():
        yield dependency["type"], dependency.get("jobs", [])


def _in_pieces(items: Iterator[Item]) -> Iterator[list[Item]]:
    piece: list[Item] = []
    size = 0
    for item in items:
        piece.append(item)
        size += len(item.payload or b"")
        if len(piece) >= _PIECE_RECORDS or size >= _PIECE_BYTES:
            yield piece
            piece, size = [], 0
    if piece:
        yield piece


def _ranges(positions: list[int]) -> list[tuple[int, int]]:
    """Ascending positions as half-open ranges."""
    ranges: list[tuple[int, int]] = []
    start = stop = positions[0]
    for position in positions:
        if position > stop:
            ranges.append((start, stop))
            start = position
        stop = position + 1
    ranges.append((start, stop))
    return ranges
