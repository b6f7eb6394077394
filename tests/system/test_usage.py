"""What jobs used, against what the kernel tells others, through the real programs."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.system.machine import Machine, eventually

#: Uses a second of processor time and 150 MB at once.
WORK = """
import time
held = b"x" * (150 << 20)
while time.process_time() < 1.0:
    sum(range(10000))
"""
#: Holds so many bytes until it is told to end.
HOLD = """
import os, sys, time
held = b"x" * (int(sys.argv[1]) << 20)
while not os.path.exists("go"):
    time.sleep(0.05)
"""
#: Writes down what getrusage(2) says of itself so far.
CONFESSION = """
import resource
used = resource.getrusage(resource.RUSAGE_SELF)
with open("seen", "w") as file:
    file.write(f"{used.ru_utime + used.ru_stime} {used.ru_maxrss * 1024}")
"""
TIME = "/usr/bin/time"


def close(measured: float, expected: float) -> bool:
    return abs(measured - expected) <= 0.05 * expected


def by_time(path: Path) -> tuple[float, float]:
    text = path.read_text()
    cpu_s = sum(map(float, re.findall(r"(?:User|System) time \(seconds\): ([0-9.]+)", text)))
    found = re.search(r"Maximum resident set size \(kbytes\): ([0-9]+)", text)
    assert found is not None, text
    return cpu_s, int(found[1]) * 1024


def test_as_time_says(machine: Machine) -> None:
    """Processor time and peak memory of a single process are those of time -v."""
    if not os.access(TIME, os.X_OK):
        pytest.skip(f"{TIME} is not installed")
    words = [TIME, "-v", "-o", "seen", sys.executable, "-c", WORK]
    job = machine.submit("--", *words)
    assert machine.wait(job) == 0
    usage = machine.job(job)["usage"]
    cpu_s, peak_bytes = by_time(machine.work / "seen")
    assert close(usage["cpu_s"], cpu_s), (usage, cpu_s)
    assert close(usage["max_rss_bytes"], peak_bytes), (usage, peak_bytes)


def test_as_the_process_says(machine: Machine) -> None:
    """The same against what the process is told about itself, where there is no time(1)."""
    job = machine.submit("--", sys.executable, "-c", WORK + CONFESSION)
    assert machine.wait(job) == 0
    usage = machine.job(job)["usage"]
    cpu_s, peak_bytes = map(float, (machine.work / "seen").read_text().split())
    assert close(usage["cpu_s"], cpu_s), (usage, cpu_s)
    assert close(usage["max_rss_bytes"], peak_bytes), (usage, peak_bytes)


def test_trees_are_summed(new_machine: Callable[..., Machine]) -> None:
    """Two children that hold 400 MB each: the peak of the tree is theirs together."""
    machine = new_machine(GFLOW_MONITOR__INTERVAL_S="0.3")
    machine.start()
    child = f'{sys.executable} -S -c "$HOLD" 400'
    machine.env["HOLD"] = HOLD
    job = machine.submit(f"{child} & setsid {child} & wait")
    eventually(lambda: ((machine.job(job)["usage"] or {}).get("max_rss_bytes") or 0) > 750 << 20)
    (machine.work / "go").touch()
    assert machine.wait(job) == 0
    peak_bytes = machine.job(job)["usage"]["max_rss_bytes"]
    assert close(peak_bytes, 800 << 20), peak_bytes
