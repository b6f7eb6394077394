"""Ranges of integers against plain sets."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from gflow.scheduling.interval import Intervals, discard, insert, locate, total, union, without

_PIECE = st.tuples(st.integers(0, 40), st.integers(0, 12)).map(lambda p: (p[0], p[0] + p[1]))
_PIECES = st.lists(_PIECE)


def _members(intervals: Intervals) -> set[int]:
    return {value for start, stop in intervals for value in range(start, stop)}


@given(_PIECES)
def test_union_keeps_every_member_once(pieces: Intervals) -> None:
    """Joined ranges are ascending, apart from each other, and hold the same integers."""
    joined = union(pieces)
    assert _members(joined) == _members(pieces)
    assert total(joined) == len(_members(pieces))
    assert all(a[1] < b[0] for a, b in pairwise(joined))


@given(_PIECES, _PIECES)
def test_without_is_set_difference(pieces: Intervals, taken: Intervals) -> None:
    """What is taken is gone, the rest stays."""
    left = without(union(pieces), union(taken))
    assert _members(left) == _members(pieces) - _members(taken)
    assert left == union(left)


@given(_PIECES, st.lists(st.tuples(st.booleans(), st.integers(0, 50))))
def test_insert_and_discard(pieces: Intervals, steps: list[tuple[bool, int]]) -> None:
    """Single values go in and out in place."""
    mine, model = union(pieces), _members(pieces)
    for add, value in steps:
        if add:
            insert(mine, value)
            model.add(value)
        else:
            assert discard(mine, value) == (value in model)
            model.discard(value)
        assert (locate(mine, value) is not None) == (value in model)
    assert mine == union(mine) and _members(mine) == model
