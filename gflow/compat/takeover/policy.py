"""Limits, reservations and use of the reference as ``POST /v1/import/policy`` takes them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from gflow.api import dialect
from gflow.compat import encoding
from gflow.compat.takeover.state import State, Unreadable

Record = dict[str, Any]


def policy(state: State) -> Record:
    """The request. Raises Unreadable."""
    try:
        return {
            "next_id": state.next_job_id,
            "quotas": [*_quotas(state.quotas)],
            "reservations": [
                _reservation(one)
                for one in state.reservations
                if one.get("status") in ("Pending", "Active")
            ],
            "use": [
                [user, float(one["usage"]), _epoch(one.get("last_update"))]
                for user, one in sorted(state.use.items())
                if float(one["usage"]) > 0
            ],
        }
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Unreadable(f"its limits, reservations or use are damaged: {error}") from None


def _quotas(given: Record) -> Iterator[list[Any]]:
    for scope in ("default_user", "default_project"):
        if limits := _limits(given.get(scope) or {}):
            yield [scope, "", limits]
    for scope, group in (("user", "users"), ("project", "projects")):
        for name, limits in sorted((given.get(group) or {}).items()):
            if found := _limits(limits):
                yield [scope, name, found]


def _limits(given: Record) -> Record:
    return {
        ours: given[theirs]
        for theirs, ours in dialect.LIMITS.items()
        if given.get(theirs) is not None
    }


def _reservation(one: Record) -> Record:
    indices = one["gpu_spec"].get("indices")
    return {
        "id": one["id"],
        "user": one["user"],
        "start_at": _epoch(one["start_time"]),
        "duration_s": encoding.parse_duration(one["duration"]),
        "gpus": one["gpu_spec"]["count"] if indices is None else len(indices),
        "gpu_ids": indices or [],
        "created_at": _epoch(one.get("created_at", one["start_time"])),
    }


def _epoch(value: Any) -> float:
    if isinstance(value, int | float):
        return float(value)
    return encoding.parse_time_point(value)
