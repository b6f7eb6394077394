"""State files of every version, and what is none."""

from __future__ import annotations

import json
from typing import Any

import msgpack
import pytest

from gflow.compat.takeover.state import JOB_NAMES, Unreadable, read

_SPEC = {"command": "true", "run_dir": "/w", "submitted_by": "ann"}
_RUN = {"id": 1, "state": "Queued", "priority": 10, "gpus": 0}


def packed(**parts: Any) -> bytes:
    """A file of version 4 with one job, unless told otherwise."""
    whole = {
        "version": 4,
        "job_specs": [_SPEC],
        "job_runtimes": [_RUN],
        "state_path": "/x/state.json",
        "next_job_id": 2,
        "allowed_gpu_indices": None,
        "fair_share_usage": {},
        "reservations": [],
        "next_reservation_id": 1,
    }
    return bytes(msgpack.packb({**whole, **parts}))


def test_both_halves_of_a_job_are_one() -> None:
    """Version 4 keeps what was asked apart from how it stands."""
    found = read(packed(), "state.msgpack")
    assert found.jobs == [{**_SPEC, **_RUN}]
    assert found.next_job_id == 2


@pytest.mark.parametrize(
    "jobs", [[{**_SPEC, **_RUN}], {"1": {**_SPEC, **_RUN}}, {1: {**_SPEC, **_RUN}}]
)
def test_whole_jobs_by_position_or_id(jobs: Any) -> None:
    """Versions 0 to 3 kept whole jobs; what the file does not say has its default."""
    data = msgpack.packb({"version": 2, "jobs": jobs, "next_job_id": 2})
    found = read(bytes(data), "state.msgpack")
    assert found.jobs == [{**_SPEC, **_RUN}]
    assert found.use == {}


def test_values_without_names() -> None:
    """A file of version 2 may be a list, and so may its jobs and their times."""
    values: list[Any] = [None] * len(JOB_NAMES)
    for name, value in (("id", 7), ("command", "true"), ("state", "Finished")):
        values[JOB_NAMES.index(name)] = value
    values[JOB_NAMES.index("submitted_at")] = [1_700_000_000, 5]
    values[JOB_NAMES.index("time_limit")] = [60, 0]
    data = msgpack.packb([2, {7: values}, "/x/state.json", 8, None])
    (job,) = read(bytes(data), "state.msgpack").jobs
    assert (job["id"], job["command"], job["state"]) == (7, "true", "Finished")
    assert job["submitted_at"] == {"secs_since_epoch": 1_700_000_000, "nanos_since_epoch": 5}
    assert job["time_limit"] == {"secs": 60, "nanos": 0}


def test_json_and_the_journal() -> None:
    """The old file is JSON; of the journal the last line counts."""
    whole = {"version": 1, "jobs": [{**_SPEC, **_RUN}], "next_job_id": 2}
    assert read(json.dumps(whole).encode(), "state.json").version == 1
    lines = [{"ts": 1, "kind": "snapshot", "scheduler": {**whole, "version": n}} for n in (3, 4)]
    text = "\n".join(map(json.dumps, lines)) + "\n"
    assert read(text.encode(), "state.journal.jsonl").version == 4


@pytest.mark.parametrize("counted", [0, 1, 2_000_000_000, None, "9"])
def test_a_counter_that_cannot_be_is_not_believed(counted: Any) -> None:
    """Ids go on above the highest job then."""
    assert read(packed(next_job_id=counted), "state.msgpack").next_job_id == 2


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",
        packed()[:-5],
        packed() + b"x",
        packed(version=5),
        packed(version="4"),
        packed(job_runtimes=[]),
        packed(job_runtimes=None),
        packed(job_specs=[1], job_runtimes=[2]),
        packed(job_specs=[{}], job_runtimes=[{}]),
        packed(job_specs=[_SPEC] * 2, job_runtimes=[_RUN] * 2),
        packed(reservations={}),
        bytes(msgpack.packb(7)),
        bytes(msgpack.packb({"jobs": 7})),
        b"\x91" * 100_000,
    ],
)
def test_what_is_no_state_is_refused(data: bytes) -> None:
    """In one sentence, whatever it is."""
    with pytest.raises(Unreadable):
        read(data, "state.msgpack")


@pytest.mark.parametrize("data", [b"", b"{", b"[" * 100_000, b"\xff", b'{"kind":"snapshot"}'])
def test_json_that_is_none(data: bytes) -> None:
    """The same for the other forms."""
    for name in ("state.json", "state.journal.jsonl"):
        if data.startswith(b'{"kind') and name == "state.json":
            continue  # a state without jobs
        with pytest.raises(Unreadable):
            read(data, name)
