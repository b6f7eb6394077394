"""Who is that process on a card: one of a job's tree, or a stranger of what user and since when."""

from __future__ import annotations

import os
import time
from typing import Any

from gflow.process import identity
from gflow.process.table import Identity

#: Ancestors looked at: deeper trees are no jobs' trees.
_DEPTH = 64
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")

_UNKNOWN = {"start_ticks": None, "uid": None, "name": None, "started_at": None}

Roots = dict[Identity, int]


class Occupants:
    """Facts about processes, each looked up once; who belongs to whom is looked at every time.

    ``roots``: tops of jobs' trees → job id.
    """

    def __init__(self, roots: Roots) -> None:
        self._roots = roots
        self._known: dict[Identity, dict[str, Any]] = {}
        self._seen: set[Identity] = set()

    def begin_round(self) -> None:
        """Forget processes that were not asked about since the last round."""
        self._known = {key: facts for key, facts in self._known.items() if key in self._seen}
        self._seen.clear()

    def describe(self, pid: int) -> dict[str, Any]:
        """``{pid, alive, job_id, start_ticks, uid, name, started_at}``; what is unknown is None.

        A process that is not ours to see, in another pid namespace say, is not alive either.
        """
        ticks = identity.start_ticks(pid)
        if ticks is None:
            return {"pid": pid, "alive": False, "job_id": None, **_UNKNOWN}
        key = (pid, ticks)
        self._seen.add(key)
        if key not in self._known:
            self._known[key] = {
                "start_ticks": ticks,
                "uid": _owner(pid),
                "name": _name(pid),
                "started_at": _started_at(ticks),
            }
        return {"pid": pid, "alive": True, "job_id": self._job(pid, ticks), **self._known[key]}

    def _job(self, pid: int, ticks: int) -> int | None:
        for _ in range(_DEPTH):
            job_id = self._roots.get((pid, ticks))
            if job_id is not None:
                return job_id
            fields = identity.stat_fields(pid)
            if fields is None or (pid := int(fields[1])) <= 1:
                return None
            above = identity.start_ticks(pid)
            if above is None:
                return None
            ticks = above
        return None


def _owner(pid: int) -> int | None:
    try:
        return os.stat(f"/proc/{pid}").st_uid
    except OSError:
        return None


def _name(pid: int) -> str | None:
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return None


def _started_at(ticks: int) -> float:
    """Epoch seconds; start ticks count from boot, suspend included."""
    booted_at = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
    return round(booted_at + ticks / _TICKS_PER_S, 1)
