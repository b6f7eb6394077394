"""Ten thousand random frames: nothing changes, nothing stays, the server goes on answering."""

from __future__ import annotations

import contextlib
import json
import random
import socket
import time

import pytest

from gflow.api.client import Client
from tests.api.fake import RunningServer

FRAMES = 2_500
#: None of them is valid, and one changed byte makes none of them so.
_BODIES = (
    b'{"command":[],"nothing":1}',
    b'[{"command":[],"nothing":1},{"script":"","name":7}]',
    b'{"command":["a"],"resources":{"cpus":-1},"priority":1e999}',
    b"[" * 3000,
    b'{"a":' * 3000,
    b"\xff\xfe\x00",
)
_TARGETS = (
    "GET /v1/jobs",
    "GET /v1/jobs/1",
    "GET /v1/jobs/1/log?offset=-5",
    "GET /v1/history?since=0",
    "GET /v1/status",
    "GET /v1/events",
    "POST /v1/jobs",
    "PATCH /v1/jobs/1",
    "POST /v1/nothing",
    "OPTIONS *",
    "PRI * HTTP/2.0",
)


def frame(chance: random.Random) -> bytes:
    """Garbage, a request with a lie in it, or a request with some bytes changed."""
    kind = chance.randrange(5)
    if kind == 0:
        return chance.randbytes(chance.randrange(300))
    body = chance.choice(_BODIES)
    length = chance.choice([len(body), 0, len(body) + 5, 2**31, -1])
    head = [f"{chance.choice(_TARGETS)} HTTP/1.1", "Host: x", f"Content-Length: {length}"]
    if chance.random() < 0.2:
        head.append("Transfer-Encoding: chunked")
    if chance.random() < 0.1:
        head.append("X: " + "y" * chance.choice([100, 9000, 70_000]))
    if chance.random() < 0.1:
        head.append(f"Last-Event-ID: t1-{chance.choice(['0', '99', '-', '9' * 50])}")
    data = bytearray("\r\n".join([*head, "", ""]).encode() + body)
    if kind > 2:
        for _ in range(chance.randrange(1, 6)):
            data[chance.randrange(len(data))] = chance.randrange(256)
    if kind == 4:
        del data[chance.randrange(len(data)) :]
    return bytes(data)


@pytest.mark.parametrize("seed", range(4))
def test_random_frames_change_nothing(server: RunningServer, seed: int) -> None:
    """State is the same afterwards, every connection is gone, and the next request is answered."""
    print(f"seed {seed}")
    chance = random.Random(seed)
    for number in (1, 2, 3):
        server.operations.add(number)
    before = json.dumps(server.operations.records)
    for _ in range(FRAMES):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
            sock.connect(server.path)  # waits while the server's queue is full
            sock.settimeout(20)
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                sock.sendall(frame(chance))
                if chance.random() < 0.5:
                    sock.shutdown(socket.SHUT_WR)
                    answer = sock.recv(1 << 20)
                    assert not answer or answer.startswith(b"HTTP/1.")
                    assert b"Traceback" not in answer
    with Client(str(server.folder)) as client:
        assert client.ping()["version"]
    deadline = time.monotonic() + 20
    while server.server.connections:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert json.dumps(server.operations.records) == before
    changes = {name for name, _ in server.operations.calls} - {"jobs", "history"}
    assert changes == set()
    assert not server.logged, server.logged[0]
