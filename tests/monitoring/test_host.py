"""What the machine has."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gflow.monitoring import host


def test_cpus_are_those_that_may_be_used() -> None:
    """Not all that the machine has."""
    assert host.cpus() == len(os.sched_getaffinity(0))


def test_memory_is_at_most_what_is_installed() -> None:
    """As /proc/meminfo says."""
    line = Path("/proc/meminfo").read_text().splitlines()[0]
    assert 0 < host.memory_bytes() <= int(line.split()[1]) * 1024


@pytest.mark.parametrize(
    ("text", "limit"), [("1000000\n", 1_000_000), ("max\n", None), ("garbage", None)]
)
def test_a_limit_is_read(tmp_path: Path, text: str, limit: int | None) -> None:
    """A number limits, anything else does not."""
    path = tmp_path / "memory.max"
    path.write_text(text)
    assert host._limit(str(path)) == limit


def test_no_limit_file_is_no_limit(tmp_path: Path) -> None:
    """As on a machine without control groups."""
    assert host._limit(str(tmp_path / "memory.max")) is None
