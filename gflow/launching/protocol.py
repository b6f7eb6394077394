"""Messages between supervisor and launcher: one JSON line, then binary payloads as they are."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

Message = dict[str, Any]


#: The C encoder, made once: ``json.dumps`` with separators makes one for every call.
_encode = json.encoder.c_make_encoder(  # type: ignore[attr-defined]
    None, None, json.encoder.encode_basestring_ascii, None, ":", ",", False, False, True
)


def encode(value: Mapping[str, Any]) -> bytes:
    """Compact JSON on one line. What cannot be encoded is an error of the caller's."""
    return "".join(_encode(value, 0)).encode()


#: ``json.loads`` guesses the encoding and looks for blanks first: half of its time on a message.
_decode = json.JSONDecoder().raw_decode


def decode(data: bytes) -> Any:
    """The value of what ``encode`` made. Raises ValueError for anything else."""
    text = data.decode()
    value, end = _decode(text)
    if end < len(text):
        raise ValueError("something follows the value")
    return value


def pack(header: Message, blobs: Sequence[bytes | None] = ()) -> bytes:
    """One frame. ``blobs`` follow the header; None stays None on the other side."""
    if not blobs:
        return encode(header) + b"\n"
    lengths = [-1 if blob is None else len(blob) for blob in blobs]
    line = encode({**header, "blobs": lengths})
    return b"\n".join((line, b"".join(blob for blob in blobs if blob)))


def unpack(frame: bytes) -> tuple[Message, list[bytes | None]]:
    """Header and blobs of one frame."""
    line, _, rest = frame.partition(b"\n")
    header: Message = decode(line)
    blobs: list[bytes | None] = []
    start = 0
    for length in header.pop("blobs", ()):
        if length < 0:
            blobs.append(None)
        else:
            blobs.append(rest[start : start + length])
            start += length
    assert start == len(rest), "payload does not match its header"
    return header, blobs
