"""Plain tables and times as the older gflow prints them."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import Any

from gflow.api import dialect
from gflow.cli import rendering

Record = dict[str, Any]

#: State → SGR parameters of its cell on a terminal.
_STYLES = {
    "Running": "1;32",
    "Finished": "2",
    "Queued": "3",
    "Hold": "1",
    "Failed": "1;31",
    "Timeout": "4",
    "Cancelled": "9",
}

_REASONS = {
    "BeginTime": "BeginTime",
    "Dependency": "Dependency",
    "DependencyNeverSatisfied": "Dependency",
    "Quota": "Quota",
}


class Cell(str):
    """Text of a cell; ``style`` is how it looks on a terminal."""

    style: str | None = None


def styled(text: str, style: str | None) -> Cell:
    """A cell with a look."""
    cell = Cell(text)
    cell.style = style
    return cell


def lines(rows: Sequence[Sequence[str]], gap: int) -> list[str]:
    """Left-aligned columns, one space around the line, ``gap`` spaces between columns."""
    columns = [_column(column) for column in zip(*rows, strict=True)]
    between = " " * gap
    return [f" {between.join(row)} " for row in zip(*columns, strict=True)]


def _column(cells: Sequence[str]) -> list[str]:
    """Cells of one column, all of one width."""
    texts = [cell if cell.isprintable() else rendering.escape(cell) for cell in cells]
    colours = rendering.on_terminal()
    if all(map(str.isascii, texts)) and not colours:  # ten thousand rows are no rarity
        width = max(map(len, texts))
        return [text.ljust(width) for text in texts]
    width = max(map(rendering.text_width, texts))
    made = []
    for cell, text in zip(cells, texts):
        style = getattr(cell, "style", None)
        shown = f"\x1b[{style}m{text}\x1b[0m" if style and colours else text
        made.append(shown + " " * (width - rendering.text_width(text)))
    return made


def clock(seconds: float) -> str:
    """``HH:MM:SS``; hours may be many."""
    whole = max(0, int(seconds))
    return f"{whole // 3600:02}:{whole // 60 % 60:02}:{whole % 60:02}"


def elapsed(record: Record) -> str:
    """How long it has run, or ran; ``-`` when it never started."""
    started = record["started_at"]
    if started is None:
        return "-"
    return clock((record["finished_at"] or time.time()) - started)


def size(size_bytes: int | None) -> str:
    """``512M``, ``2G``, ``2.5G``; ``-`` for nothing."""
    megabytes = dialect.megabytes(size_bytes)
    if megabytes is None:
        return "-"
    if megabytes < 1024:
        return f"{megabytes}M"
    return f"{megabytes / 1024:.1f}".removesuffix(".0") + "G"


def reason(record: Record, culprit: int | None) -> str | None:
    """Why a job waits, or what it depended on in vain; "-" when it was cancelled; else None."""
    state = dialect.state(record)
    if state == "Hold":
        return "JobHeldUser"
    if state == "Queued":
        return _REASONS.get(record["reason"] or "", "Resources")
    if state != "Cancelled":
        return None
    return "-" if culprit is None else f"DependencyFailed:{culprit}"


def state_cell(state: str) -> Cell:
    """The short state, in its style."""
    return styled(dialect.short(state), _STYLES[state])


def utc(epoch_s: float) -> str:
    """``2026-11-24T03:00:42Z``."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(epoch_s))


def warn(text: str) -> None:
    """A line on standard error, made safe."""
    print(rendering.escape(text), file=sys.stderr)
