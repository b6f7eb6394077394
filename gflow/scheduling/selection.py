"""Jobs for listings, in pages that cost what they return."""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heapify, heappop, heappush

from gflow.model.state import ACTIVE, TERMINAL, State
from gflow.scheduling.class_queue import id_of, rank_at
from gflow.scheduling.core import Core
from gflow.scheduling.ordered import each
from gflow.scheduling.state import Item

#: Buckets opened between two pauses.
_PAUSE = 64


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
    """The first ``count`` items of the queue in scheduling order."""
    found: list[Item] = []
    for item in in_order(core):
        if item is not None and len(found) < count:
            found.append(item)
        if len(found) >= count:
            break
    return found


def in_order(core: Core, *, parked: bool = True) -> Iterator[Item | None]:
    """The queue in scheduling order, read as far as one likes; parked items in their places.

    None stands for a pause: work was done and nothing found yet. The queue may change meanwhile:
    an item may then come twice, or not at all.
    """
    queue = core.queue
    # (rank, serial): that bucket's next item; (rank, -n): the next bucket of the n-th class.
    heap: list[tuple[int, int]] = []
    classes = [alike.ranks for alike in queue.classes.values() if alike.ranks]
    followers = [0] * len(classes)
    heap = [(ranks[0], -number - 1) for number, ranks in enumerate(classes)]
    heapify(heap)
    places: dict[int, Iterator[int]] = {}
    for number, serial in enumerate(list(queue.aside) if parked else ()):
        _open(core, heap, places, serial)
        if number % _PAUSE == _PAUSE - 1:
            yield None
    while heap:
        rank, serial = heappop(heap)
        if serial < 0:
            number = -serial - 1
            bucket = queue.by_rank.get(rank)
            if bucket is not None:
                _open(core, heap, places, bucket.serial)
            followers[number] += 1
            if followers[number] < len(classes[number]):
                heappush(heap, (classes[number][followers[number]], serial))
            continue
        bucket = queue.buckets.get(serial)
        key = None if bucket is None else next(places[serial], None)
        if bucket is not None and key is not None:
            heappush(heap, (rank_at(key, bucket.bonus), serial))
        yield core.live.item(id_of(rank))


def _open(
    core: Core, heap: list[tuple[int, int]], places: dict[int, Iterator[int]], serial: int
) -> None:
    bucket = core.queue.buckets.get(serial)
    if bucket is not None and serial not in places:
        keys = places[serial] = each(bucket.keys)
        key = next(keys, None)
        if key is not None:
            heappush(heap, (rank_at(key, bucket.bonus), serial))
