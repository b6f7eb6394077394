"""Limits, reservations and use of the older daemon as a request of ours."""

from __future__ import annotations

from typing import Any

import pytest

from gflow.api import arrival
from gflow.compat.takeover.policy import policy
from gflow.compat.takeover.state import State, Unreadable

_AT = {"secs_since_epoch": 4_000_000_000, "nanos_since_epoch": 0}


def test_everything_is_taken_by_our_server() -> None:
    """By their names here; reservations that are over stay behind, and use of nothing."""
    reservation = {
        "id": 3,
        "user": "bob",
        "gpu_spec": {"count": 2},
        "start_time": _AT,
        "duration": {"secs": 3600, "nanos": 0},
        "status": "Pending",
        "created_at": _AT,
        "cancelled_at": None,
    }
    state = State(
        version=4,
        jobs=[],
        next_job_id=12,
        quotas={
            "users": {"ann": {"max_running_jobs": 7, "max_queued_jobs": None}},
            "projects": {"p": {"max_running_gpus": 2}, "empty": {}},
            "default_user": {"max_queued_jobs": 700},
        },
        reservations=[
            reservation,
            {**reservation, "id": 4, "status": "Cancelled"},
            {**reservation, "id": 5, "gpu_spec": {"indices": [1, 3]}, "status": "Active"},
        ],
        use={"ann": {"usage": 3600.0, "last_update": _AT}, "bob": {"usage": 0, "last_update": 1}},
    )
    made = arrival.policy(policy(state))
    assert made.next_id == 12
    assert made.quotas == (
        ("default_user", "", {"pending_jobs": 700.0}),
        ("user", "ann", {"running_jobs": 7.0}),
        ("project", "p", {"running_gpus": 2.0}),
    )
    assert [(one["id"], one["gpus"], one["gpu_ids"]) for one in made.reservations] == [
        (3, 2, ()),
        (5, 2, (1, 3)),
    ]
    assert made.use == (("ann", 3600.0, 4_000_000_000.0),)


@pytest.mark.parametrize(
    "damaged",
    [
        {"quotas": {"users": [1]}},
        {"reservations": [{"status": "Pending"}]},
        {"reservations": [7]},
        {"use": {"ann": {}}},
        {"use": {"ann": {"usage": "much"}}},
    ],
)
def test_damage_is_one_sentence(damaged: Any) -> None:
    """No traceback."""
    with pytest.raises(Unreadable, match="damaged"):
        policy(State(version=4, jobs=[], next_job_id=1, **damaged))
