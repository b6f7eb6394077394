"""Watching jobs: what a pass over many process trees costs, and what the loop feels of it."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator

from tools.bench import floor, machine, sample
from tools.bench.machine import SPEC, Machine
from tools.bench.table import TIME, Row, compare

#: Processes of a job beside its shim: a shell and what it waits for.
_TREE = 4
#: Seconds between two passes (the default of ``[monitor] interval_s``).
_INTERVAL_S = 2.0
#: One pass may take this share of one core.
_SHARE = 0.05


def run(*, quick: bool) -> Iterator[Row]:
    """All rows."""
    jobs = 5 if quick else 500
    seconds = 3.0 if quick else 20.0
    command = f"{'sleep 1000 & ' * (_TREE - 1)} wait"
    with Machine(GFLOW_RESOURCES__CPUS=str(jobs)) as own:
        own.client.status()
        time.sleep(seconds / 4)
        idle = own.client.status()["loop_gap_ms"]
        own.client.submit_specs({**SPEC, "command": ["sh", "-c", command], "array": f"1-{jobs}"})
        own.eventually(lambda: _running(own) == jobs, 0.1)
        time.sleep(2 * _INTERVAL_S)
        monitor = own.child("monitor")
        own.client.status()
        began_s, before_s = time.perf_counter(), machine.cpu_s(monitor)
        time.sleep(seconds)
        share = (machine.cpu_s(monitor) - before_s) / (time.perf_counter() - began_s)
        gap = own.client.status()["loop_gap_ms"]
        bare = sample.p50([floor.process_table() for _ in range(5)])
        own.client.cancel(all=True)
        own.eventually(lambda: not own.active(), 0.1)
        late_s, hungry_s = _overrun(own)
    what = f"{jobs} jobs, {jobs * (_TREE + 1):,} processes"
    yield compare(
        f"one pass, {what}",
        share * _INTERVAL_S,
        TIME,
        ("raw read of /proc/*/stat", bare),
        at_most=_SHARE * _INTERVAL_S,
        note=f"{share:.2%} of one core every {_INTERVAL_S:g} s",
    )
    yield compare(
        f"loop gap p99, {what}",
        gap["p99"] / 1e3,
        TIME,
        ("without any job", idle["p99"] / 1e3),
        at_most=0.005,
    )
    yield compare(f"loop gap max, {what}", gap["max"] / 1e3, TIME)
    yield compare("from a time limit to the end", late_s, TIME, at_most=1.0)
    yield compare(
        "from too much memory to the end",
        hungry_s,
        TIME,
        ("between two samples", _INTERVAL_S),
        ratio_at_most=2.0,
    )


def _overrun(own: Machine) -> tuple[float, float]:
    """Seconds that a job lives after its time limit, and after it began to take too much memory."""
    script = "import time; print(time.time(), flush=True); x = bytearray(400 << 20); time.sleep(99)"
    late = own.client.submit(["sleep", "99"], time_limit_s=1.0, cwd="/", env={})
    hungry = own.client.submit(
        [sys.executable, "-c", script], memory_bytes=100 << 20, cwd="/", env={}
    )
    one, two = own.client.wait(late), own.client.wait(hungry)
    assert (one["state"], two["state"]) == ("TIMEOUT", "OUT_OF_MEMORY"), (one, two)
    began_at = float(own.client.log(hungry))
    return one["finished_at"] - one["started_at"] - 1.0, two["finished_at"] - began_at


def _running(own: Machine) -> int:
    """Jobs whose command was started."""
    return sum(job["pid"] is not None for job in own.client.each_job(states=["RUNNING"]))
