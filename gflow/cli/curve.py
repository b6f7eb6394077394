"""Small curves of what a job used over time, one line each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gflow.api.quantity import format_duration, format_size

_BLOCKS = "▁▂▃▄▅▆▇█"


def drawn(values: Sequence[float], highest: float | None = None) -> str:
    """One character per value; 0 is lowest, ``highest`` (else the highest value) fills it."""
    top = highest or max(values, default=0) or 1
    steps = len(_BLOCKS) - 1
    return "".join(_BLOCKS[max(0, min(steps, round(value / top * steps)))] for value in values)


def lines(series: Mapping[str, Any]) -> Iterator[str]:
    """Lines for ``show``; nothing while there are too few points for a curve."""
    cpus, rss_bytes = series.get("cpus") or (), series.get("rss_bytes") or ()
    if len(cpus) < 2 or len(cpus) != len(rss_bytes):
        return
    length = format_duration(len(cpus) * (series.get("step_s") or 0))
    yield f"  {'cpus':<18} {drawn(cpus)} up to {max(cpus):g}, {length} in all"
    yield f"  {'memory':<18} {drawn(rss_bytes)} up to {format_size(int(max(rss_bytes)))}"
