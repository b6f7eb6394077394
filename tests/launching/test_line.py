"""The line between a launcher and its shims, and what is said where there is none."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from gflow.launching import line, protocol
from gflow.launching.line import LauncherEnd, ShimEnd
from gflow.launching.report import Reporter

Pair = tuple[LauncherEnd, ShimEnd]


@pytest.fixture
def ends() -> Iterator[Pair]:
    """Both ends."""
    pair = line.pair()
    yield pair
    for end in pair:
        end.close()


def test_a_report_comes_as_it_was_said(ends: Pair) -> None:
    """One at a time, each with whether the shim is idle from then on."""
    ours, theirs = ends
    assert ours.hear() is None
    assert theirs.say(b'{"t":"started"}', idle=False) and theirs.say(b'{"t":"exited"}', idle=True)
    assert ours.hear() == (b'{"t":"started"}', False)
    assert ours.hear() == (b'{"t":"exited"}', True)
    assert ours.hear() is None


def test_the_end_of_the_line_is_told(ends: Pair) -> None:
    """After what was said before it."""
    ours, theirs = ends
    theirs.say(b"{}", idle=False)
    theirs.close()
    assert ours.hear() == (b"{}", False)
    with pytest.raises(EOFError):
        ours.hear()


def test_a_report_without_a_launcher_takes_the_fifo(ends: Pair, tmp_path: Path) -> None:
    """Whoever listens there hears it, on a line of its own; nobody may count on the shim."""
    ours, theirs = ends
    path = tmp_path / "reports"
    os.mkfifo(path)
    fifo = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    ours.close()
    Reporter(str(path), 7, 1, theirs).send("exited", {"exit_code": 3}, idle=True)
    told, end = os.read(fifo, 1000).split(b"\n")
    os.close(fifo)
    assert (protocol.decode(told), end) == (
        {"t": "exited", "job_id": 7, "attempt": 1, "exit_code": 3},
        b"",
    )


def test_a_stopped_launcher_holds_nobody(ends: Pair, tmp_path: Path) -> None:
    """What its end of the line has no room for waits, in order, and is no word of being idle."""
    ours, theirs = ends
    reporter = Reporter(str(tmp_path / "none"), 7, 1, theirs)
    count = 0
    while not reporter.waiting:
        reporter.send("trouble", {"number": count, "message": "x" * 3000})
        count += 1
        assert count < 10_000
    reporter.send("exited", {"number": count}, idle=True)
    assert len(reporter.waiting) == 2
    heard = []
    while (said := ours.hear()) is not None:
        heard.append(said)
        reporter.flush()
    assert [protocol.decode(report)["number"] for report, _ in heard] == list(range(count + 1))
    assert not any(idle for _, idle in heard)
