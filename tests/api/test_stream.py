"""Events and logs that go on."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest

from gflow.api.server import Limits
from tests.api.fake import RunningServer, running_server


class Listener:
    """Reads server-sent events one by one."""

    def __init__(
        self, server: RunningServer, target: str = "/v1/events", last_id: str = ""
    ) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(20)
        self.sock.connect(server.path)
        header = f"Last-Event-ID: {last_id}\r\n" if last_id else ""
        self.sock.sendall(f"GET {target} HTTP/1.1\r\nHost: x\r\n{header}\r\n".encode())
        self._file = self.sock.makefile("rb")
        self.lines = self._read_lines()
        assert next(self.lines).startswith(b"HTTP/1.1 200")
        while next(self.lines):
            pass

    def _read_lines(self) -> Iterator[bytes]:
        """Lines of the head, then of the chunks' content."""
        while line := self._file.readline().rstrip(b"\r\n"):
            yield line
        yield b""
        text = b""
        while size := int(self._file.readline() or b"0", 16):
            text += self._file.read(size)
            self._file.readline()
            *whole, text = text.split(b"\n")
            yield from whole

    def next(self) -> tuple[str, str | None, Any]:
        """(type, id, data) of the next event; comments have the type ":"."""
        fields: dict[bytes, bytes] = {}
        for line in self.lines:
            if line.startswith(b":"):
                fields[b"event"] = b":"
            elif line:
                name, _, value = line.partition(b": ")
                fields[name] = value
            elif fields:
                break
        else:
            raise EOFError
        event_id = fields.get(b"id")
        return (
            fields[b"event"].decode(),
            None if event_id is None else event_id.decode(),
            json.loads(fields.get(b"data", b"null")),
        )

    def close(self) -> None:
        self._file.close()
        self.sock.close()


def publish(server: RunningServer, *numbers: int) -> None:
    def now() -> None:
        for number in numbers:
            server.operations.feed.publish({"type": "job", "job_id": number, "state": "PENDING"})

    server.run(now)


def test_events_come_as_they_happen(server: RunningServer) -> None:
    """A listener gets an id to come back with, then every event with its own."""
    listener = Listener(server)
    assert listener.next()[:2] == ("hello", "t1-0")
    publish(server, 7, 8)
    assert listener.next() == ("job", "t1-1", {"type": "job", "job_id": 7, "state": "PENDING"})
    assert listener.next()[1] == "t1-2"
    listener.close()


def test_events_are_replayed_after_an_id(server: RunningServer) -> None:
    """Who comes back misses nothing."""
    publish(server, 1, 2, 3)
    listener = Listener(server, last_id="t1-1")
    listener.next()
    assert [listener.next()[1], listener.next()[1]] == ["t1-2", "t1-3"]
    listener.close()


@pytest.mark.parametrize("last_id", ["t1-5", "t0-1", "garbage"])
def test_who_is_too_late_gets_a_reset(server: RunningServer, last_id: str) -> None:
    """An id that cannot be replayed is answered by reset, with an id to go on from."""
    publish(server, *range(200))
    listener = Listener(server, last_id=last_id)
    listener.next()
    assert listener.next()[:2] == ("reset", "t1-200")
    listener.close()


def test_events_of_some_jobs(server: RunningServer) -> None:
    """job= narrows the stream."""
    listener = Listener(server, "/v1/events?job=5")
    listener.next()
    publish(server, 4, 5)
    assert listener.next()[2]["job_id"] == 5
    listener.close()


def test_silence_is_broken_by_a_comment() -> None:
    """A heartbeat proves that both sides are there."""
    with running_server(Limits(heartbeat_s=0.05)) as server:
        listener = Listener(server)
        listener.next()
        assert listener.next()[0] == ":"
        listener.close()


def test_a_reader_that_stands_still_costs_no_memory(server: RunningServer) -> None:
    """Its events stay in the ring, and when they have left it, it gets a reset."""
    listener = Listener(server)
    listener.next()
    text = "x" * 10_000

    def flood() -> None:
        for _ in range(50):
            server.operations.feed.publish({"type": "job", "job_id": 1, "text": text})

    for _ in range(40):
        server.run(flood)
    seen = [listener.next()[0] for _ in range(20)]
    deadline = time.monotonic() + 20
    while seen[-1] != "reset":
        assert time.monotonic() < deadline
        seen.append(listener.next()[0])
    assert len(seen) < 2000
    listener.close()


def test_streams_end_with_the_server() -> None:
    """An open stream does not keep the supervisor from ending."""
    with running_server() as server:
        listener = Listener(server)
        listener.next()
        server.run(server.server.close(5.0))
        with pytest.raises(EOFError):
            listener.next()
        listener.close()


def log_of(server: RunningServer, target: str) -> tuple[dict[bytes, bytes], bytes]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(20)
        sock.connect(server.path)
        sock.sendall(f"GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        data = b""
        while piece := sock.recv(65536):
            data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    headers = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
    return headers, body


def test_a_slice_of_a_log(server: RunningServer) -> None:
    """Offset and limit cut a piece out; headers say where it is."""
    server.operations.add(1)
    server.operations.logs[1] = b"0123456789"
    headers, body = log_of(server, "/v1/jobs/1/log?offset=3&limit=4")
    assert body == b"3456"
    assert (headers[b"gflow-log-offset"], headers[b"gflow-log-size"]) == (b"3", b"10")
    assert log_of(server, "/v1/jobs/1/log?offset=-2")[1] == b"89"


def test_a_followed_log_ends_with_its_job(server: RunningServer) -> None:
    """Following sends what comes and stops when the job has ended."""
    server.operations.add(1, state="RUNNING")
    server.operations.logs[1] = b"one\n"

    def end() -> None:
        server.operations.logs[1] += b"two\n"
        server.operations.end(1, "COMPLETED")

    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(20)
        sock.connect(server.path)
        sock.sendall(b"GET /v1/jobs/1/log?follow=true HTTP/1.0\r\n\r\n")
        data = b""
        while b"one\n" not in data:
            data += sock.recv(65536)
        server.run(end)
        while piece := sock.recv(65536):
            data += piece
    assert data.endswith(b"one\ntwo\n")
