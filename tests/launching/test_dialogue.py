"""Frames between viewer and terminal."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gflow.launching import dialogue

FRAMES = st.lists(st.tuples(st.sampled_from([b"i", b"o"]), st.binary(max_size=40)))


@given(FRAMES, st.integers(1, 20))
def test_frames_survive_any_cut(frames: list[tuple[bytes, bytes]], size: int) -> None:
    """However the stream is cut into pieces, the same frames come out."""
    stream = b"".join(dialogue.pack(kind, payload) for kind, payload in frames)
    splitter = dialogue.Splitter()
    found = []
    for start in range(0, len(stream), size):
        found += splitter.feed(stream[start : start + size])
    assert found == frames


def test_a_frame_too_large_is_refused() -> None:
    """A stream of something else is recognised before its length is believed."""
    with pytest.raises(ValueError, match="bytes"):
        dialogue.Splitter().feed(b"GET / HTTP/1.1\r\n")


@pytest.mark.parametrize("payload", [b"", b"[1]", b"{", b"\xff"])
def test_facts_that_are_none_are_empty(payload: bytes) -> None:
    """A viewer that talks nonsense says nothing."""
    assert dialogue.facts_of(payload) == {}
