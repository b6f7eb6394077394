"""The server: takes a bound socket, lets peers in, answers, and ends in order."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from typing import Any

from aiohttp import web

from gflow.api.operations import Operations
from gflow.api.server.body import dumps
from gflow.api.server.connection import PROTOCOL, Connection, Gate, Limits
from gflow.api.server.route import Routes
from gflow.api.server.stream import Streams
from gflow.errors import Refused

#: Connections that wait in the kernel, and how many of them one turn of the loop accepts.
_BACKLOG = 1024
_ACCEPTED_PER_TURN = 16

#: Bytes of the request line: a list of ids may stand in it.
_MAX_LINE = 64 << 10

DEFAULT_LIMITS = Limits()

_KIND_OF_STATUS = {status: kind for kind, status in Refused.HTTP_STATUS.items()}


class Server:
    """HTTP on one Unix socket. ``log`` gets a line of text when something unexpected happens.

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
        self._limits = limits
        self._streams = Streams()
        self._logger = _logger(log)
        self._gate = Gate(limits, allowed_uids, operations.user_name)
        app = web.Application(client_max_size=limits.body_bytes, middlewares=[self._guard])
        app.add_routes(Routes(operations, limits, self._streams).table())
        self._runner = web.AppRunner(app, access_log=None, logger=self._logger)
        self._listener: asyncio.AbstractServer | None = None

    @property
    def connections(self) -> int:
        """How many are open."""
        return len(self._gate.open)

    async def start(self, sock: socket.socket) -> None:
        """Accept on a socket that is bound already; the server owns it from here on."""
        await self._runner.setup()
        await self.listen(sock)

    async def listen(self, sock: socket.socket) -> None:
        """Accept on this bound socket instead of the one before; open connections stay."""
        if self._listener is not None:
            self._listener.close()
        loop = asyncio.get_running_loop()
        self._listener = await loop.create_unix_server(
            self._connection, sock=sock, backlog=_ACCEPTED_PER_TURN
        )
        sock.listen(_BACKLOG)  # a full queue makes clients fail that could have waited

    async def close(self, grace_s: float = 5.0) -> None:
        """Accept no more, end streams and waits, let other requests finish for ``grace_s``."""
        if self._listener is not None:
            self._listener.close()
        self._streams.close()
        server = self._runner.server
        if server is not None:
            await server.shutdown(grace_s)
        await self._runner.cleanup()

    def _connection(self) -> Connection:
        server = self._runner.server
        assert server is not None, "start comes first"
        return Connection(
            self._gate,
            server,
            loop=asyncio.get_running_loop(),
            access_log=None,
            logger=self._logger,
            tcp_keepalive=False,
            keepalive_timeout=self._limits.idle_timeout_s,
            lingering_time=1.0,
            max_line_size=_MAX_LINE,
            auto_decompress=False,
        )

    @web.middleware
    async def _guard(self, request: web.Request, handler: Any) -> web.StreamResponse:
        connection = request.protocol
        assert isinstance(connection, Connection)
        connection.busy()
        try:
            response: web.StreamResponse = await self._answer(request, handler)
        finally:
            connection.idle()
        if not response.prepared:
            response.headers["Gflow-Protocol"] = PROTOCOL
        return response

    async def _answer(self, request: web.Request, handler: Any) -> Any:
        try:
            _check_headers(request)
            return await handler(request)
        except Refused as error:
            return _error(Refused.HTTP_STATUS[error.kind], error.kind, str(error))
        except web.HTTPException as error:
            response = _error(error.status, _kind(error.status), _sentence(request, error))
            if "Allow" in error.headers:
                response.headers["Allow"] = error.headers["Allow"]
            return response
        except (ConnectionError, asyncio.CancelledError):
            raise
        except Exception:
            self._logger.exception("cannot answer %s %r", request.method, request.path[:200])
            return _error(500, "internal", "the request failed; the supervisor's log says why")


def _check_headers(request: web.Request) -> None:
    version = request.headers.get("Gflow-Protocol")
    if version not in (None, PROTOCOL):
        raise Refused(
            Refused.INVALID,
            f"cannot speak protocol {version[:20]!r}: this supervisor speaks {PROTOCOL}; "
            "use the gflowctl of the same version",
        )
    if "Origin" in request.headers:
        raise Refused(Refused.FORBIDDEN, "cannot serve web pages: the request has an Origin")


def _error(status: int, kind: str, message: str) -> web.Response:
    text = dumps({"error": {"kind": kind, "message": message}})
    response = web.Response(body=text, status=status, content_type="application/json")
    if status == 413:
        response.force_close()  # the rest of the body is not read
    return response


def _kind(status: int) -> str:
    return _KIND_OF_STATUS.get(status, Refused.INVALID)


def _sentence(request: web.Request, error: web.HTTPException) -> str:
    if error.status == 404:
        return "cannot find what was asked for: there is no such path"
    if error.status == 405:
        return f"cannot {request.method} this path: see Allow for what it takes"
    return f"cannot take the request: {error.reason.lower()}"


class _Lines(logging.Handler):
    """Hands finished log lines on."""

    def __init__(self, log: Callable[[str], None]) -> None:
        super().__init__()
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        self._log(self.format(record))


def _logger(log: Callable[[str], None]) -> logging.Logger:
    logger = logging.Logger("gflow.http", logging.WARNING)
    logger.addHandler(_Lines(log))
    return logger
