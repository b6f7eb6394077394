"""Use over time, from the store's sums per day: the shape of ``report --json``."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any

from gflow.errors import Refused

#: What rows can be told apart by.
GROUPS = ("day", "user", "project", "state")
_DAY_S = 86400
_SUMS_MS = ("wait", "elapsed", "cpu", "cpu_asked", "gpu", "gpu_asked")
_SUMS_MIB_S = ("memory", "memory_asked")

Row = dict[str, Any]


def question(
    by: Sequence[str],
    since: float | None,
    before: float | None,
    user: str | None,
    project: str | None,
) -> Row:
    """What to ask the store; days are whole ones, UTC. Raises Refused."""
    check_groups(by)
    return {
        "by": list(dict.fromkeys((*by, "state"))),
        "since_day": None if since is None else int(since // _DAY_S),
        "until_day": None if before is None else int(-(-before // _DAY_S)) - 1,
        "user": user,
        "project": project,
    }


def check_groups(by: Sequence[str]) -> None:
    """Raise Refused unless rows can be told apart by these."""
    for name in by:
        if name not in GROUPS:
            known = ", ".join(GROUPS)
            raise Refused(Refused.INVALID, f"cannot report by {name!r}: by one of {known}")


def rows(found: Iterable[Row], by: Sequence[str]) -> list[Row]:
    """One row per group: its names, ``jobs``, ``states``, and sums with their units.

    ``{"jobs", "states": {STATE: n}, "wait_s", "elapsed_s", "cpu_s", "cpu_asked_s", "gpu_s",
    "gpu_asked_s", "memory_byte_s", "memory_asked_byte_s"}``
    """
    made: dict[tuple[Any, ...], Row] = {}
    for one in found:
        key = tuple(one[name] for name in by)
        row = made.setdefault(key, _empty(by, key))
        row["jobs"] += one["jobs"]
        row["states"][one["state"]] = row["states"].get(one["state"], 0) + one["jobs"]
        for name in _SUMS_MS:
            row[f"{name}_s"] = round(row[f"{name}_s"] + one[f"{name}_ms"] / 1000, 3)
        for name in _SUMS_MIB_S:
            row[f"{name}_byte_s"] += one[f"{name}_mib_s"] << 20
    return list(made.values())


def _empty(by: Sequence[str], key: tuple[Any, ...]) -> Row:
    row: Row = dict(zip(by, key))
    if "day" in row:
        row["day"] = time.strftime("%Y-%m-%d", time.gmtime(row["day"] * _DAY_S))
    row.update(jobs=0, states={})
    row.update({f"{name}_s": 0.0 for name in _SUMS_MS})
    row.update({f"{name}_byte_s": 0 for name in _SUMS_MIB_S})
    return row
