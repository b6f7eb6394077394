"""What every handler needs: who asks, and how an answer is made."""

from __future__ import annotations

from typing import Any, cast

from aiohttp import web

from gflow.api.operations import Peer
from gflow.api.server.body import dumps
from gflow.api.server.connection import Connection


def connection_of(request: web.Request) -> Connection:
    """The connection that a request came by."""
    return cast(Connection, request.protocol)


def peer_of(request: web.Request) -> Peer:
    """Who asks, as the kernel said when the connection was accepted."""
    peer = connection_of(request).peer
    assert peer is not None, "requests come from connections that were let in"
    return peer


def answer(value: dict[str, Any], status: int = 200) -> web.Response:
    """An object as JSON."""
    return web.Response(body=dumps(value), status=status, content_type="application/json")
