"""The process that remembers: batches become transactions, questions become answers.

One loop, one pipe. A frame that has come is handled first; between frames one slice of long work
is done (questions, housekeeping, backups), so that no batch waits for more than a few
milliseconds. The process ends at the sentinel, orderly, or at EOF, when it commits what is
complete and leaves.
"""

from __future__ import annotations

import math
import os
import select
import sqlite3
import time
import traceback
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any, NamedTuple, NoReturn

from gflow.errors import StoreError
from gflow.persistence import codec, load, question
from gflow.persistence.codec import Item
from gflow.persistence.committer import Committer
from gflow.persistence.errand import Errands
from gflow.persistence.housekeeping import Housekeeper
from gflow.persistence.opening import Opening, explain, open_store
from gflow.persistence.setting import Settings
from gflow.process import child

#: Long work tells that it goes on, this often.
_BUSY_S = 1.0
_REST_MS = 5
#: Rounds of housekeeping from one collection of blobs to the next: it reads all of history.
_COLLECT_EVERY = 12
#: poll(2) takes no more than a few weeks.
_LONGEST_WAIT_MS = 3_600_000


class _SupervisorGone(Exception):
    """The pipe is closed at the other end."""


class _Sentinel(Exception):
    """The supervisor asks for an orderly end."""


class _Work(NamedTuple):
    """Long work in slices: each step yields a frame to send, or None."""

    what: str
    #: Id of the query that it answers; None: nobody waits for it.
    id: int | None
    steps: Iterator[bytes | None]


class Persister:
    """The loop. ``run`` returns the exit code."""

    def __init__(self, connection: Connection, settings: Settings) -> None:
        self._connection = connection
        self._settings = settings
        self._poll = select.poll()
        self._poll.register(connection.fileno(), select.POLLIN)
        self._work: deque[_Work] = deque()
        self._busy_at_s = time.monotonic()
        #: What ``_going_on`` says.
        self._what = "opening the store"
        self._errands = Errands(self._pump)
        self._housekeeper = Housekeeper(settings.keep_history_s, collect_every=_COLLECT_EVERY)
        # The first round comes when the start is long over.
        self._round_at_s = time.monotonic() + min(60.0, settings.housekeeping_interval_s)
        self._committer: Committer

    # --- life -------------------------------------------------------------------------------------

    def run(self) -> int:
        """Open, load, serve, end."""
        try:
            opening = open_store(self._settings, self._going_on)
            self._tell("opened", **_opened(opening, self._settings))
            if self._settings.load:
                self._load(opening)
        except StoreError as error:
            return self._refuse(str(error))
        except sqlite3.Error as error:
            return self._refuse(explain(self._settings.store_path, error))
        except _SupervisorGone:
            return 0
        self._what = "saving"
        self._committer = Committer(self._settings, opening, self._tell, self._going_on)
        self._committer.listeners.append(self._housekeeper.note)
        try:
            return self._serve()
        except _SupervisorGone:
            self._committer.last_attempt()
            return 0

    def _serve(self) -> int:
        """Until the sentinel. Returns the exit code, raises _SupervisorGone."""
        try:
            self._committer.ensure_ballast()
            while True:
                self._turn(self._patience_ms())
        except _Sentinel:
            if not self._committer.close():
                return 1
            self._tell("closed")
            return 0

    def _refuse(self, sentence: str) -> int:
        try:
            self._tell("refused", kind="store", message=sentence)
        except _SupervisorGone:
            pass
        return 1

    def _load(self, opening: Opening) -> None:
        settings, store = self._settings, opening.store
        self._what = "loading"
        loading = load.Loading(
            store,
            finished_since_at=time.time() - settings.keep_finished_s,
            finished_limit=settings.keep_finished,
        )
        for piece in loading.pieces():
            self._tell("rows", piece)
        self._tell(
            "loaded",
            id_floor=max(opening.marker_file.marker.id_floor, store.id_floor()),
            clean_shutdown=opening.clean_shutdown,
            quarantined=loading.quarantined,
            warnings=opening.warnings,
            array_ended=[[id, states] for id, states in loading.array_ended().items()],
            array_ended_positions=[
                [id, ranges] for id, ranges in loading.array_ended_positions().items()
            ],
        )

    # --- the loop ---------------------------------------------------------------------------------

    def _turn(self, patience_ms: int) -> None:
        """One frame, or one slice, or both. Raises _Sentinel, _SupervisorGone."""
        if self._poll.poll(patience_ms):
            self._handle(self._receive())
        if not self._committer.open_transaction:
            self._begin_round()
            self._slice()
        self._committer.tick()

    def _pump(self) -> None:
        """Everything else, in the middle of work that cannot be cut into steps."""
        self._turn(0)
        while self._committer.open_transaction:
            self._turn(self._patience_ms())
        if self._committer.store is None:
            raise sqlite3.OperationalError("the store had to be opened anew")

    def _patience_ms(self) -> int:
        if self._work and not self._committer.open_transaction:
            # What nobody waits for leaves every other moment to the machine's jobs.
            return 0 if any(work.id is not None for work in self._work) else _REST_MS
        due_s = min(self._round_at_s, self._committer.tick_at_s)
        return max(0, min(_LONGEST_WAIT_MS, math.ceil(1000 * (due_s - time.monotonic()))))

    def _receive(self) -> bytes:
        try:
            return self._connection.recv_bytes()
        except (EOFError, OSError) as error:
            raise _SupervisorGone from error

    def _tell(self, type: str, items: Iterable[Item] = (), **fields: Any) -> None:
        self._send(codec.encode_frame(type, items, **fields))

    def _send(self, frame: bytes) -> None:
        try:
            self._connection.send_bytes(frame)
        except OSError as error:
            raise _SupervisorGone from error

    def _handle(self, data: bytes) -> None:
        frame = codec.decode_frame(data)
        if frame.type == "batch":
            self._committer.add(frame.fields["seq"], frame.items, frame.fields["more"])
        elif frame.type == "query":
            self._ask(**frame.fields)
        else:
            assert frame.type == "sentinel", frame.type
            raise _Sentinel

    def _ask(self, id: int, what: str, args: dict[str, Any]) -> None:
        store = self._committer.store
        if store is None:
            self._send(
                question.error_frame(id, "cannot answer: the store is closed after an error")
            )
            return
        if what == "backup":
            steps = self._errands.backup(store, id, **args)
        elif what == "check":
            steps = self._errands.check(store, id)
        else:
            steps = question.answer(store, id, what, args)
        self._work.append(_Work(what, id, steps))

    def _begin_round(self) -> None:
        """Start housekeeping when its time has come and the store is well."""
        if time.monotonic() < self._round_at_s:
            return
        self._round_at_s = time.monotonic() + self._settings.housekeeping_interval_s
        store = self._committer.store
        if store is None or self._committer.retry_at_s is not None:
            return
        steps = self._housekeeper.round(store, time.time())
        self._work.append(_Work("housekeeping", None, steps))
        if self._committer.check_later:
            self._committer.check_later = False
            self._work.append(_Work("check", None, self._errands.late_check(store)))

    def _slice(self) -> None:
        """Do one slice of the work whose turn it is."""
        if not self._work:
            return
        work = self._work.popleft()
        try:
            frame = next(work.steps)
        except StopIteration:
            return
        except sqlite3.Error as error:
            sentence = f"{work.what} failed: {error}"
            if work.id is None:
                self._tell("noticed", text=sentence)
            else:
                self._send(question.error_frame(work.id, f"cannot answer: {sentence}"))
            return
        self._work.append(work)
        if frame is not None:
            self._send(frame)
        self._going_on(work.what)

    def _going_on(self, what: str | None = None) -> None:
        """A sign of life, at most one a second; also from inside a long statement of SQLite's."""
        now_s = time.monotonic()
        if now_s - self._busy_at_s > _BUSY_S:
            self._busy_at_s = now_s
            with suppress(_SupervisorGone):  # the next look at the pipe finds out
                self._tell("busy", what=what or self._what)


def _opened(opening: Opening, settings: Settings) -> dict[str, Any]:
    return {
        "path": settings.store_path,
        "device": os.stat(settings.store_path).st_dev,
        "session": opening.session,
        "schema": opening.store.version,
        "created": opening.created,
        "copied": opening.copied,
        "clean_shutdown": opening.clean_shutdown,
        "migrated_from": opening.migrated_from,
        "backup": opening.backup,
        "filesystem": opening.filesystem,
        "network": settings.network,
        "sqlite": sqlite3.sqlite_version,
        "warnings": opening.warnings,
    }


def main(fd: int, settings: dict[str, Any]) -> NoReturn:
    """Begin as a child of the supervisor and serve until the end. Does not return."""
    parsed = Settings.parse(settings)
    child.begin("persister", (fd, *parsed.lock_fds))
    os.umask(0o077)
    connection = Connection(fd)
    try:
        code = Persister(connection, parsed).run()
    except Exception:
        code = 70
        try:
            connection.send_bytes(codec.encode_frame("crashed", text=traceback.format_exc()))
        except OSError:
            pass  # nobody is there to be told
    # Not through close(): after EOF a checkpoint would only keep the next supervisor waiting.
    os._exit(code)


if __name__ == "__main__":
    main(*child.arguments())
