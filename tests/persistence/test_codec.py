"""Frames and records."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gflow.model.record import Key, Record
from gflow.persistence import codec
from gflow.persistence.codec import DamagedRecord, Item

values = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 53), 1 << 53) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
keys = st.tuples(
    st.sampled_from(["job", "use", "meta", "transition"]), st.integers(0, 1 << 40) | st.text()
)
records = st.none() | st.dictionaries(st.text(), values, max_size=4)


@given(st.lists(st.tuples(keys, records)), st.dictionaries(st.sampled_from("abc"), values))
def test_frames_come_back(pairs: list[tuple[Key, Record]], fields: dict[str, object]) -> None:
    """What a frame was made of is what it is taken apart into."""
    items = [codec.encode(key, record) for key, record in pairs]
    frame = codec.decode_frame(codec.encode_frame("batch", items, **fields))
    assert frame.type == "batch"
    assert frame.fields == fields
    assert [(item.key, codec.decode(item)) for item in frame.items] == pairs


@given(st.binary())
def test_blobs_are_bytes(data: bytes) -> None:
    """A blob is stored as it is."""
    assert codec.decode(codec.encode(("blob", "h"), data)) == data


@given(keys, st.binary(min_size=1), st.data())
def test_one_flipped_bit_is_noticed(key: Key, payload: bytes, data: st.DataObject) -> None:
    """No single bit of a record can change without its checksum saying so."""
    bit = data.draw(st.integers(0, 8 * len(payload) - 1))
    damaged = bytearray(payload)
    damaged[bit // 8] ^= 1 << bit % 8
    with pytest.raises(DamagedRecord):
        codec.verify(Item(key, codec.checksum(key, payload), bytes(damaged)))


def test_a_record_under_another_key_is_noticed() -> None:
    """The key is part of what the checksum covers."""
    item = codec.encode(("job", 1), {"id": 1})
    with pytest.raises(DamagedRecord):
        codec.verify(item._replace(key=("job", 2)))
