"""Sums of the store as reports show them."""

from __future__ import annotations

from typing import Any

import pytest

from gflow.errors import Refused
from gflow.supervisor import report

_NAMES = ("wait_ms", "elapsed_ms", "cpu_ms", "cpu_asked_ms", "gpu_ms", "gpu_asked_ms")


def found(**changes: Any) -> dict[str, Any]:
    sums = {**dict.fromkeys(_NAMES, 1500), "memory_mib_s": 2, "memory_asked_mib_s": 4}
    return {
        "day": 1,
        "user": "ada",
        "project": "",
        "state": "COMPLETED",
        "jobs": 2,
        **sums,
    } | changes


def test_states_of_a_group_are_one_row() -> None:
    """States are counted, sums are added, units are in the names."""
    (row,) = report.rows([found(), found(state="FAILED", jobs=1)], ["user"])
    assert (row["user"], row["jobs"]) == ("ada", 3)
    assert row["states"] == {"COMPLETED": 2, "FAILED": 1}
    assert row["cpu_s"] == 3.0 and row["memory_asked_byte_s"] == 8 << 20


def test_days_are_dates() -> None:
    """A day is shown as one."""
    (row,) = report.rows([found()], ["day"])
    assert row["day"] == "1970-01-02"


@pytest.mark.parametrize(
    ("since", "before", "days"),
    [(None, None, (None, None)), (86400.0, 2 * 86400.0, (1, 1)), (86399.0, 86401.0, (0, 1))],
)
def test_period(since: float | None, before: float | None, days: tuple[int, int]) -> None:
    """The days of both ends count whole; a day that has just begun at ``before`` does not."""
    asked = report.question(["user"], since, before, None, None)
    assert (asked["since_day"], asked["until_day"]) == days
    assert asked["by"] == ["user", "state"]


def test_unknown_group() -> None:
    """A group that there is not is refused with those that there are."""
    with pytest.raises(Refused, match="day, user, project, state"):
        report.question(["uid"], None, None, None, None)
