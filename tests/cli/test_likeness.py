"""Requests made from measured ones."""

from __future__ import annotations

from typing import Any

import pytest

from gflow.cli import likeness
from gflow.cli.command import Failure

MIB, GIB = 1 << 20, 1 << 30


def record(**fields: Any) -> dict[str, Any]:
    return {
        "id": 7,
        "state": "COMPLETED",
        "array": None,
        "started_at": 1000.0,
        "finished_at": 1600.0,
        "resources": {"cpus": 8, "memory_bytes": 8 * GIB, "gpus": 1},
        "usage": {"max_rss_bytes": 900 * MIB, "series": {"cpus": [1.0, 2.5, None]}},
        **fields,
    }


def test_peaks_and_some_room() -> None:
    """Memory and processors by their peaks, time by what it took; the sentence says from what."""
    spec: dict[str, Any] = {}
    told = likeness.fill(spec, record())
    assert spec["resources"] == {"memory_bytes": 1088 * MIB, "cpus": 3, "gpus": 1}
    assert spec["time_limit_s"] == 900.0
    assert told == (
        "like job 7: --mem 1.1G (peak 900M), --cpus 3 (peak 2.5 of 8), --gpus 1 (as it asked "
        "for), --time 15:00 (took 10:00)"
    )


def test_what_is_named_stays() -> None:
    """None is a time without end; without cards nothing about cards is taken."""
    spec = {"time_limit_s": None, "resources": {"memory_bytes": 1, "cpus": 1, "gpus": 0}}
    told = likeness.fill(spec, record(resources={"gpus": 2, "gpu_shared": True, "cpus": 2}))
    assert spec == {"time_limit_s": None, "resources": {"memory_bytes": 1, "cpus": 1, "gpus": 0}}
    assert told == "like job 7: nothing is taken, all of it was named"


def test_enough_was_enough() -> None:
    """No more memory is taken than what sufficed; more where it ran out."""
    spec: dict[str, Any] = {}
    tight = {"cpus": 1, "memory_bytes": 900 * MIB}
    likeness.fill(spec, record(resources=tight))
    assert spec["resources"]["memory_bytes"] == 900 * MIB
    spec = {}
    told = likeness.fill(spec, record(resources=tight, state="OUT_OF_MEMORY"))
    assert spec["resources"]["memory_bytes"] == 1088 * MIB
    assert "(which ended as OUT_OF_MEMORY): --mem 1.1G (ran out of 900M)" in told


def test_shared_cards() -> None:
    """The memory that it used on each of its cards."""
    resources = {"cpus": 1, "gpus": 2, "gpu_shared": True, "gpu_memory_bytes": 20 * GIB}
    spec: dict[str, Any] = {}
    usage = {"max_gpu_memory_bytes": 1800 * MIB}
    likeness.fill(spec, record(resources=resources, usage=usage))
    assert spec["resources"]["gpu_shared"] is True
    assert spec["resources"]["gpu_memory_bytes"] == 1088 * MIB


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"state": "RUNNING"}, "it is RUNNING"),
        ({"state": "CANCELLED", "started_at": None}, "it never ran"),
        ({"array": {"id": 7, "task": None, "tasks": "1-3"}}, "name one of them: 7_N"),
    ],
)
def test_jobs_that_say_nothing(fields: dict[str, Any], words: str) -> None:
    """One sentence."""
    with pytest.raises(Failure, match=words):
        likeness.fill({}, record(**fields))
