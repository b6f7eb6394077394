"""What every HTTP server of ours is made of, whatever it speaks and wherever it listens."""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import Any

from aiohttp import web

from gflow.api.server.connection import Connection, Gate
from gflow.api.server.stream import Streams

#: Bytes of the request line: a list of ids may stand in it.
_MAX_LINE = 64 << 10


class Front(ABC):
    """Connections that were let in, and an answer to each request, errors included.

    ``log`` gets a line of text when something unexpected happens.
    """

    #: What a connection is; it says in its own form what is no HTTP.
    connection_class: type[Connection] = Connection

    def __init__(self, gate: Gate, *, log: Callable[[str], None]) -> None:
        self.gate = gate
        self.streams = Streams()
        self.logger = _logger(log)
        self._runner: web.AppRunner | None = None
        self._listeners: list[asyncio.AbstractServer] = []

    @property
    def connections(self) -> int:
        """How many are open."""
        return len(self.gate.open)

    async def serve(self, routes: Iterable[web.RouteDef]) -> None:
        """Be ready for connections."""
        limit = self.gate.limits.body_bytes
        app = web.Application(client_max_size=limit, middlewares=[self._guard])
        app.add_routes(routes)
        self._runner = web.AppRunner(app, access_log=None, logger=self.logger)
        await self._runner.setup()

    def add_listener(self, listener: asyncio.AbstractServer) -> None:
        """Whose connections come from :meth:`connection`; closed with us."""
        self._listeners.append(listener)

    def close_listeners(self) -> None:
        """Accept no more; open connections stay."""
        for listener in self._listeners:
            listener.close()
        self._listeners.clear()

    async def close(self, grace_s: float = 5.0) -> None:
        """Accept no more, end streams and waits, let other requests finish for ``grace_s``."""
        self.close_listeners()
        self.streams.close()
        if self._runner is not None:
            if self._runner.server is not None:
                await self._runner.server.shutdown(grace_s)
            await self._runner.cleanup()

    def connection(self) -> Connection:
        """A new one, for a listener."""
        server = None if self._runner is None else self._runner.server
        assert server is not None, "serve comes first"
        return self.connection_class(
            self.gate,
            server,
            loop=asyncio.get_running_loop(),
            access_log=None,
            logger=self.logger,
            tcp_keepalive=False,
            keepalive_timeout=self.gate.limits.idle_timeout_s,
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
            response = await self._answer(request, connection, handler)
        finally:
            connection.idle()
        if response.status == 413:
            response.force_close()  # the rest of the body is not read
        if not response.prepared:
            self.mark(response)
        return response

    async def _answer(
        self, request: web.Request, connection: Connection, handler: Any
    ) -> web.StreamResponse:
        try:
            await self.check(request, connection)
            answer: web.StreamResponse = await handler(request)
            return answer
        except web.HTTPException as error:
            response = self.refuse(request, error)
            if "Allow" in error.headers:
                response.headers["Allow"] = error.headers["Allow"]
            return response
        except (ConnectionError, asyncio.CancelledError):
            raise
        except Exception as error:
            response = self.refuse(request, error)
            if response.status == 500:
                self.logger.exception("cannot answer %s %r", request.method, request.path[:200])
            return response

    @abstractmethod
    async def check(self, request: web.Request, connection: Connection) -> None:
        """Raise what :meth:`refuse` knows unless the request may be looked at."""

    @abstractmethod
    def refuse(self, request: web.Request, error: Exception) -> web.Response:
        """What is answered when a handler raises; 500 is a bug and is logged."""

    @abstractmethod
    def mark(self, response: web.StreamResponse) -> None:
        """Add the headers that every answer has."""


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
