"""Reservations as bars, and the range that they are shown in."""

from __future__ import annotations

from typing import Any

import pytest

from gflow.api.quantity import GrammarError
from gflow.cli.classic import notation, timetable

HOUR_S = 3600.0


def reservation(start_h: float, hours: float, **fields: Any) -> dict[str, Any]:
    """One of ann's, some hours from the beginning of 1970."""
    times = {"start_at": start_h * HOUR_S, "duration_s": hours * HOUR_S}
    return {"user": "ann", "project": None, "gpus": 2, "gpu_ids": [], **times, **fields}


def lines(*reservations: dict[str, Any], now_h: float = 0.0) -> list[str]:
    """The picture of the first 60 hours: a cell is an hour."""
    return timetable.render(reservations, 0.0, 60 * HOUR_S, now_h * HOUR_S).splitlines()


def test_a_bar_stands_below_its_time() -> None:
    """Twenty columns of name, then a cell an hour; what lasts now is solid."""
    bar = lines(reservation(3, 4), now_h=5)[6]
    assert bar == f"{'ann (GPU: 2 GPUs)':<20}   ████"
    later = lines(reservation(3, 4, gpu_ids=[0, 2]))[6]
    assert later == f"{'ann (GPU: GPU[0,2])':<20}   ░░░░"


def test_the_axis_marks_now_and_days() -> None:
    """A tick every twelve cells, the date where a day begins."""
    rule, labels = lines(reservation(3, 4), now_h=8)[3:5]
    assert [at - 20 for at, mark in enumerate(rule) if mark == "┬"] == [0, 12, 24, 36, 48]
    assert rule[28] == "┃"
    assert labels.split() == [
        *("01/01", "00:00", "12:00"),
        *("01/02", "00:00", "12:00"),
        *("01/03", "00:00"),
    ]


def test_the_summary_counts_what_lasts_now() -> None:
    """Reservations by state, and the cards of those that are active."""
    said = lines(reservation(3, 4), reservation(0, 9, gpu_ids=[1]), reservation(20, 1), now_h=5)
    assert "Summary: 2 active, 1 pending | 3 GPUs currently reserved" in said


def test_what_lies_outside_has_no_bar() -> None:
    """But its line says when it is."""
    name, when = lines(reservation(100, 2))[6:8]
    assert name == "ann (GPU: 2 GPUs)"
    assert when == "  └─ Pending (04:00→06:00)"


@pytest.mark.parametrize(
    ("text", "hours"),
    [("48h", (0, 48)), ("-24h", (24, 0)), ("-2h:+6h", (2, 6)), ("1h:1h30m", (-1, 1.5))],
)
def test_ranges(text: str, hours: tuple[float, float]) -> None:
    """One end is now, unless both are named."""
    assert notation.window(text) == (hours[0] * HOUR_S, hours[1] * HOUR_S)


@pytest.mark.parametrize("text", ["", "x", "5x", "0h", "2h:1h", "1h:", "-1h:-2h"])
def test_what_is_no_range(text: str) -> None:
    """Neither nothing nor the past before itself."""
    with pytest.raises(GrammarError):
        notation.window(text)
