"""What lower jobs must leave alone: moments at which something else needs its resources.

EASY backfill (Lifka, 1995): the highest blocked job gets a reservation at the earliest moment at
which enough will have ended; a lower job may start only if it ends before that moment, or takes
nothing that is needed then.
"""

from __future__ import annotations

from math import inf

from gflow.model.state import Instant
from gflow.scheduling.core import Core
from gflow.scheduling.placement import place
from gflow.scheduling.pool import Pool
from gflow.scheduling.state import Item


class Barrier:
    """From ``at_boot_s`` on, jobs that still run must fit ``pool`` as well."""

    __slots__ = ("at_boot_s", "pool", "starts_boot_s")

    def __init__(self, at_boot_s: float, pool: Pool, starts_boot_s: float) -> None:
        #: Boot clock; minus infinity: every job has to leave it alone.
        self.at_boot_s = at_boot_s
        self.pool = pool
        #: When the reserved job is expected to start; infinity: nobody can tell.
        self.starts_boot_s = starts_boot_s

    def stops(self, end_boot_s: float) -> bool:
        """Whether a job with this end would still run when the barrier comes."""
        # An unknown end reaches even a barrier at an unknown moment.
        return end_boot_s > self.at_boot_s or end_boot_s == inf


def reserve(core: Core, item: Item, now: Instant) -> Barrier | None:
    """The reservation of a blocked job; None when it would not fit the idle machine as it is."""
    request = item.spec.resources
    if not core.idle.fits(request):
        return None
    pool = core.pool.copy()
    starts_boot_s = now.boot_s
    for end_boot_s, job_id in core.ends:
        if pool.fits(request):
            break
        job = core.live.jobs[job_id]
        pool.free(job.spec.resources, job.gpu_ids)
        starts_boot_s = max(end_boot_s, now.boot_s)
    gpu_ids = place(request, (pool,), core.settings, item.id)
    if gpu_ids is None:
        return None
    if core.waiting_since_s(item, now) >= core.settings.starvation_after_s:
        return Barrier(-inf, _kept(core, item), starts_boot_s)
    pool.book(request, gpu_ids)
    return Barrier(starts_boot_s, pool, starts_boot_s)


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
