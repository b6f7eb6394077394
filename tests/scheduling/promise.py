"""What the scheduler promises beyond its own books: nobody lower delays who comes first, and what
it says about a waiting job is true.

Each is told afresh from the machine as it is, by other code than the decision itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import inf

from gflow.model.action import Action, Start
from gflow.model.job import Array, Job
from gflow.model.state import Instant, Reason, State
from gflow.scheduling import backfill, calendar, class_queue, drain, forecast
from gflow.scheduling.backfill import reserve
from gflow.scheduling.barrier import Barrier
from gflow.scheduling.core import Core
from gflow.scheduling.placement import place
from gflow.scheduling.pool import Pool
from gflow.scheduling.scheduler import Scheduler
from gflow.scheduling.state import BACKOFF, BEGIN, DEPENDENCY, HELD, Item

_PLENTY = 1 << 60
#: What is overdue may be gone now, or a moment later.
_ROUNDING_S = 0.002


# --- who comes first ------------------------------------------------------------------------------


def undelayed(scheduler: Scheduler, actions: Iterable[Action]) -> None:
    """No lower job that was just started delays the reserved one or takes what it starves for."""
    core = scheduler._core
    first = None if core.reserved_id is None else core.live.item(core.reserved_id)
    if first is None or first.id in core.live.waits or first.state is not State.PENDING:
        return
    if core.queue._stale:
        return  # some have not been given their place by fair share anew
    started = [core.live.jobs[one.job_id] for one in actions if isinstance(one, Start)]
    for at, job in enumerate(started):
        if job.state is State.RUNNING and _below(core, job, first):
            _undelayed_by(core, job, first, started[at:])


def _undelayed_by(core: Core, job: Job, first: Item, since: list[Job]) -> None:
    """``since``: the job and those that were started after it."""
    now, before, after = core.now, _copy_without(core, since), _copy_without(core, since[1:])
    if calendar.entitled(before, job.spec, now):
        return  # what is kept for the owners of reservations is nobody else's
    if core.calendar and backfill._beside_reservations(before, first, now) is None:
        return  # there is no moment for it beside reservations, of which those to come count
    mine, theirs = reserve(after, first, now), reserve(before, first, now)
    if theirs is not None and theirs.starts_boot_s != inf:
        late = mine is None or mine.starts_boot_s > theirs.starts_boot_s + _ROUNDING_S
        assert not late, f"{job.id} delays {first.id}"
    elif core.waiting_since_s(first, now) >= core.settings.starvation_after_s:
        left, taken = _share(before.pool, first), _share(after.pool, first)
        assert left == taken, f"{job.id} takes what {first.id} starves for: {left} {taken}"


def _below(core: Core, job: Job, first: Item) -> bool:
    """Whether a job that was started stood behind the first one."""
    # Started from its array, a task stood where the array stands.
    place_id = job.id if job.array_id is None else job.array_id
    rank = core.queue.rank_among(job, core.accounts_of(job))
    rank += (place_id - job.id) << class_queue._LIMIT_BITS
    return job.array_id != first.id and rank > core.queue.rank_of(first)


def _copy_without(core: Core, jobs: list[Job]) -> Core:
    left = forecast._empty_copy(core, core.now)
    taken = {job.id for job in jobs}
    for job_id in core.live.active:
        if job_id not in taken:
            forecast._copy_active(left, core, job_id, core.now)
    left.live.tallies = core.live.tallies
    return left


def _share(pool: Pool, item: Item) -> list[int]:
    """How much of each thing that it wants an item could have."""
    want = item.spec.resources
    if want.exclusive:
        return [-pool.jobs]
    return [
        min(want.cpus, pool.cpus),
        min(want.memory_bytes, pool.memory_bytes),
        min(want.gpus, len(pool.accepting(want))),
        *(min(count, pool.gres.get(name, 0)) for name, count in want.gres),
    ]


# --- what is said ---------------------------------------------------------------------------------


def true_blockers(scheduler: Scheduler, item: Item, now: Instant) -> None:
    """Without all that is told to keep an item it could start; with any one of it it could not."""
    core = scheduler._core
    told = _told(scheduler, item, now)
    if not told:
        return
    assert _startable(core, item, told, now), f"{item.id} waits for more than {sorted(told)}"
    for one in told:
        still = _startable(core, item, told - {one}, now)
        assert not still, f"{item.id} does not wait for {one}, told are {sorted(told)}"


def _told(scheduler: Scheduler, item: Item, now: Instant) -> frozenset[str]:
    found = set[str]()
    for blocker in scheduler.explain(item.id, now).blockers:
        found.add(str(blocker.reason))
        if blocker.reason is Reason.RESOURCES:
            found.discard(str(blocker.reason))
            found.add(_short_of(blocker.message))
        if blocker.reason is Reason.DEPENDENCY_NEVER_SATISFIED:
            found.discard(str(blocker.reason))
            found.add(str(Reason.DEPENDENCY))
    return frozenset(found)


def _short_of(message: str) -> str:
    """Which of the resources a message is about."""
    if "nothing beside it" in message or "for itself" in message:
        return "exclusive"
    if message.startswith("gpu "):
        return "gpus"
    wanted = message.partition(" wanted")[0].partition(" ")[2]
    return {"cpu": "cpus", "gpu": "gpus"}.get(wanted, wanted)


_LIMITS = {
    "user": "Quota",
    "project": "Quota",
    "group": Reason.GROUP_LIMIT,
    "array": Reason.ARRAY_TASK_LIMIT,
}
_WAITS = {
    HELD: "JobHeld",
    BEGIN: Reason.BEGIN_TIME,
    BACKOFF: Reason.BACKOFF,
    DEPENDENCY: "Dependency",
}


def _startable(core: Core, item: Item, lifted: frozenset[str], now: Instant) -> bool:
    waits = core.live.waits.get(item.id, 0)
    for bit, word in _WAITS.items():
        if waits & bit and not any(one.startswith(word) for one in lifted):
            return False
    want = item.spec.resources
    for account in core.accounts_of(item):
        if account.refuses(want) and _LIMITS[account.key[0]] not in lifted:
            return False
    end_boot_s = now.boot_s + core.time_limit_s(item)
    ahead = []
    if Reason.DRAINED not in lifted:
        drained = drain.barrier(core, now)
        ahead += [] if drained is None else [drained]
    if Reason.RESERVATION not in lifted:
        ahead += calendar.barriers(core, calendar.own(core, item.spec), now)
    if Reason.PRIORITY not in lifted:
        ahead += _before(core, item, now)
    later = [one.pool for one in ahead if one.stops(end_boot_s)]
    pools = [_with(core.pool, lifted), *later]
    return place(want, pools, core.settings, item.id) is not None


def _before(core: Core, item: Item, now: Instant) -> list[Barrier]:
    first = None if core.reserved_id is None else core.live.item(core.reserved_id)
    if first is None or first is item or calendar.entitled(core, item.spec, now):
        return []
    if item.id in core.live.waits:
        rank = core.queue.rank_among(item, core.accounts_of(item))
        if rank < core.queue.rank_of(first):
            return []  # it would come first itself
    kept = reserve(core, first, now)
    return [] if kept is None else [kept, *kept.later]


def _with(pool: Pool, lifted: frozenset[str]) -> Pool:
    """The pool with plenty of what is lifted."""
    pool = pool.copy()
    if "cpus" in lifted:
        pool.cpus = _PLENTY
    if "of memory" in lifted:
        pool.memory_bytes = _PLENTY
    if "exclusive" in lifted:
        pool.exclusive = pool.jobs = 0
    for name in pool.gres:
        if name in lifted:
            pool.gres[name] = _PLENTY
    if "gpus" in lifted and pool.cards is not None:
        for index, card in pool.cards.items():
            pool.cards[index] = card._replace(usable=True, whole=0, shared=0, shared_bytes=0)
    return pool


def pending(scheduler: Scheduler) -> list[Item]:
    """Everything that waits."""
    found = scheduler.in_states(frozenset({State.PENDING}))
    return [item for item in found if not isinstance(item, Array) or item.pending]
