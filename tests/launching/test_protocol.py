"""Frames between supervisor and launcher."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gflow.launching import protocol

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)
HEADERS = st.dictionaries(st.text(max_size=5).filter(lambda key: key != "blobs"), VALUES)


@given(HEADERS, st.lists(st.none() | st.binary()))
def test_round_trip(header: dict[str, object], blobs: list[bytes | None]) -> None:
    """What is packed is unpacked, None and empty payloads told apart."""
    assert protocol.unpack(protocol.pack(header, blobs)) == (header, blobs)


@given(VALUES)
def test_encoded_values_stay_on_one_line(value: object) -> None:
    """The header ends at the first newline."""
    assert b"\n" not in protocol.encode({"value": value})
