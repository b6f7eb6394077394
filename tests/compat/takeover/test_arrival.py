"""A job of the older daemon as a request of ours."""

from __future__ import annotations

from typing import Any

import pytest

from gflow.api.arrival import Arrivals
from gflow.compat.takeover.arrival import Result, Surroundings, Unusable, arrival, in_order
from gflow.model.state import State

_AT = {"secs_since_epoch": 1_700_000_000, "nanos_since_epoch": 500_000_000}
_END = {"secs_since_epoch": 1_700_000_100, "nanos_since_epoch": 0}


def job(**fields: Any) -> dict[str, Any]:
    """A queued job with what every job has."""
    return {
        "id": 7,
        "command": "echo '{lr}'",
        "run_dir": "/w",
        "parameters": {"lr": "0.1"},
        "submitted_by": "ann",
        "submitted_at": _AT,
        "run_name": "gjob-7",
        "state": "Queued",
        **fields,
    }


def around(**parts: Any) -> Surroundings:
    """What is around it: jobs 1 to 9, nobody's account, no results and no logs."""
    known: dict[str, Any] = {
        "ids": frozenset(range(1, 10)),
        "account": lambda user: (1000, 100),
        "stopped_at": 1_700_000_200.0,
        "results": {},
        "log_of": lambda job_id: None,
    }
    return Surroundings(**{**known, **parts})


@pytest.mark.parametrize(
    ("fields", "state", "reason"),
    [
        ({}, State.PENDING, None),
        ({"state": "Hold"}, State.PENDING, None),
        ({"state": "Finished", "started_at": _AT, "finished_at": _END}, State.COMPLETED, None),
        ({"state": "Failed", "started_at": _AT, "finished_at": _END}, State.FAILED, None),
        ({"state": "Timeout", "started_at": _AT, "finished_at": _END}, State.TIMEOUT, None),
        ({"state": "Cancelled", "reason": "CancelledByUser"}, State.CANCELLED, None),
        (
            {"state": "Cancelled", "reason": {"DependencyFailed": 3}},
            State.CANCELLED,
            "DependencyNeverSatisfied",
        ),
    ],
)
def test_every_state_has_one_of_ours(fields: Any, state: State, reason: str | None) -> None:
    """And our server takes the request as it is."""
    request = arrival(job(**fields), around())
    made = Arrivals().job(request)
    assert (made.state, made.reason) == (state, reason)
    assert (made.hold == "user") == (fields.get("state") == "Hold")
    assert (made.spec.user, made.spec.uid, made.spec.gid) == ("ann", 1000, 100)
    assert made.submitted_at == 1_700_000_000.5
    assert (made.finished_at is not None) == (state is not State.PENDING)


def test_what_ran_is_lost_unless_its_runner_left_a_result() -> None:
    """Nobody can say how it ended; what its runner wrote is its end."""
    raw = job(state="Running", started_at=_AT)
    lost = arrival(raw, around())
    assert (lost["state"], lost["finished_at"]) == ("NODE_FAIL", 1_700_000_200.0)
    for code, state in ((0, "COMPLETED"), (3, "FAILED")):
        ended = arrival(raw, around(results={7: Result(code, 1_700_000_050.0)}))
        assert (ended["state"], ended["exit_code"]) == (state, code)
        assert ended["finished_at"] == 1_700_000_050.0


@pytest.mark.parametrize(
    ("run_name", "asked"),
    [("gjob-7", ""), ("gjob-7-train", "train"), ("gjob-70", "0"), ("old", "old"), (None, "")],
)
def test_the_name_that_was_asked_for(run_name: str | None, asked: str) -> None:
    """What the daemon put before it is put before it again when it is shown."""
    assert arrival(job(run_name=run_name), around())["spec"]["labels"]["run_name"] == asked


def test_a_parent_that_nobody_knows_holds_the_job() -> None:
    """It must not start as if it had waited; the others stay its parents."""
    found = arrival(job(depends_on_ids=[3, 44]), around())
    assert found["hold"]
    assert "44" in found["reason"]
    assert [one["jobs"] for one in found["spec"]["dependencies"]] == [[3]]


def test_ended_jobs_show_their_old_logs() -> None:
    """Those that wait write to ours. A percent sign in a path stands for itself."""
    logs = around(log_of=lambda job_id: f"/100%/{job_id}.log")
    ended = arrival(job(state="Failed"), logs)
    assert ended["spec"]["output_path"] == "/100%%/7.log"
    assert ended["spec"]["open_mode"] == "append"
    assert "output_path" not in arrival(job(), logs)["spec"]


def test_what_can_only_fail_still_comes_along() -> None:
    """The reference takes jobs without a command, and shared ones without a memory limit."""
    Arrivals().job(arrival(job(command=None), around()))
    Arrivals().job(arrival(job(gpus=9999, gpu_sharing_mode="Shared"), around()))


@pytest.mark.parametrize(
    "fields",
    [
        {"state": "Sleeping"},
        {"state": None},
        {"submitted_at": "yesterday"},
        {"command": 7},
        {"priority": 300},
    ],
)
def test_damage_names_the_job(fields: Any) -> None:
    """One sentence with its id."""
    with pytest.raises(Unusable, match="job 7: "):
        arrival(job(**fields), around())


def test_parents_come_first() -> None:
    """Ended jobs, then those that wait: an update may have made an older job wait for a newer."""
    raw = [
        job(id=1, depends_on_ids=[3]),
        job(id=2),
        job(id=3, depends_on_ids=[5, 2]),
        job(id=4, state="Failed"),
        job(id=5),
        job(id=6, depends_on_ids=[6]),
    ]
    ids = [one["id"] for one in in_order([arrival(one, around()) for one in raw])]
    assert ids == [4, 5, 2, 3, 1, 6]


def test_a_long_chain_is_no_deep_recursion() -> None:
    """100,000 jobs, each waiting for the next."""
    waiting = [
        {"id": n, "state": "PENDING", "spec": {"dependencies": [{"jobs": [n + 1]}]}}
        for n in range(1, 100_000)
    ]
    ids = [one["id"] for one in in_order(waiting)]
    assert ids == [*range(99_999, 0, -1)]
