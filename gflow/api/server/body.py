"""JSON in and out, in slices."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import orjson
from aiohttp import web

from gflow.api.server.connection import Limits
from gflow.api.server.turn import Turn
from gflow.errors import Refused

#: Below this a body is parsed in one go: about a millisecond.
_WHOLE_BYTES = 256 << 10
#: Records encoded in one turn.
_SLICE_RECORDS = 100
_BLANK = " \t\r\n"


async def read(request: web.Request, limits: Limits) -> bytes:
    """The body, or Refused when it is too long or too slow."""
    too_large = Refused(
        Refused.TOO_LARGE, f"cannot take the request: its body is above {limits.body_bytes} bytes"
    )
    if (request.content_length or 0) > limits.body_bytes:
        raise too_large
    try:
        async with asyncio.timeout(limits.body_timeout_s):
            return await request.read()
    except TimeoutError:
        raise Refused(
            Refused.INVALID, "cannot take the request: its body came too slowly"
        ) from None
    except web.HTTPRequestEntityTooLarge:
        raise too_large from None


async def read_object(request: web.Request, limits: Limits) -> dict[str, Any]:
    """The body as an object; an empty body is an empty object."""
    data = await read(request, limits)
    value = loads(data) if data.strip() else {}
    if not isinstance(value, dict):
        raise Refused(Refused.INVALID, "cannot take the request: its body must be an object")
    return value


async def read_items(request: web.Request, limits: Limits) -> AsyncIterator[object]:
    """The items of a list, or the one value that the body is; others may run between items."""
    data = await read(request, limits)
    turn = Turn()
    if len(data) <= _WHOLE_BYTES or data.lstrip()[:1] != b"[":
        value = loads(data)
        for item in value if isinstance(value, list) else [value]:
            yield item
            await turn.breathe()
        return
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise _not_json("it is not UTF-8") from None
    async for item in _items(text):
        yield item
        await turn.breathe()


async def _items(text: str) -> AsyncIterator[object]:
    decoder = json.JSONDecoder()
    position = _skip(text, _skip(text, 0) + 1)
    if text[position : position + 1] == "]":
        _expect_end(text, position + 1)
        return
    while True:
        try:
            item, position = decoder.raw_decode(text, position)
        except (ValueError, RecursionError) as error:
            raise _not_json(str(error)) from None
        yield item
        position = _skip(text, position)
        separator = text[position : position + 1]
        position = _skip(text, position + 1)
        if separator == "]":
            _expect_end(text, position)
            return
        if separator != ",":
            raise _not_json(f"expecting ',' at character {position}")


def _skip(text: str, position: int) -> int:
    while text[position : position + 1] in _BLANK and position < len(text):
        position += 1
    return position


def _expect_end(text: str, position: int) -> None:
    if _skip(text, position) != len(text):
        raise _not_json(f"extra data at character {position}")


def loads(data: bytes) -> Any:
    """Any JSON value, or Refused."""
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise _not_json(str(error)) from None


def _not_json(why: str) -> Refused:
    return Refused(Refused.INVALID, f"cannot take the request: its body is not JSON: {why}")


def dumps(value: object) -> bytes:
    """Compact JSON."""
    return orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS)


async def dumps_page(page: dict[str, Any]) -> bytes:
    """``{"jobs": […], …}`` encoded a hundred records at a time."""
    records = page["jobs"]
    rest = {key: value for key, value in page.items() if key != "jobs"}
    pieces = []
    for start in range(0, len(records), _SLICE_RECORDS):
        pieces.append(dumps(records[start : start + _SLICE_RECORDS])[1:-1])
        await asyncio.sleep(0)
    tail = dumps(rest)[1:]
    return b'{"jobs":[' + b",".join(pieces) + b"]" + (b"," if rest else b"") + tail
