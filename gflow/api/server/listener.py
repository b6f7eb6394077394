"""The server on the Unix socket: takes a bound socket, answers, and ends in order."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

from aiohttp import web

from gflow.api.operations import Operations
from gflow.api.server.body import dumps
from gflow.api.server.connection import PROTOCOL, Connection, Gate, Limits
from gflow.api.server.front import Front
from gflow.api.server.route import Routes
from gflow.errors import Refused

#: Connections that wait in the kernel, and how many of them one turn of the loop accepts.
_BACKLOG = 1024
_ACCEPTED_PER_TURN = 16

DEFAULT_LIMITS = Limits()

_KIND_OF_STATUS = {status: kind for kind, status in Refused.HTTP_STATUS.items()}


class Server(Front):
    """HTTP on one Unix socket.

    ``allowed_uids``: who may speak (user mode: the supervisor's own uid and root); None: everyone.
    """

    def __init__(
        self,
        operations: Operations,
        *,
        log: Callable[[str], None],
        limits: Limits = DEFAULT_LIMITS,
        allowed_uids: frozenset[int] | None = None,
    ) -> None:
        super().__init__(Gate(limits, allowed_uids, operations.user_name), log=log)
        self._routes = Routes(operations, limits, self.streams)

    async def start(self, sock: socket.socket) -> None:
        """Accept on a socket that is bound already; the server owns it from here on."""
        await self.serve(self._routes.table())
        await self.listen(sock)

    async def listen(self, sock: socket.socket) -> None:
        """Accept on this bound socket instead of the one before; open connections stay."""
        self.close_listeners()
        loop = asyncio.get_running_loop()
        self.add_listener(
            await loop.create_unix_server(self.connection, sock=sock, backlog=_ACCEPTED_PER_TURN)
        )
        sock.listen(_BACKLOG)  # a full queue makes clients fail that could have waited

    async def check(self, request: web.Request, connection: Connection) -> None:
        """Refuse another protocol, and web pages."""
        version = request.headers.get("Gflow-Protocol")
        if version not in (None, PROTOCOL):
            raise Refused(
                Refused.INVALID,
                f"cannot speak protocol {version[:20]!r}: this supervisor speaks {PROTOCOL}; "
                "use the gflowctl of the same version",
            )
        if "Origin" in request.headers:
            raise Refused(Refused.FORBIDDEN, "cannot serve web pages: the request has an Origin")

    def refuse(self, request: web.Request, error: Exception) -> web.Response:
        """``{"error": {"kind", "message"}}``."""
        if isinstance(error, Refused):
            return _error(Refused.HTTP_STATUS[error.kind], error.kind, str(error))
        if isinstance(error, web.HTTPException):
            return _error(error.status, _kind(error.status), _sentence(request, error))
        return _error(500, "internal", "the request failed; the supervisor's log says why")

    def mark(self, response: web.StreamResponse) -> None:
        """Say what is spoken here."""
        response.headers["Gflow-Protocol"] = PROTOCOL


def _error(status: int, kind: str, message: str) -> web.Response:
    text = dumps({"error": {"kind": kind, "message": message}})
    return web.Response(body=text, status=status, content_type="application/json")


def _kind(status: int) -> str:
    return _KIND_OF_STATUS.get(status, Refused.INVALID)


def _sentence(request: web.Request, error: web.HTTPException) -> str:
    if error.status == 404:
        return "cannot find what was asked for: there is no such path"
    if error.status == 405:
        return f"cannot {request.method} this path: see Allow for what it takes"
    return f"cannot take the request: {error.reason.lower()}"
