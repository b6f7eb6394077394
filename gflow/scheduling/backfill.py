"""The reservation of the highest blocked job, which lower jobs must not delay.

EASY backfill (Lifka, 1995): it is made at the earliest moment at which enough will have ended; a
lower job may start only if it ends before that moment, or takes nothing that is needed then.
"""

from __future__ import annotations

from math import inf

from gflow.model.state import Instant
from gflow.scheduling import calendar, drain
from gflow.scheduling.barrier import Barrier
from gflow.scheduling.core import Core
from gflow.scheduling.placement import place
from gflow.scheduling.pool import Pool
from gflow.scheduling.state import Item

#: Moments looked at when reservations of people are in the way.
_MOMENTS = 32
_SOON_S = 0.001


def reserve(core: Core, item: Item, now: Instant) -> Barrier | None:
    """The reservation of a blocked job.

    None when it would not fit the idle machine as it is, not before the machine is drained, or
    never beside a reservation that recurs: who cannot start keeps nothing from others.
    """
    request, limit_s = item.spec.resources, core.time_limit_s(item)
    drained = drain.barrier(core, now)
    if (
        not core.idle.fits(request)
        or (drained is not None and drained.stops(now.boot_s + limit_s))
        or (core.calendar and calendar.shuts_out(core, item.spec, limit_s))
    ):
        return None
    moments = _earliest(core, item, now)
    starts_boot_s, pool = moments[0]
    gpu_ids = place(request, [pool for _, pool in moments], core.settings, item.id)
    if gpu_ids is None:
        return None
    # Where limits say when it starts, its turn comes for sure; keeping everything would only turn
    # the whole queue into first come, first served.
    if starts_boot_s == inf and (
        core.waiting_since_s(item, now) >= core.settings.starvation_after_s
    ):
        return Barrier(-inf, _kept(core, item), starts_boot_s)
    for _, pool in moments:
        pool.book(request, gpu_ids)
    barrier, *later = (Barrier(at, pool, starts_boot_s) for at, pool in moments)
    barrier.later = later
    return barrier


def expires_at(core: Core, item: Item, now: Instant) -> float:
    """From when on a reservation would be another one only because time went by (epoch seconds).

    Then the job would not end any more before the machine is drained, or before a reservation.
    """
    moments = [] if core.drain is None or core.drain.by_at is None else [core.drain.by_at]
    exempt = calendar.own(core, item.spec)
    starts = (start for _, (start, _) in calendar.spans(core, exempt, now))
    moments += [now.wall_s + start - now.boot_s for start in starts]
    last = [moment - core.time_limit_s(item) + _SOON_S for moment in moments]
    return min((moment for moment in last if moment > now.wall_s), default=inf)


#: What is free from some moments (boot clock) on.
_Moments = list[tuple[float, Pool]]


def _earliest(core: Core, item: Item, now: Instant) -> _Moments:
    """When the item can start as far as anybody knows, and what is free then.

    Then, what is free at each reservation that begins while it would run.
    """
    if core.calendar:
        found = _beside_reservations(core, item, now)
        if found is not None:
            return found
    pool = core.pool.copy()
    starts_boot_s = now.boot_s
    for end_boot_s, job_id in core.ends:
        end_boot_s = max(end_boot_s, now.boot_s)
        # All who end at a known moment are gone then, not only as many as it takes.
        same = starts_boot_s == end_boot_s < inf
        if not same and pool.fits(item.spec.resources):
            break
        job = core.live.jobs[job_id]
        pool.free(job.spec.resources, job.gpu_ids)
        starts_boot_s = end_boot_s
    return [(starts_boot_s, pool)]


def _beside_reservations(core: Core, item: Item, now: Instant) -> _Moments | None:
    exempt = calendar.own(core, item.spec)
    moments = {now.boot_s}
    # What has run beyond its limit is still there now, and may be gone at any moment.
    moments.update(max(end, now.boot_s + _SOON_S) for end, _ in core.ends if end < inf)
    for one, (_, end) in calendar.spans(core, exempt, now):
        moments.update((end, end + (one.every_s or 0.0)))
    for moment in sorted(moments)[:_MOMENTS]:
        end_boot_s = moment + core.time_limit_s(item)
        then = Instant(moment, now.wall_s + moment - now.boot_s)
        spans = calendar.spans(core, exempt, then)
        ahead = sorted(start for _, (start, _) in spans if moment < start < end_boot_s)
        pools = [
            calendar.pool_at(core, at, [one for one, (s, e) in spans if s <= at < e])
            for at in (moment, *ahead)
        ]
        if place(item.spec.resources, pools, core.settings, item.id) is not None:
            return list(zip((moment, *ahead), pools))
    return None


def _kept(core: Core, item: Item) -> Pool:
    """What is left when a starving job keeps everything it waits for, whoever ends first.

    Where it is short, nothing is left at all: so it starts at the latest when everything has ended
    that ran when it began to starve.
    """
    request = item.spec.resources
    pool = core.pool.copy()
    gpu_ids = place(request, (pool,), core.settings, item.id)
    cards = pool.cards or {}
    if gpu_ids is None and len(pool.accepting(request)) < request.gpus:
        for index, card in cards.items():
            if card.suits(request) and (not request.gpus_allowed or index in request.gpus_allowed):
                cards[index] = card._replace(usable=False)
    elif gpu_ids is None:
        gpu_ids = tuple(pool.accepting(request)[: request.gpus])
    pool.book(request, gpu_ids or ())
    return pool
