"""Curves of use."""

from __future__ import annotations

from gflow.cli import curve


def test_drawn() -> None:
    """The lowest character is nothing, the highest is the most there was."""
    assert curve.drawn([0, 1, 2, 4]) == "▁▃▅█"
    assert curve.drawn([0, 0]) == "▁▁"
    assert curve.drawn([50, 200], highest=100) == "▅█"


def test_lines() -> None:
    """A line for processors and one for memory, with the length and the peaks."""
    series = {"step_s": 30.0, "cpus": [0.0, 2.0, 4.0], "rss_bytes": [1 << 20, 1 << 21, 1 << 20]}
    cpus, memory = curve.lines(series)
    assert cpus.split() == ["cpus", "▁▅█", "up", "to", "4,", "1:30", "in", "all"]
    assert memory.split() == ["memory", "▅█▅", "up", "to", "2M"]


def test_too_few_points() -> None:
    """One point is no curve, and what is not there is not drawn."""
    assert list(curve.lines({"step_s": 2.0, "cpus": [1.0], "rss_bytes": [1]})) == []
    assert list(curve.lines({})) == []
