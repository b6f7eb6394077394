"""Text for people: control characters escaped, columns straight, colours on a terminal only."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from gflow.api.quantity import quoted as quoted

_DEFAULT_WIDTH = 80
#: Narrowest a shrinking column gets.
_NARROWEST = 6
#: Rows that are looked at before widths are fixed.
_SAMPLE = 500

#: State → (short form of squeue(1), style of rich).
STATES = {
    "PENDING": ("PD", "yellow"),
    "RUNNING": ("R", "green"),
    "SUSPENDED": ("S", "magenta"),
    "COMPLETING": ("CG", "cyan"),
    "COMPLETED": ("CD", "dim green"),
    "FAILED": ("F", "red"),
    "CANCELLED": ("CA", "dim"),
    "TIMEOUT": ("TO", "red"),
    "OUT_OF_MEMORY": ("OOM", "red"),
    "NODE_FAIL": ("NF", "bold red"),
}


class Column(NamedTuple):
    """One column: its title, whether numbers stand right, whether it may be cut."""

    title: str
    right: bool = False
    shrinks: bool = False


def escape(text: str) -> str:
    """The text on one line: what does not print (controls, bidi marks, newlines) is escaped."""
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape", "replace").decode() for c in text
    )


def on_terminal() -> bool:
    """Whether colours and boxes are welcome (NO_COLOR, TERM=dumb: no-color.org)."""
    return (
        sys.stdout.isatty()
        and not os.environ.get("NO_COLOR")
        and os.environ.get("TERM", "dumb") != "dumb"
    )


def screen_width() -> int:
    """Columns to fill: COLUMNS, the terminal's, or 80."""
    columns = os.environ.get("COLUMNS", "")
    if columns.isascii() and columns.isdigit() and int(columns[:9]) > 0:
        return int(columns[:9])
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns or _DEFAULT_WIDTH
    except (OSError, ValueError):
        return _DEFAULT_WIDTH


def text_width(text: str) -> int:
    """Cells that a text takes on a terminal."""
    if text.isascii():
        return len(text)
    import unicodedata

    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1
        for c in text
    )


def print_table(
    columns: Sequence[Column],
    rows: Iterable[Sequence[str]],
    *,
    wide: bool = False,
    styles: Sequence[str | None] = (),
) -> None:
    """Rows as straight columns within the screen (``wide``: nothing is cut), as they come.

    ``styles``: per column a style of rich, or "state" for the state's own; terminals only.
    """
    iterator = iter(rows)
    sample = [list(map(escape, row)) for row, _ in zip(iterator, range(_SAMPLE))]
    widths = _widths(columns, sample, wide)
    paint = _painter(styles)
    print(_line([column.title for column in columns], columns, widths, None))
    for cells in sample:
        print(_line(cells, columns, widths, paint))
    for row in iterator:
        print(_line(list(map(escape, row)), columns, widths, paint))


def _widths(columns: Sequence[Column], sample: list[list[str]], wide: bool) -> list[int]:
    widths = [
        max([text_width(column.title), *(text_width(row[index]) for row in sample)])
        for index, column in enumerate(columns)
    ]
    excess = sum(widths) + len(widths) - 1 - screen_width()
    while not wide and excess > 0:
        shrinking = [i for i, c in enumerate(columns) if c.shrinks and widths[i] > _NARROWEST]
        if not shrinking:
            break
        widest = max(shrinking, key=lambda i: widths[i])
        widths[widest] -= 1
        excess -= 1
    return widths


def _line(cells: list[str], columns: Sequence[Column], widths: list[int], paint: Any) -> str:
    parts = []
    for index, cell in enumerate(cells):
        text = cut(cell, widths[index]) if columns[index].shrinks else cell
        gap = " " * (widths[index] - text_width(text))
        shown = paint(index, text) if paint is not None else text
        parts.append(gap + shown if columns[index].right else shown + gap)
    return " ".join(parts).rstrip()


def cut(text: str, width: int) -> str:
    """The text in at most ``width`` cells."""
    if text_width(text) <= width:
        return text
    kept = ""
    for character in text:
        if text_width(kept + character) > width - 1:
            break
        kept += character
    return kept + "…"


def _painter(styles: Sequence[str | None]) -> Any:
    """A function that colours a cell, or None where nothing is coloured."""
    if not on_terminal() or not styles:
        return None
    from rich.style import Style

    by_word = {name: Style.parse(style) for name, (_, style) in STATES.items()}
    by_word |= {short: by_word[name] for name, (short, _) in STATES.items()}
    parsed = [None if s in (None, "state") else Style.parse(s or "") for s in styles]

    def paint(index: int, text: str) -> str:
        style = by_word.get(text.strip()) if styles[index] == "state" else parsed[index]
        return text if style is None else style.render(text)

    return paint


def moment(epoch_s: float | None) -> str:
    """Local date and time; "-" for None."""
    if epoch_s is None:
        return "-"
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(epoch_s))
