"""What must hold after every event, whatever happened: derived state against the facts.

``check`` raises AssertionError with the first thing that is wrong. It is slow and thorough, and
looks behind the seam on purpose: a count that is off shows here long before it shows outside.
"""

from __future__ import annotations

from math import inf

from gflow.model.job import Array, Job
from gflow.model.state import ACTIVE, TERMINAL, State
from gflow.scheduling import calendar, drain
from gflow.scheduling.backfill import reserve
from gflow.scheduling.class_queue import RequestClass, id_of, rank_at
from gflow.scheduling.core import Core
from gflow.scheduling.dependency import satisfied
from gflow.scheduling.interval import total, union
from gflow.scheduling.ordered import each, first, size
from gflow.scheduling.placement import place
from gflow.scheduling.pool import Pool
from gflow.scheduling.scheduler import Scheduler
from gflow.scheduling.state import DEPENDENCY, HELD, Item


def check(scheduler: Scheduler, *, oversubscribed: bool = False) -> None:
    """Check everything. ``oversubscribed``: adoption or a shrunk machine may have caused it."""
    core = scheduler._core
    _indexes(core)
    _allocation(core)
    if not oversubscribed:
        _capacity(core)
    _arrays(core)
    _waiting(core)
    _queue(core)
    _accounts(core)
    settled = not core.again and not core.pass_wanted
    if core.ready and settled:
        _work_conserving(core)


def _items(core: Core) -> list[Item]:
    return [*core.live.jobs.values(), *core.live.arrays.values()]


def _indexes(core: Core) -> None:
    live = core.live
    assert list(live.ids) == sorted([*live.jobs, *live.arrays])
    assert list(live.array_ids) == sorted(live.arrays)
    assert set(live.active) == {j.id for j in live.jobs.values() if j.state in ACTIVE}
    assert set(live.ended) == {i.id for i in _items(core) if i.state in TERMINAL}
    by_user: dict[str, list[int]] = {}
    for item in _items(core):
        by_user.setdefault(item.spec.user, []).append(item.id)
    assert {u: list(ids) for u, ids in live.by_user.items()} == {
        u: sorted(ids) for u, ids in by_user.items()
    }
    counts = dict.fromkeys(State, 0)
    for job in live.jobs.values():
        counts[job.state] += 1
    for array in live.arrays.values():
        counts[State.PENDING] += total(array.pending)
    assert counts == live.counts, (counts, live.counts)
    named: dict[tuple[str, str], list[int]] = {}
    for item in _items(core):
        single = isinstance(item, Array) or item.array_id is None
        if single and item.state not in TERMINAL:
            named.setdefault((item.spec.user, item.spec.name), []).append(item.id)
    for (user, name), ids in named.items():
        assert live.oldest_namesake(user, name) == min(ids)
    assert sum(map(len, live.namesakes.values())) == len(named)
    for item in _items(core):
        if item.state in TERMINAL:
            assert item.finished_at is not None, item.id


def _allocation(core: Core) -> None:
    pool = Pool(core.capacity)
    holders = [0] * core.capacity.cpus
    for job_id in core.live.active:
        job = core.live.jobs[job_id]
        want = job.spec.resources
        pool.book(want, job.gpu_ids)
        assert len(job.cpu_ids) == min(want.cpus, core.capacity.cpus) or len(job.cpu_ids) >= 1
        assert len(set(job.gpu_ids)) == len(job.gpu_ids) == want.gpus, job_id
        for cpu in job.cpu_ids:
            if cpu < len(holders):
                holders[cpu] += 1
    for name in Pool.__slots__:
        assert getattr(pool, name) == getattr(core.pool, name), name
    assert holders == core.cpuset._holders
    ends = sorted((core.expected_end(core.live.jobs[j]), j) for j in core.live.active)
    assert ends == core.ends


def _capacity(core: Core) -> None:
    """Nothing is given out twice."""
    pool = core.pool
    assert pool.cpus >= 0 and pool.memory_bytes >= 0 and pool.exclusive in (0, 1)
    assert not pool.exclusive or pool.jobs == 1
    assert all(count >= 0 for count in pool.gres.values())
    for card in (pool.cards or {}).values():
        assert card.whole <= 1 and not (card.whole and card.shared)
        assert card.shared_bytes <= card.memory_bytes
    assert max(core.cpuset._holders, default=0) <= 1


def _arrays(core: Core) -> None:
    live = core.live
    for array in live.arrays.values():
        tally = live.tallies[array.id]
        assert array.pending == union(array.pending)
        mine = {
            job.id - array.id - 1: job for job in live.jobs.values() if job.array_id == array.id
        }
        own = {p for p, job in mine.items() if job.state not in TERMINAL}
        assert set(tally.own) == own
        assert tally.jobs == len(mine)
        assert tally.active == sum(job.state in ACTIVE for job in mine.values())
        if array.state not in TERMINAL:
            everything = [*array.pending, *tally.done, *((p, p + 1) for p in own)]
            assert union(everything) == [(0, array.size)], array.id
            assert sum(total([one]) for one in everything) == array.size, array.id
            assert sum(tally.ended.values()) == total(tally.done), array.id
            assert array.pending or own, f"array {array.id} should have ended"
        else:
            assert not array.pending and not own


def _waiting(core: Core) -> None:
    live = core.live
    for item in _items(core):
        waits = live.waits.get(item.id, 0)
        if not _pending(item):
            assert not waits, item.id
            continue
        assert bool(waits & HELD) == (item.hold is not None), item.id
        assert bool(waits & DEPENDENCY) == (not satisfied(item, item.met)), item.id
        if waits & DEPENDENCY:
            assert item.id in core.dependencies.by_child
    pairs = [
        (parent, child)
        for parent, children in core.dependencies.by_parent.items()
        for child, _ in children
        if isinstance(parent, int)
    ]
    assert core.dependencies.upward == sum(parent > child for parent, child in pairs)
    for parent, children in core.dependencies.by_parent.items():
        assert children, parent
        for child, index in children:
            assert index in core.dependencies.by_child[child]


def _pending(item: Item) -> bool:
    if isinstance(item, Array):
        return bool(item.pending)
    return item.state is State.PENDING


def _queue(core: Core) -> None:
    queue = core.queue
    queued = {i.id: i for i in _items(core) if _pending(i) and i.id not in core.live.waits}
    keys = [key for bucket in queue.buckets.values() for key in each(bucket.keys)]
    assert sorted(keys) == sorted(queue.key_of(item) for item in queued.values())
    for item in queued.values():
        assert queue.key_of(item) in each(queue.bucket_of(item).keys)
    classes = queue.classes.values()
    assert sorted(rank for one in classes for rank in one.ranks) == sorted(queue.by_rank)
    assert queue.order == sorted(one.ranks[0] for one in classes if one.ranks)
    for request, one in queue.classes.items():
        alike = [bucket for bucket in queue.buckets.values() if bucket.alike is one]
        assert one.buckets == len(alike) > 0 and {bucket.key[0] for bucket in alike} == {request}
    for rank, bucket in queue.by_rank.items():
        assert bucket.rank == rank and bucket.parked_by is None
        assert rank == rank_at(first(bucket.keys), bucket.bonus)
        assert rank in bucket.alike.ranks
    assert set(queue.aside) == {one.serial for one in queue.buckets.values() if one.parked_by}
    for bucket in queue.buckets.values():
        assert (bucket.rank is None) == (bucket.parked_by is not None)
        if bucket.parked_by is not None:
            assert bucket.serial in core.accounts.get(bucket.parked_by).parked


def _accounts(core: Core) -> None:
    running: dict[object, list[int]] = {}
    pending: dict[object, int] = {}
    for item in _items(core):
        if isinstance(item, Array) or item.state is State.PENDING:
            for account in core.accounts_of(item):
                count = total(item.pending) if isinstance(item, Array) else 1
                pending[account.key] = pending.get(account.key, 0) + count
    for job_id in core.live.active:
        job = core.live.jobs[job_id]
        for account in core.accounts_of(job):
            counts = running.setdefault(account.key, [0, 0, 0])
            counts[0] += 1
            counts[1] += job.spec.resources.cpus
            counts[2] += job.spec.resources.gpus
    for account in core.accounts.known.values():
        counts = running.get(account.key, [0, 0, 0])
        assert [account.running, account.cpus, account.gpus] == counts, account.key
        assert account.pending == pending.get(account.key, 0), account.key


def _work_conserving(core: Core) -> None:
    """What comes first and could start has been started, and nothing parked could."""
    drained = drain.barrier(core, core.now)
    barriers = [] if drained is None else [drained]
    at_boot_s = 0.0
    if core.reserved_id is not None:
        first = core.live.item(core.reserved_id)
        if first is not None and _pending(first) and first.id not in core.live.waits:
            barrier = reserve(core, first, core.now)
            if barrier is not None:
                barriers += [barrier, *barrier.later]
                at_boot_s = barrier.at_boot_s
    tried: dict[RequestClass, int] = {}
    for rank in sorted(core.queue.by_rank):
        bucket = core.queue.by_rank[rank]
        if bucket.alike not in tried:
            tried[bucket.alike] = _candidates(core, bucket.alike)
        # Some are tried twice: on the way to who is reserved, and behind it.
        if 2 * sum(tried.values()) > core.settings.backfill_depth:
            break  # a pass may have ended before it came to this one
        item = core.live.item(id_of(rank))
        assert item is not None
        if any(account.refuses(bucket.key[0]) for account in bucket.accounts):
            continue
        end = core.now.boot_s + core.time_limit_s(item)
        if end == at_boot_s == inf:
            continue  # which of those without a limit ends first is anybody's guess
        exempt = calendar.own(core, item.spec)
        ahead = [*barriers, *calendar.barriers(core, exempt, core.now)]
        pools = [core.pool, *(one.pool for one in ahead if one.stops(end))]
        placed = place(item.spec.resources, pools, core.settings, item.id)
        assert placed is None, f"{_name(item)} could start and does not"
    for bucket in core.queue.buckets.values():
        if bucket.parked_by is not None:
            assert core.accounts.get(bucket.parked_by).refuses(bucket.key[0]), bucket.key


def _candidates(core: Core, alike: RequestClass) -> int:
    """How many items of a class a pass looks at, at most, before it goes on to the next one."""
    share = max(1, core.settings.backfill_depth // 8)
    return sum(min(size(core.queue.by_rank[rank].keys), share) for rank in alike.ranks)


def _name(item: Item) -> str:
    return f"{'job' if isinstance(item, Job) else 'array'} {item.id}"
