"""One connection: who is there, and how long and how many of them are let in."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import struct
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from aiohttp import web
from aiohttp.http_exceptions import BadHttpMethod

from gflow.api.operations import Peer
from gflow.api.surroundings import Limit
from gflow.errors import Refused

PROTOCOL = "1"

_METHODS = "GET,HEAD,POST,PUT,PATCH,DELETE"
_REQUEST_LINE = re.compile(r"[A-Za-z-]+ [!-~]+ HTTP/1\.[01]")
_UCRED = struct.Struct("3i")


@dataclass(slots=True, frozen=True)
class Limits:
    """What one client, or all of them, may cost."""

    connections: int = 1024
    #: Of one user, root apart, where several may come in.
    connections_per_user: int = 512
    body_bytes: int = 32 << 20
    #: A connection without a complete request, or a reader of an answer that stands still.
    idle_timeout_s: float = 30.0
    #: From the head of a request to the last byte of its body.
    body_timeout_s: float = 30.0
    #: Specs in one list.
    specs: int = 10_000
    array_tasks: int = 1_000_000
    #: Resource limits that a job has without asking for them.
    inherited: frozenset[Limit] = frozenset()
    #: Jobs that say nothing about it run on a terminal.
    pty: bool = False
    #: Longest ``until=ended`` of one request.
    wait_s: float = 300.0
    #: Silence on an event stream, after which a comment line proves that it is alive.
    heartbeat_s: float = 15.0


def peer_of(sock: socket.socket) -> tuple[int, int, int]:
    """(uid, gid, pid) of the process that connected (unix(7), SO_PEERCRED)."""
    pid, uid, gid = _UCRED.unpack(
        sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    )
    return uid, gid, pid


class Gate:
    """Decides who comes in; knows every open connection."""

    def __init__(
        self,
        limits: Limits,
        allowed_uids: frozenset[int] | None,
        user_name: Callable[[int], str | None],
    ) -> None:
        self.limits = limits
        self.open: set[Connection] = set()
        self._of_user: Counter[int] = Counter()
        self._allowed_uids = allowed_uids
        self._user_name = user_name

    def identify(self, transport: asyncio.BaseTransport) -> Peer:
        """The peer, or Refused."""
        return self.admit(*peer_of(transport.get_extra_info("socket")))

    def admit(self, uid: int, gid: int, pid: int) -> Peer:
        """Let somebody in who is known, or raise Refused."""
        if self._allowed_uids is not None and uid not in self._allowed_uids:
            raise Refused(
                Refused.FORBIDDEN, f"cannot let user {uid} in: this supervisor serves one user only"
            )
        if len(self.open) >= self.limits.connections:
            raise Refused(Refused.UNAVAILABLE, "cannot take the connection: too many are open")
        shared = self._allowed_uids is None and uid != 0
        if shared and self._of_user[uid] >= self.limits.connections_per_user:
            raise Refused(Refused.UNAVAILABLE, "cannot take the connection: too many are yours")
        return Peer(uid, gid, pid, self._user_name(uid))

    def enter(self, connection: Connection, peer: Peer) -> None:
        """Count a connection that was let in."""
        self.open.add(connection)
        self._of_user[peer.uid] += 1

    def leave(self, connection: Connection, peer: Peer) -> None:
        """Forget a connection that is lost."""
        self.open.discard(connection)
        self._of_user[peer.uid] -= 1
        if not self._of_user[peer.uid]:
            del self._of_user[peer.uid]


class Connection(web.RequestHandler):
    """aiohttp's connection, with a known peer and one deadline for everything that idles."""

    __slots__ = ("_gate", "_timer", "gone", "peer")

    def __init__(self, gate: Gate, server: web.Server, **options: Any) -> None:
        super().__init__(server, **options)
        self._gate = gate
        self._timer: asyncio.TimerHandle | None = None
        #: None until let in.
        self.peer: Peer | None = None
        #: Called once when the connection is lost; set by whoever waits on its behalf.
        self.gone: Callable[[], None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        try:
            self.peer = self._gate.identify(transport)
        except Refused as error:
            plain = cast(asyncio.Transport, transport)
            plain.write(self.refusal(error))
            plain.close()
            return
        self._gate.enter(self, self.peer)
        super().connection_made(transport)
        self.idle()

    def refusal(self, error: Refused) -> bytes:
        """A whole answer, for a connection that never becomes one."""
        status = Refused.HTTP_STATUS[error.kind]
        body = self.error_body(error.kind, str(error)).encode()
        head = (
            f"HTTP/1.1 {status} Refused\r\nContent-Type: application/json\r\nRetry-After: 1\r\n"
            f"Gflow-Protocol: {PROTOCOL}\r\nContent-Length: {len(body)}\r\n"
            "Connection: close\r\n\r\n"
        )
        return head.encode() + body

    def error_body(self, kind: str, message: str) -> str:
        """An error as JSON."""
        return json.dumps({"error": {"kind": kind, "message": message}})

    def data_received(self, data: bytes) -> None:
        if self.peer is not None:
            super().data_received(data)

    def connection_lost(self, exc: BaseException | None) -> None:
        if self.peer is None:
            return
        self._gate.leave(self, self.peer)
        self.busy()
        if self.gone is not None:
            self.gone()
        super().connection_lost(exc)

    def busy(self) -> None:
        """A request is complete (its head at least): the deadline does not run."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def idle(self) -> None:
        """Nothing is asked, or the answer is on its way: the deadline runs."""
        self.busy()
        if self.transport is not None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self._gate.limits.idle_timeout_s, self._expire)

    def _expire(self) -> None:
        if self.transport is not None:
            self.transport.abort()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """What was sent is not HTTP: say so as JSON and close."""
        if isinstance(exc, ConnectionError) or request.writer.output_size > 0:
            raise ConnectionError("nobody listens, or half an answer is sent") from exc
        if status >= 500:
            self.logger.error("request failed", exc_info=exc)
        text = "what was sent is not understood" if status < 500 else "the request failed"
        headers = {}
        if isinstance(exc, BadHttpMethod) and _REQUEST_LINE.search(str(exc)):
            # The parser gives up before it knows the path: these are the methods of all of them.
            status, text, headers = 405, "there is no such method", {"Allow": _METHODS}
        kind = Refused.INVALID if status < 500 else "internal"
        body = self.error_body(kind, text)
        response = web.Response(
            text=body, status=status, headers=headers, content_type="application/json"
        )
        response.force_close()
        return response
