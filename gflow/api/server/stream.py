"""Answers that go on: events as they happen, a log as it grows.

A reader that stands still makes its own handler wait for the socket and costs its buffer alone
(64 KB); nothing is queued for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection

from aiohttp import web

from gflow.api.feed import Event, Feed
from gflow.api.operations import LogSlice, Operations, Peer
from gflow.api.server.body import dumps
from gflow.api.server.connection import PROTOCOL, Connection, Limits

_BATCH = 100
LOG_BYTES = 256 << 10
#: How long a follower waits before it looks again; doubled while nothing comes.
_FIRST_LOOK_S = 0.1
_LAST_LOOK_S = 1.0


class Streams:
    """Every stream that is open, so that they can be ended together."""

    def __init__(self) -> None:
        self.closing = False
        self._wakes: set[Callable[[], None]] = set()

    def close(self) -> None:
        """End all streams soon."""
        self.closing = True
        for wake in tuple(self._wakes):
            wake()

    def enter(self, connection: Connection) -> asyncio.Event:
        """An event that is set when the stream has a reason to look up: its end, for one."""
        event = asyncio.Event()
        self._wakes.add(event.set)
        connection.gone = event.set
        return event

    def leave(self, connection: Connection, event: asyncio.Event) -> None:
        """Undo ``enter``."""
        self._wakes.discard(event.set)
        connection.gone = None

    def over(self, connection: Connection) -> bool:
        """Whether the supervisor ends or the client is gone."""
        return self.closing or connection.transport is None


async def follow_events(
    request: web.Request,
    connection: Connection,
    feed: Feed,
    streams: Streams,
    limits: Limits,
    last_id: str | None,
    jobs: Collection[int] | None,
) -> web.StreamResponse:
    """Server-sent events after ``last_id`` (None: from now on), of some jobs or of all."""
    response = web.StreamResponse(
        headers={
            "Content-Type": "text/event-stream",
            "Cache-Control": "no-store",
            "Gflow-Protocol": PROTOCOL,
        }
    )
    await response.prepare(request)
    position = feed.last_id if last_id is None else last_id
    wake = streams.enter(connection)
    feed.listen(wake.set)
    try:
        await response.write(_frame("hello", feed.last_id if last_id is None else None, {}))
        while not streams.over(connection):
            wake.clear()
            batch = feed.after(position, _BATCH)
            if batch is None:
                position = feed.last_id
                await response.write(_frame("reset", position, {}))
            elif batch:
                position = batch[-1][0]
                await response.write(_frames(batch, jobs))
                await asyncio.sleep(0)
            elif not await rest(wake, limits.heartbeat_s):
                await response.write(b": still here\n\n")
    finally:
        feed.leave(wake.set)
        streams.leave(connection, wake)
    return response


def _frames(batch: list[tuple[str, Event]], jobs: Collection[int] | None) -> bytes:
    return b"".join(
        _frame(event["type"], event_id, event)
        for event_id, event in batch
        if jobs is None or event.get("job_id") in jobs or event.get("array_id") in jobs
    )


def _frame(name: str, event_id: str | None, data: Event) -> bytes:
    id_line = b"" if event_id is None else b"id: " + event_id.encode() + b"\n"
    return id_line + b"event: " + name.encode() + b"\ndata: " + dumps(data) + b"\n\n"


async def follow_log(
    request: web.Request,
    connection: Connection,
    operations: Operations,
    peer: Peer,
    streams: Streams,
    job_id: int,
    stream: str,
    first: LogSlice,
) -> web.StreamResponse:
    """The log from ``first`` on, until the job has ended and everything was sent."""
    response = web.StreamResponse(headers=log_headers(first))
    await response.prepare(request)
    wake = streams.enter(connection)
    piece, pause_s = first, _FIRST_LOOK_S
    try:
        while not streams.over(connection):
            offset = piece.offset + len(piece.data)
            if piece.data:
                await response.write(piece.data)
                pause_s = _FIRST_LOOK_S
            elif piece.ended and offset >= piece.size_bytes:
                break
            elif await rest(wake, pause_s):
                continue
            else:
                pause_s = min(2 * pause_s, _LAST_LOOK_S)
            if piece.size_bytes < offset:
                offset = 0  # truncated since: it begins anew
            piece = await operations.log(
                peer, job_id, stream=stream, offset=offset, limit_bytes=LOG_BYTES
            )
        else:
            # An answer that is cut short makes the client come again: this was not the log's end.
            raise ConnectionAbortedError("the supervisor ends")
    finally:
        streams.leave(connection, wake)
    return response


def log_headers(piece: LogSlice) -> dict[str, str]:
    """Where a piece of a log begins and how long the log is."""
    return {
        "Content-Type": "application/octet-stream",
        "Cache-Control": "no-store",
        "Gflow-Protocol": PROTOCOL,
        "Gflow-Log-Offset": str(piece.offset),
        "Gflow-Log-Size": str(piece.size_bytes),
        "Gflow-Log-Ended": "true" if piece.ended else "false",
    }


async def rest(wake: asyncio.Event, seconds: float) -> bool:
    """Wait; True when woken, False when the time is over."""
    try:
        async with asyncio.timeout(seconds):
            await wake.wait()
    except TimeoutError:
        return False
    return True
