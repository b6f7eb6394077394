"""The loop's measure of itself."""

from __future__ import annotations

import asyncio
import time

from gflow.supervisor.loop import GapMeter, new_loop


def test_meter_tells_median_tail_and_longest() -> None:
    """Percentiles are right within the buckets' width, the maximum exactly."""
    meter = GapMeter()
    for gap_ms in range(1, 101):
        meter.add(gap_ms / 1e3)
    answer = meter.take()
    assert 50 <= answer["p50"] <= 55
    assert 99 <= answer["p99"] <= 100
    assert answer["max"] == 100


def test_meter_starts_anew_after_each_answer() -> None:
    """Each answer covers the time since the one before."""
    meter = GapMeter()
    meter.add(1.0)
    meter.take()
    assert meter.take() == {"p50": 0.0, "p99": 0.0, "max": 0.0}


def test_loop_counts_a_long_turn() -> None:
    """A callback that holds the loop up is seen as a gap."""
    loop, meter = new_loop()

    async def busy() -> None:
        end_s = time.perf_counter() + 0.05
        while time.perf_counter() < end_s:
            pass
        await asyncio.sleep(0)

    try:
        loop.run_until_complete(busy())
        assert meter.take()["max"] >= 50
    finally:
        loop.close()
