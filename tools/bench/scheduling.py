"""The scheduling core: what an event costs, and what a pending job weighs, at any length."""

from __future__ import annotations

from collections.abc import Iterator

from tools.bench import archive, machine, queue, replay, sample
from tools.bench.machine import Machine
from tools.bench.table import BYTES, TIME, Row, compare

_KINDS = {
    "submit": "submit one",
    "cancel": "cancel one",
    "exit": "a command ends",
    "pass": "its resources are free: one pass",
}


def run(*, quick: bool) -> Iterator[Row]:
    """All rows."""
    yield from events(quick=quick)
    yield from cancel_all(quick=quick)
    yield from questions(quick=quick)
    yield from replay.run(quick=quick)


def events(*, quick: bool) -> Iterator[Row]:
    """Seconds per event with more and more pending, beside the shortest queue."""
    sizes = (200, 1_000) if quick else (1_000, 10_000, 100_000, 1_000_000)
    shortest: dict[str, float] = {}
    for pending in sizes:
        found = queue.measure(pending, 50 if quick else 2_000)
        for kind, words in _KINDS.items():
            what = f"{words}, {pending:,} pending"
            middle = sample.p50(found[kind])
            beside = (f"{sizes[0]:,} pending", shortest.setdefault(kind, middle))
            yield compare(f"{what}, p50", middle, TIME, beside, ratio_at_most=2.0)
            yield compare(f"{what}, p99", sample.p99(found[kind]), TIME, at_most=0.001)
        yield compare(
            f"memory per pending job, {pending:,} pending",
            found["bytes_per_job"],
            BYTES,
            at_most=1536,
        )
    yield compare("array of 1,000,000: submission", found["array"], TIME, at_most=0.05)
    yield compare("array of 1,000,000: memory", found["array_bytes"], BYTES, at_most=1 << 20)


def cancel_all(*, quick: bool) -> Iterator[Row]:
    """The supervisor's loop while everything that waits is cancelled."""
    count = 1_000 if quick else 100_000
    folder = machine.new_folder()
    archive.fill(folder / "state", live=count, hold="user")
    with Machine(folder) as own:
        own.client.status()
        took = sample.timed(lambda: own.client.cancel(users=["user42"]))
        yield compare(f"cancel of one user's jobs among {count:,}", took, TIME)
        own.client.status()
        took = sample.timed(lambda: own.client.cancel(states=["PENDING"], users=_everybody()))
        gap = own.client.status()["loop_gap_ms"]
        yield compare(f"cancel of {count:,} jobs", took, TIME)
        yield compare("loop gap max meanwhile", gap["max"] / 1e3, TIME, at_most=0.02)
        yield compare("loop gap p99 meanwhile", gap["p99"] / 1e3, TIME)


def questions(*, quick: bool) -> Iterator[Row]:
    """The supervisor's loop while a long queue is played forward for somebody."""
    count = 3_000 if quick else 1_000_000
    folder = machine.new_folder()
    archive.fill(folder / "state", live=count, runnable=True)
    with Machine(folder) as own:
        asked = {
            "simulate": lambda: own.client.simulate(machine.SPEC),
            "explain of the last one": lambda: own.client.explain(count),
        }
        for what, ask in asked.items():
            own.client.status()
            took = sample.timed(ask)
            gap = own.client.status()["loop_gap_ms"]
            yield compare(f"{what}, {count:,} pending", took, TIME)
            yield compare("loop gap max meanwhile", gap["max"] / 1e3, TIME, at_most=0.02)


def _everybody() -> list[str]:
    return [f"user{number:02}" for number in range(100)]
