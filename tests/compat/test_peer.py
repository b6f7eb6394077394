"""Who is at the other end of a TCP connection, and who is not let in."""

from __future__ import annotations

import json
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator

import pytest

from gflow.compat.peer import SocketTable
from tests.compat.reference import Reference

Pair = tuple[socket.socket, socket.socket]

#: Speaks HTTP as somebody else: uid, port, request; prints the answer.
AS_OTHER = """
import os, socket, sys
os.setgid(int(sys.argv[1])); os.setuid(int(sys.argv[1]))
s = socket.socket()
s.connect(("127.0.0.1", int(sys.argv[2])))
s.sendall(sys.stdin.buffer.read())
while piece := s.recv(65536):
    sys.stdout.buffer.write(piece)
"""


@pytest.fixture(params=[(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
def pair(request: pytest.FixtureRequest) -> Iterator[Pair]:
    """The client's end and the accepted one of a loopback connection."""
    family, address = request.param
    with socket.socket(family) as listener:
        try:
            listener.bind((address, 0))
        except OSError as error:
            pytest.skip(f"no {address} here: {error}")
        listener.listen()
        with socket.socket(family) as client:
            client.connect(listener.getsockname())
            accepted, _ = listener.accept()
            with accepted:
                yield client, accepted


@pytest.fixture
def table() -> Iterator[SocketTable]:
    """The kernel's table of sockets."""
    made = SocketTable()
    yield made
    made.close()


def test_the_kernel_knows_the_peer(pair: Pair, table: SocketTable) -> None:
    """An open connection belongs to the uid that made it."""
    assert table.uid_of_peer(pair[1]) == os.getuid()


def test_who_sends_and_closes_is_nobody(pair: Pair, table: SocketTable) -> None:
    """A closed socket reads as uid 0 and has no inode: it is never taken for root's."""
    client, accepted = pair
    ends = accepted.family, client.getsockname(), accepted.getsockname()
    client.sendall(b"POST /jobs HTTP/1.1\r\n")
    client.close()
    assert table.uid_of_peer(accepted) is None
    holder = table.look_up(*ends)
    assert holder is None or not holder.inode


def test_a_half_closed_connection_is_nobody(pair: Pair, table: SocketTable) -> None:
    """Only an established connection counts."""
    pair[0].shutdown(socket.SHUT_WR)
    assert table.uid_of_peer(pair[1]) is None


def test_a_listener_is_not_taken_for_a_connection(table: SocketTable) -> None:
    """The kernel's search falls back to listeners: that is no answer."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        ours = listener.getsockname()
        assert table.look_up(socket.AF_INET, ours, ("127.0.0.1", 9)) is None


def post(command: str, *headers: str) -> bytes:
    """A request that would submit a job."""
    body = json.dumps({"command": command})
    head = ["POST /jobs HTTP/1.1", "Content-Type: application/json", *headers]
    if not any(line.startswith("Host:") for line in headers):
        head.append("Host: localhost")
    head += [f"Content-Length: {len(body)}", "Connection: close", "", body]
    return "\r\n".join(head).encode()


def said(api: Reference, request: bytes) -> str:
    """What is answered to a raw request of ours."""
    with socket.create_connection(("127.0.0.1", api.port), timeout=30) as wire:
        wire.sendall(request)
        answer = b""
        while piece := wire.recv(65536):
            answer += piece
    return answer.decode()


def test_submit_and_run_away_is_refused(api: Reference) -> None:
    """Connect, send, close before anybody looks: no job comes of it."""
    before = len(api.get("/jobs"))
    api.machine.supervisor.send_signal(19)  # type: ignore[union-attr]  # nobody accepts now
    try:
        for linger_s in (0, 1):
            with socket.create_connection(("127.0.0.1", api.port)) as wire:
                wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, linger_s))
                wire.sendall(post("touch run-away"))
        half = socket.create_connection(("127.0.0.1", api.port))
        half.sendall(post("touch run-away"))
        half.shutdown(socket.SHUT_WR)
    finally:
        api.machine.supervisor.send_signal(18)  # type: ignore[union-attr]
    with half:
        assert half.recv(65536).startswith(b"HTTP/1.1 403")
    assert len(api.get("/jobs")) == before


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be somebody else")
@pytest.mark.parametrize(
    "request_line",
    ["POST /jobs", "POST /jobs/1/cancel", "GET /jobs/1/log/content", "GET /jobs", "GET /health"],
)
def test_another_user_is_refused(api: Reference, request_line: str) -> None:
    """Whatever another uid asks of a user's supervisor: 403, and nothing happens."""
    api.ask("POST", "/jobs", {"command": "echo secret", "submitted_by": "me"})
    before = len(api.get("/jobs"))
    body = json.dumps({"command": "true", "submitted_by": "root"})
    lines = [
        f"{request_line} HTTP/1.1",
        "Host: localhost",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
    ]
    answer = subprocess.run(
        [sys.executable, "-c", AS_OTHER, "65534", str(api.port)],
        input="\r\n".join([*lines, "", body]).encode(),
        capture_output=True,
        timeout=30,
        check=False,
    )
    assert answer.stdout.startswith(b"HTTP/1.1 403"), answer
    assert b"secret" not in answer.stdout
    assert len(api.get("/jobs")) == before


@pytest.mark.parametrize(
    "header",
    [
        "Origin: http://evil.example",
        "Origin: http://localhost:59000",
        "Origin: null",
        "Host: evil.example",
        "Host: localhost.evil.example:59000",
        "Sec-Fetch-Site: cross-site",
    ],
)
def test_a_web_page_is_refused(api: Reference, header: str) -> None:
    """What a browser would send for a page, or after DNS rebinding: 403."""
    before = len(api.get("/jobs"))
    answer = said(api, post("touch page", header))
    assert answer.startswith("HTTP/1.1 403")
    assert '{"error":' in answer
    assert len(api.get("/jobs")) == before


def test_a_web_page_cannot_cancel(api: Reference) -> None:
    """A POST without a body is no exception."""
    job_id = api.ask("POST", "/jobs", {"command": "sleep 60"})[1]["id"]
    api.until(job_id, "Running")
    status, _, _ = api.ask("POST", f"/jobs/{job_id}/cancel", Origin="http://evil.example")
    assert status == 403
    assert api.state(job_id) == "Running"


def test_the_name_in_a_message_is_a_label_only(api: Reference) -> None:
    """Whom a job belongs to is what the kernel says."""
    job_id = api.ask("POST", "/jobs", {"command": "true", "submitted_by": "somebody"})[1]["id"]
    record = api.machine.job(job_id)
    assert record["uid"] == os.getuid()
    assert api.get(f"/jobs/{job_id}")["submitted_by"] == record["user"]
