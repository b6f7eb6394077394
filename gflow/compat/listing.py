"""Collecting jobs as the reference lists them: everything there ever was, by id."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gflow.api import dialect
from gflow.api.operations import HistoryFilter, JobFilter, Operations, Peer
from gflow.api.server.turn import Turn
from gflow.compat import shape
from gflow.errors import Refused
from gflow.model.state import TERMINAL, State

Record = dict[str, Any]

_PAGE = 500
#: Ended jobs that one answer brings back from history, the latest: an answer must have an end.
_MOST_PAST = 50_000


@dataclass(slots=True, frozen=True)
class Wanted:
    """Conditions on a listing; None does not restrict."""

    #: The reference's state words.
    states: frozenset[str] | None = None
    users: tuple[str, ...] | None = None
    #: Epoch seconds.
    submitted_since: float | None = None


async def records(operations: Operations, peer: Peer, wanted: Wanted) -> list[Record]:
    """Our records of all jobs that are wanted, ascending by id."""
    accepts = _test(peer, wanted)
    users = None
    if wanted.users is not None:
        users = (*wanted.users, peer.user or str(peer.uid))
    states: tuple[str, ...] | None = None
    if wanted.states is not None:
        states = tuple(s for word in wanted.states for s in dialect.STATES[word])
    found: dict[int, Record] = {}
    cursor = None
    which = JobFilter(users=users, states=states, ended=True)
    while True:
        page = await operations.jobs(peer, which, cursor=cursor, limit=_PAGE)
        found.update((one["id"], one) for one in page["jobs"] if accepts(one))
        cursor = page["next"]
        if cursor is None:
            break
    if states is None or TERMINAL.intersection(map(State, states)):
        await _add_past(operations, peer, users, states, accepts, found)
    return [found[job_id] for job_id in sorted(found)]


async def _add_past(
    operations: Operations,
    peer: Peer,
    users: tuple[str, ...] | None,
    states: tuple[str, ...] | None,
    accepts: Callable[[Record], bool],
    found: dict[int, Record],
) -> None:
    ended = None if states is None else tuple(s for s in states if State(s) in TERMINAL)
    which = HistoryFilter(users=users, states=ended)
    cursor, left = None, _MOST_PAST
    while left > 0:
        page = await operations.history(peer, which, cursor=cursor, limit=_PAGE)
        for one in page["jobs"]:
            if accepts(one):
                found.setdefault(one["id"], one)
        left -= len(page["jobs"])
        cursor = page["next"]
        if cursor is None:
            break


def _test(peer: Peer, wanted: Wanted) -> Callable[[Record], bool]:
    """Whether a record is wanted. The name that a client claimed counts for its own jobs alone."""
    users = None if wanted.users is None else frozenset(wanted.users)

    def accepts(record: Record) -> bool:
        if wanted.states is not None and dialect.state(record) not in wanted.states:
            return False
        since = wanted.submitted_since
        if since is not None and record["submitted_at"] < since:
            return False
        if users is None or record["user"] in users:
            return True
        claimed = record["labels"].get("submitted_by")
        return record["uid"] == peer.uid and claimed in users

    return accepts


async def shapes(operations: Operations, peer: Peer, found: list[Record]) -> list[Record]:
    """The reference's objects of some records."""
    states = {one["id"]: one["state"] for one in found}
    turn = Turn()
    shaped = []
    for one in found:
        shaped.append(shape.job(one, await _culprit(operations, peer, one, states)))
        await turn.breathe()
    return shaped


async def shaped(operations: Operations, peer: Peer, record: Record) -> Record:
    """The reference's object of one record."""
    return (await shapes(operations, peer, [record]))[0]


async def _culprit(
    operations: Operations, peer: Peer, record: Record, states: dict[int, str]
) -> int | None:
    """The first parent that ended otherwise than well, of a job cancelled for that."""
    parents = dialect.lost_parents(record)
    for parent in parents:
        state = states.get(parent)
        if state is None:
            try:
                state = states[parent] = (await operations.job(peer, parent))["state"]
            except Refused:
                continue
        if state in TERMINAL and state != State.COMPLETED:
            return parent
    return parents[0] if parents else None
