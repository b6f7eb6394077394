"""``/events`` in the reference's words, with ids, replay and the events that it leaves out."""

from __future__ import annotations

import asyncio
from typing import Any

from aiohttp import web

from gflow.api import dialect
from gflow.api.feed import Event
from gflow.api.operations import Operations, Peer
from gflow.api.server import Limits
from gflow.api.server.body import dumps
from gflow.api.server.stream import Streams, rest
from gflow.compat import message
from gflow.errors import Refused
from gflow.model.state import TERMINAL, State

_BATCH = 100
#: Silence after which a comment proves that the stream is alive.
_KEEP_ALIVE_S = 15.0
#: What happened to a job that stays in its state → name of the event.
_CAUSES = {"hold": "job_held", "release": "job_released", "update": "job_updated"}

Named = tuple[str, dict[str, Any]]


async def follow_events(
    request: web.Request, operations: Operations, streams: Streams, limits: Limits
) -> web.StreamResponse:
    """Events after ``Last-Event-ID``, or from now on; ``reset`` when that is too long ago."""
    connection, peer = message.connection_of(request), message.peer_of(request)
    feed = operations.feed
    response = web.StreamResponse(
        headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache"}
    )
    last_id = request.headers.get("Last-Event-ID")
    position = feed.last_id if last_id is None else last_id
    await response.prepare(request)
    wake = streams.enter(connection)
    feed.listen(wake.set)
    try:
        await response.write(frame("connected", {}, feed.last_id if last_id is None else None))
        while not streams.over(connection):
            wake.clear()
            batch = feed.after(position, _BATCH)
            if batch is None:
                position = feed.last_id
                await response.write(frame("reset", {"type": "reset"}, position))
            elif batch:
                position = batch[-1][0]
                for event_id, event in batch:
                    await response.write(await _frames(operations, peer, event_id, event))
            elif not await rest(wake, min(_KEEP_ALIVE_S, limits.heartbeat_s)):
                await response.write(b": keep-alive\n\n")
    finally:
        feed.leave(wake.set)
        streams.leave(connection, wake)
    return response


async def _frames(operations: Operations, peer: Peer, event_id: str, event: Event) -> bytes:
    """One of our events as those of the reference; the last one carries the id."""
    names = await named(operations, peer, event)
    return b"".join(
        frame(name, {**data, "type": name}, event_id if index == len(names) - 1 else None)
        for index, (name, data) in enumerate(names)
    )


async def named(operations: Operations, peer: Peer, event: Event) -> list[Named]:
    """What one of our events is called in the reference's words; perhaps nothing."""
    if event["type"] != "job":
        return []
    job_id, state, before = event["job_id"], State(event["state"]), event["before"]
    plain = {"job_id": job_id}
    if before == state:
        name = _CAUSES.get(event["cause"])
        return [] if name is None else [(name, plain)]
    if state is State.PENDING:
        return [("job_submitted", plain)]
    if state is State.RUNNING and before == State.PENDING:
        return [("job_started", plain)]
    if state in TERMINAL:
        return await _ended(operations, peer, job_id, state)
    return [("job_updated", plain)]


async def _ended(operations: Operations, peer: Peer, job_id: int, state: State) -> list[Named]:
    try:
        record = await operations.job(peer, job_id)
    except Refused:
        return []
    await asyncio.sleep(0)
    ended = {
        "job_id": job_id,
        "final_state": dialect.state_word(state),
        "gpu_ids": record["gpu_ids"],
        "memory_mb": dialect.megabytes(record["resources"]["memory_bytes"]),
    }
    found: list[Named] = [("job_completed", ended)]
    if record["started_at"] is not None:
        codes = {"exit_code": record["exit_code"], "signal": record["signal"]}
        found.insert(0, ("job_execution_finished", {"job_id": job_id, **codes}))
    if state is State.TIMEOUT:
        timed_out = {"job_id": job_id, "run_name": dialect.run_name(record)}
        found.insert(0, ("job_timed_out", timed_out))
    return found


def frame(name: str, data: dict[str, Any], event_id: str | None) -> bytes:
    """One event on the wire, its keys sorted as the reference's are."""
    id_line = b"" if event_id is None else b"id: " + event_id.encode() + b"\n"
    body = dumps(dict(sorted(data.items())))
    return id_line + b"event: " + name.encode() + b"\ndata: " + body + b"\n\n"
