"""``submit --like JOB``: a request made from what a job that has ended was measured to use."""

from __future__ import annotations

from typing import Any

from gflow.api.client import TERMINAL
from gflow.api.quantity import format_duration, format_size
from gflow.cli import outcome
from gflow.cli.command import Failure

Record = dict[str, Any]

#: Room above what was measured: memory, cards' memory and processors; time.
MARGIN, TIME_MARGIN = 1.2, 1.5
#: What a request is rounded up to.
_MEMORY_STEP_BYTES, _TIME_STEP_S = 64 << 20, 60
#: Parts of a request that nobody measures: they are taken as they were.
_AS_THEY_WERE = {
    "gres": "gres",
    "exclusive": "exclusive",
    "gpus_allowed": "gpus-allowed",
}


def fill(spec: Record, record: Record) -> str:
    """Add to a spec what it does not name itself; a sentence that says what was taken.

    ``record``: of the job that it is to be like. Raises Failure when that one says nothing.
    """
    name = outcome.job_name(record)
    _check(name, record)
    resources = spec.setdefault("resources", {})
    taken = [_memory(resources, record), _cpus(resources, record), *_gpus(resources, record)]
    taken += [_as_it_was(resources, record, key) for key in _AS_THEY_WERE]
    taken.append(_time(spec, record))
    if not resources:
        del spec["resources"]
    words = ", ".join(words for words in taken if words is not None)
    doubt = "" if record["state"] == "COMPLETED" else f" (which ended as {record['state']})"
    return f"like job {name}{doubt}: {words or 'nothing is taken, all of it was named'}"


def _check(name: str, record: Record) -> None:
    array = record.get("array")
    if array is not None and array["task"] is None:
        raise Failure(
            f"cannot submit like job {array['id']}: an array has many tasks, "
            f"name one of them: {array['id']}_N"
        )
    if record["state"] not in TERMINAL:
        raise Failure(
            f"cannot submit like job {name}: it is {record['state']}, and only what has ended is "
            "measured whole"
        )
    if record.get("started_at") is None:
        raise Failure(f"cannot submit like job {name}: it never ran, so nothing was measured")


def _memory(resources: Record, record: Record) -> str | None:
    usage = record.get("usage") or {}
    peak = usage.get("max_pss_bytes") or usage.get("max_rss_bytes")
    asked = (record.get("resources") or {}).get("memory_bytes")
    if "memory_bytes" in resources or peak is None:
        return None
    ran_out = record["state"] == "OUT_OF_MEMORY"
    peak = max(peak, asked or 0) if ran_out else peak
    wanted = _up(peak * MARGIN, _MEMORY_STEP_BYTES)
    if asked and peak <= asked and not ran_out:
        wanted = min(wanted, asked)  # that was enough
    resources["memory_bytes"] = wanted
    why = "ran out of" if ran_out else "peak"
    return f"--mem {format_size(wanted)} ({why} {format_size(peak)})"


def _cpus(resources: Record, record: Record) -> str | None:
    asked = (record.get("resources") or {}).get("cpus")
    if "cpus" in resources or asked is None:
        return None
    usage = record.get("usage") or {}
    curve = [value for value in (usage.get("series") or {}).get("cpus") or () if value is not None]
    if not curve:
        resources["cpus"] = asked
        return f"--cpus {asked} (as it asked for)"
    resources["cpus"] = max(1, min(asked, _up(max(curve) * MARGIN, 1)))
    return f"--cpus {resources['cpus']} (peak {max(curve):.1f} of {asked})"


def _gpus(resources: Record, record: Record) -> list[str | None]:
    before = record.get("resources") or {}
    gpus = before.get("gpus")
    if "gpus" in resources or not gpus:
        return []
    usage = record.get("usage") or {}
    resources["gpus"] = gpus
    share = usage.get("gpu_s")
    elapsed_s = _elapsed_s(record)
    used = "" if share is None or not elapsed_s else f", used {share / elapsed_s / gpus:.0%}"
    taken: list[str | None] = [f"--gpus {gpus} (as it asked for{used})"]
    if before.get("gpu_shared"):
        peak = usage.get("max_gpu_memory_bytes")
        memory = before["gpu_memory_bytes"]
        why = "as it asked for"
        if peak:
            memory, why = _up(peak / gpus * MARGIN, _MEMORY_STEP_BYTES), f"peak {format_size(peak)}"
        resources.setdefault("gpu_shared", True)
        resources.setdefault("gpu_memory_bytes", memory)
        taken.append(f"--shared --gpu-memory {format_size(memory)} ({why})")
    return taken


def _as_it_was(resources: Record, record: Record, key: str) -> str | None:
    value = (record.get("resources") or {}).get(key)
    if not value or key in resources or (key == "gpus_allowed" and not resources.get("gpus")):
        return None
    resources[key] = value
    return f"--{_AS_THEY_WERE[key]} (as it asked for)"


def _time(spec: Record, record: Record) -> str | None:
    if "time_limit_s" in spec:
        return None
    elapsed_s = _elapsed_s(record)
    wanted = spec["time_limit_s"] = float(_up(elapsed_s * TIME_MARGIN, _TIME_STEP_S))
    return f"--time {format_duration(wanted)} (took {format_duration(elapsed_s)})"


def _elapsed_s(record: Record) -> float:
    return max(0.0, float((record.get("finished_at") or 0.0) - record["started_at"]))


def _up(value: float, step: int) -> int:
    """The next whole multiple of a step, at least one."""
    return max(1, -(-int(value + 0.999) // step)) * step
