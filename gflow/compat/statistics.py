"""The figures of the reference's ``/stats``."""

from __future__ import annotations

from typing import Any

from gflow.api import dialect
from gflow.api.server.turn import Turn

Record = dict[str, Any]

_TOP = 5
_COUNTED = {
    "completed_jobs": "Finished",
    "failed_jobs": "Failed",
    "cancelled_jobs": "Cancelled",
    "timeout_jobs": "Timeout",
    "running_jobs": "Running",
    "queued_jobs": "Queued",
}
_RAN = frozenset({"Finished", "Failed", "Timeout"})


async def summary(records: list[Record], user: str | None, since: int | None, now: float) -> Record:
    """Every field of ``/stats``; held jobs count in the total alone."""
    counts = dict.fromkeys(dialect.NAMES, 0)
    waits: list[float] = []
    runtimes: list[float] = []
    top: list[tuple[float, Record]] = []
    gpu_s, requested, with_gpus, peak = 0.0, 0, 0, 0
    turn = Turn()
    for record in records:
        state = dialect.state(record)
        counts[state] += 1
        gpus = record["resources"]["gpus"]
        requested += gpus
        with_gpus += bool(gpus)
        peak = max(peak, gpus)
        started = record["started_at"]
        if started is not None:
            waits.append(max(0.0, started - record["submitted_at"]))
            runtime = max(0.0, (record["finished_at"] or now) - started)
            gpu_s += gpus * runtime
            top.append((runtime, record))
            if state in _RAN:
                runtimes.append(runtime)
        await turn.breathe()
    top.sort(key=lambda one: (-one[0], one[1]["id"]))
    ended = sum(counts[state] for state in ("Finished", "Failed", "Cancelled", "Timeout"))
    return {
        "user": user,
        "since": None if since is None else max(0, since),
        "total_jobs": len(records),
        **{key: counts[state] for key, state in _COUNTED.items()},
        "avg_wait_secs": _mean(waits),
        "avg_runtime_secs": _mean(runtimes),
        "total_gpu_hours": gpu_s / 3600.0,
        "jobs_with_gpus": with_gpus,
        "avg_gpus_per_job": requested / len(records) if records else 0.0,
        "peak_gpu_usage": peak,
        "success_rate": 100.0 * counts["Finished"] / ended if ended else 0.0,
        "top_jobs": [
            {
                "id": record["id"],
                "name": dialect.run_name(record),
                "runtime_secs": runtime,
                "gpus": record["resources"]["gpus"],
            }
            for runtime, record in top[:_TOP]
        ],
    }


def _mean(values: list[float]) -> float | None:
    return sum(values) / len(values) if values else None
