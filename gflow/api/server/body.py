"""JSON in and out, in slices."""

from __future__ import annotations

import asyncio
import codecs
import json
from collections import deque
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
_SLICE_RECORDS = 50
_BLANK = " \t\r\n"


async def read_pieces(request: web.Request, limits: Limits) -> list[bytes]:
    """The body as it came, or Refused when it is too long or too slow. Never empty."""
    too_large = Refused(
        Refused.TOO_LARGE, f"cannot take the request: its body is above {limits.body_bytes} bytes"
    )
    if (request.content_length or 0) > limits.body_bytes:
        raise too_large
    pieces = []
    size = 0
    try:
        async with asyncio.timeout(limits.body_timeout_s):
            async for piece in request.content.iter_any():
                pieces.append(piece)
                size += len(piece)
                if size > limits.body_bytes:
                    raise too_large
    except TimeoutError:
        raise Refused(
            Refused.INVALID, "cannot take the request: its body came too slowly"
        ) from None
    except web.RequestPayloadError:
        raise Refused(Refused.INVALID, "cannot take the request: its body is cut off") from None
    return pieces or [b""]


async def read_object(request: web.Request, limits: Limits) -> dict[str, Any]:
    """The body as an object; an empty body is an empty object."""
    data = b"".join(await read_pieces(request, limits))
    value = loads(data) if data.strip() else {}
    if not isinstance(value, dict):
        raise Refused(Refused.INVALID, "cannot take the request: its body must be an object")
    return value


async def read_items(request: web.Request, limits: Limits) -> AsyncIterator[object]:
    """The items of a list, or the one value that the body is; others may run between items."""
    pieces = await read_pieces(request, limits)
    turn = Turn()
    if sum(map(len, pieces)) <= _WHOLE_BYTES or not pieces[0].lstrip().startswith(b"["):
        value = loads(b"".join(pieces))
        for item in value if isinstance(value, list) else [value]:
            yield item
            await turn.breathe()
        return
    window = _Window(pieces)
    window.expect("[")
    if window.next() == "]":
        window.expect("]")
    else:
        while True:
            yield window.value()
            await turn.breathe()
            if window.next() == "]":
                window.expect("]")
                break
            window.expect(",")
    if window.next():
        raise _not_json("there is something after the list")


class _Window:
    """A long text of which a part at a time is looked at, so that no step takes long.

    The part grows, doubling, while it ends within a value.
    """

    def __init__(self, pieces: list[bytes]) -> None:
        self._pieces = deque(pieces)
        self._decode = codecs.getincrementaldecoder("utf-8")().decode
        self._parse = json.JSONDecoder().raw_decode
        self._text = ""
        self._at = 0

    def next(self) -> str:
        """The next character that is not blank, left where it is; "" at the end."""
        while True:
            while self._at < len(self._text):
                if self._text[self._at] not in _BLANK:
                    return self._text[self._at]
                self._at += 1
            if not self._grow():
                return ""

    def expect(self, character: str) -> None:
        """Go past a character that must come next."""
        if self.next() != character:
            raise _not_json(f"expecting {character!r}")
        self._at += 1

    def value(self) -> object:
        """The JSON value that comes next."""
        if not self.next():
            raise _not_json("expecting a value")
        while True:
            try:
                value, end = self._parse(self._text, self._at)
            except ValueError as error:
                problem = str(error)
            except RecursionError:
                raise _not_json("it is nested too deeply") from None
            else:
                # A value at the very end of the part may go on: a number, say.
                if end < len(self._text) or not self._grow(end):
                    self._at = end
                    return value
                continue
            if not self._grow(len(self._text)):
                raise _not_json(problem)

    def _grow(self, least: int = 0) -> bool:
        """Drop what is behind, add at least ``least`` characters; False at the end."""
        if not self._pieces:
            return False
        added = [self._text[self._at :]]
        size = 0
        while self._pieces and size <= least:
            piece = self._pieces.popleft()
            try:
                added.append(self._decode(piece, not self._pieces))
            except UnicodeDecodeError:
                raise _not_json("it is not UTF-8") from None
            size += len(piece)
        self._text = "".join(added)
        self._at = 0
        return True


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


async def dumps_page(page: dict[str, Any]) -> list[bytes]:
    """``{"jobs": […], …}`` encoded some records at a time: the pieces of the text, in order."""
    records = page["jobs"]
    tail = dumps({key: value for key, value in page.items() if key != "jobs"})[1:]
    pieces = [b'{"jobs":[']
    for start in range(0, len(records), _SLICE_RECORDS):
        if start:
            pieces.append(b",")
        pieces.append(dumps(records[start : start + _SLICE_RECORDS])[1:-1])
        await asyncio.sleep(0)
    pieces.append(b"]" + (b"," if tail != b"}" else b"") + tail)
    return pieces
