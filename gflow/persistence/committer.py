"""One transaction at a time: apply, COMMIT, marker, acknowledgement; and what to do when it fails.

Nothing is acknowledged that is not committed. A full disk: the transaction is kept and tried
again every second; the spare file is given up, so that ends and cancellations still fit. An I/O
error: nobody knows what the kernel dropped, so the store is opened anew, checked, and the
supervisor sends everything again.
"""

from __future__ import annotations

import errno
import sqlite3
import time
from collections.abc import Callable, Iterable
from contextlib import suppress

from gflow.errors import StoreError
from gflow.persistence import floor, space, successor
from gflow.persistence.codec import DamagedRecord, Item, decode
from gflow.persistence.opening import Opening, check_structure
from gflow.persistence.setting import Settings
from gflow.persistence.store import Store
from gflow.persistence.trouble import classify

RETRY_S = 1.0
#: How often it is seen whether the store is still there, when nothing is committed.
LOOK_S = 5.0
#: A commit that takes longer is told, with its size.
SLOW_S = 0.1

Tell = Callable[..., None]


class Committer:
    """Owns the store while it is open. ``tell(type, **fields)`` sends a frame to the supervisor."""

    def __init__(
        self,
        settings: Settings,
        opening: Opening,
        tell: Tell,
        going_on: Callable[[], None] = lambda: None,
    ) -> None:
        self._settings = settings
        self._going_on = going_on
        self._tell = tell
        self._marker = opening.marker_file
        self._session = opening.session
        #: None while the store is closed because of an error.
        self.store: Store | None = opening.store
        self._file = opening.store.file
        #: It was deleted or moved, and is open still: nobody else has what is in it.
        self._lost: Store | None = None
        #: Since when there is nothing at its path (monotonic).
        self._gone_since_s: float | None = None
        self._lock_fds = opening.lock_fds
        self._look_at_s = time.monotonic() + LOOK_S
        sizes = space.scale(space.total_bytes(settings.state_dir), settings.ballast_bytes)
        self._wal_pages = sizes.wal_pages
        self._ballast = space.Ballast(settings.state_dir, sizes.ballast_bytes)
        self._seq = 0
        self._items: list[Item] = []
        self._complete = False
        self._trouble: str | None = None
        self._retry_at_s: float | None = None
        #: The structure is to be checked when there is time: nobody could wait for it.
        self.check_later = opening.check_later
        #: Told of every item that is committed: (items).
        self.listeners: list[Callable[[Iterable[Item]], None]] = []

    # --- batches ----------------------------------------------------------------------------------

    @property
    def open_transaction(self) -> bool:
        """Whether frames of a transaction have come, but not its last."""
        return bool(self._items) and not self._complete

    @property
    def retry_at_s(self) -> float | None:
        """When ``tick`` tries again what failed (monotonic), or None."""
        return self._retry_at_s

    @property
    def tick_at_s(self) -> float:
        """When ``tick`` has something to do (monotonic)."""
        return self._look_at_s if self._retry_at_s is None else self._retry_at_s

    def ensure_ballast(self) -> None:
        """Set the spare space aside at the start, or say that there is none."""
        if not self._ballast.make():
            self._in_trouble(
                "no_space", "no space left on device (spare space cannot be set aside)"
            )

    def add(self, seq: int, items: list[Item], more: bool) -> None:
        """One frame of a batch. With its last one the transaction is committed."""
        self._seq = seq
        self._items.extend(items)
        self._complete = not more
        if more:
            self._tell("ack", seq=seq, committed=False)
        else:
            self._attempt()

    def tick(self) -> None:
        """Try again what failed, or look whether all is well; call when ``tick_at_s`` has come."""
        if time.monotonic() < self.tick_at_s:
            return
        if self._retry_at_s is None:
            self._look()
            return
        self._retry_at_s = None
        if self.store is None and not self._reopen():
            return
        if self._complete and not self._attempt():
            return
        if not self._ballast.make() and self._trouble == "no_space":
            self._retry_at_s = time.monotonic() + RETRY_S
            return
        self._recovered()

    def _look(self) -> None:
        self._look_at_s = time.monotonic() + LOOK_S
        if self.store is not None and not self.store.is_in_place:
            self._failed(_displaced())

    def _attempt(self) -> bool:
        """Commit what is complete. False: it is kept, and ``tick`` tries again."""
        if self.store is None:
            return False
        try:
            self._commit(self.store)
        except (sqlite3.Error, OSError) as error:
            return self._failed(error)
        return True

    def _commit(self, store: Store) -> None:
        began_s = time.monotonic()
        store.begin()
        store.apply(self._items)
        store.commit()
        if not store.is_in_place:
            raise _displaced()
        for item in self._items:
            if item.key == ("meta", "id_floor"):
                self._marker.update(id_floor=floor.parse(decode(item)))
        spent_s = time.monotonic() - began_s
        if spent_s > SLOW_S:
            self._tell("slow", seconds=spent_s, records=len(self._items))
        for listener in self.listeners:
            listener(self._items)
        self._items = []
        self._complete = False
        self._tell("ack", seq=self._seq, committed=True)

    # --- trouble ----------------------------------------------------------------------------------

    def _failed(self, error: sqlite3.Error | OSError) -> bool:
        """React to a failed commit. True when it could be mended and the commit was made."""
        self._roll_back()
        kind = classify(error)
        if kind == "no_space":
            path = self._settings.state_dir
            self._in_trouble(kind, f"no space left on device ({path})")
            # Once given up, the space is there for the second attempt; the third one waits.
            return self._ballast.give_up() and self._attempt()
        self._in_trouble(kind, f"{self._settings.store_path}: {_words(error)}")
        if kind == "locked":
            return False
        self._give_up_store()
        return False

    def _give_up_store(self) -> None:
        """Close it, unless there is nothing at its path: then it is the last to have what it has.

        Its log comes into the main file: of what was moved, that is copied.
        """
        if self.store is not None and not self.store.is_in_place:
            with suppress(sqlite3.Error):
                self.store.checkpoint()
        if self.store is not None and self.store.is_missing:
            self._lost = self.store
        elif self.store is not None:
            self.store.abandon()
        self.store = None

    def _roll_back(self) -> None:
        if self.store is not None:
            try:
                self.store.rollback()
            except sqlite3.Error:
                pass  # it will be opened anew, or the next BEGIN tells

    def _in_trouble(self, kind: str, text: str) -> None:
        self._trouble = kind
        self._retry_at_s = time.monotonic() + RETRY_S
        self._tell("trouble", seq=self._seq, kind=kind, message=text)

    def _recovered(self) -> None:
        if self._trouble is not None:
            self._trouble = None
            self._tell("recovered")

    def _reopen(self) -> bool:
        """Open the store anew, check it, ask for everything again. False: not yet."""
        settings = self._settings
        store = None
        try:
            told = self._bring_back()
            store = Store(
                settings.store_path,
                network=settings.network,
                relaxed=settings.relaxed,
                wal_pages=self._wal_pages,
                going_on=self._going_on,
            )
            if not check_structure(store, clean=False):
                self.check_later = True
            if self._file is not None and store.file != self._file and not self._is_ours(store):
                raise StoreError(f"{settings.store_path}: it is not the store that was in use")
            self._file = store.file
            store.begin_session(self._session)
            if told is not None:
                self._marker.establish()
        except (sqlite3.Error, OSError, StoreError) as error:
            if store is not None:
                store.abandon()
            kind = "damaged" if isinstance(error, StoreError) else classify(error)
            where = "" if kind == "damaged" else f"{settings.store_path}: "
            self._in_trouble(kind, f"{where}{_words(error)}")
            if kind == "damaged":
                self._retry_at_s = time.monotonic() + 10 * RETRY_S
            return False
        self.store = store
        self._items = []
        self._complete = False
        self._tell("resync")
        if told is not None:
            self._tell("noticed", text=f"{settings.store_path} {told}", lasting=True)
        return True

    def _bring_back(self) -> str | None:
        """Have a store at the path: SQLite would make an empty one.

        Returns what became of the one that was deleted, or None: it was there. Raises
        FileNotFoundError as long as it may come back, StoreError, sqlite3.Error, OSError.
        """
        settings, now_s = self._settings, time.monotonic()
        if not successor.is_gone(settings):
            self._gone_since_s = None
            if self._lost is not None:
                self._lost.abandon()
                self._lost = None
            return None
        if self._gone_since_s is None:
            self._gone_since_s = now_s
        if now_s - self._gone_since_s < successor.PATIENCE_S:
            raise FileNotFoundError(errno.ENOENT, "there is no such file any more")
        return self._write_anew()

    def _write_anew(self) -> str:
        successor.prepare_folder(self._settings, self._file and self._file[0])
        successor.hold_folder(self._settings, self._lock_fds)
        told = successor.make(self._settings.store_path, self._lost, self._going_on)
        self._lost = self._gone_since_s = None
        # One that comes back after all is not ours any more: this one has gone on.
        self._session += 1
        self._file = None
        return told

    def _is_ours(self, store: Store) -> bool:
        """Whether another file holds the same store: it was moved away and copied back."""
        try:
            return bool(store.session()["number"] == self._session)
        except DamagedRecord:
            return False

    # --- end --------------------------------------------------------------------------------------

    def close(self) -> bool:
        """End orderly. False when it could not be noted; nothing committed is lost by that."""
        if self.store is not None and self.store.is_missing:
            self._give_up_store()
            self._gone_since_s = -successor.PATIENCE_S
            self._reopen()
        if self.store is None:
            return False
        try:
            self.store.close(self._session)
            self._marker.update(clean_session=self._session)
        except (sqlite3.Error, OSError) as error:
            self._in_trouble(classify(error), f"{self._settings.store_path}: {error}")
            return False
        return True

    def last_attempt(self) -> None:
        """The supervisor is gone: commit what is complete, once, and say nothing."""
        if not self._complete or self.store is None:
            return
        try:
            self._roll_back()
            self.store.begin()
            self.store.apply(self._items)
            self.store.commit()
        except (sqlite3.Error, OSError):
            pass  # it was never acknowledged


def _displaced() -> FileNotFoundError:
    """Committed to a file that no start will find."""
    return FileNotFoundError(errno.ENOENT, "it was deleted, moved or replaced")


def _words(error: Exception) -> str:
    """What an error says, without its number."""
    return str(getattr(error, "strerror", None) or error)
