"""The server of the reference's API: bound to loopback, closed to web pages."""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any
from uuid import uuid4

from aiohttp import web

from gflow.api.operations import Operations
from gflow.api.server import Limits
from gflow.api.server.body import dumps
from gflow.api.server.stream import Streams
from gflow.compat.connection import UNKNOWN_GROUP, Connection, Gate
from gflow.compat.job_route import JobRoutes
from gflow.compat.machine_route import MachineRoutes
from gflow.compat.policy_route import PolicyRoutes
from gflow.compat.problem import Problem
from gflow.errors import ConfigError, Refused

_BACKLOG = 1024
#: What ``localhost`` means; nobody is asked.
_LOOPBACK = (("::1", socket.AF_INET6), ("127.0.0.1", socket.AF_INET))
_HOSTS = frozenset({"localhost", "127.0.0.1", "[::1]"})
#: The reference's limit.
_BODY_BYTES = 2 << 20
_KIND_STATUS = Refused.HTTP_STATUS


def bind(listen: str) -> list[socket.socket]:
    """Sockets bound to ``localhost:59000``, ``127.0.0.1:59000`` or ``[::1]:59000``.

    Raises ConfigError for anything but loopback, and when somebody else has the port.
    """
    host, colon, port_text = listen.rpartition(":")
    if not (colon and port_text.isascii() and port_text.isdigit() and int(port_text) < 65536):
        raise ConfigError(f"cannot use http.listen = {listen!r}: it must be HOST:PORT")
    bare = host.removeprefix("[").removesuffix("]")
    places = [(address, family) for address, family in _LOOPBACK if bare in (address, "localhost")]
    if not places:
        raise ConfigError(
            f"cannot use http.listen = {listen!r}: only loopback (localhost, 127.0.0.1, [::1]), "
            "for peers of other machines cannot be identified"
        )
    port, made = int(port_text), []
    for address, family in places:
        try:
            made.append(_bound(address, family, port))
        except OSError as error:
            if bare == "localhost" and error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                continue
            for one in made:
                one.close()
            raise ConfigError(f"cannot listen on {listen}: {error.strerror}") from None
        port = port or made[0].getsockname()[1]
    return made


def _bound(address: str, family: int, port: int) -> socket.socket:
    made = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind((address, port))
        made.listen(_BACKLOG)  # two listeners may bind one port, but not listen on it
    except OSError:
        made.close()
        raise
    return made


class CompatServer:
    """HTTP as the reference speaks it. Arguments are those of ``api.server.Server``."""

    def __init__(
        self,
        operations: Operations,
        *,
        log: Callable[[str], None],
        limits: Limits,
        allowed_uids: frozenset[int] | None,
        gpu_strategy: str = "sequential",
    ) -> None:
        self._operations = operations
        self._limits = replace(limits, body_bytes=_BODY_BYTES)
        self._streams = Streams()
        self._log = log
        self._logger = logging.Logger("gflow.compat", logging.CRITICAL)
        self._gate = Gate(self._limits, allowed_uids, operations.user_name)
        app = web.Application(client_max_size=_BODY_BYTES, middlewares=[self._guard])
        app.add_routes(JobRoutes(operations, self._limits).table())
        app.add_routes(MachineRoutes(operations, self._limits, self._streams, gpu_strategy).table())
        app.add_routes(PolicyRoutes(operations, self._limits).table())
        self._runner = web.AppRunner(app, access_log=None, logger=self._logger)
        self._listeners: list[asyncio.Server] = []

    async def start(self, sockets: Sequence[socket.socket]) -> None:
        """Accept on sockets of :func:`bind`; the server owns them from here on."""
        await self._runner.setup()
        loop = asyncio.get_running_loop()
        for one in sockets:
            self._listeners.append(
                await loop.create_server(self._connection, sock=one, backlog=_BACKLOG)
            )

    async def close(self, grace_s: float = 5.0) -> None:
        """Accept no more, end streams, let requests finish for ``grace_s``."""
        for listener in self._listeners:
            listener.close()
        self._streams.close()
        if self._runner.server is not None:
            await self._runner.server.shutdown(grace_s)
        await self._runner.cleanup()
        self._gate.close()

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
        if not response.prepared:
            response.headers["x-request-id"] = str(uuid4())
        return response

    async def _answer(
        self, request: web.Request, connection: Connection, handler: Any
    ) -> web.StreamResponse:
        try:
            check_origin(request)
            await self._name(connection)
            answer: web.StreamResponse = await handler(request)
            return answer
        except Problem as error:
            if error.plain:
                return web.Response(status=error.status, text=str(error))
            return _error(error.status, str(error), empty=error.empty)
        except Refused as error:
            return _error(_KIND_STATUS[error.kind], str(error))
        except web.HTTPException as error:
            response = _error(error.status, _sentence(error))
            if "Allow" in error.headers:
                response.headers["Allow"] = error.headers["Allow"]
            return response
        except (ConnectionError, asyncio.CancelledError):
            raise
        except Exception as error:
            self._log(f"cannot answer {request.method} {request.path[:200]!r}: {error!r}")
            return _error(500, "the request failed; the supervisor's log says why")

    async def _name(self, connection: Connection) -> None:
        """Complete what the kernel did not tell about the peer, once per connection."""
        peer = connection.peer
        assert peer is not None, "requests come from connections that were let in"
        if peer.gid == UNKNOWN_GROUP:
            name, group = await self._operations.account(peer.uid)
            connection.peer = replace(peer, user=name, gid=group)


def check_origin(request: web.Request) -> None:
    """Refuse what a web page may have sent: a foreign Host, any Origin, another site. 403."""
    host = request.headers.get("Host", "")
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
    if name.lower() not in _HOSTS:
        raise Problem(403, f"cannot serve the host {host[:100]!r}: it is not this machine")
    if "Origin" in request.headers or request.headers.get("Sec-Fetch-Site", "none") not in (
        "none",
        "same-origin",
    ):
        raise Problem(403, "cannot serve web pages: the request has an Origin")


def _error(status: int, text: str, *, empty: bool = False) -> web.Response:
    body = b"null" if empty else dumps({"error": text})
    response = web.Response(body=body, status=status, content_type="application/json")
    if status == 413:
        response.force_close()  # the rest of the body is not read
    return response


def _sentence(error: web.HTTPException) -> str:
    if error.status == 404:
        return "there is no such path"
    if error.status == 405:
        return "this path does not take that method"
    return error.reason.lower()
