"""Jobs and limits of another scheduler over a real socket."""

from __future__ import annotations

from typing import Any

import pytest

from gflow.api.client import Client
from gflow.api.wire import Refusal
from tests.api.fake import RunningServer

_JOB = {
    "id": 7,
    "user": "ann",
    "uid": 1000,
    "gid": 100,
    "spec": {"command": ["true"], "cwd": "/"},
    "submitted_at": 100.5,
    "state": "FAILED",
    "exit_code": 3,
}


def test_jobs_come_as_they_were(server: RunningServer, client: Client) -> None:
    """With id and times; in user mode they would run as whom the supervisor runs as."""
    answer = client.take_jobs([_JOB, {**_JOB, "id": 8, "state": "PENDING"}], dry_run=True)
    assert answer["job_ids"] == [7, 8]
    (_, (jobs, dry_run)) = server.operations.calls[0]
    assert dry_run
    ended, waits = jobs
    assert (ended.spec.user, ended.spec.uid, ended.exit_code) == ("ann", 1, 3)
    assert (ended.submitted_at, ended.finished_at) == (100.5, 100.5)
    assert (waits.state, waits.finished_at) == ("PENDING", None)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"id": 0}, "id must be from 1"),
        ({"id": 1 << 40}, "id must be from 1"),
        ({"state": "RUNNING"}, "state must be one of"),
        ({"uid": -1}, "uid must be from 0"),
        ({"spec": {"command": ["true"], "script": "x"}}, "cannot import job 7: "),
        ({"spec": {"command": ["true"], "array": "1-3"}}, "cannot import job 7: it has a script"),
        ({"spec": {"command": ["true"], "env": {}}}, "cannot import job 7: it has a script"),
        ({"spec": {}}, "cannot import job 7: "),
        ({"user": ""}, "user must not be empty"),
        ({"submitted_at": None}, "submitted_at is missing"),
        ({"finnished_at": 1}, "did you mean finished_at?"),
    ],
)
def test_bad_jobs(server: RunningServer, client: Client, change: Any, words: str) -> None:
    """One sentence, and nothing of the list is taken."""
    with pytest.raises(Refusal, match="cannot import") as refused:
        client.take_jobs([{**_JOB, "id": 1}, {**_JOB, **change}])
    assert words in str(refused.value)
    assert refused.value.status == 400
    assert server.operations.calls == []


def test_limits_come_too(server: RunningServer, client: Client) -> None:
    """Quotas, reservations, use and the counter in one request."""
    policy = {
        "next_id": 9,
        "quotas": [["user", "ann", {"running_jobs": 2}]],
        "reservations": [{"id": 1, "user": "b", "start_at": 5, "duration_s": 60, "gpus": 1}],
        "use": [["ann", 3.5, 10]],
    }
    client.take_policy(policy)
    (_, taken) = server.operations.calls[0]
    assert taken.next_id == 9
    assert taken.quotas == (("user", "ann", {"running_jobs": 2.0}),)
    assert taken.use == (("ann", 3.5, 10.0),)


@pytest.mark.parametrize(
    "bad",
    [
        {"next_id": 0},
        {"quotas": [["user", "", {"running_jobs": 2}]]},
        {"quotas": [["user", "ann", {"running_job": 2}]]},
        {"quotas": [["usr", "ann", {}]]},
        {"quotas": 7},
        {"reservations": [{"id": 1}]},
        {"use": [["ann", -1, 10]]},
        {"use": [["ann"]]},
        {"uses": []},
    ],
)
def test_bad_limits(server: RunningServer, client: Client, bad: Any) -> None:
    """One sentence."""
    with pytest.raises(Refusal, match="cannot import") as refused:
        client.take_policy(bad)
    assert refused.value.status == 400
    assert server.operations.calls == []
