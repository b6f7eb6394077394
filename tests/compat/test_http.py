"""The API itself: shapes, status codes, and requests that mean no good."""

from __future__ import annotations

import json
import socket
from typing import Any
from urllib.request import Request, urlopen

import pytest

from gflow.api.client import Client
from gflow.compat.takeover.state import JOB_NAMES
from tests.compat.reference import Reference

_NO_GROUP = "00000000-0000-0000-0000-000000000000"
#: Keys of a job, in the order in which the reference writes them.
_JOB_KEYS = [*JOB_NAMES, "scheduled_at"]


def submit(api: Reference, **fields: Any) -> int:
    """Id of a job that waits for tomorrow, unless told otherwise."""
    later = {"secs_since_epoch": 4_000_000_000, "nanos_since_epoch": 0}
    status, answer, _ = api.ask(
        "POST", "/jobs", {"command": "true", "scheduled_at": later, **fields}
    )
    assert status == 201, answer
    return int(answer["id"])


def test_a_job_has_the_references_keys_in_its_order(api: Reference) -> None:
    """What is ours comes after them."""
    job_id = submit(api, time_limit={"secs": 90, "nanos": 500_000_000}, memory_limit_mb=100)
    job = api.get(f"/jobs/{job_id}")
    assert list(job)[: len(_JOB_KEYS)] == _JOB_KEYS
    assert job["time_limit"] == {"secs": 90, "nanos": 500_000_000}
    assert job["scheduled_at"] == {"secs_since_epoch": 4_000_000_000, "nanos_since_epoch": 0}
    assert job["state"] == "Queued"
    assert job["reason"] == "WaitingForStartTime"
    assert job["gpu_ids"] is None
    assert job["auto_cancel_on_dependency_failure"] is False


def test_batch_is_whole_or_absent(api: Reference) -> None:
    """One bad job keeps all of them out; the answer of a good one is in order."""
    before = len(api.get("/jobs"))
    jobs = [{"command": "true", "run_name": f"n{n}"} for n in range(3)]
    status, _, _ = api.ask("POST", "/jobs/batch", [*jobs, {"command": "true", "gpus": 99}])
    assert status == 400
    assert len(api.get("/jobs")) == before
    status, answer, _ = api.ask("POST", "/jobs/batch", jobs)
    assert status == 201
    assert [one["run_name"] for one in answer] == [
        f"gjob-{one['id']}-n{n}" for n, one in enumerate(answer)
    ]


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/jobs", b"{", 400),
        ("POST", "/jobs", b"\xff\xfe", 400),
        ("POST", "/jobs", "text", 422),
        ("POST", "/jobs", [], 422),
        ("POST", "/jobs", {}, 400),
        ("POST", "/jobs", {"command": " "}, 400),
        ("POST", "/jobs", {"command": 7}, 422),
        ("POST", "/jobs", {"command": "a\0b"}, 422),
        ("POST", "/jobs", {"command": "true", "priority": 256}, 422),
        ("POST", "/jobs", {"command": "true", "priority": -1}, 422),
        ("POST", "/jobs", {"command": "true", "gpus": "2"}, 422),
        ("POST", "/jobs", {"command": "true", "state": "Nonsense"}, 422),
        ("POST", "/jobs", {"command": "true", "dependency_mode": "Some"}, 422),
        ("POST", "/jobs", {"command": "true", "time_limit": 5}, 422),
        ("POST", "/jobs", {"command": "true", "group_id": "x"}, 422),
        ("POST", "/jobs", {"command": "true", "gpus": 1, "gpu_sharing_mode": "Shared"}, 400),
        ("POST", "/jobs", {"command": "true", "depends_on_ids": [4_000_000_000]}, 400),
        ("POST", "/jobs/batch", {}, 422),
        ("POST", "/jobs/batch", [], 400),
        ("POST", "/jobs/batch", [{"command": "true"}] * 1001, 413),
        ("POST", "/jobs", b" " * (3 << 20), 413),
        ("PATCH", "/jobs/4000000000", {"gpus": 1}, 400),
        ("GET", "/jobs/abc", None, 400),
        ("GET", "/jobs/4000000000", None, 404),
        ("GET", "/jobs/4000000000/log", None, 404),
        ("GET", "/jobs/-1", None, 400),
        ("GET", "/jobs?limit=x", None, 400),
        ("GET", "/jobs?limit=-1", None, 400),
        ("GET", "/jobs/resolve-dependency?username=me&shorthand=@~0x", None, 400),
        ("POST", "/jobs/4000000000/cancel", None, 404),
        ("POST", "/jobs/4000000000/finish", None, 404),
        ("POST", "/groups/nonsense/max-concurrency", {"max_concurrent": 1}, 400),
        ("POST", f"/groups/{_NO_GROUP}/max-concurrency", {"max_concurrent": 1}, 404),
        ("PUT", "/quotas", {"scope": "user", "limits": {"max_running_jobs": 1}}, 400),
        ("PUT", "/quotas", {"scope": "user", "name": "x", "limits": {}}, 400),
        ("PUT", "/quotas", {"scope": "planet", "name": "x", "limits": {}}, 422),
        ("DELETE", "/quotas?scope=user&name=nobody", None, 404),
        ("GET", "/reservations/77", None, 404),
        ("GET", "/reservations?status=wrong", None, 400),
        ("DELETE", "/reservations/77", None, 400),
        ("GET", "/reservations?active_only=x", None, 400),
        ("DELETE", "/quotas", None, 400),
        ("POST", "/jobs", {"command": "true", "project": "x" * 65}, 400),
        ("POST", "/jobs", {"command": "true", "project": "ü" * 33}, 400),
        ("POST", "/gpus", {"allowed_indices": [9]}, 400),
        ("DELETE", "/jobs", None, 405),
        ("GET", "/nonsense", None, 404),
    ],
)  # fmt: skip
def test_bad_requests(api: Reference, method: str, path: str, body: Any, status: int) -> None:
    """The reference's status code, and no job more or less."""
    before = [job["id"] for job in api.get("/jobs")]
    answer = api.ask(method, path, body)
    assert answer[0] == status, answer
    assert [job["id"] for job in api.get("/jobs")] == before


def test_overrides_are_what_was_set(api: Reference) -> None:
    """A default is nobody's own: it is no override of those whom it holds for, nor taken away."""
    ours = f"p{len(api.get('/jobs'))}"
    submit(api, project=ours)
    limits = {"max_queued_jobs": 30}
    api.ask("PUT", "/quotas", {"scope": "default_project", "limits": limits})
    try:
        found = api.get("/quotas")
        assert found["overrides"] == {"default_project": limits}
        rows = {(row["scope"], row["name"]): row["limits"] for row in found["quotas"]}
        assert rows["project", ours] == limits
        path = f"/quotas?scope=project&name={ours}"
        assert api.ask("DELETE", path)[0] == 404
        api.ask("PUT", "/quotas", {"scope": "project", "name": ours, "limits": limits})
        assert api.get("/quotas")["overrides"]["projects"] == {ours: limits}
        assert api.ask("DELETE", path)[1]["overrides"] == {"default_project": limits}
    finally:
        api.ask("DELETE", "/quotas?scope=default_project")
    assert api.get("/quotas")["overrides"] == {}


def test_a_body_must_be_json_by_its_type(api: Reference) -> None:
    """A form, which a web page could send, is not taken: 415."""
    body = b'{"command": "true"}'
    assert api.ask("POST", "/jobs", body, Content_Type="text/plain")[0] == 415
    status, _, _ = api.ask("POST", "/jobs", body, Content_Type="application/json; charset=utf-8")
    assert status == 201


def test_errors_are_json_and_answers_have_an_id(api: Reference) -> None:
    """Every error says ``error``; every answer has a request id."""
    _, answer, headers = api.ask("GET", "/nonsense")
    assert set(answer) == {"error"}
    assert len(headers["x-request-id"]) == 36


def test_half_a_request_changes_nothing(api: Reference) -> None:
    """A connection that breaks off in the middle leaves no job."""
    before = len(api.get("/jobs"))
    with socket.create_connection(("127.0.0.1", api.port)) as wire:
        wire.sendall(b"POST /jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 50\r\n\r\n{")
    assert len(api.get("/jobs")) == before


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"nonsense\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /" + b"x" * (80 << 10) + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"POST /jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: -5\r\n\r\n{}",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"y" * (80 << 10) + b"\r\n\r\n",
    ],
)
def test_what_is_no_request(api: Reference, request_bytes: bytes) -> None:
    """400 with an error in JSON, and the connection is closed."""
    with socket.create_connection(("127.0.0.1", api.port), timeout=30) as wire:
        wire.sendall(request_bytes)
        answer = b""
        while piece := wire.recv(65536):
            answer += piece
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.split()[1] == b"400", answer
    assert set(json.loads(body)) == {"error"}


@pytest.mark.parametrize("method", ["PUT", "TRACE", "PROPFIND", "DELETE"])
def test_a_foreign_method(api: Reference, method: str) -> None:
    """405 that says which are known."""
    status, answer, headers = api.ask(method, "/jobs")
    assert status == 405
    assert set(answer) == {"error"}
    assert set(headers["Allow"].split(",")) == {"GET", "HEAD", "POST"}


def test_a_method_that_nobody_knows(api: Reference) -> None:
    """405 as well, with all that are spoken here: the path is not looked at any more."""
    status, answer, headers = api.ask("FOO", "/jobs")
    assert (status, set(answer)) == (405, {"error"})
    assert {"GET", "POST"} <= set(headers["Allow"].split(","))


def test_a_long_list_in_the_request_line(api: Reference) -> None:
    """Longer than what most servers take."""
    users = ",".join(f"user{number}" for number in range(5_000))
    assert api.get(f"/jobs?user={users}") == []


def test_null_clears(api: Reference) -> None:
    """PATCH with null takes a value away, and says which fields it changed."""
    job_id = submit(api, time_limit={"secs": 60, "nanos": 0}, memory_limit_mb=10, max_retries=2)
    cleared = {"time_limit": None, "memory_limit_mb": None, "max_retries": None}
    status, answer, _ = api.ask("PATCH", f"/jobs/{job_id}", cleared)
    assert status == 200
    assert answer["updated_fields"] == ["time_limit", "memory_limit_mb", "max_retries"]
    assert answer["job"]["time_limit"] is None
    assert answer["job"]["memory_limit_mb"] is None
    assert answer["job"]["max_retries"] == 0


def test_huge_numbers_are_harmless(api: Reference) -> None:
    """Durations and moments at the end of their range are taken or refused, and that is all."""
    most = (1 << 64) - 1
    job_id = submit(api, time_limit={"secs": most, "nanos": 999_999_999})
    assert api.get(f"/jobs/{job_id}")["time_limit"]["secs"] > 1_000_000
    far = {"secs_since_epoch": most, "nanos_since_epoch": 0}
    submit(api, scheduled_at=far)
    assert api.ask("POST", "/jobs", {"command": "true", "memory_limit_mb": most})[0] == 400
    start = {"secs_since_epoch": 4_000_000_000, "nanos_since_epoch": 0}
    status, made, _ = api.ask(
        "POST",
        "/reservations",
        {"user": "x", "gpu_count": 1, "start_time": start, "duration_secs": most},
    )
    assert status == 200
    assert api.ask("DELETE", f"/reservations/{made['reservation_id']}")[0] == 200
    for since in (-1, most, -most):
        assert api.ask("GET", f"/stats?since={since}")[0] == 200
    assert api.ask("POST", f"/jobs/{job_id}/release?at=-1")[0] == 400
    assert api.get("/health")["status"] == "ok"


def test_refused_transitions(api: Reference) -> None:
    """409 with a sentence, and no event tells of a change."""
    start = events(api, 1)[0][0]
    job_id = submit(api)
    assert api.ask("POST", f"/jobs/{job_id}/release")[0] == 409
    assert api.ask("POST", f"/jobs/{job_id}/fail")[0] == 409
    assert api.ask("POST", f"/jobs/{job_id}/cancel")[:2] == (200, None)
    for action in ("cancel", "hold", "release", "finish"):
        status, answer, _ = api.ask("POST", f"/jobs/{job_id}/{action}")
        assert status == 409, action
        assert str(job_id) in answer["error"]
    last = submit(api)
    told = [(name, data["job_id"]) for _, name, data in events(api, 4, Last_Event_ID=start)[1:]]
    assert told == [("job_submitted", job_id), ("job_completed", job_id), ("job_submitted", last)]


def test_log_content(api: Reference) -> None:
    """The last lines, how long the log is, and whether something is missing."""
    _, made, _ = api.ask("POST", "/jobs", {"command": "seq 100"})
    api.until(made["id"], "Finished")
    content = api.get(f"/jobs/{made['id']}/log/content?tail=2")
    assert content["content"] == "99\n100\n"
    assert content["truncated"]
    assert content["size"] == 292
    assert api.get(f"/jobs/{made['id']}/log/content?max_bytes=6")["content"] == "100\n"


def test_listing_pages_and_order(api: Reference) -> None:
    """limit, offset and order cut the listing."""
    ids = [submit(api) for _ in range(3)]
    newest = [job["id"] for job in api.get("/jobs?order=desc&limit=2&state=Queued")]
    assert newest == ids[:0:-1]
    assert [job["id"] for job in api.get("/jobs?order=desc&limit=1&offset=2")] == ids[:1]


def events(api: Reference, count: int, **headers: str) -> list[tuple[str, str, Any]]:
    """(id, name, data) of the first events of a stream."""
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    request = Request(f"http://127.0.0.1:{api.port}/events", headers=given)
    found: list[tuple[str, str, Any]] = []
    fields: dict[str, str] = {}
    with urlopen(request, timeout=30) as stream:
        while len(found) < count:
            line = stream.readline().decode().rstrip("\n")
            name, _, value = line.partition(": ")
            if line:
                fields[name] = value
            elif "event" in fields:
                data = json.loads(fields["data"])
                found.append((fields.get("id", ""), fields["event"], data))
                fields = {}
    return found


def test_events_are_replayed(api: Reference) -> None:
    """Starts, holds, releases, ends and cancellations by dependency, in order, by id."""
    start = events(api, 1)[0]
    assert start[1:] == ("connected", {})
    job_id = submit(api)
    child = submit(
        api, depends_on_ids=[job_id], auto_cancel_on_dependency_failure=True, scheduled_at=None
    )
    for action in ("hold", "release", "cancel"):
        api.ask("POST", f"/jobs/{job_id}/{action}")
    _, made, _ = api.ask("POST", "/jobs", {"command": "exit 3"})
    api.until(made["id"], "Failed")
    found = [(name, data) for _, name, data in events(api, 11, Last_Event_ID=start[0])][1:]
    names = [(name, data["job_id"]) for name, data in found]
    assert names == [
        ("job_submitted", job_id),
        ("job_submitted", child),
        ("job_held", job_id),
        ("job_released", job_id),
        ("job_completed", job_id),
        ("job_completed", child),
        ("job_submitted", made["id"]),
        ("job_started", made["id"]),
        ("job_execution_finished", made["id"]),
        ("job_completed", made["id"]),
    ]
    assert found[5][1]["final_state"] == "Cancelled"
    assert found[8][1]["exit_code"] == 3


def test_other_routes(api: Reference) -> None:
    """Whatever else the reference answers."""
    assert api.ask("GET", "/")[1] == "Hello, World!"
    assert api.ask("GET", "/metrics")[1] == "# Metrics feature not enabled\n"
    assert api.ask("GET", "/ui/")[0] == 503
    status = api.get("/status")
    assert {"version", "pid", "uptime_secs", "executor", "gpu_total", "gpu_available"} == set(
        status
    )
    job_id = submit(api)
    assert api.get(f"/debug/jobs/{job_id}")["runtime_seconds"] is None
    assert job_id in [job["id"] for job in api.get("/debug/state")["jobs"]]
    assert api.get("/debug/metrics")["jobs_by_state"]["Queued"] >= 1


def test_a_captured_script_moves_to_another_environment(api: Reference) -> None:
    """Its text and its arguments stay; a new command takes the place of both."""
    path = api.work / "captured.sh"
    path.write_text('#!/bin/bash\necho "at submission: $*"\n')
    said = api.machine.ctl("submit", "--begin", "now+1h", str(path), "a", "b c").stdout
    job_id = int(said.split()[-1])
    path.write_text("echo later\n")
    client = Client(str(api.machine.runtime))
    for environment in ("one", "two", None):
        status, answer, _ = api.ask("PATCH", f"/jobs/{job_id}", {"conda_env": environment})
        assert (status, answer["job"]["conda_env"]) == (200, environment)
        text = client.script(job_id)
        assert ("conda activate" in text) == (environment is not None)
        assert text.endswith('echo "at submission: $*"\n')
        assert api.machine.job(job_id)["args"] == ["a", "b c"]
    assert api.ask("PATCH", f"/jobs/{job_id}", {"parameters": {"x": "1"}})[0] == 400
    assert api.ask("PATCH", f"/jobs/{job_id}", {"command": "true"})[0] == 200
    record = api.machine.job(job_id)
    assert record["script"] is None and not record["args"]
