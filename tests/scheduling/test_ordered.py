"""Sorted integers in chunks against a plain sorted list."""

from __future__ import annotations

from bisect import bisect_left

from hypothesis import given
from hypothesis import strategies as st

from gflow.scheduling import ordered
from gflow.scheduling.ordered import Ordered, count_below, each, first, grown, shrunk, size

_STEPS = st.lists(st.tuples(st.booleans(), st.integers(-200, 200)), max_size=300)


@given(_STEPS)
def test_it_is_a_sorted_set(steps: list[tuple[bool, int]]) -> None:
    """Whatever is added and removed, it agrees with a sorted list in every answer."""
    chunk, ordered._CHUNK = ordered._CHUNK, 4
    try:
        mine, model = Ordered(), set[int]()
        for add, key in steps:
            if add and key not in model:
                mine.add(key)
                model.add(key)
            elif not add and key in model:
                mine.remove(key)
                model.remove(key)
        expected = sorted(model)
        assert list(mine) == expected and len(mine) == len(expected)
        for key in (-300, -7, 0, 13, 300):
            at = bisect_left(expected, key)
            assert mine.count_below(key) == at
            assert mine.last_below(key) == (expected[at - 1] if at else None)
            assert mine.above(key, 5) == [k for k in expected if k > key][:5]
            assert (key in mine) == (key in model)
        if expected:
            assert mine.first() == expected[0]
    finally:
        ordered._CHUNK = chunk


@given(_STEPS)
def test_one_key_or_several_answer_alike(steps: list[tuple[bool, int]]) -> None:
    """The compact form agrees with a plain set, and is nothing where nothing is left."""
    keys: ordered.Compact | None = None
    model = set[int]()
    for add, key in steps:
        if add and key not in model:
            keys = grown(keys, key)
            model.add(key)
        elif not add and key in model:
            assert keys is not None
            keys = shrunk(keys, key)
            model.remove(key)
        assert (keys is None) == (not model)
        if keys is not None:
            assert (first(keys), size(keys)) == (min(model), len(model))
            assert list(each(keys)) == sorted(model)
            assert count_below(keys, 3) == sum(one < 3 for one in model)
