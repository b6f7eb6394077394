"""What leaves the store, and what must not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gflow.model.record import Key, Record
from gflow.persistence import codec
from gflow.persistence.housekeeping import Housekeeper
from gflow.persistence.store import Store
from tests.persistence.harness import job
from tests.persistence.test_store import fresh, write

DAY_S = 86400.0
NOW_AT = 100 * DAY_S


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A fresh store."""
    return fresh(str(tmp_path / "state.db"))


def ended(id: int, days_ago: float, **fields: Any) -> dict[str, Any]:
    """A job that ended so long ago."""
    return job(id, "COMPLETED", finished_at=NOW_AT - days_ago * DAY_S, **fields)


def put(store: Store, *records: dict[str, Any], **more: bytes) -> None:
    """Write jobs, and blobs by name."""
    batch: dict[Key, Record] = {("blob", name): data for name, data in more.items()}
    batch.update({("job", record["id"]): record for record in records})
    write(store, batch)


def tidy(keeper: Housekeeper, store: Store, now_at: float = NOW_AT) -> list[int]:
    """One round. Returns the ids that were told to be gone."""
    frames = [codec.decode_frame(frame) for frame in keeper.round(store, now_at) if frame]
    return [entry["id"] for frame in frames for entry in frame.fields["jobs"]]


def ids(store: Store, table: str = "history") -> list[int]:
    """Ids in a table."""
    return [id for (id,) in store.connection.execute(f"SELECT id FROM {table} ORDER BY id")]


def blobs(store: Store) -> list[str]:
    """Hashes in the store."""
    return [hash for (hash,) in store.connection.execute("SELECT hash FROM blob ORDER BY hash")]


def test_old_history_goes(store: Store) -> None:
    """What ended before the retention time is purged and told, the rest stays."""
    put(store, ended(1, 40), ended(2, 31), ended(3, 29), ended(4, 0))
    assert tidy(Housekeeper(30 * DAY_S), store) == [1, 2]
    assert ids(store) == [3, 4]


def test_without_a_retention_nothing_goes(store: Store) -> None:
    """History is for ever unless told otherwise."""
    put(store, ended(1, 4000))
    assert tidy(Housekeeper(None), store) == []


def test_transitions_go_with_their_job(store: Store) -> None:
    """No transition outlives the history row of its job."""
    put(store, ended(1, 40), ended(2, 1))
    write(store, {("transition", 1, 0): {"n": 0}, ("transition", 2, 0): {"n": 0}})
    tidy(Housekeeper(30 * DAY_S), store)
    assert store.connection.execute("SELECT job FROM transition").fetchall() == [(2,)]


def stray(store: Store, *jobs: int, count: int = 2) -> None:
    """Write transitions alone."""
    write(store, {("transition", job, n): {"n": n} for job in jobs for n in range(count)})


def jobs_with_transitions(store: Store) -> list[int]:
    return [job for (job,) in store.connection.execute("SELECT DISTINCT job FROM transition")]


def test_transitions_of_no_job_go(store: Store) -> None:
    """Found alone in two rounds running, all of them go, those of live and ended jobs stay."""
    put(store, job(1), ended(2, 1))
    stray(store, 1, 2)
    stray(store, 3, count=1001)
    keeper = Housekeeper(None)
    tidy(keeper, store)
    assert jobs_with_transitions(store) == [1, 2, 3]
    tidy(keeper, store)
    assert jobs_with_transitions(store) == [1, 2]


def test_job_that_turns_up_keeps_its_transitions(store: Store) -> None:
    """Its record may be committed after its first transitions."""
    stray(store, 3)
    keeper = Housekeeper(None)
    tidy(keeper, store)
    put(store, job(3))
    tidy(keeper, store)
    assert jobs_with_transitions(store) == [3]


def test_transitions_of_a_job_set_aside_stay(store: Store) -> None:
    """Its record was damaged: they are what is left to tell people."""
    put(store, ended(4, 1))
    stray(store, 4)
    store.quarantine("history", ("job", 4), "id", 4, "damaged")
    keeper = Housekeeper(None)
    tidy(keeper, store)
    tidy(keeper, store)
    assert jobs_with_transitions(store) == [4]


def test_sums_stay(store: Store) -> None:
    """Reports still count what was purged."""
    put(store, ended(1, 40), ended(2, 0))
    assert tidy(Housekeeper(30 * DAY_S), store) == [1]
    assert store.connection.execute("SELECT sum(jobs) FROM summary").fetchone() == (2,)


def test_parents_of_live_jobs_stay(store: Store) -> None:
    """What a live job depends on is kept, however old."""
    child = job(2, dependencies=[{"type": "afterok", "jobs": [1], "delay_s": 0.0}])
    put(store, ended(1, 400), ended(3, 0), child)
    assert tidy(Housekeeper(30 * DAY_S), store) == []


def test_a_parent_named_during_the_round_stays(store: Store) -> None:
    """A dependant that is committed while a round goes on protects its parent."""
    put(store, ended(1, 400), ended(3, 0), job(4))
    keeper = Housekeeper(30 * DAY_S)
    steps = keeper.round(store, NOW_AT)
    child = job(2, dependencies=[{"type": "afterok", "jobs": [1], "delay_s": 0.0}])
    next(steps)
    put(store, child)
    keeper.note([codec.encode(("job", 2), child)])
    assert all(frame is None for frame in steps)
    assert ids(store) == [1, 3]


def test_tasks_of_a_live_array_stay(store: Store) -> None:
    """An array keeps its ended tasks until it has ended itself."""
    write(store, {("array", 10): {"id": 10, "spec": {"user": "ada"}, "state": "PENDING"}})
    put(store, ended(11, 400, array_id=10), ended(20, 0))
    assert tidy(Housekeeper(30 * DAY_S), store) == []


def test_a_clock_that_jumped_ahead_empties_nothing(store: Store) -> None:
    """Time is believed only up to a day after the newest end."""
    put(store, ended(1, 2), ended(2, 1))
    assert tidy(Housekeeper(30 * DAY_S), store, NOW_AT + 4000 * DAY_S) == []


def test_unnamed_blobs_go_in_the_second_round(store: Store) -> None:
    """A blob that nobody names is collected when the next round finds it unnamed again."""
    put(store, job(1, script="used"), used=b"1", unused=b"2")
    keeper = Housekeeper(None)
    tidy(keeper, store)
    assert blobs(store) == ["unused", "used"]
    tidy(keeper, store)
    assert blobs(store) == ["used"]


def test_history_names_blobs_too(store: Store) -> None:
    """What an ended job was started with is kept as long as its row."""
    put(store, ended(1, 1, env="e"), e=b"1")
    keeper = Housekeeper(None)
    tidy(keeper, store)
    tidy(keeper, store)
    assert blobs(store) == ["e"]


def test_a_blob_that_came_again_between_rounds_stays(store: Store) -> None:
    """A blob committed again is about to be named: it begins anew."""
    put(store, b=b"1")
    keeper = Housekeeper(None)
    tidy(keeper, store)
    keeper.note([codec.encode(("blob", "b"), b"1")])
    tidy(keeper, store)
    assert blobs(store) == ["b"]


def test_a_blob_named_during_the_round_stays(store: Store) -> None:
    """A record committed while a round goes on keeps its blobs."""
    put(store, b=b"1")
    keeper = Housekeeper(None)
    tidy(keeper, store)
    steps = keeper.round(store, NOW_AT)
    next(steps)
    record = job(5, env="b")
    put(store, record)
    keeper.note([codec.encode(("job", 5), record)])
    list(steps)
    assert blobs(store) == ["b"]


def test_blobs_may_be_looked_after_less_often(store: Store) -> None:
    """With every second round, the third is the first in which an unnamed blob can go."""
    put(store, b=b"1")
    keeper = Housekeeper(None, collect_every=2)
    for _ in range(2):
        tidy(keeper, store)
    assert blobs(store) == ["b"]
    tidy(keeper, store)
    assert blobs(store) == []
