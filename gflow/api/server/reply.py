"""What every handler needs: who asks, and how an answer is made."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.payload import Payload

from gflow.api.operations import Peer
from gflow.api.server.body import dumps, dumps_page
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


async def answer_page(page: dict[str, Any]) -> web.Response:
    """A page of records as JSON, encoded and sent in slices: it may be a megabyte."""
    return web.Response(body=_Pieces(await dumps_page(page)), content_type="application/json")


class _Pieces(Payload):
    """A body in pieces, never joined: a turn of the loop copies one of them."""

    _value: list[bytes]

    def __init__(self, pieces: list[bytes]) -> None:
        super().__init__(pieces)
        self._size = sum(map(len, pieces))

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        return b"".join(self._value).decode(encoding, errors)

    async def write(self, writer: AbstractStreamWriter) -> None:
        for piece in self._value:
            await writer.write(piece)
            await asyncio.sleep(0)
