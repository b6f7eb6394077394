"""Quotas of users and projects, and limits of groups: configured, changed at run time, persisted.

A field that is not set falls back: entry set at run time, entry of the configuration, default set
at run time, default of the configuration.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gflow.errors import Refused
from gflow.model.action import Action
from gflow.model.event import SetGroup, SetQuota
from gflow.model.job import Spec
from gflow.model.state import Instant
from gflow.scheduling import fair_share, numbering
from gflow.scheduling.core import Core
from gflow.scheduling.timer import WEEK

SCOPES = ("user", "project", "default_user", "default_project")
FIELDS = ("running_jobs", "running_cpus", "running_gpus", "pending_jobs", "gpu_hours_per_week")


def set_quota(core: Core, event: SetQuota, now: Instant) -> list[Action]:
    """Change, clear or forget an entry; counts for running and waiting jobs at once."""
    _check(event)
    entry = (event.scope, event.name)
    limits = dict(core.accounts.quotas.get(entry, {}))
    for field, limit in event.limits.items():
        if limit is None:
            limits.pop(field, None)
        else:
            limits[field] = float(limit)
    if event.delete:
        limits = {}
    if limits:
        core.accounts.quotas[entry] = limits
    else:
        core.accounts.quotas.pop(entry, None)
    core.live.changes["quota", event.scope, event.name] = None
    apply_all(core)
    return []


def _check(event: SetQuota) -> None:
    if event.scope not in SCOPES:
        raise _refused(f"scope {event.scope!r} is not one of {', '.join(SCOPES)}")
    if event.scope.startswith("default_") == bool(event.name):
        raise _refused("a user's or project's quota needs its name, a default has none")
    if not event.delete and not event.limits:
        raise _refused(f"name at least one of {', '.join(FIELDS)}")
    for field, limit in event.limits.items():
        if field not in FIELDS:
            raise _refused(f"{field!r} is not one of {', '.join(FIELDS)}")
        if limit is not None and limit < 0:
            raise _refused(f"{field} cannot be negative ({limit:g})")


def _refused(cause: str) -> Refused:
    return Refused(Refused.INVALID, f"cannot set quota: {cause}")


def set_group(core: Core, event: SetGroup, now: Instant) -> list[Action]:
    """Change how many of a group may run at once."""
    if event.max_running is not None and event.max_running < 1:
        raise Refused(
            Refused.INVALID,
            f"cannot limit group {event.name}: the limit must be at least 1, "
            f"not {event.max_running}",
        )
    limit_group(core, event.user, event.name, event.max_running)
    return []


def limit_group(core: Core, user: str, name: str, max_running: int | None) -> None:
    """Set, or with None lift, the limit of a group."""
    account = core.accounts.get(("group", f"{user}/{name}"))
    if account.max_running == max_running:
        return
    account.max_running = max_running
    core.live.changes["group", f"{user}/{name}"] = None
    core.queue.unpark(account)
    core.pass_wanted = True


def apply_all(core: Core) -> None:
    """Give all accounts their limits as they are now."""
    for account in core.accounts.known.values():
        core.accounts.apply(account)
        core.queue.unpark(account)
    core.pass_wanted = True


def begin_week(core: Core, now: Instant) -> None:
    """A new budget of gpu-hours for everybody who has one."""
    for account in core.accounts.known.values():
        if account.max_gpu_s_per_week is not None:
            fair_share.accrue(core, account, now)
            core.queue.unpark(account)
            core.pass_wanted = True
    core.timers.at_wall(fair_share.week_start(fair_share.week_of(now.wall_s) + 1), WEEK)


def pending_counts(specs: tuple[Spec, ...]) -> dict[tuple[str, str], int]:
    """How many pending jobs the specs would make, by account."""
    wanted: dict[tuple[str, str], int] = {}
    for spec in specs:
        count = 1 if spec.array is None else numbering.size(spec.array)
        keys = [("user", spec.user)]
        if spec.project is not None:
            keys.append(("project", spec.project))
        for key in keys:
            wanted[key] = wanted.get(key, 0) + count
    return wanted


def check_pending(core: Core, wanted: Mapping[tuple[str, str], int]) -> None:
    """Refuse so many more pending jobs where they would exceed somebody's limit."""
    for key, count in wanted.items():
        account = core.accounts.get(key)
        if account.max_pending is not None and account.pending + count > account.max_pending:
            raise Refused(
                Refused.CONFLICT,
                f"cannot submit: quota of {key[0]} {key[1]} allows {account.max_pending} pending "
                f"jobs, there are {account.pending} and this would be {count} more",
            )


def listing(core: Core) -> list[dict[str, Any]]:
    """All entries and what is used of them, for people.

    ``limits`` hold; ``overrides`` are those of them that somebody set for this very entry.
    """
    configured = core.accounts.configured
    entries = {*configured, *core.accounts.quotas}
    entries |= {(str(k[0]), str(k[1])) for k in core.accounts.known if k[0] in ("user", "project")}
    found = []
    for scope, name in sorted(entries):
        if scope.startswith("default_"):
            set_here = core.accounts.quotas.get((scope, name), {})
            row = {**configured.get((scope, name), {}), **set_here}
            found.append(_row(scope, name, row, set_here, None))
            continue
        account = core.accounts.get((scope, name))
        used = {
            "running_jobs": account.running,
            "running_cpus": account.cpus,
            "running_gpus": account.gpus,
            "pending_jobs": account.pending,
            "gpu_hours_per_week": account.week_gpu_s / 3600.0,
        }
        limits = core.accounts.effective(scope, name)
        found.append(_row(scope, name, limits, core.accounts.quotas.get((scope, name), {}), used))
    return found


def _row(
    scope: str,
    name: str,
    limits: Mapping[str, float],
    overrides: Mapping[str, float],
    used: dict[str, float] | None,
) -> dict[str, Any]:
    return {
        "scope": scope,
        "name": name,
        "limits": dict(limits),
        "overrides": dict(overrides),
        "used": used,
    }


def groups(core: Core) -> list[dict[str, Any]]:
    """Groups that have a limit or jobs, for people."""
    found = []
    for kind, name in sorted(core.accounts.known, key=str):
        account = core.accounts.known[kind, name]
        if kind == "group" and (account.running or account.pending or account.limited):
            user, _, group = str(name).partition("/")
            found.append(
                {
                    "user": user,
                    "name": group,
                    "max_running": account.max_running,
                    "running": account.running,
                    "pending": account.pending,
                }
            )
    return found
