"""A small HTTP/1.1 client on a Unix socket: the standard library's would cost 25 ms to import.

One Wire is one connection, kept alive and made anew when it has to be. It understands what our
server sends: a length, chunks, or everything up to the end.
"""

from __future__ import annotations

import errno
import json
import os
import select
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any

PROTOCOL = "1"
#: How long a full server is asked again: its queue of connections, or its table, is full.
_PATIENCE_S = 10.0
_MAX_LINE = 64 << 10
_RECEIVE_BYTES = 256 << 10
#: struct ucred: pid, uid, gid.
_UCRED_BYTES = 12


class WireError(Exception):
    """No answer. ``str(error)`` is one sentence."""


class Unreachable(WireError):
    """There is no supervisor: nothing was sent."""


class Broken(WireError):
    """The connection ended or the time was over: whether the request was done is not known."""


class Refusal(WireError):
    """The supervisor said no. ``kind`` is that of ``gflow.errors.Refused``, or "internal"."""

    def __init__(self, status: int, kind: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind


class Answer:
    """Status, headers (lower-case names) and body of one response."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body


class Wire:
    """Requests to one supervisor. ``timeout_s``: how long it may be silent. Not for threads."""

    def __init__(self, path: str, timeout_s: float | None = 60.0) -> None:
        self.path = path
        self._timeout_s = timeout_s
        self._socket: socket.socket | None = None
        self._buffer = bytearray()

    def call(
        self,
        method: str,
        target: str,
        body: object = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
    ) -> Any:
        """The JSON of the answer. Raises Unreachable, Broken or Refusal."""
        answer = self.request(method, target, body, headers, timeout_s)
        return _json(answer.body, self.path)

    def request(
        self,
        method: str,
        target: str,
        body: object = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
    ) -> Answer:
        """One exchange; ``body`` is sent as JSON. Raises as ``call`` does."""
        status, received = self._begin(method, target, body, headers, timeout_s)
        data = b"".join(self._pieces(received))
        if received.get("connection", "").lower() == "close":
            self.close()
        if status >= 400:
            raise _refusal(status, data)
        return Answer(status, received, data)

    def stream(
        self, target: str, headers: Mapping[str, str] | None = None
    ) -> tuple[dict[str, str], Iterator[bytes]]:
        """Headers and pieces of a GET, as they come; the connection is closed after them."""
        status, received = self._begin("GET", target, None, headers, None)
        if status >= 400:
            raise _refusal(status, b"".join(self._pieces(received)))
        return received, self._pieces(received)

    def ask(self, target: str) -> None:
        """Send a GET and leave the answer for ``ready`` and ``take``."""
        self._connect(None)
        self._send(_message("GET", target, None, None))

    def ready(self, timeout_s: float) -> bool:
        """Whether something came within the time; for the answer to ``ask``."""
        assert self._socket is not None
        readable, _, _ = select.select([self._socket], [], [], timeout_s)
        return bool(readable)

    def take(self) -> Any:
        """The JSON of the answer to ``ask``. Raises Broken or Refusal."""
        status, received = self._head()
        data = b"".join(self._pieces(received))
        if status >= 400:
            raise _refusal(status, data)
        return _json(data, self.path)

    def close(self) -> None:
        """Close the connection; the next request makes a new one."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        self._buffer.clear()

    # --- one exchange -----------------------------------------------------------------------

    def _begin(
        self,
        method: str,
        target: str,
        body: object,
        headers: Mapping[str, str] | None,
        timeout_s: float | None,
    ) -> tuple[int, dict[str, str]]:
        message = _message(method, target, body, headers)
        repeatable = method == "GET" or "Idempotency-Key" in (headers or {})
        give_up_at = time.monotonic() + _PATIENCE_S
        pause_s = 0.02
        while True:
            fresh = self._socket is None
            try:
                self._connect(timeout_s)
                self._send(message)
                status, received = self._head()
            except Broken:
                self.close()
                if fresh or not repeatable:
                    raise
                continue  # kept alive too long: the other side had closed it
            if not (status == 503 and "retry-after" in received):
                return status, received
            data = b"".join(self._pieces(received))
            self.close()
            if time.monotonic() >= give_up_at:
                raise _refusal(status, data)
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, 0.5)

    def _connect(self, timeout_s: float | None) -> None:
        timeout_s = self._timeout_s if timeout_s is None else timeout_s
        if self._socket is not None:
            if self._still_open(self._socket):
                self._socket.settimeout(timeout_s)
                return
            self.close()
        give_up_at = time.monotonic() + _PATIENCE_S
        while True:
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            sock.settimeout(timeout_s)
            try:
                sock.connect(self.path)
            except OSError as error:
                sock.close()
                if error.errno != errno.EAGAIN:
                    raise Unreachable(
                        f"no supervisor answers at {self.path}: {error.strerror or error}"
                    ) from None
                if time.monotonic() >= give_up_at:
                    raise Unreachable(
                        f"the supervisor at {self.path} takes no connections: is it stopped?"
                    ) from None
                time.sleep(0.02)  # its queue is full
            else:
                self._check_peer(sock)
                self._socket = sock
                return

    def _check_peer(self, sock: socket.socket) -> None:
        """A job's environment is nobody's but ours and the administrator's (unix(7))."""
        credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED_BYTES)
        uid = int.from_bytes(credentials[4:8], sys.byteorder)
        if uid not in (0, os.getuid()):
            sock.close()
            raise Unreachable(
                f"no supervisor answers at {self.path}: who does is user {uid}, "
                "neither you nor root, and is not trusted"
            )

    @staticmethod
    def _still_open(sock: socket.socket) -> bool:
        """Whether an idle connection was not closed by the other side."""
        sock.setblocking(False)
        try:
            sock.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False  # the end, or something nobody asked for

    def _send(self, message: bytes) -> None:
        assert self._socket is not None
        self._buffer.clear()
        try:
            self._socket.sendall(message)
        except TimeoutError:
            raise self._silent() from None
        except OSError:
            pass  # refused before everything was read: the answer may be there all the same

    def _head(self) -> tuple[int, dict[str, str]]:
        words = self._line().split(None, 2)
        if len(words) < 2 or not words[0].startswith(b"HTTP/1.") or not words[1].isdigit():
            raise self._no_http()
        headers: dict[str, str] = {}
        while line := self._line():
            name, _, value = line.partition(b":")
            headers[name.decode("latin-1").lower()] = value.strip().decode("latin-1")
        spoken = headers.get("gflow-protocol")
        if spoken is not None and spoken != PROTOCOL:
            self.close()
            raise Refusal(
                505,
                "invalid",
                f"the supervisor at {self.path} speaks protocol {spoken[:20]}, this program "
                f"{PROTOCOL}: use the one that came with the supervisor",
            )
        return int(words[1]), headers

    def _pieces(self, headers: dict[str, str]) -> Iterator[bytes]:
        if headers.get("transfer-encoding", "").lower() == "chunked":
            while size := self._size(self._line().split(b";")[0], 16):
                yield from self._exactly(size)
                self._line()
            while self._line():
                pass
        elif "content-length" in headers:
            yield from self._exactly(self._size(headers["content-length"].encode(), 10))
        else:
            while self._buffer or self._fill(end=True):
                yield self._take(len(self._buffer))
            self.close()

    # --- bytes ------------------------------------------------------------------------------

    def _exactly(self, size: int) -> Iterator[bytes]:
        while size:
            if not self._buffer:
                self._fill()
            piece = self._take(min(size, len(self._buffer)))
            size -= len(piece)
            yield piece

    def _size(self, digits: bytes, base: int) -> int:
        try:
            size = int(digits, base)
        except ValueError:
            size = -1
        if size < 0:
            raise self._no_http()
        return size

    def _no_http(self) -> Broken:
        self.close()
        return Broken(f"what answers at {self.path} does not speak HTTP")

    def _line(self) -> bytes:
        while (end := self._buffer.find(b"\r\n")) < 0:
            if len(self._buffer) > _MAX_LINE:
                raise self._no_http()
            self._fill()
        line = self._take(end + 2)
        return line[:-2]

    def _take(self, size: int) -> bytes:
        piece = bytes(self._buffer[:size])
        del self._buffer[:size]
        return piece

    def _fill(self, *, end: bool = False) -> bool:
        if self._socket is None:
            raise Broken("the connection was closed")
        try:
            data = self._socket.recv(_RECEIVE_BYTES)
        except TimeoutError:
            raise self._silent() from None
        except OSError as error:
            self.close()
            raise Broken(f"the connection to the supervisor broke: {error.strerror}") from None
        if not data and not end:
            self.close()
            raise Broken("the supervisor closed the connection before it answered")
        self._buffer += data
        return bool(data)

    def _silent(self) -> Broken:
        seconds = self._socket.gettimeout() if self._socket else None
        self.close()
        return Broken(f"the supervisor at {self.path} did not answer within {seconds:g} s")


def _message(method: str, target: str, body: object, headers: Mapping[str, str] | None) -> bytes:
    lines = [f"{method} {target} HTTP/1.1", "Host: gflow", f"Gflow-Protocol: {PROTOCOL}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    data = b""
    if body is not None:
        data = json.dumps(body, separators=(",", ":")).encode()
        lines += ["Content-Type: application/json", f"Content-Length: {len(data)}"]
    elif method != "GET":
        lines.append("Content-Length: 0")
    return "\r\n".join([*lines, "", ""]).encode() + data


def _json(data: bytes, path: str) -> Any:
    try:
        return json.loads(data)
    except ValueError:
        raise Broken(f"the supervisor at {path} sent no JSON") from None


def _refusal(status: int, data: bytes) -> Refusal:
    try:
        error = json.loads(data)["error"]
        return Refusal(status, str(error["kind"]), str(error["message"]))
    except (ValueError, KeyError, TypeError):
        return Refusal(status, "internal", f"the supervisor answered with status {status}")


def new_key() -> str:
    """An Idempotency-Key that nobody else has."""
    return os.urandom(16).hex()


def quote(text: str) -> str:
    """Text as part of a URL (RFC 3986): unreserved characters stay."""
    kept = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~@"
    return "".join(
        chr(byte) if byte in kept else f"%{byte:02X}" for byte in text.encode(errors="replace")
    )


def query(parameters: Mapping[str, Any]) -> str:
    """``?a=1&b=2`` of what is not None; a list repeats its key; "" when nothing is left."""
    pairs = []
    for key, value in parameters.items():
        for item in value if isinstance(value, list | tuple) else [value]:
            if item is not None:
                text = str(item).lower() if isinstance(item, bool) else str(item)
                pairs.append(f"{key}={quote(text)}")
    return "?" + "&".join(pairs) if pairs else ""
