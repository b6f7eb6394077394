"""A disk below the real store: it fills up, fails, and forgets what was not synced.

The store is real SQLite on real files. Faults come in between its statements; at a death the files
are put back to what the kernel (a process died) or the platter (the power went) would have kept:
any subset of the sectors written since the last sync, and nothing that SQLite's own closing writes.
"""

from __future__ import annotations

import errno
import os
import random
import sqlite3
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from gflow.model.record import Key
from gflow.persistence import marker
from gflow.persistence.codec import Item, decode_json, encode_json
from gflow.persistence.marker import Marker
from gflow.persistence.store import Store

_SECTOR = 512
_NAMES = ("state.db", "state.db-wal", "state.db-journal", "state.marker")
#: Pages of log after which SQLite checkpoints: small, so that it does so often.
_WAL_PAGES = 24
#: Statements that fit into the spare space once the ballast is given up.
_BALLAST_STATEMENTS = 60
_WRITES = ("BEGIN", "COMMIT", "INSERT", "REPLACE", "DELETE", "UPDATE")

Content = dict[Key, bytes]
Image = dict[str, bytes]


class Died(BaseException):
    """The persister was killed at this very boundary."""


class PowerCut(BaseException):
    """The machine went dark at this very boundary."""


class Disk:
    """One state folder. ``content`` is what its store must hold: the model beside the real one."""

    def __init__(self, folder: str, draw: random.Random, *, relaxed: bool) -> None:
        self.folder = folder
        self._draw = draw
        self._relaxed = relaxed
        self.content: Content = {}
        #: What the store may hold instead, after a death in the middle of a commit.
        self._also: list[Content] = []
        self.full = False
        self._room = 0
        #: Whether the spare file stands.
        self.ballast = False
        #: Boundaries from now at which something happens; None: it does not.
        self.die_in: int | None = None
        self.power_cut_in: int | None = None
        self.error_in: int | None = None
        self._synced: Image | None = None
        self._before: Image | None = None
        self._applying: list[Item] = []
        self._store: SimulatedStore | None = None
        self.commits = 0

    # --- boundaries -----------------------------------------------------------------------------

    def boundary(self) -> None:
        """Between any two steps of the persister: it may die here. Raises Died, PowerCut."""
        if self.die_in is not None:
            self.die_in -= 1
            if self.die_in <= 0:
                self.die_in = None
                raise Died
        if self.power_cut_in is not None:
            self.power_cut_in -= 1
            if self.power_cut_in <= 0:
                self.power_cut_in = None
                raise PowerCut

    def arm_power_cut(self, boundaries: int) -> None:
        """The power goes at the n-th boundary from now."""
        self.power_cut_in = boundaries
        self._synced = self._image()

    def write(self, what: str) -> None:
        """Something is about to be written. Raises sqlite3.OperationalError."""
        self.boundary()
        if self.full:
            if self._room <= 0:
                raise _error("SQLITE_FULL", "database or disk is full")
            self._room -= 1
        if self.error_in is not None:
            self.error_in -= 1
            if self.error_in <= 0:
                self.error_in = None
                if what == "COMMIT" and self._draw.random() < 0.5:
                    self._store_commit()  # it was made, and nobody could know
                raise _error("SQLITE_IOERR_FSYNC", "disk I/O error")

    # --- the store ------------------------------------------------------------------------------

    def open(self, path: str, **options: Any) -> SimulatedStore:
        """In the place of ``Store``: opens the real one and compares it with the model."""
        self.boundary()
        options["wal_pages"] = _WAL_PAGES
        self._store = SimulatedStore(self, path, **options)
        self._settle(self._store)
        return self._store

    def applying(self, items: Iterable[Item]) -> None:
        """These items are being written in the open transaction."""
        self._applying += items

    def begin(self) -> None:
        """A transaction begins."""
        self._applying = []

    def commit(self) -> None:
        """COMMIT: the moment in which torn writes come to be."""
        if self.power_cut_in is not None or self.die_in is not None:
            self._before = self._image()
        self._store_commit()
        self.boundary()
        self._before = None

    def _store_commit(self) -> None:
        assert self._store is not None
        self._store.raw.execute("COMMIT")
        self.commits += 1
        self._also.append(self.content)
        self.content = _applied(self.content, self._applying)
        self._applying = []
        if len(self._also) > 1 and not (self._relaxed and self._synced is not None):
            del self._also[:-1]

    def committed(self, item: Item) -> bool:
        """Whether the store holds exactly this, as the model has it."""
        return self.content.get(item.key) == item.payload

    def _settle(self, store: SimulatedStore) -> None:
        """After an opening: the real content must be one that is allowed; it is the truth now."""
        found = store.content()
        allowed = [self.content, *self._also]
        assert found in allowed, (
            f"the store lost or invented records: {_differences(found, allowed[0])}"
        )
        self.content, self._also = found, []

    # --- death ----------------------------------------------------------------------------------

    def _image(self) -> Image:
        image = {}
        for name in _NAMES:
            try:
                with open(os.path.join(self.folder, name), "rb") as file:
                    image[name] = file.read()
            except FileNotFoundError:
                pass
        return image

    def _put_back(self, image: Image) -> None:
        for name in _NAMES:
            path = os.path.join(self.folder, name)
            if name in image:
                with open(path, "wb") as file:
                    file.write(image[name])
            elif os.path.exists(path):
                os.unlink(path)

    def _close(self) -> None:
        if self._store is not None:
            self._store.raw.close()
            self._store = None

    def process_died(self) -> None:
        """The persister is gone; what it wrote is in the kernel, perhaps not the last of it."""
        if self._store is None:
            return  # it had not come to open it
        kept = self._image()
        torn = self._before is not None and self._draw.random() < 0.5
        if torn and self._before is not None and _same(self._before, kept, "state.db"):
            kept["state.db-wal"] = self._prefix(self._before, kept)
        self._close()
        self._put_back(kept)
        self._forget_faults(keep_before=torn)

    def power_was_cut(self) -> None:
        """What was not synced is there, or not, sector by sector."""
        now = self._image()
        in_commit = self._before is not None
        # Nobody has looked yet at what the last death left.
        unseen = self._store is None
        before = self._before or now
        if self._relaxed and self._synced is not None:
            before = self._synced
        kept = dict(now)
        if _same(before, now, "state.db"):
            kept["state.db-wal"] = self._sectors(before, now, "state.db-wal")
        elif in_commit and not self._relaxed:
            # A checkpoint begins when the log is synced; before that the file was as it had been.
            if self._draw.random() < 0.5:
                kept["state.db"] = self._sectors(before, now, "state.db")
            else:
                kept["state.db"] = before["state.db"]
                kept["state.db-wal"] = self._sectors(before, now, "state.db-wal")
        self._close()
        self._put_back(kept)
        self._forget_faults(keep_before=in_commit or unseen or self._relaxed)

    def closed(self) -> None:
        """The store was closed by its own means."""
        self._store = None
        self._forget_faults(keep_before=False)

    def _forget_faults(self, *, keep_before: bool) -> None:
        self.die_in = self.power_cut_in = self.error_in = None
        self._synced = self._before = None
        self._applying = []
        if not keep_before:
            self._also = []

    def _prefix(self, before: Image, after: Image) -> bytes:
        """A log of which only the first writes were made."""
        old, new = before.get("state.db-wal", b""), after.get("state.db-wal", b"")
        cut = self._draw.randrange(0, len(new) + 1)
        return new[:cut] + old[cut:]

    def _sectors(self, before: Image, after: Image, name: str) -> bytes:
        """Any subset of the sectors that differ; the order of writing means nothing."""
        old, new = before.get(name, b""), after.get(name, b"")
        share = self._draw.choice((0.0, 0.5, 0.9, 1.0))
        kept = bytearray(old)
        for at in range(0, len(new), _SECTOR):
            sector = new[at : at + _SECTOR]
            if old[at : at + _SECTOR] != sector and self._draw.random() < share:
                kept.extend(b"\0" * (at - len(kept)))
                kept[at : at + _SECTOR] = sector
        return bytes(kept)

    # --- the marker and the ballast -------------------------------------------------------------

    def write_marker(self, path: str, found: Marker) -> None:
        """In the place of ``marker.write``: whole or not at all, that is what it syncs for."""
        self.boundary()
        if self.full and self._room <= 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
        making = f"{path}.new"
        with open(making, "wb") as file:
            file.write(encode_json(asdict(found)))
        os.rename(making, path)
        self.boundary()

    def marker(self) -> Marker | None:
        """What the marker says now."""
        return marker.read(marker.inside(self.folder))

    def fill(self) -> None:
        """Somebody else's file takes all the space."""
        self.full, self._room = True, self._draw.choice((0, 0, 3, 20))

    def free(self) -> None:
        """There is space again."""
        self.full, self._room = False, 0

    @property
    def no_room(self) -> bool:
        """Whether nothing can be written now."""
        return self.full and self._room <= 0

    def give_up_ballast(self) -> bool:
        """Free the spare space."""
        stood, self.ballast = self.ballast, False
        self._room += _BALLAST_STATEMENTS if stood else 0
        return stood

    def make_ballast(self) -> bool:
        """Set space aside."""
        self.ballast = self.ballast or not self.full
        return self.ballast


class SimulatedBallast:
    """In the place of ``space.Ballast``."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk

    @property
    def stands(self) -> bool:
        return self._disk.ballast

    def make(self) -> bool:
        return self._disk.make_ballast()

    def give_up(self) -> bool:
        return self._disk.give_up_ballast()


class SimulatedStore(Store):
    """The real store, with the disk's faults between its statements."""

    def __init__(self, disk: Disk, path: str, **options: Any) -> None:
        super().__init__(path, **options)
        self.disk = disk
        self.raw = self.connection
        self.connection = _Connection(disk, self.raw)  # type: ignore[assignment]

    def apply(self, items: Iterable[Item]) -> None:
        items = list(items)
        self.disk.applying(items)
        super().apply(items)

    def close(self, session: int) -> None:
        super().close(session)
        self.disk.closed()

    def abandon(self) -> None:
        super().abandon()
        self.disk._store = None

    def content(self) -> Content:
        """Every record there is, by key; blobs and the store's own values left out."""
        found: Content = {}
        execute = self.raw.execute
        for table in ("live", "history"):
            for kind, id, record in execute(f"SELECT kind, id, record FROM {table}"):
                assert (kind, id) not in found, f"{kind} {id} is live and in history"
                found[kind, id] = record
        for job, n, record in execute("SELECT job, n, record FROM transition"):
            found["transition", job, n] = record
        for text, record in execute("SELECT key, record FROM fact"):
            found[tuple(decode_json(text.encode()))] = record
        for name, record in execute("SELECT name, record FROM meta"):
            if not name.startswith("store."):
                found["meta", name] = record
        return found

    def blobs(self) -> set[str]:
        """Hashes of the blobs there are."""
        return {hash for (hash,) in self.raw.execute("SELECT hash FROM blob")}


class _Connection:
    """A connection whose every write is a boundary."""

    def __init__(self, disk: Disk, raw: sqlite3.Connection) -> None:
        self._disk = disk
        self._raw = raw

    @property
    def in_transaction(self) -> bool:
        return self._raw.in_transaction

    def execute(self, sql: str, values: Any = ()) -> sqlite3.Cursor | None:
        word = sql.split(None, 1)[0]
        if word in _WRITES:
            self._disk.write(word)
        if word == "COMMIT":
            self._disk.commit()
            return None
        if word == "BEGIN":
            self._disk.begin()
        return self._raw.execute(sql, values)

    def close(self) -> None:
        self._raw.close()


def _applied(content: Content, items: Iterable[Item]) -> Content:
    result = dict(content)
    for key, _, payload in items:
        if key[0] == "blob" or str(key[1]).startswith("store."):
            continue
        if payload is None:
            result.pop(key, None)
        else:
            result[key] = payload
    return result


def _same(before: Image, after: Image, name: str) -> bool:
    return before.get(name) == after.get(name)


def _differences(found: Content, wanted: Content) -> list[Any]:
    keys = {key for key in found.keys() | wanted.keys() if found.get(key) != wanted.get(key)}
    return [(key, found.get(key), wanted.get(key)) for key in sorted(keys, key=str)[:5]]


def _error(name: str, text: str) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError(text)
    error.sqlite_errorname = name
    return error
