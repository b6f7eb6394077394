"""Reservations: cpus and cards kept for a user or a project from a start for a duration.

What is reserved is held from everybody else while the reservation lasts, less what its owner's jobs
use already; and a job that would run into one must fit beside it. Only the current or next
occurrence of a recurring reservation is looked at: the one after it comes into view in time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import inf
from typing import Any

from gflow.errors import Refused
from gflow.model.action import Action, Reserved
from gflow.model.event import Reserve, Unreserve
from gflow.model.job import Spec
from gflow.model.resources import Resources
from gflow.model.state import Instant
from gflow.scheduling.barrier import Barrier
from gflow.scheduling.core import Core
from gflow.scheduling.pool import Pool
from gflow.scheduling.timer import CALENDAR

_ONE_CARD = Resources(cpus=0, gpus=1)
#: A start that has passed by less than this is now.
_LATE_S = 60.0
#: Occurrences of a recurring reservation that are compared with others when it is made.
_COMPARED = 64


@dataclass(slots=True, frozen=True)
class Reservation:
    """One reservation; times in epoch seconds."""

    id: int
    uid: int
    user: str | None
    project: str | None
    start_at: float
    duration_s: float
    cpus: int = 0
    gpus: int = 0
    gpu_ids: tuple[int, ...] = ()
    every_s: float | None = None
    comment: str | None = None
    created_at: float = 0.0
    #: Occurrences that begin before were given back.
    resumes_at: float = -inf

    def occurrence(self, wall_s: float) -> tuple[float, float] | None:
        """Start and end of the occurrence that lasts at a moment, or of the next; None: over."""
        start = self.start_at
        if self.every_s is None:
            over = wall_s >= start + self.duration_s or start < self.resumes_at
            return None if over else (start, start + self.duration_s)
        for moment in (wall_s - self.duration_s, self.resumes_at - self.every_s):
            if moment >= start:
                start += (int((moment - start) // self.every_s) + 1) * self.every_s
        if start < self.resumes_at:
            start += self.every_s
        return start, start + self.duration_s

    def belongs_to(self, spec: Spec) -> bool:
        """Whether jobs of this spec may use it."""
        if self.user is not None:
            return spec.user == self.user
        return spec.project == self.project


# --- requests ------------------------------------------------------------------------------------


def reserve(core: Core, event: Reserve, now: Instant) -> list[Action]:
    """Make a reservation unless it cannot be kept beside the others."""
    core.last_reservation_id = max([core.last_reservation_id, *core.calendar])
    made = Reservation(
        core.last_reservation_id + 1,
        event.uid,
        event.user,
        event.project,
        event.start_at,
        event.duration_s,
        event.cpus,
        len(event.gpu_ids) or event.gpus,
        tuple(sorted(event.gpu_ids)),
        event.every_s,
        event.comment,
        now.wall_s,
    )
    _check(core, made, now)
    core.last_reservation_id = made.id
    core.calendar[made.id] = made
    core.live.changes["reservation", made.id] = None
    advance(core, now)
    return [Reserved(made.id)]


def take(core: Core, made: Reservation, now: Instant) -> str | None:
    """Keep a reservation that was made elsewhere, with its id; why it cannot be kept, or None."""
    core.last_reservation_id = max([core.last_reservation_id, made.id, *core.calendar])
    known = core.calendar.get(made.id)
    if known is not None:
        same = (known.user, known.start_at) == (made.user, made.start_at)
        return "it is here already" if same else f"reservation {made.id} is another one here"
    if made.occurrence(now.wall_s) is None:
        return "it is over"
    try:
        _check_beside_others(core, made, now)
    except Refused as error:
        return str(error)
    core.calendar[made.id] = made
    core.live.changes["reservation", made.id] = None
    advance(core, now)
    return None


def unreserve(core: Core, event: Unreserve, now: Instant) -> list[Action]:
    """Give a reservation back, or only its current or next occurrence."""
    found = core.calendar.get(event.reservation_id)
    if found is None:
        raise Refused(
            Refused.NOT_FOUND,
            f"cannot cancel reservation {event.reservation_id}: there is no such reservation",
        )
    occurrence = found.occurrence(now.wall_s)
    if event.once and found.every_s is not None and occurrence is not None:
        core.calendar[found.id] = replace(found, resumes_at=occurrence[0] + found.every_s)
    else:
        del core.calendar[found.id]
    core.live.changes["reservation", found.id] = None
    advance(core, now)
    return []


def _refused(cause: str) -> Refused:
    return Refused(Refused.INVALID, f"cannot reserve: {cause}")


def _check(core: Core, made: Reservation, now: Instant) -> None:
    if (made.user is None) == (made.project is None):
        raise _refused("name a user or a project")
    if made.duration_s <= 0:
        raise _refused("the duration must be positive")
    if made.start_at < now.wall_s - _LATE_S:
        raise _refused("its start has passed: name now or a moment to come, such as now+2h")
    if made.every_s is not None and made.every_s < made.duration_s:
        raise _refused(
            "it would repeat before it has ended: let more time pass (every_s) than it lasts"
        )
    if made.cpus < 0 or made.gpus < 0 or not (made.cpus or made.gpus):
        raise _refused("name a number of cpus or gpus")
    _check_beside_others(core, made, now)


def _check_beside_others(core: Core, made: Reservation, now: Instant) -> None:
    _check_capacity(core, made, [made])
    spans = _spans(made, now)
    for start, end in spans:
        others = [
            other
            for other in core.calendar.values()
            if any(s < end and start < e for s, e in _spans(other, now))
        ]
        _check_capacity(core, made, [*others, made])


def _spans(found: Reservation, now: Instant) -> list[tuple[float, float]]:
    spans: list[tuple[float, float]] = []
    at = now.wall_s
    while len(spans) < _COMPARED:
        occurrence = found.occurrence(at)
        if occurrence is None:
            break
        spans.append(occurrence)
        if found.every_s is None:
            break
        at = occurrence[1]
    return spans


def _check_capacity(core: Core, made: Reservation, together: list[Reservation]) -> None:
    by = ", ".join(f"reservation {r.id}" for r in together if r is not made)

    def check(what: str, wanted: int, others: int, total: int) -> None:
        if wanted + others > total:
            there = f"{total} on this machine"
            if by:
                there = f"{max(0, total - others)} of {total} left beside {by}"
            raise _refused(f"{wanted} {what} wanted, {there}")

    others = [one for one in together if one is not made]
    check("cpus", made.cpus, sum(one.cpus for one in others), core.capacity.cpus)
    if core.capacity.cards is None or not made.gpus:
        return
    known = {card.index for card in core.capacity.cards}
    strange = [index for index in made.gpu_ids if index not in known]
    if strange:
        there = ", ".join(map(str, sorted(known))) or "none"
        raise _refused(f"there is no gpu {strange[0]} on this machine (there are: {there})")
    check("gpus", made.gpus, sum(one.gpus for one in others), len(known))
    for other in together:
        twice = set(other.gpu_ids) & set(made.gpu_ids)
        if other is not made and twice:
            raise _refused(f"gpu {min(twice)} is reserved then by reservation {other.id}")


# --- time ----------------------------------------------------------------------------------------


def advance(core: Core, now: Instant) -> None:
    """Forget what is over, and be woken when anything begins or ends."""
    next_at = inf
    for one in list(core.calendar.values()):
        occurrence = one.occurrence(now.wall_s)
        if occurrence is None:
            del core.calendar[one.id]
            core.live.changes["reservation", one.id] = None
            continue
        next_at = min(next_at, *(moment for moment in occurrence if moment > now.wall_s))
    if now.wall_s >= core.calendar_due_at:
        core.calendar_due_at = inf
    if next_at < core.calendar_due_at:
        core.calendar_due_at = next_at
        core.timers.at_wall(next_at, CALENDAR)
    core.pass_wanted = True


def own(core: Core, spec: Spec) -> frozenset[int]:
    """Reservations that jobs of this spec may use."""
    return frozenset(one.id for one in core.calendar.values() if one.belongs_to(spec))


def entitled(core: Core, spec: Spec, now: Instant) -> bool:
    """Whether a job of this spec would only use what is reserved for its owner right now.

    Nobody else can have that meanwhile, so it is not held up for a higher job's sake.
    """
    for one in core.calendar.values():
        occurrence = one.occurrence(now.wall_s) if one.belongs_to(spec) else None
        if occurrence is None or occurrence[0] > now.wall_s:
            continue
        cpus, gpus = spec.resources.cpus, spec.resources.gpus
        for job_id in core.live.active:
            job = core.live.jobs[job_id]
            if one.belongs_to(job.spec):
                cpus += job.spec.resources.cpus
                gpus += len(job.gpu_ids)
        if gpus <= one.gpus and (cpus <= one.cpus or not one.cpus):
            return True
    return False


Span = tuple[Reservation, tuple[float, float]]


def spans(core: Core, exempt: frozenset[int], now: Instant) -> list[Span]:
    """Current or next start and end (boot clock) of all reservations but ``exempt`` ones."""
    found: list[Span] = []
    for one in core.calendar.values():
        occurrence = None if one.id in exempt else one.occurrence(now.wall_s)
        if occurrence is not None:
            start, end = (now.boot_s + moment - now.wall_s for moment in occurrence)
            found.append((one, (start, end)))
    return found


def barriers(core: Core, exempt: frozenset[int], now: Instant) -> list[Barrier]:
    """What reservations, ``exempt`` ones apart, keep from jobs that start now."""
    known = spans(core, exempt, now)
    found: list[Barrier] = []
    for moment in sorted({max(start, now.boot_s) for _, (start, _) in known}):
        lasting = [one for one, (start, end) in known if start <= moment < end]
        at = moment if moment > now.boot_s else -inf
        found.append(Barrier(at, pool_at(core, moment, lasting), inf))
    return found


def shuts_out(core: Core, spec: Spec, limit_s: float) -> bool:
    """Whether a recurring reservation of others never leaves such a job alone for long enough."""
    for one in core.calendar.values():
        if one.every_s is None or one.belongs_to(spec) or limit_s <= one.every_s - one.duration_s:
            continue
        pool = core.idle.copy()
        _hold(core, pool, one, set(core.live.active))
        if not pool.fits(spec.resources):
            return True
    return False


def pool_at(core: Core, boot_s: float, lasting: list[Reservation]) -> Pool:
    """What is left at a moment of the boot clock, less what is reserved.

    What runs has ended as expected; at the present moment nothing more has.
    """
    pool = core.pool.copy()
    ended: set[int] = set()
    for end_boot_s, job_id in core.ends:
        if end_boot_s > boot_s or boot_s <= core.now.boot_s:
            break  # what runs beyond its limit is still there now
        job = core.live.jobs[job_id]
        pool.free(job.spec.resources, job.gpu_ids)
        ended.add(job_id)
    for one in lasting:
        _hold(core, pool, one, ended)
    return pool


def _hold(core: Core, pool: Pool, one: Reservation, ended: set[int]) -> None:
    cpus, gpus, used = one.cpus, one.gpus, set[int]()
    for job_id in core.live.active:
        job = core.live.jobs[job_id]
        if job_id not in ended and one.belongs_to(job.spec):
            cpus -= job.spec.resources.cpus
            gpus -= len(job.gpu_ids)
            used.update(job.gpu_ids)
    pool.cpus -= max(0, cpus)
    cards = pool.cards
    if cards is None:
        return
    if one.gpu_ids:
        indices = [index for index in one.gpu_ids if index not in used]
    else:
        # From the top: those who are not bound to particular cards begin at the bottom.
        free = pool.accepting(_ONE_CARD)[::-1]
        indices = free[: max(0, gpus)]
        if len(indices) < gpus:
            # Short already: whatever comes free first is kept.
            indices = [index for index in cards if index not in used]
    for index in indices:
        if index in cards:
            cards[index] = cards[index]._replace(usable=False)


# --- records -------------------------------------------------------------------------------------


def record(core: Core, reservation_id: int) -> dict[str, Any] | None:
    """What is saved of a reservation; None: it is over."""
    one = core.calendar.get(reservation_id)
    if one is None:
        return None
    found = {name: getattr(one, name) for name in Reservation.__slots__}
    if one.resumes_at == -inf:
        del found["resumes_at"]
    return found


def listing(core: Core) -> list[dict[str, Any]]:
    """What is saved of every reservation, by id."""
    return [found for one in sorted(core.calendar) if (found := record(core, one)) is not None]


def restore(core: Core, reservation_id: int, found: Mapping[str, Any], now: Instant) -> None:
    """Take a saved reservation in."""
    known = {name: found[name] for name in Reservation.__slots__ if name in found}
    known["gpu_ids"] = tuple(known.get("gpu_ids", ()))
    core.calendar[reservation_id] = Reservation(**{**known, "id": reservation_id})
    core.last_reservation_id = max(core.last_reservation_id, reservation_id)
