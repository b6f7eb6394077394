"""Why a job waits: every blocker at once, each with its way out."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from gflow.model.job import Array, Job
from gflow.model.resources import Resources
from gflow.model.state import TERMINAL, Instant, Reason, State
from gflow.scheduling import calendar, drain, fair_share, phrase
from gflow.scheduling.account import Account
from gflow.scheduling.backfill import reserve
from gflow.scheduling.barrier import Barrier
from gflow.scheduling.core import Core
from gflow.scheduling.dependency import NEVER as IMPOSSIBLE
from gflow.scheduling.dependency import TRUE, Pair, phase, verdict
from gflow.scheduling.placement import place
from gflow.scheduling.pool import CardUse, Pool
from gflow.scheduling.state import BACKOFF, BEGIN, DEPENDENCY, HELD, NEVER, Item

#: More holders or parents than this are not named one by one.
_NAMED = 8


@dataclass(slots=True, frozen=True)
class Blocker:
    """One thing that keeps a job from starting."""

    reason: Reason
    message: str
    #: What removes it; None when only time does. Smaller requests: see ``remedy``.
    remedy: str | None = None
    #: Epoch seconds at which it goes away by itself; None when that cannot be told.
    until_at: float | None = None


@dataclass(slots=True, frozen=True)
class Explanation:
    """What there is to say about when a job starts."""

    job_id: int
    state: State
    #: 1 is next; None when it is not in the queue or the place is too costly to count now.
    position: int | None
    blockers: tuple[Blocker, ...]
    #: (earliest, latest) start in epoch seconds; None when there is no telling.
    expected_start: tuple[float | None, float | None] | None


_LIMIT_REASONS = {
    "user": Reason.QUOTA,
    "project": Reason.QUOTA,
    "group": Reason.GROUP_LIMIT,
    "array": Reason.ARRAY_TASK_LIMIT,
}


def reason(core: Core, item: Item) -> Reason | None:
    """The main reason why an item waits, cheap enough for listings; None: it does not."""
    if item.state is not State.PENDING or (isinstance(item, Array) and not item.pending):
        return None
    waits = core.live.waits.get(item.id, 0)
    if waits:
        return _waiting_reason(item, waits)
    request = item.spec.resources
    if request.gpus and core.capacity.cards is None:
        return Reason.GPUS_UNKNOWN
    for account in core.accounts_of(item):
        if account.refuses(request):
            return _LIMIT_REASONS[account.key[0]]
    if core.drain is not None and drain.keeps(core, item, core.now):
        return Reason.DRAINED
    if item.id != core.reserved_id and core.reserved_id is not None:
        return Reason.PRIORITY
    return Reason.RESERVATION if core.pool.fits(request) and core.calendar else Reason.RESOURCES


def _waiting_reason(item: Item, waits: int) -> Reason:
    if waits & HELD:
        return Reason.HELD_ADMIN if item.hold == "admin" else Reason.HELD_USER
    if waits & NEVER:
        return Reason.DEPENDENCY_NEVER_SATISFIED
    if waits & DEPENDENCY:
        return Reason.DEPENDENCY
    return Reason.BEGIN_TIME if waits & BEGIN else Reason.BACKOFF


def explain(core: Core, job_id: int, item: Item, now: Instant) -> Explanation:
    """Every blocker of an item; ``job_id`` is what was asked for (a task, perhaps)."""
    if reason(core, item) is None:
        return Explanation(job_id, item.state, None, (), None)
    blockers = _waiting(core, item, now)
    queued = item.id not in core.live.waits
    blockers += _limits(core, item, now)
    blockers += _resources(core, item.spec.resources, now)
    if not (queued and core.pass_wanted):  # else the next pass may well start it
        blockers += _others(core, item, now)
    expected = None
    if queued and item.id == core.reserved_id:
        barrier = reserve(core, item, now)
        if barrier is not None and barrier.starts_boot_s != inf:
            at = wall(now, barrier.starts_boot_s)
            expected = (now.wall_s, at)
    position = core.queue.position(item) + 1 if queued and len(core.queue.buckets) < 2048 else None
    return Explanation(job_id, item.state, position, tuple(blockers), expected)


def priority(core: Core, item: Item, now: Instant) -> dict[str, float]:
    """What an item's points come from; more come first, ``top`` before all."""
    settings = core.settings
    user = core.accounts.get(("user", item.spec.user))
    parts = {
        "top": float(item.top),
        "priority": item.priority * settings.priority_weight,
        "fair_share": fair_share.factor(user) * settings.fair_share_weight,
        "age": max(0.0, now.wall_s - item.submitted_at) / 3600.0 * settings.age_weight,
    }
    if item.spec.project is not None and settings.project_share_weight:
        project = core.accounts.get(("project", item.spec.project))
        parts["project_share"] = fair_share.factor(project) * settings.project_share_weight
    parts["points"] = sum(parts.values()) - parts["top"]
    return parts


def wall(now: Instant, boot_s: float) -> float | None:
    """A moment of the boot clock in epoch seconds; None for infinity."""
    return None if boot_s == inf else now.wall_s + max(0.0, boot_s - now.boot_s)


# --- blockers -----------------------------------------------------------------------------------


def _waiting(core: Core, item: Item, now: Instant) -> list[Blocker]:
    waits = core.live.waits.get(item.id, 0)
    found: list[Blocker] = []
    if waits & HELD:
        who = "an admin holds it" if item.hold == "admin" else "it is held"
        if isinstance(item, Job) and item.reason and _was_put_off(item):
            who += f": {item.reason}"  # what its prolog said when it failed
        main = Reason.HELD_ADMIN if item.hold == "admin" else Reason.HELD_USER
        found.append(Blocker(main, who, f"gflowctl release {item.id}"))
    if waits & BEGIN:
        found.append(
            Blocker(
                Reason.BEGIN_TIME,
                "its begin time has not come",
                f"gflowctl update {item.id} --begin now",
                item.spec.begin_at,
            )
        )
    if waits & BACKOFF and isinstance(item, Job):
        message = "a retry waits for its back-off" if item.retried else "its launch was put off"
        if item.reason:
            message += f": {item.reason}"
        found.append(Blocker(Reason.BACKOFF, message, None, item.not_before_at))
    if waits & DEPENDENCY:
        found += _dependencies(core, item, now)
    return found


def _was_put_off(job: Job) -> bool:
    last = job.attempts[-1] if job.attempts else {}
    return last.get("cause") == "start put off"


def _dependencies(core: Core, item: Item, now: Instant) -> list[Blocker]:
    found: list[Blocker] = []
    remedy = f"gflowctl update {item.id} --clear dependency"
    waits = core.live.waits.get(item.id, 0)
    one_is_enough = item.spec.dependency_mode == "any"
    for index, dependency in enumerate(item.spec.dependencies):
        if index in item.met:
            continue
        parents = dependency.jobs or ((item.spec.user, item.spec.name),)
        for parent in parents[:_NAMED]:
            answer, due = verdict(
                core.live, core.dependencies.facts, item, Pair(parent, item.id, index), now.wall_s
            )
            if answer == TRUE:
                continue
            never = answer == IMPOSSIBLE
            if never and one_is_enough and not waits & NEVER:
                continue  # another one may still come true
            main = Reason.DEPENDENCY_NEVER_SATISFIED if never else Reason.DEPENDENCY
            if not isinstance(parent, int):
                message = f"an older job of yours named {parent[1]!r} has not ended"
            else:
                ended = phase(core.live, core.dependencies.facts, parent).ended
                stands = f"ended as {ended}" if ended else "has not come that far"
                message = f"{dependency.type} job {parent}, which {stands}"
                if due is not None:
                    message = f"{dependency.type} job {parent}: its delay has not passed"
                elif ended is None:
                    due = _until(core, parent, now)
            found.append(Blocker(main, message, remedy, due))
    if not found:
        # A delay has passed just now; the turn that lets the job go on is the next one.
        found.append(
            Blocker(Reason.DEPENDENCY, "what it waits for has just come", None, now.wall_s)
        )
    return found


def _until(core: Core, job_id: int, now: Instant) -> float | None:
    job = core.live.jobs.get(job_id)
    if job is None or job.id not in core.live.active:
        return None
    return wall(now, core.expected_end(job))


def _limits(core: Core, item: Item, now: Instant) -> list[Blocker]:
    found: list[Blocker] = []
    request = item.spec.resources
    for account in core.accounts_of(item):
        if account.refuses(request):
            kind, name = account.key
            parts, until_at = _reached(account, request, now)
            message = f"{kind} {name} is at its limit: {', '.join(parts)}"
            remedy = None
            if kind == "array":
                remedy = f"gflowctl update {name} --array-limit N"
            found.append(Blocker(_LIMIT_REASONS[kind], message, remedy, until_at))
    return found


def _reached(account: Account, request: Resources, now: Instant) -> tuple[list[str], float | None]:
    """The limits that one more such job would exceed, and until when if time alone helps."""
    parts = [
        f"{used} of {limit} {what}"
        for used, more, limit, what in (
            (account.running, 1, account.max_running, "running jobs"),
            (account.cpus, request.cpus, account.max_cpus, "running cpus"),
            (account.gpus, request.gpus, account.max_gpus, "running gpus"),
        )
        if limit is not None and more and used + more > limit
    ]
    most = account.max_gpu_s_per_week
    if most is None or not request.gpus or account.week_gpu_s < most:
        return parts, None
    parts.append(f"{account.week_gpu_s / 3600:.3g} of {most / 3600:.3g} gpu-hours this week")
    next_week = fair_share.week_start(fair_share.week_of(now.wall_s) + 1)
    return parts, None if len(parts) > 1 else next_week


def _resources(core: Core, want: Resources, now: Instant) -> list[Blocker]:
    pool = core.pool
    found: list[Blocker] = []
    if want.gpus and pool.cards is None:
        return [Blocker(Reason.GPUS_UNKNOWN, "the machine's gpus are not known yet")]
    if want.cpus > pool.cpus:
        found.append(_short(core, "cpus", want.cpus, pool.cpus, now))
    if want.memory_bytes and want.memory_bytes > pool.memory_bytes:
        found.append(_short(core, "memory_bytes", want.memory_bytes, pool.memory_bytes, now))
    accepting = len(pool.accepting(want)) if want.gpus else 0
    if want.gpus > accepting:
        found.append(_short(core, "gpus", want.gpus, accepting, now))
        found += _kept_back(core, want)
    counters = pool.gres
    for name, count in want.gres:
        if count > counters.get(name, 0):
            found.append(_short(core, name, count, counters.get(name, 0), now))
    if pool.exclusive or (want.exclusive and pool.jobs):
        message = "a job runs that tolerates nothing beside it"
        if want.exclusive:
            others = "1 job runs" if pool.jobs == 1 else f"{pool.jobs} jobs run"
            message = f"it wants the machine for itself and {others}"
        found.append(Blocker(Reason.RESOURCES, message, None, _last_end(core, now)))
    return found


def _short(core: Core, name: str, wanted: int, free: int, now: Instant) -> Blocker:
    holders: list[str] = []
    until: float | None = None
    for end_boot_s, job_id in core.ends:
        held = _held(core.live.jobs[job_id].spec.resources, name)
        if not held:
            continue
        at = wall(now, end_boot_s)
        if not holders:
            until = at
        left = "" if at is None else f" for at most {phrase.duration(at - now.wall_s)}"
        holders.append(f"job {job_id} holds {_held_words(name, held)}{left}")
    more = f" and {len(holders) - _NAMED} more" if len(holders) > _NAMED else ""
    by = "; ".join(holders[:_NAMED]) + more
    left = _held_words(name, max(free, 0))
    message = f"{phrase.amount(name, wanted)} wanted, {left} free"
    return Blocker(Reason.RESOURCES, message + (f" ({by})" if by else ""), None, until)


def _held_words(name: str, count: int) -> str:
    return phrase.size(count) if name == "memory_bytes" else str(count)


def _kept_back(core: Core, want: Resources) -> list[Blocker]:
    """Cards that it could use and that are not given out just now."""
    return [
        Blocker(Reason.RESOURCES, f"gpu {card.index} is kept back: {card.unusable}")
        for card in core.capacity.cards or ()
        if card.unusable and (not want.gpus_allowed or card.index in want.gpus_allowed)
    ][:_NAMED]


def _held(want: Resources, name: str) -> int:
    if name in ("cpus", "gpus", "memory_bytes"):
        return int(getattr(want, name))
    return dict(want.gres).get(name, 0)


def _last_end(core: Core, now: Instant) -> float | None:
    return wall(now, core.ends[-1][0]) if core.ends else None


def _others(core: Core, item: Item, now: Instant) -> list[Blocker]:
    """What keeps it from starting for others' sake, even if nothing it wants were short now."""
    want, end_boot_s = item.spec.resources, now.boot_s + core.time_limit_s(item)
    free = _without_shortage(core.pool, want)
    found: list[Blocker] = []
    if core.drain is not None and drain.keeps(core, item, now):
        why = f": {core.drain.reason}" if core.drain.reason else ""
        message = f"the machine is being drained{why}"
        found.append(Blocker(Reason.DRAINED, message, "gflowctl undrain"))
    reserved = calendar.barriers(core, calendar.own(core, item.spec), now)
    reserved = [one for one in reserved if one.stops(end_boot_s)]
    first, kept = _ahead(core, item, now)
    kept = [one for one in kept if one.stops(end_boot_s)]

    def fits(*barriers: Barrier) -> bool:
        # Cards must be free now and later: the same ones.
        pools = [free, *(one.pool for one in barriers)]
        return place(want, pools, core.settings, item.id) is not None

    runs_into = [_runs_into(one, now) for one in reserved if not fits(one)]
    if not runs_into and not fits(*reserved):
        message = "the reservations together leave no room for it"
        runs_into = [Blocker(Reason.RESERVATION, message)]
    if kept and first is not None and not fits(*kept):
        found.append(_comes_first(first, kept[0], now))
    elif not runs_into and not fits(*reserved, *kept):
        # No single thing: what the higher job and the reservations leave has no room for it.
        message = "what is free now is needed by others before it would end"
        found.append(Blocker(Reason.PRIORITY, message))
    return found + runs_into


def _without_shortage(pool: Pool, want: Resources) -> Pool:
    """The pool with as much as is wanted of what is short."""
    pool = pool.copy()
    pool.cpus = max(pool.cpus, want.cpus)
    pool.memory_bytes = max(pool.memory_bytes, want.memory_bytes)
    pool.exclusive = 0
    if want.exclusive:
        pool.jobs = 0
    for name, count in want.gres:
        pool.gres[name] = max(pool.gres.get(name, 0), count)
    if pool.cards is not None and len(pool.accepting(want)) < want.gpus:
        pool.cards = {i: CardUse(card.memory_bytes, True) for i, card in pool.cards.items()}
    return pool


def _runs_into(barrier: Barrier, now: Instant) -> Blocker:
    if barrier.at_boot_s == -inf:
        return Blocker(Reason.RESERVATION, "what it wants is reserved for others")
    left_s = barrier.at_boot_s - now.boot_s
    message = f"it would run into a reservation that begins in {phrase.duration(left_s)}"
    return Blocker(Reason.RESERVATION, message, None, now.wall_s + left_s)


def _ahead(core: Core, item: Item, now: Instant) -> tuple[Item | None, list[Barrier]]:
    """The higher blocked job, if there is one, and what is kept for it."""
    if calendar.entitled(core, item.spec, now):
        return None, []
    first = None if core.reserved_id is None else core.live.item(core.reserved_id)
    if first is None or first is item or first.state in TERMINAL or first.id in core.live.waits:
        return None, []
    if item.id in core.live.waits:
        rank = core.queue.rank_among(item, core.accounts_of(item))
        if rank < core.queue.rank_of(first):
            return None, []
    barrier = reserve(core, first, now)
    return first, [] if barrier is None else [barrier, *barrier.later]


def _comes_first(first: Item, barrier: Barrier, now: Instant) -> Blocker:
    until = wall(now, barrier.starts_boot_s)
    message = f"job {first.id} comes first and needs what it would take"
    return Blocker(Reason.PRIORITY, message, None, until)
