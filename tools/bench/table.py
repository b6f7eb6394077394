"""Rows of a bench: what was measured, what stands beside it, and the ratio of the two."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

Unit = str

#: Seconds, shown in the unit that fits.
TIME = "s"
RATE = "/s"
BYTES = "B"
COUNT = ""


@dataclass(slots=True, frozen=True)
class Row:
    """One line. ``ratio`` of measured to beside is the figure; None: there is nothing beside it."""

    what: str
    measured: str
    beside: str = ""
    ratio: float | None = None
    goal: str = ""
    #: Whether the goal was met; None where there is none.
    met: bool | None = None


def show(value: float, unit: Unit) -> str:
    """A figure with three digits and its unit."""
    if unit == TIME:
        for factor, name in ((1.0, "s"), (1e3, "ms"), (1e6, "µs")):
            if value * factor >= 1.0 or name == "µs":
                return f"{_three(value * factor)} {name}"
    if unit == BYTES:
        for limit, name in ((1 << 30, "GB"), (1 << 20, "MB"), (1 << 10, "KB")):
            if abs(value) >= limit:
                return f"{_three(value / limit)} {name}"
        return f"{value:.0f} B"
    return f"{_three(value)}{unit}"


def _three(value: float) -> str:
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def compare(
    what: str,
    measured: float,
    unit: Unit,
    beside: tuple[str, float] | None = None,
    *,
    at_most: float | None = None,
    ratio_at_most: float | None = None,
    ratio_at_least: float | None = None,
    at_least: float | None = None,
    ratio: float | None = None,
    note: str = "",
) -> Row:
    """A row from figures in one unit. ``ratio`` replaces the quotient (a median of several)."""
    if ratio is None and beside is not None and beside[1]:
        ratio = measured / beside[1]
    goals = []
    met = None
    for limit, value, sign in (
        (at_most, measured, "≤"),
        (at_least, measured, "≥"),
        (ratio_at_most, ratio, "≤"),
        (ratio_at_least, ratio, "≥"),
    ):
        if limit is None or value is None:
            continue
        text = show(limit, unit) if limit in (at_most, at_least) else f"{_three(limit)}x"
        goals.append(f"{sign} {text}")
        met = (met is not False) and (value <= limit if sign == "≤" else value >= limit)
    shown = show(measured, unit) + (f" ({note})" if note else "")
    return Row(
        what,
        shown,
        "" if beside is None else f"{beside[0]} {show(beside[1], unit)}",
        ratio,
        ", ".join(goals),
        met,
    )


def skipped(what: str, why: str) -> Row:
    """A line for what could not be measured here."""
    return Row(what, f"skipped: {why}")


_TITLES = ("figure", "measured", "beside it, same run", "ratio", "goal", "")


def _cells(row: Row) -> tuple[str, ...]:
    ratio = "" if row.ratio is None else f"{_three(row.ratio)}x"
    verdict = {True: "met", False: "MISSED", None: ""}[row.met]
    return (row.what, row.measured, row.beside, ratio, row.goal, verdict)


def render(rows: Iterable[Row], *, markdown: bool) -> str:
    """All rows as one table."""
    cells: list[Sequence[str]] = [_TITLES, *map(_cells, rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(_TITLES))]
    if markdown:
        cells.insert(1, ["-" * max(3, width) for width in widths])
    lines = []
    for line in cells:
        padded = [text.ljust(width) for text, width in zip(line, widths)]
        lines.append(f"| {' | '.join(padded)} |" if markdown else "  ".join(padded).rstrip())
    return "\n".join(lines)
