"""One scheduling pass: start what can start, in order, and never at a reserved job's expense."""

from __future__ import annotations

from itertools import islice
from math import inf

from gflow.model.action import Action
from gflow.model.job import Job
from gflow.model.state import Instant, State
from gflow.scheduling import calendar, drain, fair_share, lifecycle, selection
from gflow.scheduling.backfill import expires_at, reserve
from gflow.scheduling.barrier import Barrier
from gflow.scheduling.class_queue import NO_LIMIT, Bucket, RequestClass, id_of
from gflow.scheduling.core import Core
from gflow.scheduling.ordered import after
from gflow.scheduling.placement import common, place
from gflow.scheduling.state import Item
from gflow.scheduling.timer import PASS

#: Buckets that get their place by fair share anew in one turn.
_FRESHENED = 16
#: A bucket may have one in so many candidates refused before all others had their turn.
_SHARES = 8
#: Items read per candidate where some may stand back for a limit.
_PARKED_TOO = 4
_SOON_S = 0.001
#: Of a bucket: no key was refused yet.
_UNTRIED: tuple[int | None, int] = (None, 0)


def dispatch(core: Core, now: Instant) -> list[Action]:
    """Start jobs until nothing more fits or the bounds of one turn are reached."""
    if not core.ready or not core.pass_wanted:
        return []
    core.pass_wanted = False
    core.passed_at = now
    core.queue.freshen(_FRESHENED)
    if core.drain is not None and core.drain.by_at is None:
        core.reserved_id, core.reserved_moments = None, ()
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
        "outdated",
        "reservation",
        "reserved",
        "starts",
        "tried",
        "unnamed_s",
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
        self.barred: dict[RequestClass | int, float] = {}
        #: The highest blocked job, and what is kept for it.
        self.reserved: Item | None = None
        self.reservation: Barrier | None = None
        #: Candidates that may still be tried behind the reserved job.
        self.left = core.settings.backfill_depth
        #: Key of the last item that was refused, and how many were, by serial of their bucket.
        self.tried: dict[int, tuple[int, int]] = {}
        #: Some bucket has more candidates than its share.
        self.capped = False
        #: The barriers are not what they would be now.
        self.outdated = False
        self.starts = 0
        #: How long an item may run that names no limit.
        limit_s = core.settings.default_time_limit_s
        self.unnamed_s = inf if limit_s is None else limit_s

    def run(self) -> list[Action]:
        core, depth = self.core, self.core.settings.backfill_depth
        core.reserved_id, core.reserved_moments = None, ()
        index = self._lead()
        if self.reserved is not None:
            # First everybody's first few: one user's many alike jobs do not use all tries up.
            self._backfill(index, max(1, depth // _SHARES))
            if self.capped:
                self._backfill(0, depth)
        self._note_reservation()
        return self.actions

    def _note_reservation(self) -> None:
        """Have it looked at again when what it was made by changes."""
        core, kept = self.core, self.reservation
        if self.reserved is None or kept is None:
            return
        core.reserved_id = self.reserved.id
        moments = (one.at_boot_s for one in (kept, *kept.later))
        core.reserved_moments = tuple(moment for moment in moments if -inf < moment < inf)
        if core.drain is not None or core.calendar:
            at = expires_at(core, self.reserved, self.now)
            if at < core.pass_due_at:
                core.pass_due_at = at
                core.timers.at_wall(at, PASS)

    def _lead(self) -> int:
        """Start what comes first until an item is reserved; where in the order that happened."""
        queue, pool, idle = self.core.queue, self.core.pool, self.core.idle
        index = 0
        # Starting or parking moves a class back in the order, never forward: what was passed over
        # stays passed over, because the pool only shrinks.
        while self.reserved is None and index < len(queue.order) and self.left > 0:
            if self._enough():
                break
            best = queue.order[index]
            request = queue.by_rank[best].alike.request
            if pool.fits(request) and self._start_first(best):
                continue
            if not self._reserve(best):
                continue
            if self.reserved is None and idle.fits(request):
                if not self._one_by_one():
                    break
                index = 0
            elif self.reserved is None:
                self.left -= 1
                index += 1
        return index

    def _backfill(self, index: int, share: int) -> None:
        """Look at every class from there on.

        ``share``: candidates that a bucket may have refused in all.
        """
        if self._enough():
            return
        queue, pool = self.core.queue, self.core.pool
        order, by_rank = queue.order, queue.by_rank
        while index < len(order) and self.left > 0:
            best = order[index]
            alike = by_rank[best].alike
            if not pool.fits(alike.request):
                if pool.cpus < 1:
                    return
                self.left -= 1
                index += 1
            elif self._barred(alike) > -inf and self._start_one(alike, share):
                if self._enough():
                    return
            elif order[index : index + 1] == [best]:
                index += 1

    def _enough(self) -> bool:
        """Whether so much has happened that the rest has to wait for the next turn."""
        if self.starts < self.core.settings.starts_per_turn and not self.outdated:
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

    def _start_one(self, alike: RequestClass, share: int) -> bool:
        """Start the first item of a fitting class that may start; False when there is none."""
        by_rank, ranks, barred, tried = (
            self.core.queue.by_rank,
            alike.ranks,
            self.barred,
            self.tried,
        )
        at = 0
        while at < len(ranks) and self.left > 0:
            rank = ranks[at]
            bucket = by_rank[rank]
            if self._stands_back(bucket):
                if at == 0:
                    return False  # the class has a new place in the order
                continue
            barred_s = barred.get(alike)
            keys = bucket.keys
            if (
                barred_s is not None
                and isinstance(keys, int)
                and NO_LIMIT > keys & NO_LIMIT >= barred_s
            ):
                # Most buckets of a short queue: one item, and it takes too long like others before.
                if bucket.serial not in tried:
                    self.left -= 1
                    tried[bucket.serial] = keys, 1
            elif self._start_of(bucket, share):
                return True
            elif barred.get(alike) == -inf:
                return False
            at += 1
        return False

    def _barred(self, alike: RequestClass) -> float:
        """The shortest limit of a class that is refused for sure, as far as it is known."""
        barred_s = self.barred.get(alike)
        if barred_s is None:
            barred_s = inf
            for barrier in () if self.core.calendar else self.barriers:
                if common(alike.request, (self.core.pool, barrier.pool)) is None:
                    barred_s = min(barred_s, self._refusing_s(barrier))
            if barred_s < inf:
                self.barred[alike] = barred_s
        return barred_s

    def _start_of(self, bucket: Bucket, share: int) -> bool:
        """Start an item of a bucket; those that were refused before in this pass still are."""
        last, refused = self.tried.get(bucket.serial, _UNTRIED)
        room = share - refused
        if room > self.left:
            room = self.left
        keys = after(bucket.keys, last, room + 1)
        barred_s = self.barred.get(self._alike(bucket))
        count, started = 0, False
        for key in keys:
            if count == room:
                self.capped = self.capped or self.left > room
                break
            limit_s: float = key & NO_LIMIT
            if limit_s == NO_LIMIT:
                limit_s = self.unnamed_s
            if barred_s is None or limit_s < barred_s:
                item = self.core.live.item(id_of(key))
                assert item is not None
                started = self._start(item, bucket)
                if started:
                    break
                barred_s = self.barred[self._alike(bucket)]
            count += 1
        if count:
            self.left -= count
            self.tried[bucket.serial] = keys[count - 1], refused + count
        return started

    def _alike(self, bucket: Bucket) -> RequestClass | int:
        """Whose candidates run into the same things as this bucket's."""
        return bucket.serial if self.core.calendar else bucket.alike

    def _start(self, item: Item, bucket: Bucket) -> bool:
        """Start an item unless it would run into a barrier that has no room for it."""
        core, request = self.core, bucket.key[0]
        limit_s = core.time_limit_s(item)
        alike = self._alike(bucket)
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
        in_the_way = [barrier for barrier in ahead if barrier.stops(end_boot_s)]
        pools = [core.pool, *(barrier.pool for barrier in in_the_way)]
        gpu_ids = place(request, pools, core.settings, item.id)
        if gpu_ids is None:
            if not in_the_way:
                limit_s = -inf
            elif len(in_the_way) == 1:
                limit_s = min(limit_s, self._refusing_s(in_the_way[0]))
            self.barred[alike] = limit_s
            return False
        for barrier in self.barriers:
            if barrier.stops(end_boot_s):
                barrier.pool.book(request, gpu_ids)
        self.actions += lifecycle.start(core, item, gpu_ids, self.now)
        if core.calendar:
            # What is held for owners depends on what they use: counted afresh, and less is held
            # from others when an owner began to use it. Nor does he mind the reserved job.
            self.calendars.clear()
            self.barred.clear()
            if calendar.own(core, item.spec):
                self.outdated = core.pass_wanted = core.again = True
        self.starts += 1
        return True

    def _refusing_s(self, barrier: Barrier) -> float:
        """The shortest limit that a barrier without room for a job refuses."""
        # A moment more, lest rounding refuses what ends right then.
        return barrier.at_boot_s - self.now.boot_s + _SOON_S

    def _calendar(self, item: Item) -> list[Barrier]:
        exempt = calendar.own(self.core, item.spec)
        found = self.calendars.get(exempt)
        if found is None:
            found = self.calendars[exempt] = calendar.barriers(self.core, exempt, self.now)
        return found
