"""Rounds in which what nobody needs any more leaves the store, a slice at a time.

History rows go when their retention ends, with their transitions; never those that live jobs
depend on or that belong to an array that goes on. A blob goes when no row names it in two rounds
running: between the blob's commit and that of the record that names it, one round may pass. So do
transitions whose job is nowhere to be found.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress

from gflow.persistence import codec, load
from gflow.persistence.codec import DamagedRecord, Item
from gflow.persistence.store import Store

_SCAN_RECORDS = 200
_PURGE_RECORDS = 50
_SCAN_TRANSITIONS = 1000
_PURGE_TRANSITIONS = 200
#: Jobs remembered from one round to the next because only their transitions are there.
_MOST_STRAYS = 10_000
_DAY_S = 86400.0


class Housekeeper:
    """Remembers between rounds which blobs nobody named, and whose job was not there."""

    def __init__(self, keep_history_s: float | None, *, collect_every: int = 1) -> None:
        """``collect_every``: blobs and stray transitions are looked for once in so many rounds.

        Which ones history names is found by reading all of it.
        """
        self._keep_history_s = keep_history_s
        self._collect_every = collect_every
        self._rounds = 0
        self._going_on = False
        self._unnamed: set[str] = set()
        self._strays: set[int] = set()
        # What this round has found in use; kept up to date by what is committed meanwhile.
        self._needed: set[int] = set()
        self._named: set[str] = set()

    def note(self, items: Iterable[Item]) -> None:
        """Look at what is committed while a round may be going on."""
        for item in items:
            if item.key[0] == "blob":
                self._unnamed.discard(str(item.key[1]))
            elif self._going_on and item.key[0] in ("job", "array") and item.payload is not None:
                self._note(item)

    def _note(self, item: Item) -> None:
        try:
            codec.verify(item)
            record = codec.decode(item)
        except DamagedRecord:
            return
        assert isinstance(record, dict)
        self._named.update(load.blobs(record))
        if not record.get("final"):
            if item.key[0] == "array":
                self._needed.add(int(item.key[1]))
            for _, ids in load.dependencies(record):
                self._needed.update(ids)

    def round(self, store: Store, now_at: float) -> Iterator[bytes | None]:
        """One round; ``now_at`` is the wall clock. Yields ``expired`` frames, else None."""
        self._going_on = True
        try:
            yield from self._survey(store, "live")
            if self._keep_history_s is not None:
                yield from self._purge(store, self._cutoff(store, now_at, self._keep_history_s))
            if self._rounds % self._collect_every == 0:
                yield from self._survey(store, "history")
                yield from self._collect(store)
                yield from self._collect_transitions(store)
            self._rounds += 1
        finally:
            self._going_on = False
            self._needed.clear()
            self._named.clear()

    def _survey(self, store: Store, table: str) -> Iterator[None]:
        last = -1 << 63
        while True:
            rows = store.connection.execute(
                f"SELECT id, kind, crc, record FROM {table} WHERE id > ? ORDER BY id LIMIT ?",
                (last, _SCAN_RECORDS),
            ).fetchall()
            if not rows:
                return
            for id, kind, crc, record in rows:
                self._note(Item((kind, id), crc, record))
            last = rows[-1][0]
            yield

    def _cutoff(self, store: Store, now_at: float, keep_s: float) -> float:
        """What ended before this may go.

        A clock that jumped ahead must not empty the history: time is believed only as far as a day
        after the newest end.
        """
        (newest,) = store.connection.execute("SELECT max(finished_at) FROM history").fetchone()
        return min(now_at, (newest or 0.0) + _DAY_S) - keep_s

    def _purge(self, store: Store, cutoff_at: float) -> Iterator[bytes | None]:
        last = (float("-inf"), 0)
        while True:
            rows = store.connection.execute(
                "SELECT finished_at, id FROM history INDEXED BY history_by_time"
                " WHERE (finished_at, id) > (?, ?) AND finished_at < ?"
                " ORDER BY finished_at, id LIMIT ?",
                (*last, cutoff_at, _PURGE_RECORDS),
            ).fetchall()
            if not rows:
                return
            last = rows[-1]
            purged = self._delete(store, [id for _, id in rows])
            yield codec.encode_frame("expired", jobs=purged) if purged else None

    def _delete(self, store: Store, ids: list[int]) -> list[dict[str, int | None]]:
        """Delete those of the rows that nobody needs, in one transaction. Returns what went."""
        execute = store.connection.execute
        purged: list[dict[str, int | None]] = []
        store.begin()
        try:
            for id in ids:
                array_id, record = execute(
                    "SELECT array_id, record FROM history WHERE id = ?", (id,)
                ).fetchone()
                if id in self._needed or array_id in self._needed:
                    continue
                execute("DELETE FROM history WHERE id = ?", (id,))
                execute("DELETE FROM transition WHERE job = ?", (id,))
                purged.append({"id": id, "array_id": array_id, "task": _task(record)})
            store.commit()
        except BaseException:
            store.rollback()
            raise
        return purged

    def _collect(self, store: Store) -> Iterator[None]:
        hashes = [hash for (hash,) in store.connection.execute("SELECT hash FROM blob")]
        yield
        unnamed = {hash for hash in hashes if hash not in self._named}
        for hash in sorted(unnamed & self._unnamed):
            # Somebody may have named it since the last slice.
            if hash in self._unnamed and hash not in self._named:
                store.connection.execute("DELETE FROM blob WHERE hash = ?", (hash,))
                unnamed.discard(hash)
                yield
        self._unnamed = unnamed - self._named

    def _collect_transitions(self, store: Store) -> Iterator[None]:
        """Those of jobs that are neither live nor in history, nor set aside for people to see."""
        strays: set[int] = set()
        last: int | None = -1 << 63
        while last is not None and len(strays) < _MOST_STRAYS:
            last = self._look_for_strays(store, last, strays)
            yield
        strays -= _set_aside(store)
        for job in sorted(strays & self._strays):
            strays.discard(job)
            while self._delete_transitions(store, job):
                yield
        self._strays = strays

    def _look_for_strays(self, store: Store, after: int, found: set[int]) -> int | None:
        """One slice, from job ``after`` on. Returns the last job looked at, None at the end."""
        rows = store.connection.execute(
            "SELECT DISTINCT job, EXISTS(SELECT 1 FROM live WHERE id = job)"
            " OR EXISTS(SELECT 1 FROM history WHERE id = job)"
            " FROM (SELECT job FROM transition WHERE job > ? ORDER BY job LIMIT ?)",
            (after, _SCAN_TRANSITIONS),
        ).fetchall()
        found.update(job for job, known in rows if not known)
        return max(job for job, _ in rows) if rows else None

    def _delete_transitions(self, store: Store, job: int) -> bool:
        """Some of a stray job's, unless it has turned up. False: there was nothing to delete."""
        deleted = store.connection.execute(
            "DELETE FROM transition WHERE job = ?1 AND n IN"
            " (SELECT n FROM transition WHERE job = ?1 ORDER BY n LIMIT ?2)"
            " AND NOT EXISTS(SELECT 1 FROM live WHERE id = ?1)"
            " AND NOT EXISTS(SELECT 1 FROM history WHERE id = ?1)",
            (job, _PURGE_TRANSITIONS),
        )
        return deleted.rowcount > 0


def _set_aside(store: Store) -> set[object]:
    """Ids of what is in quarantine."""
    found: set[object] = set()
    for (key,) in store.connection.execute("SELECT key FROM quarantine"):
        with suppress(DamagedRecord):
            found.add(codec.decode_json(key.encode("utf-8", "surrogateescape"))[1])
    return found


def _task(record: bytes) -> int | None:
    try:
        task = codec.decode_json(record).get("task")
    except (DamagedRecord, AttributeError):
        return None
    return task if isinstance(task, int) else None
