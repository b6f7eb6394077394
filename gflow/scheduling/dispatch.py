"""One scheduling pass: start what can start, in order, and never at a reserved job's expense."""

from __future__ import annotations

from gflow.model.action import Action
from gflow.model.resources import Resources
from gflow.model.state import Instant
from gflow.scheduling import calendar, drain, fair_share, lifecycle
from gflow.scheduling.account import Account
from gflow.scheduling.backfill import reserve
from gflow.scheduling.barrier import Barrier
from gflow.scheduling.class_queue import Bucket, id_of
from gflow.scheduling.core import Core
from gflow.scheduling.ordered import each
from gflow.scheduling.placement import place
from gflow.scheduling.state import Item

#: Buckets that get their place by fair share anew in one turn.
_FRESHENED = 32


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
    """The state of one pass; classes are looked at once each, best first."""

    __slots__ = (
        "actions",
        "barriers",
        "calendars",
        "core",
        "left",
        "now",
        "reservation",
        "reserved",
        "starts",
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
        #: The highest blocked job, and what is kept for it.
        self.reserved: Item | None = None
        self.reservation: Barrier | None = None
        #: Candidates that may still be tried behind the reserved job.
        self.left = core.settings.backfill_depth
        self.starts = 0

    def run(self) -> list[Action]:
        core, queue = self.core, self.core.queue
        core.reserved_id = None
        index = 0
        # Starting or parking moves a class back in the order, never forward: what was passed over
        # stays passed over, because the pool only shrinks.
        while index < len(queue.order) and self.left > 0:
            if self.starts >= core.settings.starts_per_turn:
                core.pass_wanted = core.again = True
                break
            best = queue.order[index]
            request = queue.by_rank[best].key[0]
            if not core.pool.fits(request):
                if self.reserved is None and not self._reserve(request, best):
                    continue
                if core.pool.cpus < 1 and self.reserved is not None:
                    break
                self.left -= 1
                index += 1
            elif not self._start_one(request) and queue.order[index : index + 1] == [best]:
                if self.reserved is None:
                    self._reserve(request, best)
                if queue.order[index : index + 1] == [best]:
                    index += 1
        core.reserved_id = None if self.reserved is None else self.reserved.id
        return self.actions

    def _reserve(self, request: Resources, best: int) -> bool:
        """Reserve for the first item of a blocked class; False when the order has changed."""
        bucket = self.core.queue.by_rank[best]
        account = self._refusing(bucket, request)
        if account is not None:
            self.core.queue.park(bucket, account)
            return False
        item = self.core.live.item(id_of(best))
        assert item is not None
        barrier = reserve(self.core, item, self.now)
        if barrier is not None:
            self.reserved = item
            self.reservation = barrier
            self.barriers += [barrier, *barrier.later]
        return True

    def _start_one(self, request: Resources) -> bool:
        """Start the first item of a fitting class that may start; False when there is none."""
        queue = self.core.queue
        ranks = queue.classes[request]
        at = 0
        # Barriers that some item of this class ran into and did not fit.
        refused: set[tuple[int, ...]] = set()
        while at < len(ranks) and self.left > 0:
            bucket = queue.by_rank[ranks[at]]
            account = self._refusing(bucket, request)
            if account is not None:
                queue.park(bucket, account)
                if at == 0:
                    return False  # the class has a new place in the order
                continue
            for key in each(bucket.keys):
                item = self.core.live.item(id_of(key))
                assert item is not None
                if self._start(item, refused):
                    return True
                self.left -= 1
                if self.left <= 0 or () in refused:
                    break
            at += 1
        return False

    def _start(self, item: Item, refused: set[tuple[int, ...]]) -> bool:
        """Start an item unless it would run into a barrier that has no room for it."""
        core = self.core
        end_boot_s = self.now.boot_s + core.time_limit_s(item)
        ahead = self.barriers
        if core.calendar:
            if calendar.entitled(core, item.spec, self.now):
                kept = self.reservation
                ahead = [one for one in ahead if kept is None or one not in (kept, *kept.later)]
            ahead = [*ahead, *self._calendar(item)]
        pools = [barrier.pool for barrier in ahead if barrier.stops(end_boot_s)]
        crossed = tuple(map(id, pools))
        if crossed in refused:
            return False
        gpu_ids = place(item.spec.resources, [core.pool, *pools], core.settings, item.id)
        if gpu_ids is None:
            refused.add(crossed)
            return False
        for barrier in self.barriers:
            if barrier.stops(end_boot_s):
                barrier.pool.book(item.spec.resources, gpu_ids)
        self.actions += lifecycle.start(core, item, gpu_ids, self.now)
        if core.calendar:
            # What is held for owners depends on what they use: counted afresh, and less is held
            # from others when an owner began to use it.
            self.calendars.clear()
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

    def _refusing(self, bucket: Bucket, request: Resources) -> Account | None:
        for account in bucket.accounts:
            if account.max_gpu_s_per_week is not None:
                fair_share.accrue(self.core, account, self.now)
            if account.refuses(request):
                return account
        return None
