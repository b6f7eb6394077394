"""Records of what is neither a job nor an array: use, quotas, groups, drains, reservations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gflow.model.record import Key
from gflow.model.state import Instant
from gflow.scheduling import calendar, drain, fair_share
from gflow.scheduling.core import Core

_KINDS = ("quota", "group", "drain", "reservation", "use", "project_use")


def is_fact(key: Key) -> bool:
    """Whether a key is one of these."""
    return key[0] in _KINDS


def record(core: Core, key: Key) -> dict[str, Any] | None:
    """What is saved under a key now; None: nothing any more."""
    kind, name = key[0], key[1]
    if kind == "quota":
        limits = core.accounts.quotas.get((str(name), str(key[2])))
        return None if limits is None else {"limits": limits}
    if kind == "group":
        account = core.accounts.known.get(("group", name))
        limit = None if account is None else account.max_running
        return None if limit is None else {"max_running": limit}
    if kind == "drain":
        return drain.record(core)
    if kind == "reservation":
        return calendar.record(core, int(name))
    return fair_share.record(core, key)


def restore(core: Core, key: Key, found: Mapping[str, Any], now: Instant) -> None:
    """Take a saved fact in, before any job."""
    kind, name = key[0], key[1]
    if kind == "quota":
        limits = {str(field): float(limit) for field, limit in found["limits"].items()}
        core.accounts.quotas[str(name), str(key[2])] = limits
    elif kind == "group":
        core.accounts.get(("group", name)).max_running = int(found["max_running"])
    elif kind == "drain":
        drain.restore(core, found)
    elif kind == "reservation":
        calendar.restore(core, int(name), found, now)
    else:
        fair_share.restore(core, key, dict(found), now)


def keys(core: Core) -> list[Key]:
    """Every key of these that has a record."""
    found: list[Key] = [("quota", scope, name) for scope, name in core.accounts.quotas]
    for account in core.accounts.known.values():
        kind, name = account.key
        if kind == "group" and account.max_running is not None:
            found.append(("group", name))
        elif kind == "user" and account.use_s:
            found.append(("use", name))
        elif kind == "project" and account.use_s:
            found.append(("project_use", name))
    if core.drain is not None:
        found.append(("drain", "machine"))
    return found + [("reservation", one) for one in core.calendar]
