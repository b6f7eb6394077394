"""Jobs for listings, in pages that cost what they return."""

from __future__ import annotations

from collections.abc import Iterator

from gflow.model.state import ACTIVE, TERMINAL, State
from gflow.scheduling.class_queue import id_of
from gflow.scheduling.core import Core
from gflow.scheduling.state import Item


def page(core: Core, after_id: int, count: int, user: str | None = None) -> list[Item]:
    """Up to ``count`` jobs and arrays with ids above ``after_id``, ascending."""
    ids = core.live.ids if user is None else core.live.by_user.get(user)
    if ids is None:
        return []
    found = (core.live.item(item_id) for item_id in ids.above(after_id, count))
    return [item for item in found if item is not None]


def in_states(core: Core, states: frozenset[State]) -> Iterator[Item]:
    """Items in any of these states, active ones first; stable while the loop pauses.

    Ids are copied where they are few (active, ended); pending ones are read page by page.
    """
    live = core.live
    if states & ACTIVE:
        yield from _known(core, list(live.active), states)
    if State.PENDING in states:
        after = -1
        while items := page(core, after, 256):
            yield from (item for item in items if item.state is State.PENDING)
            after = items[-1].id
    if states & TERMINAL:
        yield from _known(core, list(live.ended), states)


def _known(core: Core, ids: list[int], states: frozenset[State]) -> Iterator[Item]:
    for item_id in ids:
        item = core.live.item(item_id)
        if item is not None and item.state in states:
            yield item


def queued(core: Core, count: int) -> list[Item]:
    """The first ``count`` items of the queue, bucket by bucket in order of their best."""
    ranks = sorted(core.queue.by_rank)[:count]
    keys: list[int] = []
    for rank in ranks:
        bucket = core.queue.by_rank[rank]
        shift = rank - bucket.keys.first()
        taken = bucket.keys.above(bucket.keys.first() - 1, count)
        keys += [key + shift for key in taken]
    found = (core.live.item(id_of(key)) for key in sorted(keys)[:count])
    return [item for item in found if item is not None]
