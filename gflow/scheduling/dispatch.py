"""One scheduling pass: start what can start, in order, and never at a reserved job's expense."""

from __future__ import annotations

from itertools import islice
from math import inf

from gflow.model.action import Action
from gflow.model.job import Job
from gflow.model.resources import Resources
from gflow.model.state import Instant, State
from gflow.scheduling import calendar, drain, fair_share, lifecycle, selection
from gflow.scheduling.backfill import reserve
from gflow.scheduling.barrier import Barrier
from gflow.scheduling.class_queue import Bucket, id_of
from gflow.scheduling.core import Core
from gflow.scheduling.ordered import after
from gflow.scheduling.placement import place
from gflow.scheduling.state import Item

#: Buckets that get their place by fair share anew in one turn.
_FRESHENED = 32
#: A bucket may have one in so many candidates refused before all others had their turn.
_SHARES = 8
#: Items read per candidate where some may stand back for a limit.
_PARKED_TOO = 4


def dispatch(core: Core, now: Instant) -> list[Action]:
    """Start jobs until nothing more fits or the bounds of one turn are reached."""
    if not core.ready or not core.pass_wanted:
        return []
    core.pass_wanted = False
    core.passed_at = now
    core.queue.freshen(_FRESHENED)
    if core.drain is not None and core.drain.by_at is None:
        core.reserved_id = None
        return []
    return _Pass(core, now).run()


class _Pass:
    """The state of one pass; classes are looked at best first."""

    __slots__ = (
        "actions",
        "barred",
        "barriers",
        "calendars",
        "capped",
        "core",
        "left",
        "now",
        "reservation",
        "reserved",
        "starts",
        "tried",
    )

    def __init__(self, core: Core, now: Instant) -> None:
        self.core = core
        self.now = now
        self.actions: list[Action] = []
        drained = drain.barrier(core, now)
        #: Barriers for everybody: of draining and of the reserved job.
        self.barriers: list[Barrier] = [] if drained is None else [drained]
        #: Barriers of reservations, by which of them an item is exempt from.
        self.calendars: dict[frozenset[int], list[Barrier]] = {}
        #: The shortest time limit that was refused, by class; by bucket where reservations treat
        #: users apart. Whoever runs as long runs into the same things, and the pool only shrinks.
        self.barred: dict[Resources | int, float] = {}
        #: The highest blocked job, and what is kept for it.
        self.reserved: Item | None = None
        self.reservation: Barrier | None = None
        #: Candidates that may still be tried behind the reserved job.
        self.left = core.settings.backfill_depth
        #: Key of the last item that was refused, and how many were, by serial of their bucket.
        self.tried: dict[int, tuple[int, int]] = {}
        #: Some bucket has more candidates than its share.
        self.capped = False
        self.starts = 0

    def run(self) -> list[Action]:
        core = self.core
        core.reserved_id = None
        depth = core.settings.backfill_depth
        # First everybody's first few: one user's many alike jobs do not use all tries up.
        self._round(max(1, depth // _SHARES))
        if self.capped:
            self._round(depth)
        core.reserved_id = None if self.reserved is None else self.reserved.id
        return self.actions

    def _round(self, share: int) -> None:
        """Look at every class; ``share``: candidates that a bucket may have refused in all."""
        queue, pool = self.core.queue, self.core.pool
        index = 0
        # Starting or parking moves a class back in the order, never forward: what was passed over
        # stays passed over, because the pool only shrinks.
        while index < len(queue.order) and self.left > 0 and not self._enough():
            best = queue.order[index]
            request = queue.by_rank[best].key[0]
            fits = pool.fits(request)
            if self.reserved is None:
                if fits and self._start_first(best):
                    continue
                if not self._reserve(best):
                    continue
                if self.reserved is None and self.core.idle.fits(request):
                    if not self._one_by_one():
                        return
                    index = 0
                    continue
            if fits and self.reserved is not None:
                if not self._start_one(request, share) and queue.order[index : index + 1] == [best]:
                    index += 1
                continue
            if pool.cpus < 1 and self.reserved is not None:
                return
            self.left -= 1
            index += 1

    def _enough(self) -> bool:
        """Whether so many were started that the rest has to wait for the next turn."""
        if self.starts < self.core.settings.starts_per_turn:
            return False
        self.core.pass_wanted = self.core.again = True
        return True

    def _start_first(self, best: int) -> bool:
        """Start the first item of a class, or see that its bucket has to stand back."""
        queue = self.core.queue
        bucket = queue.by_rank[best]
        if self._stands_back(bucket):
            return True
        item = self.core.live.item(id_of(best))
        assert item is not None
        return self._start(item, bucket)

    def _one_by_one(self) -> bool:
        """Look at items in order until one is reserved; the first ones cannot be.

        What keeps the first of a class from ever starting (the time that is left) need not keep
        the others, and those must not be overtaken by lower classes.
        """
        core = self.core
        in_order = (item for item in selection.in_order(core, parked=False) if item is not None)
        left = core.settings.backfill_depth
        for item in list(islice(in_order, _PARKED_TOO * left)):
            bucket = core.queue.bucket_of(item)
            if bucket.parked_by is not None or not core.idle.fits(bucket.key[0]):
                continue
            while self._startable(item, bucket):
                if self._enough() or left <= 0:
                    return False
                if not core.pool.fits(bucket.key[0]) or not self._start(item, bucket):
                    self._reserve_for(item)
                    left -= 1
                    break
            if self.reserved is not None:
                return True
        return False

    def _startable(self, item: Item, bucket: Bucket) -> bool:
        """Whether there is anything to start, and no limit in the way."""
        if isinstance(item, Job):
            return item.state is State.PENDING and not self._stands_back(bucket)
        return bool(item.pending) and not self._stands_back(bucket)

    def _stands_back(self, bucket: Bucket) -> bool:
        """Take a bucket out of the order when a limit refuses it."""
        request = bucket.key[0]
        for account in bucket.accounts:
            if account.max_gpu_s_per_week is not None:
                fair_share.accrue(self.core, account, self.now)
            if account.refuses(request):
                self.core.queue.park(bucket, account)
                return True
        return False

    def _reserve(self, best: int) -> bool:
        """Reserve for the first item of a blocked class; False when the order has changed."""
        if self._stands_back(self.core.queue.by_rank[best]):
            return False
        item = self.core.live.item(id_of(best))
        assert item is not None
        self._reserve_for(item)
        return True

    def _reserve_for(self, item: Item) -> None:
        barrier = reserve(self.core, item, self.now)
        if barrier is not None:
            self.reserved = item
            self.reservation = barrier
            self.barriers += [barrier, *barrier.later]

    def _start_one(self, request: Resources, share: int) -> bool:
        """Start the first item of a fitting class that may start; False when there is none."""
        queue = self.core.queue
        ranks = queue.classes[request]
        at = 0
        while at < len(ranks) and self.left > 0:
            bucket = queue.by_rank[ranks[at]]
            if self._stands_back(bucket):
                if at == 0:
                    return False  # the class has a new place in the order
                continue
            if self._start_of(bucket, share):
                return True
            if self.barred.get(request) == -inf:
                return False
            at += 1
        return False

    def _start_of(self, bucket: Bucket, share: int) -> bool:
        """Start an item of a bucket; those that were refused before in this pass still are."""
        keys, serial = bucket.keys, bucket.serial
        last, refused = self.tried.get(serial, (None, 0))
        for key in after(keys, last, min(self.left, share - refused) + 1):
            if self.left <= 0:
                break
            if refused >= share:
                self.capped = True
                break
            item = self.core.live.item(id_of(key))
            assert item is not None
            if self._start(item, bucket):
                return True
            self.left -= 1
            refused += 1
            self.tried[serial] = key, refused
        return False

    def _start(self, item: Item, bucket: Bucket) -> bool:
        """Start an item unless it would run into a barrier that has no room for it."""
        core, request = self.core, bucket.key[0]
        limit_s = core.time_limit_s(item)
        alike = bucket.serial if core.calendar else request
        barred_s = self.barred.get(alike)
        if barred_s is not None and limit_s >= barred_s:
            return False
        end_boot_s = self.now.boot_s + limit_s
        ahead = self.barriers
        if core.calendar:
            if calendar.entitled(core, item.spec, self.now):
                kept = self.reservation
                ahead = [one for one in ahead if kept is None or one not in (kept, *kept.later)]
            ahead = [*ahead, *self._calendar(item)]
        pools = [barrier.pool for barrier in ahead if barrier.stops(end_boot_s)]
        gpu_ids = place(request, [core.pool, *pools], core.settings, item.id)
        if gpu_ids is None:
            self.barred[alike] = limit_s if pools else -inf
            return False
        for barrier in self.barriers:
            if barrier.stops(end_boot_s):
                barrier.pool.book(request, gpu_ids)
        self.actions += lifecycle.start(core, item, gpu_ids, self.now)
        if core.calendar:
            # What is held for owners depends on what they use: counted afresh, and less is held
            # from others when an owner began to use it.
            self.calendars.clear()
            self.barred.clear()
            if calendar.own(core, item.spec):
                core.pass_wanted = core.again = True
        self.starts += 1
        return True

    def _calendar(self, item: Item) -> list[Barrier]:
        exempt = calendar.own(self.core, item.spec)
        found = self.calendars.get(exempt)
        if found is None:
            found = self.calendars[exempt] = calendar.barriers(self.core, exempt, self.now)
        return found
