"""What top says, as text of a certain width."""

from __future__ import annotations

from typing import Any

import pytest

from gflow.cli import gauge

GIB = 1 << 30


def card(index: int, **changes: Any) -> dict[str, Any]:
    return {
        "index": index,
        "memory_bytes": 24 * GIB,
        "used_bytes": 12 * GIB,
        "utilisation": 0.8,
        "jobs": [7],
        "unusable": None,
        **changes,
    }


def status(*cards: dict[str, Any]) -> dict[str, Any]:
    return {
        "uptime_s": 3661,
        "jobs": {"RUNNING": 2, "PENDING": 300},
        "resources": {
            "total": {"cpus": 16, "memory_bytes": 64 * GIB},
            "free": {"cpus": 4, "memory_bytes": 32 * GIB},
        },
        "gpus": list(cards),
    }


@pytest.mark.parametrize("width", [40, 80, 200])
@pytest.mark.parametrize("count", [0, 1, 3, 16])
def test_fits(width: int, count: int) -> None:
    """However many cards and however narrow, no line is wider than the screen."""
    lines = list(gauge.machine(status(*map(card, range(count))), width))
    assert all(len(line) <= width for line in lines)
    assert len(lines) <= 6


def test_machine() -> None:
    """Counts, bars and cards with their jobs."""
    first, bars, gpus = gauge.machine(status(card(0), card(1, unusable="x", jobs=[])), 80)
    assert first == "gflow · up 1:01:01 · 2 running, 300 pending"
    assert "cpus ███" in bars and "12/16" in bars and "32G/64G" in bars
    assert "80% 12G/24G 7" in gpus and "kept back" in gpus


def test_bar() -> None:
    """Little is not nothing, and too much is all."""
    assert gauge.bar(0, 4) == "░░░░"
    assert gauge.bar(0.01, 4) == "█░░░"
    assert gauge.bar(2, 4) == "████"


def test_job() -> None:
    """What is used stands before what was asked for; control characters are escaped."""
    record = {
        "id": 7,
        "name": "a\x1b[31m",
        "user": "ada",
        "state": "RUNNING",
        "started_at": 100.0,
        "resources": {"cpus": 4, "memory_bytes": GIB, "gpus": 2},
        "usage": {"cpus": 3.14, "rss_bytes": 500 << 20},
        "gpu_ids": [0, 1],
        "reason": None,
    }
    assert gauge.job(record, 160.0) == (
        *("7", "a\\x1b[31m", "ada", "R", "1:00", "3.1/4", "500M/1G", "0,1", ""),
    )


def test_job_of_which_little_is_known() -> None:
    """A pending job uses nothing."""
    record = {
        "id": 7,
        "state": "PENDING",
        "resources": {"cpus": 1, "gpus": 1},
        "reason": "Priority",
    }
    assert gauge.job(record, 0.0) == ("7", "", "", "PD", "-", "1", "-", "1", "Priority")
