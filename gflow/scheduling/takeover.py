"""Taking in what another scheduler had: its jobs with their ids, and who had how much."""

from __future__ import annotations

from gflow.errors import Refused
from gflow.model.action import Action, Changed, Taken
from gflow.model.event import TakeJobs, TakePolicy
from gflow.model.job import Job
from gflow.model.state import TERMINAL, Instant, State
from gflow.scheduling import admission, calendar, fair_share, quota, waiting
from gflow.scheduling.calendar import Reservation
from gflow.scheduling.core import Core

_CAUSE = "imported"


def take_jobs(core: Core, event: TakeJobs, now: Instant) -> list[Action]:
    """Take all jobs in, or refuse with the first one whose id is not free.

    A job that this machine could never run is held, with the reason: it waited where it comes from.
    """
    for job in event.jobs:
        assert job.state is State.PENDING or job.state in TERMINAL, job.id
        admission.check_numbers(job.spec)
        if admission.known(core, job.id):
            raise Refused(Refused.CONFLICT, f"cannot import job {job.id}: its id is taken here")
        if job.id >= core.id_floor_committed:
            raise Refused(Refused.UNAVAILABLE, "cannot import: no ids are saved yet, try again")
    ended = dict(event.ended)
    actions: list[Action] = []
    for job in event.jobs:
        waits = job.state is State.PENDING
        if waits:
            admission.note_facts(core, job.spec, ended)
            _hold_unless_possible(core, job)
        core.next_id = max(core.next_id, job.id + 1)
        core.live.add(job)
        core.live.note_transition(job, job.state, now, _CAUSE, event.uid)
        if waits:
            _enter(core, job, now)
            actions.append(Changed(job.id, None, State.PENDING, _CAUSE))
    return actions


def _hold_unless_possible(core: Core, job: Job) -> None:
    try:
        admission.check_fits(core.capacity, job.spec.resources)
    except Refused as error:
        job.hold, job.reason = job.hold or "user", str(error).partition(": ")[2]


def _enter(core: Core, job: Job, now: Instant) -> None:
    spec = job.spec
    if spec.group is not None and spec.group_limit is not None:
        quota.limit_group(core, spec.user, spec.group, spec.group_limit)
    waiting.count_pending(core, job, 1)
    waiting.watch(core, job)
    waiting.enter(core, job, now)


def take_policy(core: Core, event: TakePolicy, now: Instant) -> list[Action]:
    """Take in limits, reservations, use and the id counter, where nothing here says otherwise."""
    core.next_id = max(core.next_id, event.next_id)
    findings: list[tuple[str, str | None]] = []
    for scope, name, limits in event.quotas:
        what = f"quota of {scope} {name}".rstrip()
        findings.append((what, _take_quota(core, scope, name, limits)))
    quota.apply_all(core)
    for given in event.reservations:
        made = Reservation(uid=event.uid, project=None, **given)
        findings.append((f"reservation {made.id}", calendar.take(core, made, now)))
    for user, gpu_s, at in event.use:
        findings.append((f"use of {user}", _take_use(core, user, gpu_s, at, now)))
    return [Taken(tuple(findings))]


def _take_quota(core: Core, scope: str, name: str, limits: dict[str, float]) -> str | None:
    if (scope, name) in core.accounts.quotas:
        same = core.accounts.quotas[scope, name] == limits
        return "it is here already" if same else "another one is set here"
    core.accounts.quotas[scope, name] = dict(limits)
    core.live.changes["quota", scope, name] = None
    return None


def _take_use(core: Core, user: str, gpu_s: float, at: float, now: Instant) -> str | None:
    account = core.accounts.get(("user", user))
    fair_share.accrue(core, account, now)
    if account.use_s:
        return "there is some here already"
    found = {"cost_s": gpu_s * core.settings.gpu_cost, "at": min(at, now.wall_s)}
    fair_share.restore(core, ("use", user), found, now)
    fair_share.accrue(core, account, now)
    fair_share.changed(core, account)
    fair_share.refresh(core, account)
    return None
