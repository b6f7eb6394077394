"""The server over a real socket, spoken to in raw HTTP."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import time
from collections.abc import Callable
from typing import Any

import pytest

from gflow.api.server import Limits
from tests.api.fake import RunningServer, running_server


def connect(server: RunningServer) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.settimeout(20)
    sock.connect(server.path)
    return sock


def read_all(sock: socket.socket) -> bytes:
    data = b""
    with contextlib.suppress(ConnectionError):
        while piece := sock.recv(65536):
            data += piece
    return data


def exchange(server: RunningServer, request: bytes) -> tuple[int, dict[str, str], bytes]:
    with connect(server) as sock:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            sock.sendall(request)
        head, _, body = read_all(sock).partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines)
    return int(first.split()[1]), headers, body


def call(
    server: RunningServer, method: str, target: str, body: object = None, **headers: str
) -> tuple[int, dict[str, str], Any]:
    data = (
        body if isinstance(body, bytes) else json.dumps(body).encode() if body is not None else b""
    )
    lines = [f"{method} {target} HTTP/1.1", "Host: x", "Connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    lines += [f"Content-Length: {len(data)}", "", ""]
    status, received, answer = exchange(server, "\r\n".join(lines).encode() + data)
    return status, received, json.loads(answer)


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def error_of(answer: tuple[int, dict[str, str], Any]) -> tuple[int, str]:
    status, headers, body = answer
    assert headers["content-type"].startswith("application/json")
    assert set(body["error"]) == {"kind", "message"} and "\n" not in body["error"]["message"]
    assert "Traceback" not in body["error"]["message"]
    return status, body["error"]["kind"]


# --- what is there ------------------------------------------------------------------------------


def test_a_submission_is_created(server: RunningServer) -> None:
    """POST of one spec answers 201 with its id; the peer is the kernel's word."""
    status, headers, body = call(server, "POST", "/v1/jobs", {"command": ["true"], "uid": 4711})
    assert (status, body) == (201, {"job_ids": [1], "durable": True})
    assert headers["gflow-protocol"] == "1"
    peer = server.operations.calls[0][1][0]
    assert (peer.uid, peer.pid, peer.user) == (os.getuid(), os.getpid(), "me")


def test_a_list_is_submitted_whole(server: RunningServer) -> None:
    """A list of specs is one submission."""
    specs = [{"command": ["true"], "name": str(n)} for n in range(50)]
    status, _, body = call(server, "POST", "/v1/jobs?wait=false", specs)
    assert status == 201 and body == {"job_ids": [*range(1, 51)], "durable": False}
    assert len(server.operations.calls) == 1


def test_a_big_list_is_parsed_item_by_item(server: RunningServer) -> None:
    """Megabytes of specs arrive in order, blanks and all."""
    items = [
        json.dumps({"command": ["true"], "comment": "ü" * 300, "name": str(n)}) for n in range(900)
    ]
    body = (" [ " + " ,\n ".join(items) + " ] ").encode()
    assert len(body) > 256 << 10
    status, _, answer = call(server, "POST", "/v1/jobs", body)
    assert status == 201 and len(answer["job_ids"]) == 900
    assert [s.spec.name for s in server.operations.submissions] == [str(n) for n in range(900)]


@pytest.mark.parametrize("end", ["", "]]", ",]", "] x", "}", "{]", "nul]"])
def test_a_big_list_that_is_broken_is_refused(server: RunningServer, end: str) -> None:
    """Nothing of a list is submitted when its end is wrong."""
    item = json.dumps({"command": ["true"], "comment": "x" * 60_000})
    body = ("[" + ",".join([item] * 5) + end).encode()
    answer = call(server, "POST", "/v1/jobs", body)
    assert error_of(answer) == (400, "invalid")
    assert server.operations.records == {}


def test_one_bad_item_refuses_the_list_and_is_named(server: RunningServer) -> None:
    """All or nothing, and the sentence says which item."""
    answer = call(server, "POST", "/v1/jobs", [{"command": ["true"]}, {"command": [7]}])
    assert error_of(answer) == (400, "invalid")
    assert "item 1" in answer[2]["error"]["message"]
    assert server.operations.records == {}


def test_an_idempotency_key_is_handed_on(server: RunningServer) -> None:
    """The same key answers the same ids."""
    first = call(server, "POST", "/v1/jobs", {"command": ["true"]}, Idempotency_Key="k1")
    again = call(server, "POST", "/v1/jobs", {"command": ["true"]}, Idempotency_Key="k1")
    assert first[2] == again[2] == {"job_ids": [1], "durable": True}


def test_listing_filters(server: RunningServer) -> None:
    """Parameters become a filter, values may be repeated."""
    for number, name in enumerate("abc", 1):
        server.operations.add(number, name=name)
    _, _, body = call(server, "GET", "/v1/jobs?name=a&name=c&state=PENDING")
    assert [record["id"] for record in body["jobs"]] == [1, 3]
    assert body["next"] is None


def test_pages_are_bounded_and_followed(server: RunningServer) -> None:
    """At most 500 records, and a cursor for the rest."""
    for number in range(1, 701):
        server.operations.add(number)
    _, _, first = call(server, "GET", "/v1/jobs")
    _, _, second = call(server, "GET", f"/v1/jobs?cursor={first['next']}")
    assert [len(first["jobs"]), len(second["jobs"]), second["next"]] == [500, 200, None]
    assert error_of(call(server, "GET", "/v1/jobs?limit=501")) == (400, "invalid")


def test_changes(server: RunningServer) -> None:
    """PATCH hands checked changes on; null clears."""
    server.operations.add(1)
    status, _, _ = call(server, "PATCH", "/v1/jobs/1", {"priority": 3, "time_limit_s": None})
    assert status == 200
    assert server.operations.calls == [("update", (1, {"priority": 3, "time_limit_s": None}))]


def test_one_action(server: RunningServer) -> None:
    """POST to a job's action does it, or is refused as a whole."""
    server.operations.add(1)
    assert call(server, "POST", "/v1/jobs/1/cancel")[2] == {"job_ids": [1], "durable": True}
    assert error_of(call(server, "POST", "/v1/jobs/9/cancel")) == (404, "not_found")


def test_many_actions(server: RunningServer) -> None:
    """A filter in the body names the jobs; refusals are listed one by one."""
    server.operations.add(1, name="x")
    server.operations.add(2)
    _, _, body = call(server, "POST", "/v1/actions/hold", {"names": ["x"]})
    assert body["job_ids"] == [1]
    _, _, body = call(server, "POST", "/v1/actions/cancel", {"jobs": [2, "77"]})
    assert body["job_ids"] == [2] and body["refused"][0]["id"] == 77


def test_an_action_on_nothing_is_refused(server: RunningServer) -> None:
    """An empty filter never means everybody's jobs."""
    server.operations.add(1)
    assert error_of(call(server, "POST", "/v1/actions/cancel", {})) == (400, "invalid")
    assert error_of(call(server, "POST", "/v1/actions/cancel", {"all": False})) == (400, "invalid")
    assert server.operations.calls == []


def test_signals(server: RunningServer) -> None:
    """A signal goes by name or number."""
    server.operations.add(1)
    assert call(server, "POST", "/v1/jobs/1/signal", {"signal": "USR1", "tree": True})[0] == 200
    assert server.operations.calls[0][1][1:] == (10, True)
    assert error_of(call(server, "POST", "/v1/jobs/1/signal", {"signal": "X"})) == (400, "invalid")


def test_waiting_ends_with_the_job(server: RunningServer) -> None:
    """until=ended answers when the job has ended, not at the end of the time."""
    server.operations.add(1)
    with connect(server) as sock:
        sock.sendall(
            b"GET /v1/jobs/1?until=ended&timeout_s=60 HTTP/1.1\r\nHost: x\r\n"
            b"Connection: close\r\n\r\n"
        )
        until(lambda: 1 in server.operations._changed)
        server.run(lambda: server.operations.end(1, "COMPLETED"))
        assert b'"COMPLETED"' in read_all(sock)


def test_a_waiter_that_goes_away_leaves_nothing_behind(server: RunningServer) -> None:
    """A long poll ends when its client does."""
    server.operations.add(1)
    with connect(server) as sock:
        sock.sendall(b"GET /v1/jobs/1?until=ended HTTP/1.1\r\nHost: x\r\n\r\n")
        until(lambda: 1 in server.operations._changed)
    until(lambda: server.server.connections == 0)
    until(lambda: server.run(lambda: server.server.streams._wakes == set()))


# --- what is refused ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/v1/nothing", 404),
        ("GET", "/v2/jobs", 404),
        ("DELETE", "/v1/jobs/1", 405),
        ("POST", "/v1/ping", 405),
        ("GET", "/v1/jobs/1/cancel", 405),
        ("POST", "/v1/jobs/1/explode", 404),
        ("GET", "/v1/jobs/9", 404),
        ("GET", "/v1/jobs/0", 400),
        ("GET", "/v1/jobs/-1", 400),
        ("GET", f"/v1/jobs/{2**63}", 400),
        ("GET", "/v1/jobs/1e3", 400),
        ("GET", "/v1/jobs/0x1", 400),
        ("GET", "/v1/jobs/%201", 400),
        ("GET", "/v1/jobs/%EF%BC%91", 400),
        ("GET", "/v1/jobs/%00", 400),
        ("GET", "/v1/jobs?nmae=x", 400),
        ("GET", "/v1/jobs?state=pending", 400),
        ("GET", "/v1/jobs?limit=1e2", 400),
        ("GET", "/v1/jobs/1?until=begun", 400),
        ("GET", "/v1/jobs/1?until=ended&timeout_s=nan", 400),
        ("POST", "/v1/jobs?wait=maybe", 400),
    ],
)
def test_bad_requests_get_json_errors(
    server: RunningServer, method: str, target: str, status: int
) -> None:
    """Wrong paths, methods, ids and parameters are one sentence in JSON."""
    server.operations.add(1)
    assert error_of(call(server, method, target))[0] == status


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"NaN",
        b"1e999",
        b"-0",
        b"18446744073709551616",
        b"[]",
        b'""',
        b'{"command":["true"],"priority":1e999}',
        b'{"command":["true"],"priority":18446744073709551616}',
        b'{"command":["true"],"priority":-0.5}',
        b'{"command":["true"],"name":"\\ud800"}',
    ],
)
def test_bad_bodies_are_refused(server: RunningServer, body: bytes) -> None:
    """Garbage, nesting, strange numbers: an error, and nothing is submitted."""
    assert error_of(call(server, "POST", "/v1/jobs", body)) == (400, "invalid")
    assert server.operations.records == {}


def test_deep_nesting_in_a_big_list_is_refused(server: RunningServer) -> None:
    """The parser of long lists has a bound as well."""
    body = b"[" + b"[" * 300_000
    assert error_of(call(server, "POST", "/v1/jobs", body)) == (400, "invalid")


def test_a_body_that_is_announced_too_long_is_refused_at_once() -> None:
    """Nobody waits for two gigabytes."""
    with running_server(Limits(body_bytes=1000)) as server:
        request = b"POST /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Length: 2147483648\r\n\r\n"
        status, _, body = exchange(server, request)
        assert (status, json.loads(body)["error"]["kind"]) == (413, "too_large")


def test_a_body_that_grows_too_long_is_refused() -> None:
    """Chunks are counted."""
    with running_server(Limits(body_bytes=1000)) as server:
        chunk = b"3e8\r\n" + b"x" * 1000 + b"\r\n"
        request = (
            b"POST /v1/jobs HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk * 3
        )
        status, _, body = exchange(server, request)
        assert (status, json.loads(body)["error"]["kind"]) == (413, "too_large")


def test_too_many_specs_are_refused() -> None:
    """A list has a limit."""
    with running_server(Limits(specs=2)) as server:
        answer = call(server, "POST", "/v1/jobs", [{"command": ["true"]}] * 3)
        assert error_of(answer) == (413, "too_large")


def test_another_protocol_version_is_refused_clearly(server: RunningServer) -> None:
    """A client of another version learns both versions; nothing changes."""
    answer = call(server, "POST", "/v1/jobs", {"command": ["true"]}, Gflow_Protocol="2")
    assert error_of(answer) == (400, "invalid")
    assert "protocol" in answer[2]["error"]["message"]
    assert server.operations.records == {}


def test_web_pages_are_refused(server: RunningServer) -> None:
    """A browser's request names its Origin: no page of any site may act for its user."""
    assert error_of(call(server, "POST", "/v1/drain", {}, Origin="http://x"))[0] == 403


def test_a_bug_is_told_to_the_log_and_not_to_the_client(server: RunningServer) -> None:
    """An unexpected exception is an internal error; the log has the traceback."""
    answer = call(server, "POST", "/v1/check")
    assert error_of(answer) == (500, "internal")
    assert any("ZeroDivisionError" in line for line in server.logged)


def test_other_users_are_not_let_in() -> None:
    """In user mode a stranger gets 403 before anything is read."""
    with running_server(allowed_uids=frozenset({os.getuid() + 1})) as server:
        assert error_of(call(server, "GET", "/v1/ping")) == (403, "forbidden")


# --- what it may cost ---------------------------------------------------------------------------


def test_silent_and_slow_connections_are_dropped() -> None:
    """Who sends nothing, or a byte now and then, is closed at the deadline; others are served."""
    with running_server(Limits(idle_timeout_s=0.3)) as server:
        silent, slow = connect(server), connect(server)
        with silent, slow:
            deadline = time.monotonic() + 20
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                for byte in b"GET /v1/ping HTTP/1.1\r\nX: " + b"x" * 10_000:
                    slow.send(bytes([byte]))
                    time.sleep(0.05)
                    assert time.monotonic() < deadline
            assert read_all(silent) == b""
            assert call(server, "GET", "/v1/ping")[0] == 200


def test_a_body_that_comes_too_slowly_is_refused() -> None:
    """The whole body has one deadline."""
    with running_server(Limits(body_timeout_s=0.2)) as server:
        with connect(server) as sock:
            sock.sendall(b"POST /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{")
            assert b"too slowly" in read_all(sock)


def test_a_kept_connection_serves_many_requests(server: RunningServer) -> None:
    """Keep-alive works, also pipelined."""
    request = b"GET /v1/ping HTTP/1.1\r\nHost: x\r\n\r\n"
    last = b"GET /v1/ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    with connect(server) as sock:
        sock.sendall(request * 20 + last)
        assert read_all(sock).count(b"HTTP/1.1 200") == 21


def test_connections_are_counted() -> None:
    """One too many is told to come again; the others stay."""
    with running_server(Limits(connections=3)) as server:
        open_ones = [connect(server) for _ in range(3)]
        until(lambda: server.server.connections == 3)
        status, headers, body = exchange(server, b"GET /v1/ping HTTP/1.1\r\n\r\n")
        assert (status, headers["retry-after"]) == (503, "1")
        assert json.loads(body)["error"]["kind"] == "unavailable"
        for sock in open_ones:
            sock.close()
        until(lambda: server.server.connections == 0)
        assert call(server, "GET", "/v1/ping")[0] == 200


def test_half_a_request_and_garbage_leave_nothing(server: RunningServer) -> None:
    """Connections that never become requests vanish without a trace."""
    for data in (
        b"",
        b"GET /v1",
        b"\x00\xff" * 100,
        b"POST /v1/jobs HTTP/1.1\r\nContent-Length: 5\r\n\r\n{",
    ):
        with connect(server) as sock:
            sock.sendall(data)
    until(lambda: server.server.connections == 0)
    assert call(server, "GET", "/v1/ping")[0] == 200
