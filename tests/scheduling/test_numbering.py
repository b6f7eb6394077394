"""Task numbers and positions."""

from __future__ import annotations

from gflow.model.job import ArraySpec
from gflow.scheduling.numbering import bounds, number_at, position_of, size

_ARRAY = ArraySpec(((1, 9, 2), (20, 22, 1), (30, 30, 1)))
_NUMBERS = [1, 3, 5, 7, 9, 20, 21, 22, 30]


def test_positions_count_numbers_in_order() -> None:
    """Each number has its position, across ranges and steps."""
    assert size(_ARRAY) == len(_NUMBERS)
    assert [number_at(_ARRAY, p) for p in range(len(_NUMBERS))] == _NUMBERS


def test_numbers_between_are_not_tasks() -> None:
    """Only numbers of the array have a position."""
    found = {n: position_of(_ARRAY, n) for n in range(-1, 40)}
    assert {n: p for n, p in found.items() if p is not None} == {
        n: p for p, n in enumerate(_NUMBERS)
    }


def test_bounds_are_real_task_numbers() -> None:
    """The largest number of a stepped range is one that exists."""
    assert bounds(ArraySpec(((0, 10, 4),))) == (0, 8)
