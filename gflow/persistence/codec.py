"""What travels between the supervisor and the persister, and what a stored record looks like.

A frame is a 4-byte header length, a JSON header and the payloads of its items back to back. The
header is ``{"t": type, …}``; ``items`` lists ``[*key, crc32, length]`` in the order of the
payloads, length -1 deletes. The same checksum that is computed when a record is encoded travels
with it, is stored beside it and is checked whenever it is read again: from memory to disk and
back.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable
from typing import Any, NamedTuple

import orjson

from gflow.model.record import Key, Record

_LENGTH = struct.Struct("!I")
_DELETED = -1


class DamagedRecord(Exception):
    """Bytes that do not have the checksum stored beside them, or are no record at all."""


class Item(NamedTuple):
    """One record on its way: an upsert, or a delete when ``payload`` is None."""

    key: Key
    crc: int
    payload: bytes | None


class Frame(NamedTuple):
    """A decoded frame: its type, the other fields of its header, its items."""

    type: str
    fields: dict[str, Any]
    items: list[Item]


def checksum(key: Key, payload: bytes) -> int:
    """CRC32 over key and payload, so that a record under a wrong key is noticed too."""
    # A damaged key may be no UTF-8 any more; it still has a checksum, another one.
    name = "/".join(map(str, key)).encode("utf-8", "surrogateescape")
    return zlib.crc32(payload, zlib.crc32(name))


def encode(key: Key, record: Record) -> Item:
    """Turn a record into what is sent and stored."""
    if record is None:
        return Item(key, 0, None)
    payload = record if isinstance(record, bytes) else orjson.dumps(record)
    return Item(key, checksum(key, payload), payload)


def decode(item: Item) -> Record:
    """Turn what is stored back into a record. Raises DamagedRecord for unreadable JSON."""
    payload = item.payload
    if payload is None or item.key[0] == "blob":
        return payload
    value = decode_json(payload)
    if not isinstance(value, dict):
        raise DamagedRecord("not a JSON object")
    return value


def verify(item: Item) -> None:
    """Raise DamagedRecord unless the payload has its checksum (a deletion has 0)."""
    key, crc, payload = item
    # What is read from a damaged row may have any type.
    whole = checksum(key, payload) if isinstance(payload, bytes) else 0 if payload is None else None
    if whole != crc:
        raise DamagedRecord("checksum does not match")


def encode_json(value: Any) -> bytes:
    """JSON bytes of a value that is not to be stored under a key (marker, run files)."""
    return orjson.dumps(value)


def decode_json(data: bytes) -> Any:
    """The value of JSON bytes. Raises DamagedRecord."""
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise DamagedRecord(str(error)) from error


def encode_frame(type: str, items: Iterable[Item] = (), **fields: Any) -> bytes:
    """One frame, ready for ``send_bytes`` or ``Channel.send``."""
    header: dict[str, Any] = {"t": type, **fields}
    payloads = []
    listed = []
    for key, crc, payload in items:
        listed.append((*key, crc, _DELETED if payload is None else len(payload)))
        if payload is not None:
            payloads.append(payload)
    if listed:
        header["items"] = listed
    head = orjson.dumps(header)
    return b"".join((_LENGTH.pack(len(head)), head, *payloads))


def decode_frame(frame: bytes) -> Frame:
    """Take a frame apart. Raises AssertionError for one that no peer of ours would send."""
    (length,) = _LENGTH.unpack_from(frame)
    start = _LENGTH.size + length
    fields: dict[str, Any] = orjson.loads(memoryview(frame)[_LENGTH.size : start])
    items = []
    for *key, crc, size in fields.pop("items", ()):
        if size == _DELETED:
            items.append(Item(tuple(key), crc, None))
            continue
        items.append(Item(tuple(key), crc, frame[start : start + size]))
        start += size
    assert start == len(frame), "frame longer or shorter than its header says"
    return Frame(fields.pop("t"), fields, items)
