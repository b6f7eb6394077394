"""Sums of ended jobs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gflow.persistence import summary
from gflow.persistence.store import Store
from tests.persistence.harness import job
from tests.persistence.test_store import fresh, write

DAY_S = 86400.0


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A fresh store."""
    return fresh(str(tmp_path / "state.db"))


def rows(store: Store, **options: Any) -> list[dict[str, Any]]:
    """Rows of a report."""
    report = summary.Report(store.connection, **options)
    for _ in report.slices():
        pass
    return report.rows


def ended(id: int, state: str = "COMPLETED", **fields: Any) -> dict[str, Any]:
    """A job that waited 10 s, ran 100 s and used 80 s of one cpu."""
    at = fields.pop("finished_at", 1000.0)
    record = job(id, state, finished_at=at, **fields)
    record.update(eligible_at=at - 110.0, started_at=at - 100.0, usage={"cpu_s": 80.0})
    return record


def test_an_ended_job_is_counted(store: Store) -> None:
    """Its wait, its run time, what it asked for and what it used."""
    write(store, {("job", 1): ended(1)})
    [row] = rows(store)
    assert (row["day"], row["user"], row["state"], row["jobs"]) == (0, "ada", "COMPLETED", 1)
    assert (row["wait_ms"], row["elapsed_ms"]) == (10_000, 100_000)
    assert (row["cpu_ms"], row["cpu_asked_ms"]) == (80_000, 100_000)


def test_rows_are_per_day_user_and_state(store: Store) -> None:
    """Jobs of different days, users or states are counted apart."""
    records = [
        ended(1),
        ended(2),
        ended(3, finished_at=DAY_S + 500),
        ended(4, user="bob"),
        ended(5, "FAILED"),
    ]
    write(store, {("job", record["id"]): record for record in records})
    counts = [(row["day"], row["user"], row["state"], row["jobs"]) for row in rows(store)]
    assert counts == [
        (0, "ada", "COMPLETED", 2),
        (0, "ada", "FAILED", 1),
        (0, "bob", "COMPLETED", 1),
        (1, "ada", "COMPLETED", 1),
    ]


def test_arrays_are_not_counted_beside_their_tasks(store: Store) -> None:
    """Only jobs count: an array is the sum of its tasks."""
    array = {"id": 9, "spec": {"user": "ada"}, "state": "COMPLETED", "finished_at": 5.0}
    write(store, {("array", 9): {**array, "final": True}})
    assert rows(store) == []


def test_a_requeue_takes_it_off_again(store: Store) -> None:
    """A job that runs again has not ended."""
    write(store, {("job", 1): ended(1), ("job", 2): ended(2)})
    write(store, {("job", 1): job(1)})
    [row] = rows(store)
    assert (row["jobs"], row["cpu_ms"]) == (1, 80_000)


def test_rows_are_chosen_by_span_user_and_project(store: Store) -> None:
    """Days are inclusive at both ends."""
    records = [
        ended(n, user=user, project=project, finished_at=n * DAY_S)
        for n, (user, project) in enumerate(
            [("ada", "x"), ("bob", "x"), ("ada", "y"), ("ada", "x")]
        )
    ]
    write(store, {("job", record["id"]): record for record in records})
    found = rows(store, since_day=0, until_day=2, user="ada", project="x")
    assert [row["day"] for row in found] == [0]


def test_rows_can_be_added_up(store: Store) -> None:
    """Columns that are not asked for are added over."""
    records = [ended(1), ended(2, finished_at=DAY_S * 3), ended(3, user="bob"), ended(4, "FAILED")]
    write(store, {("job", record["id"]): record for record in records})
    found = rows(store, by=("user",))
    assert [(row["user"], row["jobs"]) for row in found] == [("ada", 3), ("bob", 1)]
    assert "day" not in found[0]
