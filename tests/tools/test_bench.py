"""The benches run; what they measure is for people to judge."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tools.bench.__main__ import BENCHES
from tools.bench.table import RATE, TIME, Row, compare, render, show
from tools.bench.trace import Arrival, read_swf

ROOT = Path(__file__).resolve().parents[2]

#: Bench → a figure that it must show.
EXPECTED = {
    "compare": "submission, gbatch",
    "main": "posix_spawn",
    "monitoring": "one pass",
    "persistence": "naive blocking send",
    "scheduling": "one pass",
    "start-up": "gflowctl ping",
}


def test_every_bench_is_tried() -> None:
    """No bench is left out of the test below."""
    assert set(EXPECTED) == set(BENCHES)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("bench", sorted(EXPECTED))
def test_bench_prints_its_rows(bench: str) -> None:
    """With --quick each bench measures and prints its table."""
    answer = subprocess.run(
        [sys.executable, "-m", "tools.bench", bench, "--quick", "--markdown"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    assert EXPECTED[bench] in answer.stdout
    assert "| figure" in answer.stdout


def test_figures_carry_their_unit() -> None:
    """A figure is shown with three digits, in the unit that fits."""
    shown = (show(0.0021, TIME), show(0.000021, TIME), show(1234.0, RATE))
    assert shown == ("2.1 ms", "21 µs", "1,234/s")


def test_goal_is_judged_by_the_ratio() -> None:
    """A row says whether its goal was met."""
    slow = compare("spawning", 20.0, RATE, ("floor", 100.0), ratio_at_least=0.25)
    fast = compare("spawning", 30.0, RATE, ("floor", 100.0), ratio_at_least=0.25)
    assert (slow.met, fast.met) == (False, True)


def test_table_in_markdown_has_a_rule() -> None:
    """The second line of a table for the README separates titles from figures."""
    lines = render([Row("spawning", "20/s")], markdown=True).splitlines()
    assert lines[1].startswith("| ---")


def test_a_workload_in_standard_format_is_read(tmp_path: Path) -> None:
    """Times, processors and user are taken; jobs that never ran are left out."""
    path = tmp_path / "tiny.swf"
    job = "{} {} 0 {} 4 -1 -1 {} {} -1 1 7 1 1 1 1 -1 -1"
    lines = ["; MaxProcs: 16", job.format(1, 10, 60, 8, 120), job.format(2, 20, -1, 2, 60)]
    path.write_text("\n".join(lines))
    arrivals, processors = read_swf(path, 10)
    assert processors == 16
    assert arrivals == [Arrival(0, "user7", 10.0, 60.0, 120.0, 8)]
