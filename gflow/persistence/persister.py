"""The process that remembers: batches become transactions, questions become answers.

One loop, one pipe. A frame that has come is handled first; between frames one slice of long work
is done (questions, housekeeping, backups), so that no batch waits for more than a few
milliseconds. The process ends at the sentinel, orderly, or at EOF, when it commits what is
complete and leaves.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import sqlite3
import time
import traceback
from collections import deque
from collections.abc import Iterable, Iterator
from multiprocessing.connection import Connection
from typing import Any, NamedTuple, NoReturn

from gflow.errors import StoreError
from gflow.persistence import codec, load, question
from gflow.persistence.codec import Item
from gflow.persistence.committer import Committer, floor
from gflow.persistence.opening import Opening, open_store
from gflow.persistence.setting import Settings
from gflow.process import child

#: Long work tells that it goes on, this often.
_BUSY_S = 1.0


class _SupervisorGone(Exception):
    """The pipe is closed at the other end."""


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
        self._busy_at_s = 0.0
        self._committer: Committer

    # --- life -------------------------------------------------------------------------------------

    def run(self) -> int:
        """Open, load, serve, end."""
        try:
            opening = open_store(self._settings)
        except StoreError as error:
            return self._refuse(error)
        self._committer = Committer(self._settings, opening, self._tell)
        try:
            self._tell("opened", **_opened(opening, self._settings))
            if self._settings.load:
                self._load(opening)
            self._committer.ensure_ballast()
            while self._turn():
                pass
        except _SupervisorGone:
            self._committer.last_attempt()
            return 0
        if not self._committer.close():
            return 1
        self._tell("closed")
        return 0

    def _refuse(self, error: StoreError) -> int:
        try:
            self._tell("refused", kind="store", message=str(error))
        except _SupervisorGone:
            pass
        return 1

    def _load(self, opening: Opening) -> None:
        settings, store = self._settings, opening.store
        loading = load.Loading(
            store,
            finished_since_at=time.time() - settings.keep_finished_s,
            finished_limit=settings.keep_finished,
        )
        for piece in loading.pieces():
            self._tell("rows", piece)
        stored_floor = store.meta("id_floor")
        known_floor = opening.marker_file.marker.id_floor
        self._tell(
            "loaded",
            id_floor=max(known_floor, floor(stored_floor) if stored_floor else 1),
            clean_shutdown=opening.clean_shutdown,
            quarantined=loading.quarantined,
            warnings=opening.warnings,
            array_ended=[[id, states] for id, states in loading.array_ended().items()],
            array_ended_positions=[
                [id, ranges] for id, ranges in loading.array_ended_positions().items()
            ],
        )

    # --- the loop ---------------------------------------------------------------------------------

    def _turn(self) -> bool:
        """One frame, or one slice, or both. False after the sentinel."""
        if self._poll.poll(self._patience_ms()) and not self._handle(self._receive()):
            return False
        if self._work and not self._committer.open_transaction:
            self._slice()
        self._committer.tick()
        return True

    def _patience_ms(self) -> int | None:
        if self._work and not self._committer.open_transaction:
            return 0
        retry_at_s = self._committer.retry_at_s
        return None if retry_at_s is None else max(0, round(1000 * (retry_at_s - time.monotonic())))

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

    def _handle(self, data: bytes) -> bool:
        frame = codec.decode_frame(data)
        if frame.type == "batch":
            self._committer.add(frame.fields["seq"], frame.items, frame.fields["more"])
        elif frame.type == "query":
            self._ask(**frame.fields)
        else:
            assert frame.type == "sentinel", frame.type
            return False
        return True

    def _ask(self, id: int, what: str, args: dict[str, Any]) -> None:
        store = self._committer.store
        if store is None:
            self._send(
                question.error_frame(id, "cannot answer: the store is closed after an error")
            )
            return
        self._work.append(_Work(what, id, question.answer(store, id, what, args)))

    def _slice(self) -> None:
        """Do one slice of the work whose turn it is."""
        work = self._work.popleft()
        try:
            frame = next(work.steps)
        except StopIteration:
            return
        except sqlite3.Error as error:
            if work.id is not None:
                self._send(question.error_frame(work.id, f"cannot answer: {error}"))
            return
        self._work.append(work)
        if frame is not None:
            self._send(frame)
        now_s = time.monotonic()
        if now_s - self._busy_at_s > _BUSY_S:
            self._busy_at_s = now_s
            self._tell("busy", what=work.what)


def _opened(opening: Opening, settings: Settings) -> dict[str, Any]:
    return {
        "path": settings.store_path,
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
    parser = argparse.ArgumentParser()
    parser.add_argument("--fd", type=int, required=True)
    parser.add_argument("--settings", required=True)
    options = parser.parse_args()
    main(options.fd, json.loads(options.settings))
