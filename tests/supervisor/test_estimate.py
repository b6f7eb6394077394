"""How good predicted starts were, and who makes the predictions."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from gflow.errors import Refused
from gflow.supervisor import clock, estimate
from gflow.supervisor.forecaster import Forecaster
from gflow.supervisor.persister_port import PersisterPort
from gflow.supervisor.reactor import Reactor
from tests.scheduling.stage import Stage, spec


class Store:
    """Answers with pages of history."""

    def __init__(self, *pages: list[dict[str, Any]]) -> None:
        self.pages = pages
        self.asked: list[dict[str, Any]] = []

    async def query(self, what: str, args: dict[str, Any]) -> Any:
        at = args["cursor"] or 0
        self.asked.append(args)
        following = at + 1 if at + 1 < len(self.pages) else None
        records = [(("job", n), record) for n, record in enumerate(self.pages[at])]
        return SimpleNamespace(records=records, value={"cursor": following})


def job(predicted_at: float | None, started_at: float | None, **fields: Any) -> dict[str, Any]:
    user = fields.pop("user", "ann")
    times = {"predicted_start_at": predicted_at, "started_at": started_at}
    return {"spec": {"user": user}, "state": "COMPLETED", **times, **fields}


def report(store: Store, *by: str) -> dict[str, Any]:
    return asyncio.run(estimate.rows(cast(PersisterPort, store), by, {"users": None}))


def test_errors_of_all_pages() -> None:
    """Counts of early and late ones, the usual error, the sizes; unknown ones count for nothing."""
    first = [job(1000, 1000 + error) for error in (-600, -30, 0, 30)]
    second = [job(1000, 5000), job(None, 1.0), job(1000, None)]
    (row,) = report(store := Store(first, second), "user")["rows"]
    assert (row["user"], row["jobs"]) == ("ann", 5)
    assert (row["early"], row["on_time"], row["late"]) == (1, 3, 1)
    assert (row["median_error_s"], row["median_s"], row["p90_s"]) == (0, 30, 4000)
    assert [one["cursor"] for one in store.asked] == [None, 1]


def test_groups() -> None:
    """Of every name that rows are told apart by; others are refused."""
    jobs = [job(0, 0, finished_at=86400.0), job(0, 0, user="bob", finished_at=0.0)]
    rows = report(Store(jobs), "day", "user")["rows"]
    assert [(row["day"], row["user"]) for row in rows] == [
        ("1970-01-01", "bob"),
        ("1970-01-02", "ann"),
    ]
    with pytest.raises(Refused, match="by one of day, user"):
        report(Store([]), "shoe")


def test_the_first_attempt_counts() -> None:
    """What was predicted was its start, not that of a retry."""
    retried = job(1000, 9000, attempts=[{"started_at": None}, {"started_at": 1010.0}])
    assert estimate.error_s(retried) == 10


def test_who_waits_is_given_a_prediction(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where limits tell it, once; it is saved."""
    stage = Stage()
    stage.run(cpus=4, time_limit_s=100)
    waiting = [stage.submit(spec(cpus=4, time_limit_s=50)), stage.submit(spec(cpus=4))]
    unknown = stage.submit(spec(cpus=4))
    saved: list[Any] = []

    def finish(actions: list[Any], keys: Iterable[Any]) -> None:
        saved.extend(keys)

    stage.save()
    monkeypatch.setattr(clock, "now", lambda: stage.now)
    reactor = SimpleNamespace(scheduler=stage.scheduler, finish=finish)
    asyncio.run(Forecaster(cast(Reactor, reactor))._look())
    starts = [stage.job(one).predicted_start_at for one in (*waiting, unknown)]
    assert starts[0] is not None and starts[1] == starts[0] + 50 and starts[2] is None
    assert saved == [("job", one) for one in waiting]
