"""Changes to jobs after submission: any field while pending, a few while running."""

from __future__ import annotations

from dataclasses import MISSING, fields, replace
from typing import Any

from gflow.errors import Refused
from gflow.model.action import Action
from gflow.model.event import Update
from gflow.model.job import NOTHING_MET, Array, Job, Spec
from gflow.model.resources import Resources
from gflow.model.state import ACTIVE, Instant, State
from gflow.scheduling import admission, allocation, control, cycle, quota, waiting
from gflow.scheduling.core import Core
from gflow.scheduling.interval import total
from gflow.scheduling.state import Item
from gflow.scheduling.sweep import filled

_RESOURCES = {field.name: field for field in fields(Resources)}
_SPEC = {field.name: field for field in fields(Spec)}
#: Who a job belongs to and what tasks it has never changes.
_FIXED = frozenset({"user", "uid", "gid", "array"})
#: What may change while an attempt is active.
_LATE = frozenset({"priority", "time_limit_s", "name", "comment", "requeue", "retries", "on_end"})
#: How a job waits for others.
_CONDITIONS = frozenset({"dependencies", "dependency_mode", "kill_on_invalid_dependency"})
#: Not in the spec: facts of their own.
_OWN = frozenset({"priority", "top", "array_limit"})


def update(core: Core, event: Update, now: Instant) -> list[Action]:
    """Change fields; None clears. All of them or, when one is refused, none."""
    item = control.target(core, event.job_id, "update")
    _check_names(event)
    if isinstance(item, Job) and item.state in ACTIVE:
        _update_active(core, item, event)
        return []
    if item.state is not State.PENDING:
        raise _refused(event, f"it has already ended ({item.state})", Refused.CONFLICT)
    spec = _changed_spec(core, item, event)
    waits_anew = "dependencies" in event.changes or spec.name != item.spec.name
    if waits_anew and event.acyclic != core.dependencies.edits:
        for _ in cycle.check(core, event.job_id, spec.dependencies, spec.name):
            pass
    if "array_limit" in event.changes and (not isinstance(item, Array) or item.id != event.job_id):
        raise _refused(event, "only an array has a limit of tasks")
    if item.id != event.job_id:
        items: list[Item] = control.pending_of(core, event.job_id, "update", now)
    elif isinstance(item, Array):
        items = [item, *(t for t in control.own_tasks(core, item) if t.state is State.PENDING)]
    else:
        items = [item]
    for one in items:
        own = spec if one is item or len(items) == 1 else _changed_spec(core, one, event)
        _apply(core, one, own, event, now)
    return []


def _refused(event: Update, cause: str, kind: str = Refused.INVALID) -> Refused:
    return Refused(kind, f"cannot update job {event.job_id}: {cause}")


def _check_names(event: Update) -> None:
    for name in event.changes:
        if name in _FIXED:
            raise _refused(event, f"{name} cannot be changed")
        if name not in _SPEC and name not in _RESOURCES and name not in _OWN:
            raise _refused(event, f"there is no field {name!r}")
    if "top" in event.changes and not event.admin:
        raise _refused(event, "only an admin may put a job on top", Refused.FORBIDDEN)


def _update_active(core: Core, job: Job, event: Update) -> None:
    for name in event.changes:
        if name not in _LATE:
            raise _refused(event, f"{name} can only change while it is pending", Refused.CONFLICT)
    spec = _changed_spec(core, job, event)
    before, after = job.spec.time_limit_s, spec.time_limit_s
    if before is not None and (after is None or after > before) and not event.admin:
        raise _refused(event, "only an admin may raise its time limit now", Refused.FORBIDDEN)
    if job.array_id is None and job.spec.name != spec.name:
        core.live.unname(job)
        job.spec = replace(job.spec, name=spec.name)
        core.live.name(job)
    allocation.change_end(core, job, spec=spec, priority=_priority(job, event))


def _changed_spec(core: Core, item: Item, event: Update) -> Spec:
    """The item's spec with the changes, checked as a submission is."""
    changes: dict[str, Any] = {}
    wanted: dict[str, Any] = {}
    for name, value in event.changes.items():
        if name in _RESOURCES:
            wanted[name] = _value(_RESOURCES[name], value)
        elif name in _SPEC and name not in _OWN:
            changes[name] = _value(_SPEC[name], value)
    if isinstance(item, Job) and item.array_id is not None:
        sweep = core.live.arrays[item.array_id].spec.sweep
        if sweep:
            changes = filled(changes, sweep, item.id - item.array_id - 1)
    if changes.get("group", item.spec.group) is None:
        changes.setdefault("group_limit", None)
    spec = replace(item.spec, **changes)
    if wanted:
        spec = replace(spec, resources=replace(spec.resources, **wanted))
    try:
        admission.check_numbers(replace(spec, priority=_priority(item, event)))
        admission.check_group(spec)
        if item.state is State.PENDING:
            admission.check_fits(core.capacity, spec.resources)
        if "dependencies" in changes:
            for dependency in spec.dependencies:
                admission.check_dependency(core, dependency, dict(event.ended))
    except Refused as refusal:
        cause = str(refusal).removeprefix("cannot submit: ")
        raise _refused(event, cause, refusal.kind) from None
    limit = event.changes.get("array_limit")
    if limit is not None and limit < 1:
        raise _refused(event, f"an array limit must be at least 1, not {limit}")
    return spec


def _value(field: Any, value: Any) -> Any:
    if value is not None:
        return value
    if field.default is not MISSING:
        return field.default
    if field.default_factory is not MISSING:
        return field.default_factory()
    raise Refused(Refused.INVALID, f"cannot update: {field.name} cannot be cleared")


def _priority(item: Item, event: Update) -> int:
    if "priority" not in event.changes:
        return item.priority
    value = event.changes["priority"]
    return 10 if value is None else int(value)


def _apply(core: Core, item: Item, spec: Spec, event: Update, now: Instant) -> None:
    changes = event.changes
    waiting.leave(core, item)
    count = total(item.pending) if isinstance(item, Array) else 1
    waiting.count_pending(core, item, -count)
    renamed = spec.name != item.spec.name
    core.dependencies.edits += renamed or "dependencies" in changes
    watched_anew = renamed or not _CONDITIONS.isdisjoint(changes)
    if watched_anew:
        core.dependencies.unwatch(core.live, item)
    if renamed:
        core.live.unname(item)
    item.spec = spec
    if renamed:
        core.live.name(item)
    item.priority = _priority(item, event)
    item.top = int(changes.get("top", item.top) or 0)
    if isinstance(item, Array) and "array_limit" in changes:
        item.limit = changes["array_limit"]
        account = core.accounts.get(("array", item.id))
        account.max_running = item.limit
        core.queue.unpark(account)
    if "dependencies" in changes or "dependency_mode" in changes:
        item.met = NOTHING_MET
        admission.note_facts(core, spec, dict(event.ended))
    if changes.get("group_limit") is not None and spec.group is not None:
        quota.limit_group(core, spec.user, spec.group, changes["group_limit"])
    if watched_anew:
        waiting.watch(core, item)
    core.live.change(item)
    waiting.count_pending(core, item, count)
    waiting.enter(core, item, now)
