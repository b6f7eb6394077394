"""The last output, by offset."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gflow.launching.scrollback import Scrollback


@given(st.lists(st.binary(max_size=30)), st.integers(1, 20))
def test_what_is_kept_is_the_end_of_everything(pieces: list[bytes], limit: int) -> None:
    """From its start on it holds what was appended, and at most the limit of it."""
    scrollback = Scrollback(limit)
    for piece in pieces:
        scrollback.append(piece)
    whole = b"".join(pieces)
    assert scrollback.end == len(whole)
    assert scrollback.start == max(0, len(whole) - limit)
    assert scrollback.read(scrollback.start, 1000) == whole[scrollback.start :]


def test_a_piece_begins_where_it_is_asked_for() -> None:
    """Offsets count from the very first byte, whatever was thrown away since."""
    scrollback = Scrollback(4)
    scrollback.append(b"0123456789")
    assert scrollback.read(7, 2) == b"78"
