"""What requests carry: the peer, numbers in paths and queries, JSON bodies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

from aiohttp import web

from gflow.api.field import Invalid
from gflow.api.operations import Peer
from gflow.api.server import Limits
from gflow.api.server.body import dumps, loads, read_pieces
from gflow.compat.connection import Connection
from gflow.compat.problem import Problem
from gflow.errors import Refused

Value = TypeVar("Value")

#: Largest id of the reference.
U32 = (1 << 32) - 1


def peer_of(request: web.Request) -> Peer:
    """Who asks."""
    peer = connection_of(request).peer
    assert peer is not None, "requests come from connections that were let in"
    return peer


def connection_of(request: web.Request) -> Connection:
    """The connection it came on."""
    return cast(Connection, request.protocol)


def number_in_path(request: web.Request, name: str = "id") -> int:
    """A number that is part of the path. Raises Problem."""
    text = request.match_info[name]
    if not (text.isascii() and text.isdigit() and len(text) <= 10 and int(text) <= U32):
        raise Problem(400, f"Invalid URL: Cannot parse `{text[:40]}` to a `u32`")
    return int(text)


def integer(request: web.Request, name: str) -> int | None:
    """A whole number of the query, however large; None: it is not there. Raises Problem."""
    text = request.query.get(name)
    if text is None or text == "":
        return None
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 20):
        raise Problem(400, f"Failed to deserialize query string: {name}: invalid digit")
    return int(text)


def count(request: web.Request, name: str, default: int, least: int, most: int) -> int:
    """A number of the query that is not negative, brought within bounds. Raises Problem."""
    value = integer(request, name)
    if value is not None and value < 0:
        raise Problem(400, f"Failed to deserialize query string: {name}: invalid digit")
    return default if value is None else max(least, min(value, most))


def words(request: web.Request, name: str) -> tuple[str, ...] | None:
    """A comma list of the query; None when it is missing or empty."""
    found = tuple(w for w in (part.strip() for part in request.query.get(name, "").split(",")) if w)
    return found or None


async def body_of(request: web.Request, limits: Limits) -> Any:
    """The JSON of the body. Raises Problem: 415, 400 or 413 as the reference does."""
    if request.content_type != "application/json":
        raise Problem(415, "Expected request with `Content-Type: application/json`")
    try:
        return loads(b"".join(await read_pieces(request, limits)))
    except Refused as error:
        if error.kind == Refused.TOO_LARGE:
            text = "Failed to buffer the request body: length limit exceeded"
            raise Problem(413, text) from None
        raise Problem(400, f"Failed to parse the request body as JSON: {error}") from None


async def object_of(request: web.Request, limits: Limits) -> dict[str, Any]:
    """The same, where an object is expected. Raises Problem."""
    value = await body_of(request, limits)
    if not isinstance(value, dict):
        raise Problem(
            422, "Failed to deserialize the JSON body into the target type: expected an object"
        )
    return value


def value_of(raw: dict[str, Any], name: str, check: Callable[[Any], Value]) -> Value:
    """One value of a body, checked. Raises Problem, which names it."""
    try:
        return check(raw.get(name))
    except Invalid as error:
        raise Problem(422, f"Invalid body: {name} {error}") from None


def answer(value: object, status: int = 200) -> web.Response:
    """A JSON answer."""
    return web.Response(body=dumps(value), status=status, content_type="application/json")
