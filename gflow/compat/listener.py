"""The server of the reference's API: bound to loopback, closed to web pages."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable, Sequence
from dataclasses import replace
from uuid import uuid4

from aiohttp import web

from gflow.api.operations import Operations
from gflow.api.server import Limits
from gflow.api.server.body import dumps
from gflow.api.server.connection import Connection as AnyConnection
from gflow.api.server.front import Front
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


class CompatServer(Front):
    """HTTP as the reference speaks it. Arguments are those of ``api.server.Server``."""

    connection_class = Connection

    def __init__(
        self,
        operations: Operations,
        *,
        log: Callable[[str], None],
        limits: Limits,
        allowed_uids: frozenset[int] | None,
        gpu_strategy: str = "sequential",
    ) -> None:
        limits = replace(limits, body_bytes=_BODY_BYTES)
        self._door = Gate(limits, allowed_uids, operations.user_name)
        super().__init__(self._door, log=log)
        self._operations = operations
        self._routes = [
            *JobRoutes(operations, limits).table(),
            *MachineRoutes(operations, limits, self.streams, gpu_strategy).table(),
            *PolicyRoutes(operations, limits).table(),
        ]

    async def start(self, sockets: Sequence[socket.socket]) -> None:
        """Accept on sockets of :func:`bind`; the server owns them from here on."""
        await self.serve(self._routes)
        loop = asyncio.get_running_loop()
        for one in sockets:
            self.add_listener(await loop.create_server(self.connection, sock=one, backlog=_BACKLOG))

    async def close(self, grace_s: float = 5.0) -> None:
        """As every server, and ask the kernel for nobody any more."""
        await super().close(grace_s)
        self._door.close()

    async def check(self, request: web.Request, connection: AnyConnection) -> None:
        """Refuse web pages; complete, once per connection, what the kernel did not tell."""
        check_origin(request)
        peer = connection.peer
        assert peer is not None, "requests come from connections that were let in"
        if peer.gid == UNKNOWN_GROUP:
            name, group = await self._operations.account(peer.uid)
            connection.peer = replace(peer, user=name, gid=group)

    def refuse(self, request: web.Request, error: Exception) -> web.Response:
        """``{"error": …}``, ``null`` or text, as the reference does."""
        if isinstance(error, Problem):
            if error.plain:
                return web.Response(status=error.status, text=str(error))
            return _error(error.status, str(error), empty=error.empty)
        if isinstance(error, Refused):
            return _error(Refused.HTTP_STATUS[error.kind], str(error))
        if isinstance(error, web.HTTPException):
            return _error(error.status, _sentence(error))
        return _error(500, "the request failed; the supervisor's log says why")

    def mark(self, response: web.StreamResponse) -> None:
        """Every answer has an id."""
        response.headers["x-request-id"] = str(uuid4())


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
    return web.Response(body=body, status=status, content_type="application/json")


def _sentence(error: web.HTTPException) -> str:
    if error.status == 404:
        return "there is no such path"
    if error.status == 405:
        return "this path does not take that method"
    return error.reason.lower()
