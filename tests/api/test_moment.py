from __future__ import annotations

import time

import pytest

from gflow.api import moment
from gflow.api.quantity import GrammarError

NOW = time.mktime((2026, 1, 15, 12, 0, 0, 0, 0, -1))


def local(*parts: int) -> float:
    return time.mktime((*parts, *[0] * (6 - len(parts)), 0, 0, -1))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("now", NOW),
        ("now+60", NOW + 60),
        ("now+2h", NOW + 7200),
        ("now+2hours", NOW + 7200),
        ("16:00", local(2026, 1, 15, 16)),
        ("11:00", local(2026, 1, 16, 11)),
        ("4:30pm", local(2026, 1, 15, 16, 30)),
        ("noon", local(2026, 1, 16, 12)),
        ("tomorrow", local(2026, 1, 16)),
        ("2026-02-01", local(2026, 2, 1)),
        ("2026-02-01T08:30", local(2026, 2, 1, 8, 30)),
        ("2026-02-01 08:30:05", local(2026, 2, 1, 8, 30, 5)),
    ],
)
def test_begin_times(text: str, expected: float) -> None:
    """Relative times, the next such hour, and dates, in local time."""
    assert moment.parse_moment(text, NOW) == expected


def test_begin_times_that_have_passed() -> None:
    """Refused with what would do; a minute is forgiven, for clocks differ."""
    assert moment.parse_begin("@" + str(int(NOW) - 30), NOW) == NOW - 30
    with pytest.raises(GrammarError, match=r"'2026-01-15T11:58' has passed .* now\+2h, 16:00"):
        moment.parse_begin("2026-01-15T11:58", NOW)


@pytest.mark.parametrize(
    "text", ["", "now+", "now-2h", "25:00", "2026-02-30", "2026-13-01", "13:00pm", "soon"]
)
def test_other_begin_times_are_refused(text: str) -> None:
    """Days that do not exist and words that mean nothing are errors."""
    with pytest.raises(GrammarError):
        moment.parse_moment(text, NOW)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2h", NOW - 7200),
        ("7d", NOW - 7 * 86400),
        ("today", local(2026, 1, 15)),
        ("yesterday", local(2026, 1, 14)),
        ("2026-01-01", local(2026, 1, 1)),
    ],
)
def test_points_of_the_past(text: str, expected: float) -> None:
    """A duration is that long ago; days begin at midnight."""
    assert moment.parse_past(text, NOW) == expected
