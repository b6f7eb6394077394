"""The little HTTP client, against servers that do as they please."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gflow.api import wire
from gflow.api.wire import Broken, Refusal, Unreachable, Wire

Serve = Callable[..., Wire]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """``serve(answer, answer…)``: one connection each, answered with these bytes, then closed."""
    path = str(tmp_path / "s")
    threads = []

    def start(*answers: bytes) -> Wire:
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listening.bind(path)
        listening.listen()

        def run() -> None:
            with listening:
                for answer in answers:
                    accepted, _ = listening.accept()
                    with accepted, contextlib.suppress(BrokenPipeError):
                        accepted.recv(65536)
                        for start in range(0, len(answer), 7):
                            accepted.sendall(answer[start : start + 7])

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        threads.append(thread)
        return Wire(path, timeout_s=10)

    yield start
    for thread in threads:
        thread.join(10)


def test_a_body_with_a_length(serve: Serve) -> None:
    """Content-Length bytes are read, however they come."""
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n" + b'{"a": "bc"}'
    assert serve(answer).call("GET", "/") == {"a": "bc"}


def test_a_body_in_chunks(serve: Serve) -> None:
    """Chunks, extensions and trailers are understood."""
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    answer = head + b"3;x=y\r\n[1,\r\na\r\n2,3,4,5,6]\r\n0\r\nT: x\r\n\r\n"
    assert serve(answer).call("GET", "/") == [1, 2, 3, 4, 5, 6]


def test_a_body_up_to_the_end(serve: Serve) -> None:
    """Without either, the end of the connection ends the body."""
    assert serve(b"HTTP/1.0 200 OK\r\n\r\n[7]").call("GET", "/") == [7]


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200",
        b"SSH-2.0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nab",
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n{",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n{",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{",
        b"x" * 100_000,
    ],
)
def test_what_is_cut_off_or_no_http_is_broken(serve: Serve, answer: bytes) -> None:
    """Never a wrong answer, never another exception."""
    with pytest.raises(Broken):
        serve(answer).call("POST", "/")


def test_a_refusal_carries_kind_and_sentence(serve: Serve) -> None:
    """The error object becomes an exception."""
    body = b'{"error": {"kind": "conflict", "message": "no"}}'
    with pytest.raises(Refusal, match="no") as caught:
        serve(b"HTTP/1.1 409 X\r\nContent-Length: %d\r\n\r\n" % len(body) + body).call("GET", "/")
    assert (caught.value.status, caught.value.kind) == (409, "conflict")


def test_an_error_without_an_object_is_a_refusal_all_the_same(serve: Serve) -> None:
    """A status is enough."""
    with pytest.raises(Refusal, match="status 500"):
        serve(b"HTTP/1.1 500 X\r\nContent-Length: 0\r\n\r\n").call("GET", "/")


def test_a_full_server_is_asked_again(serve: Serve) -> None:
    """503 with Retry-After means that there was no room for the connection."""
    full = b"HTTP/1.1 503 X\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    good = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]"
    assert serve(full, full, good).call("POST", "/") == []


def test_another_protocol_is_refused(serve: Serve) -> None:
    """A supervisor of another version is told apart from a broken one."""
    answer = b"HTTP/1.1 200 OK\r\nGflow-Protocol: 2\r\nContent-Length: 2\r\n\r\n{}"
    with pytest.raises(Refusal, match="protocol 2"):
        serve(answer).call("GET", "/")


def test_silence_is_broken(tmp_path: Path) -> None:
    """A supervisor that is stopped does not hold its clients for ever."""
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        listening.bind(path)
        listening.listen()
        with pytest.raises(Broken, match="did not answer within"):
            Wire(path, timeout_s=0.1).call("GET", "/")


def test_nobody_is_unreachable(tmp_path: Path) -> None:
    """No socket, or one that nobody listens at."""
    path = str(tmp_path / "s")
    with pytest.raises(Unreachable):
        Wire(path).call("GET", "/")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.bind(path)
    with pytest.raises(Unreachable):
        Wire(path).call("GET", "/")


@pytest.mark.skipif(os.getuid() != 0, reason="only root can listen as somebody else")
def test_a_stranger_is_not_trusted(tmp_path: Path) -> None:
    """Who listens at the socket must be oneself or root: nothing is sent to anybody else."""
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        listening.bind(path)
        before = os.geteuid()
        os.seteuid(65534)
        try:
            listening.listen()  # unix(7): the credentials of this moment are the peer's
        finally:
            os.seteuid(before)
        with pytest.raises(Unreachable, match="user 65534, "):
            Wire(path).call("GET", "/")


def test_queries() -> None:
    """None is left out, lists repeat their key, everything odd is escaped."""
    assert wire.query({}) == "" == wire.query({"a": None})
    assert wire.query({"a": 1, "b": True, "c": ["x", "ü &"]}) == "?a=1&b=true&c=x&c=%C3%BC%20%26"
